"""The command `relay` and the list of its commands. Their code is in other modules, mostly in `relay.commands`, and is
imported only when a command is called."""

from __future__ import annotations

import gc
import importlib
from dataclasses import dataclass

import click

from relay.program import SETTINGS, Program, nothing_begun, version_option


@dataclass(frozen=True)
class Entry:
    """The place of a command's code, and the line that describes the command in `relay --help`."""

    module: str
    name: str
    summary: str


COMMANDS: dict[str, Entry] = {
    "demo": Entry("relay.demo.command", "demo", "See one alarm, from the press to the receipt on the wrist."),
    "init": Entry("relay.commands.init", "init", "Make a data folder: keys, certificates, configuration."),
    "run": Entry("relay.commands.run", "run", "Serve."),
    "alarms": Entry("relay.commands.alarms", "alarms", "List alarms: what is open, since when, who has answered."),
    "watch": Entry("relay.commands.watch", "watch", "Live feed of verified alarms."),
    "subscriber": Entry("relay.commands.subscriber", "subscriber", "Say who may read the alarms, and how exactly."),
    "subscribe": Entry("relay.commands.subscribe", "subscribe", "Read alarms as a subscriber; needs no data folder."),
    "accept": Entry("relay.commands.case", "accept", "Tell the wearer that a person has accepted the alarm."),
    "close": Entry("relay.commands.case", "close", "Tell the bracelet that the alarm is over."),
    "bracelet": Entry("relay.commands.bracelet", "bracelet", "Add, list, configure and revoke bracelets."),
    "broker": Entry("relay.commands.broker", "broker", "Check a broker, and write accounts for one of your own."),
    "backup": Entry("relay.commands.backup", "backup", "Write all that this relay is to one encrypted file."),
    "restore": Entry("relay.commands.backup", "restore", "Make a relay of a backup."),
    "verify": Entry("relay.commands.verify", "verify", "Check an alarm that somebody sent you, offline."),
    "bench": Entry("relay.bench.command", "bench", "Measure the pipeline under load on this machine."),
}


class _Lazy(Program):
    """A group that imports a command when it is called: `relay verify` loads no database to check a signature."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)  # click knows none of these
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        gc.disable()  # importing makes many objects that stay; looking for garbage would take a tenth of the time
        try:
            with nothing_begun():
                command = getattr(importlib.import_module(entry.module), entry.name)
        finally:
            gc.freeze()
            gc.enable()
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings=SETTINGS)
@version_option("relay")
def main() -> None:
    """Receives, verifies, stores and passes on the alarms of Tocsin bracelets.

    A first look: relay demo. A relay of your own: relay init, relay run, relay bracelet add.
    """

"""The command line of `relay demo`: it starts the stack, presses the button, tells the story, then takes the reader's
keys."""

from __future__ import annotations

import json
import select
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from hwsim import toolchain
from relay.commands.common import Failure
from relay.commands.watch import describe
from relay.demo.stack import Happened, Stack, StackError
from relay.demo.story import Story

HOLD_S = 3.2
PATIENCE_S = 60.0
CANCEL_S = 30  # as the firmware has it (alarm.CANCEL_MS)
HELP = """\
  p  press and hold the button        d  cut the data network, or bring it back
  c  call the last alarm back         b  kill the broker, or start it again
  s  show what a subscriber sees      r  kill the relay, or start it again
  h  this help                        q  end the demo"""


@click.command()
@click.option(
    "--once",
    is_flag=True,
    help="Press once, show the timeline, end. Exit status 0 only if the alarm was rebroadcast and the receipt felt.",
)
@click.option(
    "--path",
    type=click.Choice(["mqtt", "sms"]),
    default="mqtt",
    show_default=True,
    help="sms: no data network; the alarm goes by SMS.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the stages as one JSON object, last on standard output; implies --once.",
)
def demo(once: bool, path: str, as_json: bool) -> None:
    """See one alarm go from the button to the wrist, on this machine.

    Starts a broker with TLS, a relay and a simulated bracelet (the real firmware in a real MicroPython), presses the
    button, and shows each stage until the receipt is felt. Then it stays up and takes your keys. Nothing leaves this
    machine and nothing is kept.
    """
    once = once or as_json
    say = _progress(quiet=as_json)
    with tempfile.TemporaryDirectory(prefix="tocsin-demo-") as folder:
        try:
            say("a MicroPython interpreter")
            toolchain.micropython()
            with Stack(Path(folder), data_network=path == "mqtt", say=say) as stack:
                say("")
                heard = _one_alarm(stack, path, quiet=as_json)
                if as_json:
                    click.echo(json.dumps(heard.as_json(path)))
                if once:
                    raise SystemExit(0 if heard.complete(path) else 1)
                _Prompt(stack).run()
        except (StackError, toolchain.ToolchainError) as error:
            raise Failure(f"the demo could not go on: {error}") from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None


def _progress(quiet: bool) -> Callable[[str], None]:
    """Return a function that says what is being started: on a terminal in one line that is written over, elsewhere in
    a line each."""
    started = time.monotonic()
    terminal = sys.stderr.isatty()

    def say(what: str) -> None:
        if terminal:
            click.echo(f"\r\x1b[K{f'starting {what} ...' if what else ''}", err=True, nl=False)
        elif not quiet:
            click.echo(
                f"starting {what} ..." if what else f"ready after {time.monotonic() - started:.1f} s\n", err=True
            )

    return say


def _one_alarm(stack: Stack, path: str, quiet: bool) -> Story:
    """Press, hold, and tell the stages as they happen, until the receipt is felt or patience ends."""
    stack.events()  # events before the press are not part of the story
    if not quiet:
        way = "MQTT over TLS" if path == "mqtt" else "SMS: there is no data network"
        click.secho(f"Pressing the button for three seconds ({way}). Times count from the press.\n", bold=True)
    stack.world.call(lambda: stack.bracelet.button.press(HOLD_S))
    story = Story(time.time())
    deadline = time.monotonic() + HOLD_S + PATIENCE_S
    while time.monotonic() < deadline and not story.complete(path):
        for event in stack.events():
            for stage in story.tell(event):
                if not quiet:
                    click.echo(stage.line())
        time.sleep(0.02)
    if not quiet:
        _verdict(story, path)
    return story


def _verdict(story: Story, path: str) -> None:
    missing = story.missing(path)
    if missing:
        click.secho(
            f"\nNot complete after {PATIENCE_S:g} s. Missing: {', '.join(missing)}.", fg="red", bold=True, err=True
        )
        return
    took = story.raised_to_receipt_s
    click.secho(f"\nFrom the end of the hold to the answer on the wrist: {took:.2f} s.", fg="green", bold=True)


class _Prompt:
    """A prompt that takes single letters, and tells meanwhile what happens."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.story: Story | None = None
        self._shown = 0
        self._raised_at = time.time()  # the alarm that the demo began with
        self._keys: dict[str, Callable[[], None]] = {
            "p": self._press,
            "c": self._call_back,
            "d": self._data,
            "b": self._broker,
            "r": self._relay,
            "s": self._subscriber,
            "h": self._help,
        }

    def run(self) -> None:
        click.echo("\nThe demo stays up. Type a letter and Enter:\n" + HELP)
        self._ask()
        while True:
            if select.select([sys.stdin], [], [], 0.05)[0]:
                line = sys.stdin.readline()
                key = line.strip().lower()[:1]
                if not line or key == "q":
                    click.echo("Ending.")
                    return
                if key:
                    self._keys.get(key, self._help)()
                self._ask()
            if self._tell():
                self._ask()

    def _ask(self) -> None:
        click.echo("demo> ", nl=False)

    def _tell(self) -> bool:
        told = False
        for event in self.stack.events():
            lines = [stage.line() for stage in self.story.tell(event)] if self.story else []
            for line in lines or _aside(event):
                click.echo(("" if told else "\r") + line)
                told = True
        return told

    def _press(self) -> None:
        if time.time() - self._raised_at < CANCEL_S:
            click.echo("so soon after an alarm a hold sends an Update of it; its receipt is not felt a second time")
        else:
            self._raised_at = time.time() + HOLD_S
        self.story = Story(time.time())
        self.stack.world.call(lambda: self.stack.bracelet.button.press(HOLD_S))

    def _call_back(self) -> None:
        click.echo("tap, tap, hold: calls an alarm back within 30 s of raising it; later it raises a new one")
        self.story = Story(time.time())
        button, world = self.stack.bracelet.button, self.stack.world

        def pattern() -> None:
            for tap in range(2):
                world.after(tap * 500_000, lambda: button.press(0.2))
            world.after(1_000_000, lambda: button.press(HOLD_S))

        world.call(pattern)

    def _data(self) -> None:
        wifi = self.stack.bracelet.wifi
        up = not wifi.up
        self.stack.world.call(lambda: setattr(wifi, "up", up))
        click.echo("the data network is back" if up else "the data network is gone: press, and the alarm goes by SMS")

    def _broker(self) -> None:
        if self.stack.broker_running:
            self.stack.kill_broker()
            click.echo("the broker was killed; b starts it again")
        else:
            self.stack.start_broker()
            click.echo("the broker is back")

    def _relay(self) -> None:
        if self.stack.relay_running:
            self.stack.kill_relay()
            click.echo("the relay was killed (SIGKILL); r starts it again")
        else:
            self.stack.start_relay()
            click.echo("the relay is back")

    def _subscriber(self) -> None:
        documents = self.stack.documents[self._shown :]
        self._shown = len(self.stack.documents)
        if not documents:
            click.echo("nothing new for the subscriber")
        for octets in documents:
            click.echo(describe(json.loads(octets)))
        if documents:
            click.echo(
                f"the last one, as it was published ({len(documents[-1])} octets); save it and try `relay verify FILE`:"
            )
            click.echo(documents[-1].decode())

    def _help(self) -> None:
        click.echo(HELP)


def _aside(event: Happened) -> list[str]:
    """Describe an event that is worth a line, although it is no stage of the last alarm."""
    words = " ".join(
        f"{key}={value}" for key, value in event.detail.items() if key in ("counter", "path", "up", "reason", "quality")
    )
    wanted = {
        "firmware": {"link", "update", "receipt", "refused", "cancelled", "clock"},
        "relay": {"alarm.duplicate", "alarm.refused", "mqtt.connected", "mqtt.disconnected", "relay.started"},
    }
    if event.what not in wanted.get(event.source, set()):
        return []
    return [f"            {event.source}: {event.what} {words}".rstrip()]

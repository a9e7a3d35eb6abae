"""The command `hwsim`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from hwsim import toolchain
from hwsim.board import BoardError
from hwsim.bundle.command import main as bundle
from relay.program import SETTINGS, NewFile, Program, version_option


def _set_heap(_: click.Context, __: click.Parameter, size: str | None) -> None:
    """Put the size into the environment: every world looks it up there, in other processes too."""
    if size:
        from hwsim.world import link

        try:
            link.octets(size)
        except ValueError as error:
            raise click.BadParameter(f"{error}.") from error
        os.environ["HWSIM_HEAP"] = size


heap_option = click.option(
    "--heap",
    metavar="SIZE",
    expose_value=False,
    callback=_set_heap,
    help="What the firmware has for its objects, in octets of a chip with 32-bit words: 110k, 1m. Default: "
    "$HWSIM_HEAP, or else 128k.",
)


class _Tools(Program):
    """A group of commands that reports a missing program or an unusable board file in one sentence, not in a
    traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except toolchain.ToolchainError as error:
            raise click.ClickException(str(error)) from error
        except BoardError as error:
            raise click.UsageError(f"--board: {error}") from error


@click.group(cls=_Tools, context_settings=SETTINGS)
@version_option("hwsim")
def main() -> None:
    """Tools of the hardware simulator."""


main.add_command(bundle)


class _Firmware(click.Path):
    """The folder of a firmware."""

    def __init__(self, path_type: type[Path] | None = None) -> None:
        super().__init__(exists=True, file_okay=False, path_type=path_type)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        folder = super().convert(value, param, ctx)
        if not Path(os.fsdecode(folder), "main.py").is_file():
            self.fail(f"{value}: has no main.py, so it is no firmware's folder", param, ctx)
        return folder


@main.command("toolchain")
@click.option("--bits", type=click.Choice(["32"]), help="The 32-bit one, in which HWSIM_BITS=32 runs the firmware.")
def show_toolchain(bits: str | None) -> None:
    """Find the MicroPython interpreter that runs the firmware: which, which version, where from."""
    tool = toolchain.find_micropython(int(bits)) if bits else toolchain.wanted_micropython()
    click.echo(f"MicroPython {tool.version}, {tool.source}")
    click.echo(" ".join(tool.argv))


@main.command("bench-seal")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.option(
    "--against",
    type=_Firmware(path_type=Path),
    metavar="DIR",
    help="Compare native code with that of another firmware's folder, in turn, and print the median ratio.",
)
@click.option("--pairs", default=15, show_default=True, help="How often, with --against.")
def bench_seal(as_json: bool, against: Path | None, pairs: int) -> None:
    """Measure what sealing one alarm message costs the firmware, against plain double-and-add.

    With HWSIM_BITS=32 in the 32-bit interpreter, whose words are those of the chip.
    """
    from hwsim import bench_seal

    sys.exit(bench_seal.main(as_json, against, pairs))


@main.command("soak")
@click.option("--seeds", type=click.IntRange(1), default=100, show_default=True, help="How many lives.")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="The first seed.")
@click.option("--hours", type=click.FloatRange(0.1), default=48.0, show_default=True, help="Of the longest lives.")
@click.option("--jobs", type=click.IntRange(1), help="Processes; by default as many as there are cores.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.option(
    "--replay",
    metavar="SEED|FILE",
    help="One life with its whole trace (of a seed: with the same --hours and --board).",
)
@click.option(
    "--board",
    default="reference",
    show_default=True,
    help="Name in board_configs/, the path of a file, or any: each life has one of ours, drawn.",
)
@click.option("--firmware", type=_Firmware(), help="Another firmware's folder.")
@heap_option
def soak(
    seeds: int,
    first: int,
    hours: float,
    jobs: int | None,
    as_json: bool,
    replay: str | None,
    board: str,
    firmware: str | None,
) -> None:
    """Play random lives of a bracelet, with faults on every path, and check that no alarm is ever lost.

    The same seed is the same life. Lives that fail are shrunk to their shortest form. Exit status: 0 nothing failed,
    1 something did.
    """
    from hwsim.soak import command

    options = command.options(seeds=seeds, first=first, hours=hours, jobs=jobs, firmware=firmware, board=board)
    sys.exit(command.replay(replay, options, as_json) if replay else command.main(options, as_json))


@main.command("rehearse")
@click.option("--seed", default=1, show_default=True, help="Everything random follows from it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a pattern instead of drawings.")
def rehearse(seed: int, as_json: bool) -> None:
    """Play the defender's card on the unmodified firmware: what is pressed, what is felt, what is sent.

    Exit status: 0 everything was felt as the card says, 1 something was not.
    """
    from hwsim import rehearse

    sys.exit(rehearse.main(seed, as_json))


@main.command("run")
@click.argument("scenarios", nargs=-1)
@click.option("--list", "listing", is_flag=True, help="Show the scenarios that come with the simulator.")
@click.option("--all", "everything", is_flag=True, help="Play all of them.")
@click.option("--seed", default=1, show_default=True, help="Everything random follows from it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a scenario instead of the story.")
@click.option("--plot", type=NewFile(), help="Draw it into this SVG file.")
@click.option("--trace", is_flag=True, help="Show every event instead of the story.")
@click.option("--quiet", is_flag=True, help="Of what held, show one line.")
@heap_option
def run(
    scenarios: tuple[str, ...],
    listing: bool,
    everything: bool,
    seed: int,
    as_json: bool,
    plot: Path | None,
    trace: bool,
    quiet: bool,
) -> None:
    """Play scenarios (names of ours, or files): the story, then what had to hold, and whether it did.

    Ctrl-C ends it with those that were played. Exit status: 0 all held, 1 something did not, 2 mistyped, 130
    interrupted before anything did not.
    """
    from hwsim.scenario import command, file

    named = (*scenarios, *file.names()) if everything else scenarios
    sys.exit(command.main(named, seed=seed, as_json=as_json, plot_file=plot, trace=trace, quiet=quiet, listing=listing))


@main.command("bench-speed")
@click.option("--seconds", default=3600, show_default=True, type=click.IntRange(60), help="Virtual seconds to be idle.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@heap_option
def bench_speed(seconds: int, as_json: bool) -> None:
    """Measure how much faster than life the unmodified firmware runs here, and what that time goes into."""
    from hwsim import bench_speed

    sys.exit(bench_speed.main(seconds, as_json))


@main.command("bench-heap")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def bench_heap(as_json: bool) -> None:
    """Measure how much heap the firmware takes, armed and in an alarm, and the smallest in which all of it works."""
    from hwsim import bench_heap

    sys.exit(bench_heap.main(as_json))


@main.command("budgets")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def budgets(as_json: bool) -> None:
    """Measure what the firmware costs against firmware/budgets.toml: code, heap, seal, start, flash, charge.

    Exit status: 0 all within, 1 a budget is exceeded.
    """
    from hwsim import budgets

    sys.exit(budgets.main(as_json))


_PATH = click.Path(path_type=Path, dir_okay=False)


@main.command("usb")
@click.option("--board", default="reference", show_default=True, help="Name in board_configs/, or the path of a file.")
@click.option(
    "--flash",
    type=_PATH,
    help="Content of its whole flash chip; made if it isn't there, with the firmware on it. Default: one that ends "
    "with it.",
)
@click.option("--bootloader", is_flag=True, help="Hold the strapping pin: it starts in the ROM loader and stays there.")
@click.option("--control", type=_PATH, help="A socket for `hwsim hand`, made here.")
@click.option("--link", type=_PATH, help="A symbolic link to the port, kept right when the cable is put in again.")
@click.option(
    "--reach",
    multiple=True,
    metavar="NAME:PORT[=HOST:PORT]",
    help="A server that its networks lead to, on this machine unless HOST says where; repeatable.",
)
@click.option("--sms-modem", metavar="+NUMBER", help="A second port, with the relay's modem behind it.")
@click.option("--phone", metavar="+NUMBER", default="+10000000001", show_default=True, help="Of the bracelet's SIM.")
@click.option("--seed", type=click.IntRange(0), help="Decides the chip's address. Default: by the name of --flash.")
@click.option("--for", "seconds", type=click.FloatRange(min=0), help="End after so many seconds. Default: on Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@heap_option
def usb(**told: Any) -> None:
    """Serve a bracelet's USB serial port as a PTY: for mpremote, esptool, or a terminal.

    The first line is the port; then one line for each thing that happens.
    """
    from hwsim.serial import serve

    sys.exit(serve.main(serve.Options(**told)))


@main.command("hand")
@click.argument("control", metavar="PATH", type=_PATH)
@click.argument("action", required=False)
@click.argument("values", nargs=-1)
@click.option("--list", "listing", is_flag=True, help="Show what a hand can do.")
@click.option("--within", default=10.0, show_default=True, type=click.FloatRange(0), help="Seconds to wait or watch.")
def hand(control: Path, action: str | None, values: tuple[str, ...], listing: bool, within: float) -> None:
    """Be the hand, eyes and wrist of whoever has the bracelet behind `hwsim usb --control PATH`.

    \b
    hwsim hand PATH press 3                            an action of scenarios, with its values
    hwsim hand PATH unplug                             or one of the bench
    hwsim hand PATH wait wearer felt pattern=heard     until it has happened since the last action
    hwsim hand PATH watch                              what happens, as JSON
    hwsim hand PATH state

    Exit status: 0 done, 1 it can't be done or did not happen.
    """
    from hwsim.serial import hand_command

    sys.exit(hand_command.main(control, action, values, listing, within))


@main.command("boards")
@click.argument("boards", nargs=-1)
@click.option("--details", is_flag=True, help="Say of each what nobody could check.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def boards(boards: tuple[str, ...], details: bool, as_json: bool) -> None:
    """Check board files (names in board_configs/, or paths; by default all of ours).

    Exit status: 0 all can be used, 1 one can't.
    """
    from hwsim import boards as command

    sys.exit(command.main(boards, details, as_json))


@main.command("powercut")
@click.option("--life", help="One life: mqtt, sms, worn, update or files. By default all.")
@click.option("--quick", is_flag=True, help="Every eleventh operation, clean and torn in turn.")
@click.option("--jobs", type=click.IntRange(1), help="Processes; by default as many as there are cores.")
@click.option("--seed", default=1, show_default=True, help="Everything random follows from it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.option("--at", type=click.IntRange(0), help="Only this operation, with the trace; 0 is the life without a cut.")
@click.option("--torn/--clean", default=True, help="With --at: within the operation (default), or just before it.")
@click.option("--firmware", type=_Firmware(), help="Another firmware's folder.")
@heap_option
def powercut(
    life: str | None,
    quick: bool,
    jobs: int | None,
    seed: int,
    as_json: bool,
    at: int | None,
    torn: bool,
    firmware: str | None,
) -> None:
    """Let the supply fail at every flash operation of an alarm's life, and check what the bracelet is after it.

    Ctrl-C ends it with what was found so far. Exit status: 0 everything held, 1 something did not, 130 interrupted
    before anything did not.
    """
    from hwsim.powercut import command
    from hwsim.powercut.life import CLEAN, LIVES, TORN, Cut

    if life is not None and life not in LIVES:
        raise click.BadParameter(f"there are {', '.join(LIVES)}", param_hint="--life")
    if at is not None:
        if life is None:
            raise click.UsageError("--at needs --life")
        cut = Cut(at, TORN if torn else CLEAN) if at else None
        sys.exit(command.replay(command.Job(life, cut, seed, firmware), as_json))
    lives = [life] if life else list(LIVES)
    sys.exit(command.main(lives, seed=seed, quick=quick, processes=jobs, firmware=firmware, as_json=as_json))


@main.command("starts")
@click.option("--board", "boards", multiple=True, help="Name in board_configs/, or the path of a file; more than once.")
@click.option("--all", "every", is_flag=True, help="Every board of ours.")
@click.option("--call", help="Only this driver call, as the table has it.")
@click.option("--jobs", type=click.IntRange(1), help="Processes; by default as many as there are cores.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.option("--firmware", type=_Firmware(), help="Another firmware's folder.")
@heap_option
def starts(
    boards: tuple[str, ...], every: bool, call: str | None, jobs: int | None, as_json: bool, firmware: str | None
) -> None:
    """Let each driver call that starts a part hang the chip or take its supply, while the button is held.

    The alarm must be raised at once, and sent within a minute by what is left. By default on the reference board.
    Exit status: 0 every alarm was, 1 one was not.
    """
    import os

    from hwsim import starts
    from hwsim.board import CONFIGS, BoardError, load

    chosen = sorted(file.stem for file in CONFIGS.glob("*.toml")) if every else list(boards) or ["reference"]
    for board in chosen:
        try:
            load(board)
        except BoardError as error:
            raise click.UsageError(f"--board: {error}") from error
    if call and not any(starts.cases(board, call) for board in chosen):
        known = dict.fromkeys(case.call for board in chosen for case in starts.cases(board))
        raise click.BadParameter(f"there are {', '.join(known)}", param_hint="--call")
    sys.exit(starts.main(chosen, call, jobs or os.cpu_count() or 1, firmware, as_json))


@main.command("power")
@click.option("--board", default="reference", show_default=True, help="Name in board_configs/, or the path of a file.")
@click.option("--hours", default=24.0, show_default=True, type=click.FloatRange(0.1), help="To be armed and idle.")
@click.option("--plot", type=NewFile(), help="Draw current over time as an SVG.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@heap_option
def power(board: str, hours: float, plot: Path | None, as_json: bool) -> None:
    """Cost a day of the unmodified firmware: state by state in mAh, and days per charge."""
    from hwsim import power

    sys.exit(power.main(board, hours, plot, as_json))


@main.command("crash")
@click.argument("number", type=click.IntRange(1, 0xFFFFFFFF))
@click.option(
    "--firmware",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the version that runs on the bracelet. Default: ours.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a line.")
def crash(number: int, firmware: Path | None, as_json: bool) -> None:
    """Find the error behind the NUMBER of a crash, as `relay bracelet list` shows it: its type, file and line.

    Exit status: 0 found, 1 not found, which means that it is of another version of the firmware.
    """
    from hwsim import crash
    from hwsim.world.bracelet import FIRMWARE

    sys.exit(crash.main(number, firmware or FIRMWARE, as_json))


if __name__ == "__main__":
    main()

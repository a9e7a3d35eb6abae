"""`flash.sh`: turn a board in a box into a bracelet that has raised a drill; update a bracelet in use."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from hwsim import abilities, bundle
from hwsim.board import Board, BoardError, load
from hwsim.workshop import batch, bench, plan, renew
from hwsim.workshop.batch import Row
from hwsim.workshop.bench import Options
from hwsim.workshop.desk import Desk, Ways, choose
from hwsim.workshop.people import QUESTIONS, Person
from hwsim.workshop.tools import FAST
from hwsim.workshop.trouble import Trouble
from relay.commands.common import literally, said, said_once
from relay.commands.offers import access_point, networks
from relay.program import SETTINGS, Single, version_option


def state_folder() -> Path:
    """Return the folder $XDG_STATE_HOME/tocsin, by default ~/.local/state/tocsin."""
    configured = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification says to ignore a relative path.
    return (Path(configured) if configured.startswith("/") else Path.home() / ".local" / "state") / "tocsin"


@click.command(cls=Single, context_settings=SETTINGS)
@version_option("flash.sh")
@click.option("--board", "name", required=True, help="Name in board_configs/, or the path of a file.")
@click.option("--port", help="Serial port, or a pattern of them in quotes. Default: the one on USB.")
@click.option(
    "--relay",
    type=click.Path(exists=True, path_type=Path),
    help="Data folder of a relay that runs here, or a file of `relay bracelet export`.",
)
@click.option("--batch", "many", is_flag=True, help="One board after another, as they are plugged in; then a table.")
@click.option("--count", type=click.IntRange(1), help="With --batch: end after so many boards. Default: on Ctrl-C.")
@click.option(
    "--image",
    type=click.Path(path_type=Path, dir_okay=False),
    help="MicroPython's image, instead of a download: offline, or one of your own build.",
)
@click.option(
    "--update-key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.pub",
    help="Public key of who makes its updates (hwsim bundle key). Without it the bracelet refuses every update.",
)
@click.option(
    "--update",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="BUNDLE",
    help="Instead of making one: put this bundle (hwsim bundle make) on a bracelet that is in use.",
)
@click.option(
    "--baud",
    default=FAST,
    show_default=True,
    type=click.IntRange(9600, 3_000_000),
    help="Of the line while images are written; less for a long or poor cable.",
)
@click.option("--from-start", is_flag=True, help="Begin anew, also with a board that is half done or finished.")
@click.option("--dry-run", is_flag=True, help="Print what would be done; no port is touched.")
@click.option(
    "--code-name", default="bench", show_default=True, metavar="NAME|@FILE", help="Begin of the relay's code names."
)
@click.option(
    "--wifi",
    multiple=True,
    metavar="SSID:KEY|@FILE",
    help="A Wi-Fi network for the bracelet; repeatable. From a file, one a line: @FILE.",
)
@click.option("--host", help="Where the bracelet reaches the broker, if not as the relay's settings say.")
@click.option("--broker-port", type=click.IntRange(1, 65535), help="And on which port.")
@click.option("--apn", metavar="NAME", help="The operator's access point for data over the mobile network.")
@click.option("--apn-user", metavar="USER:PASSWORD|@FILE", help="For an access point that asks for them.")
@click.option("--apn-roaming", is_flag=True, help="Data in foreign networks as well.")
@click.option("--sms", metavar="+NUMBER", help="Number of the relay's modem, if not as the relay's settings say.")
@click.option(
    "--assume",
    multiple=True,
    type=click.Choice(list(QUESTIONS)),
    help="Don't ask this, go on as if the answer was yes. The record says that nobody was asked. Repeatable.",
)
@click.option(
    "--patience",
    default=180.0,
    show_default=True,
    type=click.FloatRange(1),
    metavar="S",
    help="Seconds until a drill's receipt, by MQTT and by SMS, and until it is accepted.",
)
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), help="Folder of what is half done.")
@click.option("--records", type=click.Path(path_type=Path, file_okay=False), help="Folder of records and labels.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line; answers (y, n) are read from the input.")
def main(
    name: str,
    port: str | None,
    relay: Path | None,
    many: bool,
    count: int | None,
    image: Path | None,
    update_key: Path | None,
    update: Path | None,
    baud: int,
    from_start: bool,
    dry_run: bool,
    code_name: str,
    wifi: tuple[str, ...],
    host: str | None,
    broker_port: int | None,
    apn: str | None,
    apn_user: str | None,
    apn_roaming: bool,
    sms: str | None,
    assume: tuple[str, ...],
    patience: float,
    state: Path | None,
    records: Path | None,
    as_json: bool,
) -> None:
    """Make a bracelet of a board: MicroPython, firmware, keys, self-test, and a drill that a relay has answered.

    After a failure the same command goes on at the step that failed. `flash.sh harden --help`: flash encryption, secure
    boot and closed ports, for ever, as a step of its own.

    Exit status: 0 every board is finished, 1 one is not.
    """
    person = Person(as_json, assume)
    try:
        board = load(name)
        key = None if update_key is None else bytes(bundle.read_public(update_key))
    except (BoardError, bundle.BundleError) as error:
        raise click.UsageError(str(error)) from None
    options = Options(
        image, state or state_folder() / "flash", records or state_folder() / "records", patience, from_start, key, baud
    )
    if update is not None and (relay is not None or image is not None or from_start):
        raise click.UsageError("--update is for a bracelet in use: --relay, --image and --from-start don't go with it")
    if dry_run and update is None:
        _print_plan(board, options, relay, person)
        return
    if relay is None and update is None:
        raise click.UsageError("--relay is missing: a bracelet is finished when a relay has answered its drill")
    # These are read once, so that the same goes into each offer of a batch, although it came from standard input; and
    # checked before the first step.
    code_name = said_once(code_name, "code name")
    apn_user = None if apn_user is None else said_once(apn_user, "USER:PASSWORD")
    access_point(apn, None if apn_user is None else literally(apn_user), apn_roaming)
    wifi = tuple(line for given in wifi for line in said(given, "SSID:KEY"))
    networks(tuple(map(literally, wifi)))
    network = [word for line in wifi for word in ("--wifi", literally(line))]
    login = None if apn_user is None else literally(apn_user)
    given = {"--host": host, "--port": broker_port, "--apn": apn, "--apn-user": login, "--sms": sms}
    for option, value in given.items():
        if value is not None:
            network += [option, str(value)]
    if apn_roaming:
        network.append("--apn-roaming")
    try:
        if update is not None:
            work = _updating(update, board, options, person)
            if dry_run:
                _print_steps(renew.STEPS, person)
                return
        else:
            assert relay is not None
            desk = choose(relay, code_name, network)
            desk.check()
            _tell_ways(board, desk.ways(), person)
            work = _making(board, desk, options, person)
        rows = batch.many(port, count, person, work) if many else [work(batch.the_one_port(port))]
    except Trouble as trouble:
        person.tell(f"flash.sh: {trouble}", trouble=str(trouble))
        sys.exit(batch.BAD)
    except KeyboardInterrupt:
        person.tell("\nflash.sh: interrupted; run this again, and it goes on here")
        sys.exit(batch.BAD)
    if many:
        sys.exit(batch.show(rows, as_json, person))
    sys.exit(batch.BAD if rows[0].trouble else batch.GOOD)


def _making(board: Board, desk: Desk, options: Options, person: Person) -> Callable[[str], Row]:
    """Tell the engineer what to know first; return the function that makes a bracelet of the board at a port."""
    for fact, text in board.unverified.items():
        person.tell(f"unverified in the board file: {fact}: {text}")
    key = options.update_key
    person.tell(
        "no --update-key: what is made now will refuse every update of its firmware"
        if key is None
        else f"the maker's key for updates: {bench.key_id(key)}"
    )
    return functools.partial(batch.one, board=board, desk=desk, person=person, options=options)


def _tell_ways(board: Board, ways: Ways, person: Person) -> None:
    """Tell the bracelet's ways to the relay before the first step: otherwise only the last step but one would find out
    that there is none. Raises Trouble when there will be none."""
    able = {ability.name: ability.able for ability in abilities.of(board)}
    data, texts = ways.data and able["data"], ways.texts and able["SMS"]
    if ways.wifi:
        return
    if not (data or texts):
        raise Trouble(
            "the bracelet would find no way to the relay: name a Wi-Fi network (--wifi SSID:KEY or --wifi @FILE; with "
            "offers from a file, at `relay bracelet export`), an access point (--apn), or a number for SMS (--sms)"
        )
    left = " and ".join(name for name, there in (("mobile data", data), ("SMS", texts)) if there)
    person.tell(f"no --wifi: this bracelet will reach the relay by {left} alone")


def _updating(file: Path, board: Board, options: Options, person: Person) -> Callable[[str], Row]:
    """Do the same for an update. Raises Trouble when the bundle is not good."""
    octets, found = renew.read(file, options.update_key, board)
    by = "signature not checked here (no --update-key), only by the bracelet"
    if options.update_key is not None:
        by = f"signed with {bench.key_id(options.update_key)}"
    person.tell(f"{file.name}: version {found.version}, for {found.march or 'any processor'}, {by}")
    person.tell("no relay is needed here: the bracelet proves the new program itself, by a drill to its own relay")
    person.tell("until the bundle is copied, about a minute, a bracelet at the cable can't call for help")
    return functools.partial(batch.update, board=board, octets=octets, found=found, person=person, options=options)


def _print_plan(board: Board, options: Options, relay: Path | None, person: Person) -> None:
    chip, image, places = board["chip"], board.sections.get("image", {}), board.sections.get("partitions", {})
    person.tell(f"board      {board.name}: {chip['family']}, {chip['flash_mb']} MB of flash")
    person.tell(f"image      {options.image or image.get('url') or image.get('recipe', 'none in the board file')}")
    person.tell(f"SHA-256    {image.get('sha256') or 'not known yet: is shown and asked'}")
    if places:
        person.tell(f"partitions vfs at {places['vfs_offset']:#x}, journal at {places['journal_offset']:#x}")
    person.tell(f"relay      {relay or 'none yet: --relay'}")
    person.tell(f"update key {bench.key_id(options.update_key) or 'none: every update will be refused'}")
    for key, text in board.unverified.items():
        person.tell(f"unverified {key}: {text}")
    _print_steps(plan.STEPS, person)


def _print_steps(steps: Mapping[str, str], person: Person) -> None:
    for number, (step, text) in enumerate(steps.items(), 1):
        person.tell(f"{number:2}  {step:<10} {text}", plan=step)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal, too, ends it as Ctrl-C does
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, signal.default_int_handler)
    main(prog_name="flash.sh")

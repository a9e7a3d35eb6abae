"""Make one bracelet, or one after another as they are plugged in, and show a table with the outcome of each."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hwsim.board import Board
from hwsim.bundle import Bundle
from hwsim.toolchain import ToolchainError, cache_folder
from hwsim.workshop import renew, tools
from hwsim.workshop.bench import Bench, Chip, Options, look, refuse_wrong
from hwsim.workshop.desk import Desk
from hwsim.workshop.people import Person
from hwsim.workshop.trouble import Trouble

_LOOK_S = 0.3
GOOD, BAD = 0, 1


@dataclass(frozen=True)
class Row:
    port: str
    seconds: float
    record: dict[str, Any] | None = None
    trouble: str = ""

    def plain(self) -> dict[str, Any]:
        made = self.record or {}
        return {
            "port": self.port,
            "seconds": round(self.seconds),
            "good": not self.trouble,
            "trouble": self.trouble,
            "kid": made.get("kid"),
            "receipt_s": made.get("drill", {}).get("receipt_s"),
        }


def the_one_port(wanted: str | None) -> str:
    """Return the port, if there is exactly one candidate. Raises Trouble otherwise."""
    found = tools.ports(wanted)
    if len(found) == 1:
        return found[0]
    if wanted is not None and not found:
        raise Trouble(f"{wanted}: no such port; is the board plugged in? Without --port the one on USB is taken")
    if not found:
        raise Trouble("no USB serial port is here: plug the board in with a cable that carries data, or use --port")
    raise Trouble(f"several ports are here ({', '.join(found)}): name one with --port, or take all with --batch")


def one(port: str, board: Board, desk: Desk, person: Person, options: Options) -> Row:
    """Do one board, from the step at which it stands to its record."""

    def work(chip: Chip, cable: tools.Cable) -> dict[str, Any] | None:
        return Bench(board, chip, cable, desk, person, options).run()

    return at(port, board, person, options, work)


def update(port: str, board: Board, octets: bytes, found: Bundle, person: Person, options: Options) -> Row:
    """Put a bundle on a bracelet that is in use."""
    return at(port, board, person, options, lambda chip, cable: renew.run(cable, octets, found, person))


def at(
    port: str,
    board: Board,
    person: Person,
    options: Options,
    work: Callable[[Chip, tools.Cable], dict[str, Any] | None],
) -> Row:
    """Do the work with one board, once it is known to be the right one."""
    begin, state = time.monotonic(), options.state
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with alone(cache_folder(), lock_of(port), f"another run of flash.sh is at {port}"):
            log = state / f"{Path(port).name}.log"  # the words of esptool and mpremote, for the newest board there
            log.write_text("")
            cable = tools.Cable(port, log, options.baud)
            chip = look(cable)
            cable.mac = chip.mac
            refuse_wrong(chip, board, port)
            person.tell(f"{port}: {chip.family}, {chip.flash_mb} MB of flash", port=port, chip=chip.family)
            with alone(state, chip.mac, f"another run of flash.sh has the board that is at {port}, by another port"):
                made = work(chip, cable)
    except Taken:
        raise
    except (Trouble, ToolchainError) as trouble:
        person.tell(f"\nflash.sh: {trouble}", trouble=str(trouble))
        return Row(port, time.monotonic() - begin, None, str(trouble))
    return Row(port, time.monotonic() - begin, made)


class Taken(Trouble):
    """A port or board that another run has."""


@contextlib.contextmanager
def alone(where: Path, what: str, taken: str) -> Iterator[None]:
    """Lock a port or a board for this run: two runs would write into each other's work. The lock ends with this
    program, however that ends. Its file stays, or the next two runs might lock different files."""
    folder = where / "locks"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / what).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Taken(f"{taken}: let it end, or end it, and run this again") from None
        yield


def lock_of(port: str) -> str:
    """Return the name of a port's lock, the same for every name that the port has."""
    return "port" + os.path.realpath(port).replace("/", "-")


def plugged_in(wanted: str | None, say: Callable[[str], None]) -> Iterator[str]:
    """Yield each port that comes, once; again when it has gone in between."""
    known: set[str] = set()
    waiting = False
    while True:
        present = tools.ports(wanted)
        known &= set(present)
        fresh = [port for port in present if port not in known]
        if fresh:
            waiting = False
            known.add(fresh[0])
            yield fresh[0]
            continue
        if not waiting:
            say("plug in the next board (Ctrl-C: no more)")
            waiting = True
        time.sleep(_LOOK_S)


def many(wanted: str | None, count: int | None, person: Person, work: Callable[[str], Row]) -> list[Row]:
    """Do boards until `count` were here, or Ctrl-C."""
    rows: list[Row] = []
    busy = ""
    begin = time.monotonic()
    try:
        for port in plugged_in(wanted, person.tell):
            busy, begin = port, time.monotonic()
            try:
                rows.append(work(port))
            except Taken as taken:
                person.tell(f"\nflash.sh: {taken}", port=port)
                if port == wanted:  # else the board is the other run's, which has seen it as well
                    rows.append(Row(port, time.monotonic() - begin, None, str(taken)))
            busy = ""
            if count is not None and len(rows) >= count:
                break
    except KeyboardInterrupt:
        if busy:
            rows.append(Row(busy, time.monotonic() - begin, None, "interrupted: run this again with it"))
    return rows


def show(rows: list[Row], as_json: bool, person: Person) -> int:
    """Print the table and return the exit status."""
    if as_json:
        person.tell("", table=[row.plain() for row in rows])
    else:
        click.echo(f"\n{'port':<16}{'key id':<10}{'receipt':>9}{'took':>8}  verdict")
        for row in rows:
            told = row.plain()
            receipt = f"{told['receipt_s']} s" if told["receipt_s"] is not None else "-"
            verdict = row.trouble or ("good" if row.record else "was finished before")
            name, kid = Path(row.port).name, told["kid"] or "-"
            click.echo(f"{name:<16}{kid:<10}{receipt:>9}{told['seconds']:>6} s  {verdict}")
        click.echo(f"{sum(not row.trouble for row in rows)} of {len(rows)} good")
    return BAD if not rows or any(row.trouble for row in rows) else GOOD

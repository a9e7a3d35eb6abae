"""One bracelet, or one after another as they are plugged in, and the table of what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hwsim.board import Board
from hwsim.workshop import tools
from hwsim.workshop.bench import Bench, Options, look, refuse_wrong
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
            "port": self.port, "seconds": round(self.seconds), "good": not self.trouble, "trouble": self.trouble,
            "kid": made.get("kid"), "receipt_s": made.get("drill", {}).get("receipt_s"),
        }  # fmt: skip


def the_one_port(wanted: str | None) -> str:
    """Trouble unless there is exactly one candidate."""
    found = tools.ports(wanted)
    if len(found) == 1:
        return found[0]
    if wanted is not None and not found:
        raise Trouble(f"{wanted}: no such port; is the board plugged in? Without --port the one on USB is taken")
    if not found:
        raise Trouble("no USB serial port is here: plug the board in with a cable that carries data, or use --port")
    raise Trouble(f"several ports are here ({', '.join(found)}): name one with --port, or take all with --batch")


def one(port: str, board: Board, desk: Desk, person: Person, options: Options) -> Row:
    """One board, from where it stands to its record."""
    begin = time.monotonic()
    options.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = options.state / "programs.log"  # what esptool and mpremote said, of the newest board
    log.write_text("")
    cable = tools.Cable(port, log)
    try:
        chip = look(cable)
        refuse_wrong(chip, board, port)
        person.tell(f"{port}: {chip.family}, {chip.flash_mb} MB of flash", port=port, chip=chip.family)
        made = Bench(board, chip, cable, desk, person, options).run()
    except Trouble as trouble:
        person.tell(f"\nflash.sh: {trouble}", trouble=str(trouble))
        return Row(port, time.monotonic() - begin, None, str(trouble))
    return Row(port, time.monotonic() - begin, made)


def plugged_in(wanted: str | None, say: Callable[[str], None]) -> Iterator[str]:
    """Each port that comes, once; again when it has gone in between."""
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


def many(
    wanted: str | None, count: int | None, board: Board, desk: Desk, person: Person, options: Options,
) -> list[Row]:  # fmt: skip
    """Until `count` were here, or Ctrl-C."""
    rows: list[Row] = []
    try:
        for port in plugged_in(wanted, person.tell):
            rows.append(one(port, board, desk, person, options))
            if count is not None and len(rows) >= count:
                break
    except KeyboardInterrupt:
        person.tell("")
    return rows


def show(rows: list[Row], as_json: bool, person: Person) -> int:
    """The table; the exit status."""
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

"""`hwsim boards`: check every board file, and show what a bracelet of it can do and what nobody could check."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from hwsim import abilities
from hwsim.abilities import Ability
from hwsim.board import CONFIGS, Board, BoardError, load
from hwsim.modems import MODELS

GOOD, BAD = 0, 1
SHOWN = ("SMS", "data", "strap", "modem off")  # in the table, where they differ; all are in the details


@dataclass(frozen=True)
class Row:
    board: str
    error: str | None = None  # why the file can't be used
    chip: str = ""
    modem: str = ""
    gnss: str = ""
    limit: str = ""  # what the firmware can't do with this modem yet
    abilities: list[Ability] = field(default_factory=list)
    asleep_ua: int | None = None  # the whole board, chip and modem asleep, as its maker measured
    pulled_on: list[str] = field(default_factory=list)  # what the chip's own pulls switch on in a reset or asleep
    unverified: dict[str, str] = field(default_factory=dict)
    unsourced: list[str] = field(default_factory=list)  # pins that the file has no source for


def look(board: str | Path) -> Row:
    """Load one board file, by name or path, into a row of the table."""
    try:
        loaded = load(board)
    except BoardError as error:
        return Row(Path(board).stem, str(error))
    model = loaded["modem"]["model"]
    return Row(
        loaded.name,
        None,
        loaded["chip"]["family"],
        model,
        _gnss(loaded),
        MODELS[model].missing,
        abilities.of(loaded),
        loaded.asleep_ua,
        loaded.pulled_on,
        loaded.unverified,
        loaded.unsourced,
    )


def _gnss(board: Board) -> str:
    return "in the modem" if board["gnss"].get("modem") else f"UART {board['gnss']['uart']}"


def main(boards: tuple[str, ...], details: bool, as_json: bool) -> int:
    """Print the table; return 1 when a file can't be used."""
    rows = [look(board) for board in boards or sorted(CONFIGS.glob("*.toml"))]
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        click.echo(
            f"{'board':<24}{'chip':<9}{'modem':<10}{'GNSS':<14}{''.join(f'{name:<11}' for name in SHOWN)}"
            f"{'unverified':>10}  verdict"
        )
        for row in rows:
            _print(row, details)
    return BAD if any(row.error for row in rows) else GOOD


def _print(row: Row, details: bool) -> None:
    if row.error:
        click.echo(f"{row.board:<24}{'':<{43 + 11 * len(SHOWN)}}  {row.error}")
        return
    verdict = "good" if not row.unsourced else f"no source: {', '.join(row.unsourced)}"
    able = {ability.name: "yes" if ability.able else "no" for ability in row.abilities}
    click.echo(
        f"{row.board:<24}{row.chip:<9}{row.modem:<10}{row.gnss:<14}{''.join(f'{able[name]:<11}' for name in SHOWN)}"
        f"{len(row.unverified):>10}  {verdict}"
    )
    if details:
        for ability in row.abilities:
            click.echo(f"    {'can' if ability.able else 'can not':<8}{ability.name}: {ability.how}")
        for name in row.pulled_on:
            click.echo(f"    {name}: the chip's own pull switches it on in a reset or asleep: name its pin in hold")
        if row.asleep_ua is not None:
            click.echo(f"    asleep: {row.asleep_ua} uA for the whole board, as its maker measured")
        for key, text in row.unverified.items():
            click.echo(f"    {key}: {text}")
        if row.limit:
            click.echo(f"    {row.modem}: {row.limit}")

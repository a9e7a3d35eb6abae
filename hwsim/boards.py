"""`hwsim boards`: every board file, whether it can be used, and what about it nobody could check."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from hwsim.board import CONFIGS, Board, BoardError, load
from hwsim.modems import MODELS

GOOD, BAD = 0, 1


@dataclass(frozen=True)
class Row:
    board: str
    error: str | None = None  # why the file can't be used
    chip: str = ""
    modem: str = ""
    gnss: str = ""
    limit: str = ""  # what the firmware can't do with this modem yet
    unverified: dict[str, str] = field(default_factory=dict)
    unsourced: list[str] = field(default_factory=list)  # pins that the file has no source for


def look(board: str | Path) -> Row:
    """One file, by name or path."""
    try:
        loaded = load(board)
    except BoardError as error:
        return Row(Path(board).stem, str(error))
    model = loaded["modem"]["model"]
    return Row(
        loaded.name, None, loaded["chip"]["family"], model, _gnss(loaded), MODELS[model].missing, loaded.unverified,
        loaded.unsourced,
    )  # fmt: skip


def _gnss(board: Board) -> str:
    return "in the modem" if board["gnss"].get("modem") else f"UART {board['gnss']['uart']}"


def main(boards: tuple[str, ...], details: bool, as_json: bool) -> int:
    """Print the table. 1 when a file can't be used."""
    rows = [look(board) for board in boards or sorted(CONFIGS.glob("*.toml"))]
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        click.echo(f"{'board':<24}{'chip':<9}{'modem':<10}{'GNSS':<14}{'unverified':>10}  verdict")
        for row in rows:
            _print(row, details)
    return BAD if any(row.error for row in rows) else GOOD


def _print(row: Row, details: bool) -> None:
    if row.error:
        click.echo(f"{row.board:<24}{'':<43}  {row.error}")
        return
    verdict = "good" if not row.unsourced else f"no source: {', '.join(row.unsourced)}"
    click.echo(f"{row.board:<24}{row.chip:<9}{row.modem:<10}{row.gnss:<14}{len(row.unverified):>10}  {verdict}")
    if details:
        for key, text in row.unverified.items():
            click.echo(f"    {key}: {text}")
        if row.limit:
            click.echo(f"    {row.modem}: {row.limit}")

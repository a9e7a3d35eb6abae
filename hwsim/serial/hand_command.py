"""`hwsim hand`: a single action, look or wait at the bracelet behind `hwsim usb --control`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import click

from hwsim.serial import hand


def main(control: Path, action: str | None, values: Sequence[str], listing: bool, within: float) -> int:
    """Run the command. Return 0 when it is done, 1 when it can't be done or did not happen."""
    if listing:
        for name, about in hand.known().items():
            click.echo(f"{name:<18} {about}")
        return 0
    if action is None:
        raise click.UsageError("name an action, or ask for --list")
    try:
        if action == "wait":
            if len(values) < 2:
                raise click.UsageError("wait needs WHO WHAT [NAME=VALUE ...]")
            click.echo(json.dumps(hand.wait(control, values[0], values[1], within, **hand.pairs(values[2:]))))
        elif action == "watch":
            _watch(control, within)
        elif action == "state":
            click.echo(json.dumps(hand.do(control, "state")["state"]))
        else:
            hand.do(control, action, **hand.arguments(action, values))
    except hand.HandError as error:
        click.echo(f"hwsim hand: {error}", err=True)
        return 1
    return 0


def _watch(control: Path, within: float) -> None:
    end = time.monotonic() + within
    with hand.Line(control) as line:
        line.ask("watch")
        while (left := end - time.monotonic()) > 0:
            try:
                click.echo(json.dumps(line.next(left)["event"]))
            except TimeoutError:
                return

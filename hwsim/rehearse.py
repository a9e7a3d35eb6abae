"""`hwsim rehearse`: play the defender's card (firmware/card.md), pattern by pattern, on the unmodified firmware.

There is one bracelet and one relay, in virtual time. The command presses each line of the card; then it draws and
judges what the motor did, and what a subscriber got. It teaches the card and is no test of anything else.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hwsim.rig import Rig
from hwsim.scenario import actions, felt
from hwsim.scenario.timeline import FEELS
from hwsim.world import World
from hwsim.world.pins import Pulse

COLUMN_US = 100_000
GAP_US = 3_000_000  # a longer silence is written, not drawn
QUIET_S = 45.0  # between two lines of the card, so that the next press raises an alarm of its own, and no Update


@dataclass(frozen=True)
class Line:
    """A line of the card: what is done (an action), for how long it is watched, and what must be felt."""

    title: str
    do: str
    seconds: float
    felt: Sequence[str]
    sent: Sequence[str] = ()  # "Alert", "Update", "Cancel", with a drill's in brackets
    for_s: float | None = None  # of a press
    pause_s: float = QUIET_S  # after it


_RAISED = ("ticks", "raised", "heard")
CARD = (
    Line("The strap is fastened: from now on it is guarded", "strap_close", 8, ("worn",)),
    Line("A press by mistake: you feel ticks that grow, and let go", "press", 5, ("ticks",), for_s=2.0),
    Line("CALL FOR HELP: hold until the long pulse", "press", 10, _RAISED, ("Alert",), pause_s=1),
    Line("Call it back: tap, tap, hold", "call_back", 8, ("ticks", "cancelled"), ("Cancel",)),
    Line(
        "Drill: half hold (two ticks), four taps; two quick ticks answer; hold",
        "drill",
        16,
        ("ticks", "drill_armed", "ticks", "drill", "heard"),
        ("(Alert)",),
        pause_s=1,
    ),
    Line("Call the drill back", "call_back", 8, ("ticks", "cancelled"), ("(Cancel)",)),
    Line("Check-in timer: half hold, two taps start it", "check_in", 8, ("ticks", "check_in"), pause_s=1590),
    Line("Reminded:", "wait", 30, ("reminder",), pause_s=0),
    Line("Half hold, two taps renew it", "check_in", 8, ("ticks", "check_in"), pause_s=1590),
    Line(
        "Nobody checks in: it reminds three times, then raises",
        "wait",
        220,
        (*3 * ("reminder",), *_RAISED[1:]),
        ("Alert",),
        pause_s=0,
    ),
    Line("Call it back", "call_back", 8, ("ticks", "cancelled"), ("Cancel",)),
    Line("Check-in timer: half hold, two taps start it", "check_in", 8, ("ticks", "check_in"), pause_s=1),
    Line("Half hold, three taps stop it", "check_out", 8, ("ticks", "check_in_off")),
    Line("Take it off: half hold, five taps, answered; opened within a minute", "take_off", 12, ("ticks", "may_open")),
    Line("Fasten it again", "strap_close", 8, ("worn",)),
    Line("It is torn off", "strap_cut", 10, ("raised", "heard"), ("Alert",)),
    Line("Call for help", "press", 10, _RAISED, ("Alert",), pause_s=1),
    Line("FORCED to call it back: tap, tap, tap, hold", "duress_call_back", 8, ("ticks", "cancelled"), ("Update",)),
)


@dataclass(frozen=True)
class Rehearsed:
    """The outcome of one line. Times in microseconds since it began."""

    line: Line
    pressed: list[tuple[int, int]]
    pulses: list[Pulse]
    felt: list[felt.Felt]
    sent: list[str]

    @property
    def as_on_the_card(self) -> bool:
        return [each.name for each in self.felt] == list(self.line.felt) and self.sent == list(self.line.sent)


def main(seed: int, as_json: bool) -> int:
    """Play the card. Return 0 when all was felt and sent as the card says, 1 when something was not."""
    good = True
    with tempfile.TemporaryDirectory(prefix="hwsim-") as folder, World(seed=seed) as world:
        rig = Rig(world, Path(folder))
        try:
            rig.provision()
            rig.boot(settle=60)
            for line in CARD:
                rehearsed = play(rig, line)
                good = good and rehearsed.as_on_the_card
                click.echo(json.dumps(_object(rehearsed)) if as_json else drawn(rehearsed))
                world.run(line.pause_s)
        finally:
            rig.close()
    if not as_json:
        click.echo("Felt as the card says." if good else "NOT as the card says: see the lines marked so.")
    return 0 if good else 1


def play(rig: Rig, line: Line) -> Rehearsed:
    """Do one line of the card and watch it."""
    world, start, documents = rig.world, rig.world.now_us, len(rig.subscriber())
    if line.do != "wait":
        actions.do(rig, line.do, **({} if line.for_s is None else {"for_s": line.for_s}))
    world.run(line.seconds)
    downs = [e.t_us for e in world.trace if e.who == "button" and e.what == "pressed" and e.t_us >= start]
    ups = [e.t_us for e in world.trace if e.who == "button" and e.what == "released" and e.t_us >= start]
    pulses = [Pulse(p.at_us - start, p.duty, p.length_us) for p in rig.bracelet.haptic.pulses if p.at_us >= start]
    sent = [
        f"({content['msg_type']})" if content["status"] == "Exercise" else content["msg_type"]
        for _, content in rig.subscriber()[documents:]
    ]
    pressed = [(down - start, up - start) for down, up in zip(downs, ups, strict=False)]
    return Rehearsed(line, pressed, pulses, felt.read(pulses), sent)


def drawn(rehearsed: Rehearsed) -> str:
    """Draw a line of the card as text: the button, the wrist below it, a column for 0.1 s; then each pattern named."""
    marks = [(at, end, 0, "#") for at, end in rehearsed.pressed]
    marks += [(p.at_us, p.at_us + p.length_us, 1, _strength(p)) for p in rehearsed.pulses]
    rows = ["", ""]
    before = 0
    for at, end, row, mark in sorted(marks):
        if at - before > GAP_US:
            words = f" {round((at - before) / 1e6)} s "
            width = max(map(len, rows))
            rows = [f"{each:.<{width}}" + words for each in rows]
            origin = len(rows[0]) - round(at / COLUMN_US)
        elif before == 0:
            origin = 0
        first = round(at / COLUMN_US) + origin
        rows[row] = f"{rows[row]:.<{first}}" + mark * max(1, round((end - at) / COLUMN_US))
        before = max(before, end)
    width = max(map(len, rows))
    lines = [click.style(rehearsed.line.title, bold=True)]
    if rehearsed.pressed:
        lines.append(f"  button  {rows[0]:.<{width}}")
    lines.append(f"  wrist   {rows[1]:.<{width}}")
    lines += [f"          {each.at_us / 1e6:6.1f} s  {FEELS[each.name]}" for each in rehearsed.felt]
    if rehearsed.sent:
        remark = "  (in brackets: nobody is in danger)" if "(" in rehearsed.sent[0] else ""
        lines.append(f"  sent    {', '.join(rehearsed.sent)}{remark}")
    if not rehearsed.as_on_the_card:
        card = f"{', '.join(rehearsed.line.felt)}; sent: {', '.join(rehearsed.line.sent) or 'nothing'}"
        lines.append(click.style(f"  NOT as the card says: {card}", fg="red", bold=True))
    return "\n".join(lines) + "\n"


def _strength(pulse: Pulse) -> str:
    percent = pulse.duty * 100 // 65535
    return ":" if percent <= 50 else "+" if percent <= 80 else "*"


def _object(rehearsed: Rehearsed) -> dict[str, Any]:
    return {
        "title": rehearsed.line.title,
        "do": rehearsed.line.do,
        "pressed_s": [[at / 1e6, end / 1e6] for at, end in rehearsed.pressed],
        "felt": [[each.at_us / 1e6, each.name] for each in rehearsed.felt],
        "sent": rehearsed.sent,
        "as_on_the_card": rehearsed.as_on_the_card,
    }

"""Draws a life from a seed: one like a bad week, not uniform noise.

Faults come in bursts around presses of the button, and overlap. Most come shortly before a press or in the seconds
that count. Between bursts there are long stretches with nothing but heartbeats. The vocabulary is
`hwsim.scenario.actions`. The weights and ranges here are the author's guesses at what is worth trying often, not
measurements of the world.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hwsim.board import CONFIGS, Board, load
from hwsim.scenario import starts
from hwsim.scenario.actions import ACTIONS
from hwsim.soak.life import Argument, Life, Step
from hwsim.world.gnss_talk import FIRST_DATES, RATES_HZ, SENTENCES, TALKERS

ANY_BOARD = "any"
HOURS = 48.0  # of the longest life, by default
# Lengths of lives: (weight, from, to) in hours. Some last minutes, so that a reset meets a bracelet that is still
# starting; most last one to two hours; some are as long as a day at work. One in a hundred lasts one to two days, for
# what a short life never reaches: hundreds of heartbeats, saved times, the clock's sources after a day of silence.
LENGTHS = ((10, 0.2, 1.0), (78, 1.0, 2.0), (11, 2.0, 10.0), (1, 24.0, HOURS))
Arguments = dict[str, Argument]


@dataclass(frozen=True)
class Fault:
    """A fault: its weight in the draw, its arguments, and how many seconds it lasts (None: it ends by itself)."""

    weight: int
    lasts: tuple[float, float] | None = None
    arguments: Callable[[random.Random], Arguments] = lambda draw: {}


def _log(draw: random.Random, low: float, high: float) -> float:
    return math.exp(draw.uniform(math.log(low), math.log(high)))


def _either(draw: random.Random) -> int:
    return draw.choice((-1, 1))


_LONG, _SHORT = (2.0, 1800.0), (2.0, 300.0)


def _start(draw: random.Random, kills: bool) -> Arguments:
    """Draw at which call a part ends a start and in how many starts; if it kills, also how long the supply is gone."""
    arguments: Arguments = {"step": draw.randint(0, 2), "starts": draw.choice((0, 0, 1, 2, 5))}
    if kills:
        arguments["off_s"] = draw.choice((0.0, 0.0, 0.5, 5.0, 60.0))
    return arguments


FAULTS: Mapping[str, Fault] = {
    "data_down": Fault(4, _LONG),
    "wifi_down": Fault(4, _LONG),
    "captive_wifi": Fault(1, _LONG, lambda draw: {"on": True}),
    "net_cut": Fault(2),
    "net_delay": Fault(1, _LONG, lambda draw: {"ms": round(_log(draw, 100, 8000))}),
    "net_loss": Fault(2, _LONG, lambda draw: {"percent": draw.randint(5, 60)}),
    "broker_down": Fault(3, _LONG),
    "broker_forgets": Fault(1),
    "puback_delay": Fault(2, _LONG, lambda draw: {"s": round(_log(draw, 0.1, 900), 1)}),
    "tls_wrong": Fault(1, _LONG),
    "relay_down": Fault(3, _LONG),
    "accept": Fault(2),
    "close_alarm": Fault(1),
    "replay_commands": Fault(2),
    "relay_mute": Fault(2, _LONG),
    "sms_delay": Fault(2, _LONG, lambda draw: {"s": round(_log(draw, 5, 3600), 1)}),
    "sms_reorder": Fault(1, _LONG, lambda draw: {"s": round(_log(draw, 5, 1200), 1)}),
    "sms_drop": Fault(2, _LONG, lambda draw: {"percent": draw.choice((50, 100))}),
    "sms_duplicate": Fault(2, _LONG, lambda draw: {"copies": draw.randint(1, 3)}),
    "no_service": Fault(3, _LONG),
    "roaming": Fault(1, _LONG, lambda draw: {"on": True, "data": draw.random() < 0.5}),
    "cell_data_down": Fault(3, _LONG),
    "cell_data_lost": Fault(2, None, lambda draw: {"goodbye": draw.random() < 0.5}),
    "no_cell_data": Fault(2, _LONG),
    "sim_out": Fault(1, _LONG),
    "modem_mute": Fault(2, _SHORT),
    "modem_garbage": Fault(2, None, lambda draw: {"octets": round(_log(draw, 1, 600))}),
    "modem_reset": Fault(2),
    "modem_off": Fault(1),
    "modem_restart": Fault(3, None, lambda draw: {"silent": draw.random() < 0.5}),
    "modem_defaults": Fault(
        1,
        _LONG,
        lambda draw: {
            "text": draw.random() < 0.5,
            "told": draw.random() < 0.5,
            "silent": draw.random() < 0.5,
        },
    ),
    "start_words": Fault(1, _LONG, lambda draw: {"words": draw.randrange(7)}),
    "baud_fallback": Fault(1, _LONG, lambda draw: {"rate": draw.randrange(4)}),
    "silent_boot": Fault(1, _LONG, lambda draw: {"s": round(draw.uniform(3, 12), 1)}),
    "modem_not_ready": Fault(
        2,
        _LONG,
        lambda draw: {
            "s": round(draw.uniform(4, 15), 1),
            "plain": draw.random() < 0.5,
            "settings": draw.random() < 0.3,
        },
    ),
    "slow_off": Fault(1, _LONG, lambda draw: {"s": round(draw.uniform(2, 7), 1)}),
    "cts_off": Fault(1, _SHORT),
    "sms_refused": Fault(
        2,
        _LONG,
        lambda draw: {
            "code": draw.choice((0, 38, 310, 314, 330, 500)),
            "commands": draw.random() < 0.5,
        },
    ),
    "sim_locked": Fault(1, _LONG),
    "sms_memory": Fault(1, _LONG, lambda draw: {"memory": draw.randrange(3), "first": draw.randrange(2)}),
    "sms_memory_full": Fault(1),
    "cmti_form": Fault(1, _LONG, lambda draw: {"form": draw.randrange(4)}),
    "prompt_form": Fault(1, _LONG, lambda draw: {"form": draw.randrange(3)}),
    "sms_form": Fault(
        1,
        _LONG,
        lambda draw: {
            "header": draw.random() < 0.5,
            "behind": draw.choice((0, 0, 1, 7)),
            "report": draw.randrange(3),
            "centre": draw.random() < 0.7,
            "bare": draw.random() < 0.3,
            "cuts_in": draw.random() < 0.3,
        },
    ),
    "registration_form": Fault(1, _LONG, lambda draw: {"form": draw.randrange(6)}),
    "registration_missing": Fault(1, _LONG, lambda draw: {"command": draw.randrange(4), "denies": draw.random() < 0.5}),
    "placeholder_cell": Fault(1, _LONG, lambda draw: {"cell": draw.randrange(4)}),
    "time_form": Fault(1, _LONG, lambda draw: {"form": draw.randrange(4)}),
    "context_type": Fault(1, _LONG, lambda draw: {"only": draw.randrange(3)}),
    "no_name_server": Fault(1, _LONG),
    "network_time": Fault(1, _LONG, lambda draw: {"offset_s": _either(draw) * round(_log(draw, 60, 30 * 86400))}),
    "network_tells_time": Fault(1, _LONG, lambda draw: {"on": False}),
    "gnss_lost": Fault(2, _LONG),
    "gnss_jump": Fault(1, _LONG, lambda draw: {"metres": _either(draw) * round(_log(draw, 50, 500_000))}),
    "gnss_clock": Fault(1, _LONG, lambda draw: {"s": _either(draw) * round(_log(draw, 60, 86400))}),
    "gnss_poor": Fault(1, _LONG, lambda draw: {"on": True}),
    "gnss_estimates": Fault(1, _LONG, lambda draw: {"on": True}),
    "gnss_frozen": Fault(1, _LONG, lambda draw: {"on": True}),
    "gnss_garbage": Fault(1, None, lambda draw: {"octets": round(_log(draw, 1, 600))}),
    "gnss_talkers": Fault(1, _LONG, lambda draw: {"number": draw.randrange(1, len(TALKERS))}),
    "gnss_sentences": Fault(1, _LONG, lambda draw: {"number": draw.randrange(1, len(SENTENCES))}),
    "gnss_rate": Fault(1, _SHORT, lambda draw: {"hz": draw.choice(RATES_HZ[1:])}),
    "gnss_zeros": Fault(1, None, lambda draw: {"for_s": round(_log(draw, 1, 120), 1)}),
    "gnss_first_date": Fault(1, _LONG, lambda draw: {"year": draw.choice(sorted(FIRST_DATES))}),
    "gnss_uncounted": Fault(1, _LONG, lambda draw: {"on": True}),
    "gnss_shared": Fault(1, _LONG, lambda draw: {"without": draw.randint(1, 2)}),
    "gnss_extra_cr": Fault(1, _LONG, lambda draw: {"on": True}),
    "jam": Fault(3, _LONG),
    "battery": Fault(1, _LONG, lambda draw: {"percent": draw.randint(0, 100)}),
    "brownout": Fault(2, None, lambda draw: {"for_s": round(_log(draw, 0.02, 5), 2)}),
    "power_cut": Fault(3, None, lambda draw: {"restart_s": round(_log(draw, 0.1, 600), 1)}),
    "flash_cut": Fault(
        3, None, lambda draw: {"operation": round(_log(draw, 1, 150)) - 1, "restart_s": round(_log(draw, 0.1, 60), 1)}
    ),
    "reset": Fault(3),
    "hang": Fault(2),
    "strap_chatter": Fault(1, None, lambda draw: {"for_s": round(_log(draw, 1, 900), 1)}),
    "strap_cut": Fault(1, _LONG),
    "take_off": Fault(1, _LONG),
    "settings_damaged": Fault(1),
    "board_damaged": Fault(1),
    "receiver_wrong": Fault(1, _LONG),
    "memory_tight": Fault(1, _LONG, lambda draw: {"free_kb": draw.randint(0, 50)}),
    **{f"{part}_blocks": Fault(1, _LONG, lambda draw: _start(draw, False)) for part in starts.PARTS},
    **{f"{part}_kills": Fault(1, _LONG, lambda draw: _start(draw, True)) for part in starts.PARTS},
    "adc_uncalibrated": Fault(1, _LONG, lambda draw: {"on": True}),
    "divider_broken": Fault(1, _LONG, lambda draw: {"percent": draw.choice((0, 2, 60, 130, 200))}),
    "wifi_busy": Fault(1, None, lambda draw: {"for_s": round(_log(draw, 0.5, 60), 1)}),
    "wifi_absent_first": Fault(1, _LONG, lambda draw: {"on": True}),
}

# Arguments with which the same action ends its fault, where they are not the defaults or the action is a setting.
ENDS: Mapping[str, Arguments] = {
    "captive_wifi": {"on": False},
    "sms_reorder": {"s": 0.0},
    "sms_drop": {"percent": 0},
    "sms_duplicate": {"copies": 0},
    "roaming": {"on": False},
    "network_time": {"offset_s": 0},
    "network_tells_time": {"on": True},
    "gnss_jump": {"metres": 0},
    "gnss_clock": {"s": 0},
    "gnss_poor": {"on": False},
    "gnss_estimates": {"on": False},
    "gnss_frozen": {"on": False},
    "gnss_talkers": {"number": 0},
    "gnss_sentences": {"number": 0},
    "gnss_rate": {"hz": 1},
    "gnss_first_date": {"year": 0},
    "gnss_uncounted": {"on": False},
    "gnss_shared": {"without": 0},
    "gnss_extra_cr": {"on": False},
    "battery": {"percent": 80},
    "adc_uncalibrated": {"on": False},
    "divider_broken": {"percent": 100},
    "wifi_absent_first": {"on": False},
}

# The key in a section of its file that a board must have for an action.
NEEDS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("strap_close", "strap_cut", "strap_chatter", "take_off"), ("strap", "pin")),
    **dict.fromkeys(("receiver_wrong", "receiver_right"), ("gnss", "uart")),
    **dict.fromkeys(("cts_off", "cts_on"), ("modem", "cts")),
}


def end(name: str) -> Step | None:
    """Return the step, at time 0, that ends what an action began; None when it ends by itself."""
    undo = ACTIONS[name].undo or (name if name in ENDS else None)
    return Step(0.0, undo, ENDS.get(undo, {})) if undo else None


def draw(seed: int, hours: float = HOURS, board: str = "reference") -> Life:
    """Draw the life of a seed, at most `hours` long before everything calms down. Another board gets the same life,
    without the actions that it can't do; `ANY_BOARD` draws one of our boards."""
    if board == ANY_BOARD:
        board = random.Random(f"hwsim soak board {seed}").choice(sorted(file.stem for file in CONFIGS.glob("*.toml")))
    chance = random.Random(f"hwsim soak {seed}")
    length = _length(chance, hours) * 3600
    steps: list[Step] = []
    for _ in range(1 + min(7, _events(chance, min(length / 3600, 6.0) * 0.8))):
        start = chance.uniform(0.5, 90.0) if chance.random() < 0.15 else chance.uniform(60.0, max(length - 600, 120.0))
        steps += _episode(chance, start)
    for _ in range(_events(chance, min(length / 3600, 3.0))):
        steps += _fault(chance, chance.uniform(0.0, length))
    if chance.random() < 0.8:
        steps.append(_step(chance.uniform(0.5, 60.0), "strap_close"))
    steps = sorted((step for step in steps if step.at >= 0), key=lambda step: step.at)
    calm_at = max(length, steps[-1].at + 30.0)
    track, wifi, apn = _track(chance, calm_at), chance.random() >= 0.15, chance.random() < 0.5
    wiring = load(board)
    able = tuple(step for step in steps if _can(wiring, step.do))
    return Life(seed, able, track, wifi, round(calm_at, 3), board, apn)


def on_stock_image(life: Life) -> bool:
    """Tell whether the firmware is a bundle in the bracelet's file system. Half the lives on boards with PSRAM, which
    have the heap for it, are like that."""
    dice = random.Random(f"hwsim soak image {life.seed}")
    return bool(load(life.board)["chip"].get("psram_mb", 0)) and dice.random() < 0.5


def _can(board: Board, do: str) -> bool:
    if do not in NEEDS:
        return True
    section, key = NEEDS[do]
    return key in board.sections.get(section, {})


def _length(chance: random.Random, hours: float) -> float:
    """Draw a length in hours by `LENGTHS`, at most `hours`."""
    _, low, high = chance.choices(LENGTHS, [weight for weight, _, _ in LENGTHS])[0]
    high = hours if high == HOURS else min(high, hours)
    return _log(chance, min(low, 0.8 * high), high)


def _events(chance: random.Random, expected: float) -> int:
    """Draw a Poisson number by counting unit exponentials."""
    number, at = 0, chance.expovariate(1.0)
    while at < expected:
        number, at = number + 1, at + chance.expovariate(1.0)
    return number


def _episode(chance: random.Random, start: float) -> Iterator[Step]:
    """Draw a press with the faults and actions around it."""
    for _ in range(chance.choice((0, 1, 1, 2, 2, 3, 4, 6))):
        near = chance.random()
        if near < 0.45:
            at = start - _log(chance, 1, 600)
        elif near < 0.7:
            at = start + chance.uniform(0, 6)
        else:
            at = start + _log(chance, 6, 300)
        yield from _fault(chance, at)
    kind = chance.random()
    if kind < 0.08:
        yield _step(start, "press", for_s=round(chance.uniform(0.05, 2.8), 2))  # let go in time
    elif kind < 0.16:
        yield _step(start, "tap", count=chance.randint(1, 6))
    yield _step(start + 4, "press", for_s=round(chance.choice((3.3, 3.3, 3.5, 5.0, chance.uniform(3.25, 20.0))), 2))
    if chance.random() < 0.25:
        yield _step(start + chance.uniform(9, 32), "press", for_s=3.3)  # once more: says where I am now
    if chance.random() < 0.25:
        yield _step(start + chance.uniform(40, 600), "press", for_s=3.5)  # a new alarm
    if chance.random() < 0.15:
        yield _step(start + chance.uniform(5, 40), "strap_cut")  # and torn off
        yield _step(start + _log(chance, 100, 1800), "strap_close")
    if chance.random() < 0.35:
        yield from _check_ins(chance, start + chance.uniform(-1800, 1800))
    back = chance.random()
    if back < 0.2:
        yield _step(start + chance.uniform(9, 30), "call_back")
    elif back < 0.35:
        yield _step(start + chance.uniform(9, 30), "duress_call_back")
    elif chance.random() < 0.05:
        yield _step(start + chance.uniform(35, 120), "call_back")  # too late: raises
    if chance.random() < 0.03:
        for number in range(chance.randint(3, 14)):  # again and again
            yield _step(start + 40 * (number + 1), "press", for_s=3.3)


def _check_ins(chance: random.Random, start: float) -> Iterator[Step]:
    """Draw a check-in timer that is renewed some times, then stopped or missed; or a drill."""
    if chance.random() < 0.1:
        yield _step(start, "ask_to_take_off")
    if chance.random() < 0.4:
        yield _step(start, "drill")
        if chance.random() < 0.5:
            yield _step(start + chance.uniform(15, 35), "call_back")
        return
    for _ in range(chance.randint(1, 4)):
        yield _step(start, "check_in")
        start += chance.uniform(60, 1750)
    if chance.random() < 0.5:
        yield _step(start, "check_out")


def _fault(chance: random.Random, at: float) -> Iterator[Step]:
    name = chance.choices(list(FAULTS), [fault.weight for fault in FAULTS.values()])[0]
    fault = FAULTS[name]
    at = max(at, 0.0)
    yield _step(at, name, **fault.arguments(chance))
    after = end(name)
    if fault.lasts and after:
        yield _step(at + _log(chance, *fault.lasts), after.do, **after.arguments)


def _step(at: float, do: str, **arguments: Argument) -> Step:
    return Step(round(at, 3), do, arguments)


def _track(chance: random.Random, seconds: float) -> tuple[tuple[float, float, float, int], ...]:
    """Draw a way from place to place on foot or by car, anywhere but at the poles and the date line."""
    lat, lon, alt = chance.uniform(-75, 75), chance.uniform(-175, 175), chance.randint(0, 3000)
    points = [(0.0, round(lat, 7), round(lon, 7), alt)]
    t = 0.0
    while t < seconds and len(points) < 30:
        t += _log(chance, 60, 7200)
        metres = chance.choice((0.0, 1.4, 15.0, 35.0)) * (t - points[-1][0])
        bearing = chance.uniform(0, 2 * math.pi)
        lat += metres * math.cos(bearing) / 111_319
        lon += metres * math.sin(bearing) / (111_319 * math.cos(math.radians(lat)))
        lat, lon, alt = max(-80.0, min(80.0, lat)), max(-179.0, min(179.0, lon)), alt + chance.randint(-20, 20)
        points.append((round(t, 3), round(lat, 7), round(lon, 7), alt))
    return tuple(points)

"""Who forces her to call the alarm back, holds the bracelet and reads all of it, can't tell that she was forced.

Two lives of the same world: in one she calls back, in the other she does it under duress. Whatever can be seen from
outside over more than an hour (console, messages with their times and sizes, motor, light, currents) and whatever a
dump shows at many moments (journal, other flash, NVS, the clock's memory) must be equal; of what is encrypted, its
place and size. The relay alone, which opens the cancel, must know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cbor2
import pytest

from hwsim.rig import PHONE, Rig
from hwsim.scenario import wearer
from hwsim.world import Track, World
from relay import cases

HOUR_S, RAISED_S = 3600, 90  # after the start
DUMPS_S = (1, 5, 30, 65, 300, 700, 960, 1500, 2700, 3500, 3700, 4500)  # after the gesture
SAME_US = 20_000  # a tap more costs some us; the sizes of a key's signature and the like move nothing
# What she does is another thing, and so is what the relay makes of it; pulses are compared by themselves.
LOOKED_AT = ("button", "relay", "haptic")
HEAD, CHECK, SECTOR = 12, 8, 4096  # of the journal (firmware/tocsin/journal.py)
STARTS = b"TCB2"  # the record of starts in the clock's memory (firmware/tocsin/boots.py)
HOLD_S, TAP_S = 3.3, 0.15
RECEIPT = 40  # octets; a bigger one would be no receipt
DRIVEN = ((0, 48.1, 11.5, 510), (100, 48.1, 11.5, 510), (1600, 48.2, 11.6, 520))  # and then kept in one place


@dataclass
class Life:
    """What was seen of one."""

    trace: list[tuple[int, str, str, dict[str, Any]]]
    console: list[str]
    pulses: list[tuple[int, int, int]]
    light: list[tuple[int, bool]]
    currents: list[tuple[int, str, str]]
    dumps: list[Any]
    downlink: list[tuple[int, str, int]]  # time, path, octets of all that the relay sends to the bracelet
    rebroadcasts: list[tuple[int, str, int]]  # the same of what it publishes, for a subscriber
    phase: str | None = None
    duress: bool | None = None
    messages: list[str] = field(default_factory=list)


Deed = Callable[[Rig, bool], object]


def test_over_an_hour_nothing_differs_by_mqtt(tmp_path: Path) -> None:
    same(tmp_path)


@pytest.mark.parametrize("path", ["sms", pytest.param("sms in a dead zone", marks=pytest.mark.long)])
def test_over_an_hour_nothing_differs_by_sms(tmp_path: Path, path: str) -> None:
    """By SMS alone; and called back where nothing is in reach for ten minutes, so that both wait in the journal."""

    def lost(rig: Rig, forced: bool) -> None:
        rig.bracelet.modem.service = False

    def found(rig: Rig, forced: bool) -> None:
        rig.bracelet.modem.service = True

    same(tmp_path, {-20: lost, 600: found} if "dead" in path else {}, wifi=False)


@pytest.mark.long
@pytest.mark.parametrize("gesture_s", [5, 14.5, 22])
def test_whenever_she_does_it(tmp_path: Path, gesture_s: float) -> None:
    same(tmp_path, gesture_s=gesture_s, until_s=700)


@pytest.mark.long
def test_pressed_out_of_its_sleep(tmp_path: Path) -> None:
    same(tmp_path, raised_s=1000)


RESETS: Mapping[str, Sequence[float]] = {
    "as it seals": (4.3,),
    "just after": (5.2,),
    "soon": (20, 40),
    "between Updates": (400, 1000),
    "asleep": (2000, 3000),
}


@pytest.mark.parametrize("how", [pytest.param("reset", marks=pytest.mark.long), "power_cut"])
@pytest.mark.parametrize(
    "when", [n if n == "between Updates" else pytest.param(n, marks=pytest.mark.long) for n in RESETS]
)
def test_over_resets_and_lost_supply(tmp_path: Path, when: str, how: str) -> None:
    def ends(rig: Rig, forced: bool) -> None:
        if how == "reset":
            rig.bracelet.reset()
        else:
            rig.bracelet.power_cut(restart_after=3)

    same(tmp_path, dict.fromkeys(RESETS[when], ends), until_s=600 if when == "soon" else HOUR_S * 1.3)


@pytest.mark.long
@pytest.mark.parametrize("then", ["hold", "drill", "strap"])
def test_whatever_she_does_afterwards(tmp_path: Path, then: str) -> None:
    def again(rig: Rig, forced: bool) -> None:
        if then == "hold":
            rig.bracelet.button.press(HOLD_S)
        elif then == "drill":
            wearer.drill(rig)
        else:
            assert rig.bracelet.strap is not None
            rig.bracelet.strap.open()

    same(tmp_path, {200: again}, until_s=1500)


@pytest.mark.long
@pytest.mark.parametrize("wifi", [True, False])
def test_whatever_the_operator_does_then(tmp_path: Path, wifi: bool) -> None:
    """They know, so they close the one alarm at once, accept the other, and close it when the hour is over: nothing
    that leaves for the bracelet shows it."""

    def first(rig: Rig, forced: bool) -> None:
        if forced:
            rig.accept()
        else:
            rig.close_alarm()

    def last(rig: Rig, forced: bool) -> None:
        if forced:
            rig.close_alarm()

    plain, _ = same(tmp_path, {120: first, 3900: last}, wifi=wifi)
    assert len({octets for _, _, octets in plain.rebroadcasts}) == 1
    assert all(what[2] <= RECEIPT for what in plain.downlink)


@pytest.mark.long
@pytest.mark.parametrize("wifi", [True, False])
def test_whatever_they_had_ordered_before(tmp_path: Path, wifi: bool) -> None:
    """Accepted before she calls it back, and lost on the way: it is withdrawn, and what the bracelet misses of it comes
    alike."""

    def lost(rig: Rig, forced: bool) -> None:
        rig.bracelet.wifi.up = rig.bracelet.modem.service = False

    def accepted(rig: Rig, forced: bool) -> None:
        rig.accept()
        rig.forget_sessions()

    def found(rig: Rig, forced: bool) -> None:
        rig.bracelet.wifi.up, rig.bracelet.modem.service = wifi, True

    def closed(rig: Rig, forced: bool) -> None:
        if not forced:
            rig.close_alarm()

    plain, _ = same(tmp_path, {-3: lost, -2: accepted, 9: found, 60: closed}, wifi=wifi, gesture_s=22)
    assert any(line.startswith("@order") for line in plain.console)


def test_the_relay_knows_and_an_update_reopens_nothing(tmp_path: Path) -> None:
    plain, forced = same(tmp_path, until_s=400)
    assert (plain.phase, plain.duress, forced.phase, forced.duress) == ("cancelled", False, "open", True)
    assert plain.messages[:3] == ["Alert", "Cancel", "Update"]
    assert forced.messages[:3] == ["Alert", "Update", "Update"]


# -- two lives


def same(folder: Path, deeds: Mapping[float, Deed] | None = None, **how: Any) -> tuple[Life, Life]:
    """Live twice, and compare."""
    plain, forced = (lived(folder / str(taps), taps == 3, deeds or {}, **how) for taps in (2, 3))
    for name in ("trace", "downlink", "rebroadcasts", "pulses", "light", "currents"):
        _compare(name, getattr(plain, name), getattr(forced, name))
    assert [_words(line) for line in plain.console] == [_words(line) for line in forced.console]
    for place, (one, other) in enumerate(zip(plain.dumps, forced.dumps, strict=True)):
        for part in one:
            assert _alike(one[part], other[part]), (f"{part} in dump {place}", one[part], other[part])
    return plain, forced


def _words(line: str) -> str:
    """A line without its durations, which the trace has, too."""
    return re.sub(r"\bms=\d+", "ms=", line)


def _alike(one: Any, other: Any) -> bool:
    """Equal; but of a duration or a time in milliseconds the last may have been rounded to the other side."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_alike(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    if type(one) is type(other) is int and min(abs(one), abs(other)) > 1000:
        return abs(one - other) <= 1
    return bool(one == other)


def _compare(name: str, ones: list[Any], others: list[Any]) -> None:
    """Each begins with its time."""
    for one, other in zip(ones, others, strict=False):
        # Each sleeps until the same moment, whatever its last step took.
        if name == "trace" and one[1:3] == other[1:3] and one[2] in ("asleep", "deep sleep"):
            one_ends, other_ends = (at_us + said["ms"] * 1000 for at_us, *_, said in (one, other))
            assert abs(one_ends - other_ends) <= 2000, (name, one, other)
        else:
            assert _alike(one[1:], other[1:]), (name, one, other)
        assert abs(one[0] - other[0]) <= SAME_US, (name, one, other)
    assert len(ones) == len(others), (name, ones[len(others) :] or others[len(ones) :])


def lived(
    folder: Path,
    forced: bool,
    deeds: Mapping[float, Deed],
    *,
    wifi: bool = True,
    gesture_s: float = 8,
    raised_s: float = RAISED_S,
    until_s: float = HOUR_S * 1.3,
) -> Life:
    """A life in which an alarm is called back so long after it was raised; `deeds` by their time after the gesture."""
    folder.mkdir()
    with World(seed=5) as world:
        rig = Rig(world, folder, wifi=wifi, track=Track(DRIVEN))
        try:
            rig.provision()
            downlink = _listen(rig)
            rig.boot(settle=5)
            if rig.bracelet.strap is not None:
                rig.bracelet.strap.close()
            world.run(raised_s - 5)
            if rig.bracelet.state == "asleep":
                rig.bracelet.button.hold(HOLD_S + 1.2)
            else:
                rig.press()
            start_us = world.now_us + round(gesture_s * 1e6)
            dumps: list[Any] = []
            _gesture(rig, gesture_s, forced)
            for after_s, deed in deeds.items():
                world.at(start_us + round(after_s * 1e6), lambda deed=deed: deed(rig, forced))
            for after_s in DUMPS_S:
                if after_s < until_s:
                    world.at(start_us + round((after_s + 4.5) * 1e6), lambda: dumps.append(_dump(rig)))
            world.run(gesture_s + until_s)
            return _seen(rig, dumps, downlink)
        finally:
            rig.close()


def _gesture(rig: Rig, after_s: float, forced: bool) -> None:
    """Three taps and a hold, or the first and the third of them: both begin and end at the same time."""
    for at_s, length_s in ((0, TAP_S), (0.4, TAP_S if forced else 0), (0.8, TAP_S), (1.2, HOLD_S)):
        if length_s:
            call = lambda length_s=length_s: rig.bracelet.button.press(length_s)  # noqa: E731
            rig.world.after(round((after_s + at_s) * 1e6), call)


def _listen(rig: Rig) -> list[tuple[int, str, int]]:
    """What the relay publishes, as somebody sees it who reads along at the broker."""
    seen: list[tuple[int, str, int]] = []
    publish = rig.broker.publish

    def published(topic: str, payload: bytes, qos: int = 1) -> None:
        seen.append((rig.world.now_us, topic.rpartition("/")[2], len(payload)))
        publish(topic, payload, qos)

    rig.broker.publish = published  # type: ignore[method-assign]
    return seen


def _seen(rig: Rig, dumps: list[Any], downlink: list[tuple[int, str, int]]) -> Life:
    bracelet, trace, sms = rig.bracelet, rig.world.trace, rig.world.sms
    texted = zip(sms.submitted_us, sms.submitted, strict=True)
    downlink += [(at_us, "sms", len(each.data)) for at_us, each in texted if each.recipient == PHONE]
    events = [(e.t_us, e.who, e.what, dict(e.detail)) for e in trace if e.who not in LOOKED_AT]
    first = min(counter for counter in rig.accepted())
    with rig.store.read() as connection:
        case = cases.read(connection, (int(rig.kid, 16) << 24) + first)
    assert case is not None
    return Life(
        trace=events,
        console=bracelet.console,
        pulses=[(p.at_us, p.duty, round(p.length_us / SAME_US)) for p in bracelet.haptic.pulses],
        light=bracelet.led.changes if bracelet.led else [],
        currents=list(bracelet.meter.history),
        dumps=dumps,
        downlink=downlink,
        rebroadcasts=[
            (arrival.t_us, each.topic.rpartition("/")[2], len(each.octets))
            for arrival in rig.arrivals
            for each in arrival.item.deliveries
        ],
        phase=str(case.phase),
        duress=case.duress,
        messages=[document["msg_type"] for _, document in rig.subscriber()],
    )


# -- dumps: octet strings as their lengths, everything else as it is


def _dump(rig: Rig) -> dict[str, Any]:
    chip = rig.bracelet.flash
    return {
        "journal": [_slot(chip.journal[at : at + 3 * SECTOR]) for at in (0, 3 * SECTOR)],
        "NVS": {_anonymous(rig, key): value for (_, key), value in chip.nvs.values().items()},
        "NVS, all of it": len(chip.nvs.image.rstrip(b"\xff")),
        "writes": (chip.erases, chip.programs, chip.nvs.operations),
        "clock's memory": _memory(bytes.fromhex(rig.bracelet.rtc.memory)),
        "files": {name: len(content) for name, content in rig.bracelet.files.everything().items()},
    }


def _anonymous(rig: Rig, key: str) -> str:
    return key.replace(rig.kid, "kid")


def _slot(octets: bytes) -> Any:
    if octets == b"\xff" * len(octets):
        return None
    length = int.from_bytes(octets[8:HEAD], "big")
    assert octets[:4] == b"TCJ1"
    assert octets[HEAD + length + CHECK :].strip(b"\xff") == b""
    return octets[4:HEAD], _masked(cbor2.loads(octets[HEAD : HEAD + length]))


def _memory(octets: bytes) -> Any:
    """Record of starts, and behind it what sleep remembers."""
    if not octets:
        return None
    assert octets[:4] == STARTS
    at = octets.find(b"\x8c\x04")  # of 12 items, the first is the version
    return octets[:at] if at < 0 else (octets[:at], _masked(cbor2.loads(octets[at:-CHECK])))


def _masked(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"{len(value)} octets"
    if isinstance(value, list):
        return [_masked(item) for item in value]
    if isinstance(value, dict):
        return {name: _masked(item) for name, item in value.items()}
    return value

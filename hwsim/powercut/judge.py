"""Rules that must hold after a life in which the supply failed, for all that was sent and for the chip's content.

Each rule looks at what the world saw (trace, motor, broker, SMS centre, relay) and at the chip; none asks the firmware.
The promises are those of firmware/delivery.md and firmware/flash.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from hwsim.powercut.life import Chip, Course, delivered, promised, sent
from hwsim.powercut.secrets import dense, readable_positions
from relay.pipeline import Status
from relay.verify import parse

_RAISED_MS, _RAISED_STRENGTH = 300, 95  # at least; the motor's one long pulse is 700 ms at full strength


def failures(course: Course, life: str) -> list[str]:
    """List in words what did not hold; nothing when all did."""
    found = [*_boots(course), *_delivered(course, life), *_nothing_twice(course)]
    for when, chip in course.chips:
        found += [f"{problem}, {when}" for problem in _private(course, chip, life)]
    return list(dict.fromkeys(found))


def _boots(course: Course) -> Iterator[str]:
    if not course.armed:
        yield "it did not arm after the supply came back"
    if course.cut:
        trace, name = course.rig.world.trace, course.rig.bracelet.firmware_name
        again = trace.find(0, "powercut", "stage", {"name": "afterwards"})
        if again is None or trace.find(again, name, "raised", {}) is None:
            yield "no alarm could be raised afterwards"


def _delivered(course: Course, life: str) -> Iterator[str]:
    rig = course.rig
    accepted = set(rig.accepted())
    for counter, kind in promised(rig, life).items():
        if counter not in accepted:
            yield f"{kind} {counter} was confirmed and never reached the relay"
    felt = [p for p in rig.bracelet.haptic.pulses if p.length_us >= _RAISED_MS * 1000]
    alerts = [document for document in rig.documents().values() if document["seq"] == 0]
    strong = [p for p in felt if p.duty * 100 // 65535 >= _RAISED_STRENGTH]
    if len(strong) > len(alerts):
        yield f"the wearer felt {len(strong)} alarms raised, the relay has {len(alerts)}"


def _nothing_twice(course: Course) -> Iterator[str]:
    octets = defaultdict(set)
    for chain, message in sent(course.rig):
        octets[chain, parse(message).counter].add(message)
    for (chain, counter), different in sorted(octets.items()):
        if len(different) > 1:
            yield f"{chain} counter {counter}, and its key, used for {len(different)} different messages"
    for item in course.rig.items:
        if item.status == Status.REFUSED:
            yield f"the relay refused a message: {item.reason}"


def _private(course: Course, chip: Chip, life: str) -> Iterator[str]:
    raw = dense(chip.flash + chip.nvs)
    positions = [document["position"] for document in course.rig.documents().values() if document["position"]]
    places = dict.fromkeys((position["lat_e7"], position["lon_e7"]) for position in positions)
    for encoding in dict.fromkeys(readable_positions(raw, places)):
        yield f"a position is readable on the chip as {encoding}"
    if course.secrets is None:
        return
    for name in ("ephemeral", "shared", "prk"):
        if getattr(course.secrets, name) in raw:
            yield f"provisioning's {name} key is on the chip"
    if life != "worn":  # a journal that can't be erased can't forget either
        for chain in ("alarm", "heartbeat"):
            for counter in _keys_of_sent(course, chip, chain, raw):
                yield f"the {chain} chain's key {counter} is on the chip although its message was sent"
    if chip is course.chips[-1][1]:
        done = delivered(course.rig)
        for chain, octets in chip.sent:
            if chain == "alarm" and parse(octets).counter in done and octets in chip.kept:
                yield f"alarm message {parse(octets).counter} is kept although it was delivered"
        if "/offer.json" in chip.files:
            yield "the offer is still there"


def _keys_of_sent(course: Course, chip: Chip, chain: str, octets: bytes) -> Iterator[int]:
    """Yield each counter whose chain key or message key is in the octets and opens a message already sent by then."""
    assert course.secrets
    last = max((parse(message).counter for kind, message in chip.sent if kind == chain), default=-1)
    for counter, chain_key, message_key in course.secrets.chain_keys(chain, last):
        if chain_key in octets or message_key[:16] in octets:
            yield counter

"""Bracelets in the field are updated with what they have on flash. Images that earlier firmware wrote, kept as they
were, must be taken up: nothing that waits is lost, and no counter is used twice.
"""

import json
from pathlib import Path

import pytest

from relay.verify import parse

FROZEN = sorted(Path(__file__).with_name("frozen").glob("version_*.json"))


@pytest.fixture(params=FROZEN, ids=lambda path: path.stem)
def old(request, world):
    """(what was frozen, a bracelet with that on its flash)."""
    image = json.loads(request.param.read_text())
    bracelet = world.bracelet()
    bracelet.files.put("/identity", bytes.fromhex(image["identity"]))
    bracelet.files.put("/settings.json", image["settings"].encode())
    half = len(bracelet.flash.journal) // 2
    bracelet.flash.journal = b"".join(bytes.fromhex(slot).ljust(half, b"\xff") for slot in image["journal"])
    return image, bracelet


def test_there_are_images():
    assert FROZEN


def test_what_waited_is_sent_octet_for_octet(world, old):
    image, bracelet = old
    bracelet.boot()
    world.expect("firmware", "armed", within=2)
    for _ in image["undelivered"]:
        world.expect("sms centre", "accepted", within=30)
    assert {sms.data.hex() for sms in world.sms.submitted} == set(image["undelivered"].values())


def test_what_is_raised_next_has_a_counter_of_its_own(world, old):
    image, bracelet = old
    bracelet.boot()
    world.run(100)
    bracelet.button.hold(3.5)
    raised = world.expect("firmware", "raised", within=1).detail["counter"]
    world.expect("sms centre", "accepted", within=90)
    world.run(1)
    used = {int(counter) for counter in image["undelivered"]}
    assert raised > max(used)
    for _ in range(3):  # and what it has written meanwhile is taken up too
        bracelet.reset()
        world.run(30)
    sent = {}
    for sms in world.sms.submitted:
        assert sent.setdefault(parse(sms.data).counter, sms.data) == sms.data
    assert used | {raised} <= set(sent)
    assert not any(event.what in ("refused", "restarted", "crashed") for event in world.trace)

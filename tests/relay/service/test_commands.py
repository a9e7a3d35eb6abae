"""Commands through a running relay: asked for on the command line, sent within seconds, shown to subscribers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relay import case_document
from relay.cli import main
from relay.verify import ChainState, Heartbeat, open_down, parse
from relay.verify.down import Kind
from tests.relay.service.rig import Rig, eventually
from tests.relay.service.rig import rig as make_rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with make_rig(tmp_path, own_broker=False) as made:
        yield made


def relay(rig: Rig, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--data", str(rig.data.path)])


def test_accepted_and_closed_from_another_process(rig: Rig) -> None:
    bracelet = rig.bracelet("one")
    rig.start()
    device, subscriber = bracelet.connect(), rig.subscriber()
    device.publish(f"{bracelet.base}/alarm", bracelet.alarm())
    state = ChainState(0, bracelet.roots.down)
    (kind, counter), state = open_down(parse(device.next()[1]), state, 0)
    assert (kind, counter) == (Kind.RECEIPT, 0)
    assert subscriber.next()[0].endswith(f"/{bracelet.kid}/alarm")
    for word, wanted in (("accept", Kind.ACCEPT), ("close", Kind.CLOSE)):
        done = relay(rig, word, f"{bracelet.kid}-0", "--json")
        assert json.loads(done.stdout)["relay_running"] is True
        (kind, counter), state = open_down(parse(device.next()[1]), state, 0)
        assert (kind, counter) == (wanted, 0)
        topic, octets = subscriber.next()
        assert topic.endswith(f"/{bracelet.kid}/case")
        document = case_document.check(octets, rig.relay.keys.public)
        assert document is not None
        assert document["alarm"] == f"{bracelet.kid}-0"


def test_revoked_and_cut_off_when_the_wipe_is_confirmed(rig: Rig) -> None:
    bracelet = rig.bracelet("one")
    rig.start()
    device = bracelet.connect()
    assert relay(rig, "bracelet", "revoke", bracelet.kid, "--yes").exit_code == 0
    (kind, _), state = open_down(parse(device.next()[1]), ChainState(0, bracelet.roots.down), 0)
    assert kind == Kind.REVOKE
    beat = bracelet.sealer.heartbeat(Heartbeat(0, int(time.time()), 80, 0, state.next))
    device.publish(f"{bracelet.base}/hb", beat)
    eventually(lambda: rig.relay.registry.get(bracelet.kid).state == "revoked", "the wipe is confirmed")
    eventually(lambda: not device.connected, "its account is closed")

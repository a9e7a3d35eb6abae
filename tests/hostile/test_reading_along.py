"""Broker staff, a thief of the disk and a reader of logs: what they find after a life with each kind of event.

A bracelet lives with a relay, its modem and a broker that logs all it can, while a subscriber is away, so that what it
is to read lies at the broker. Then every file that is no key is searched for the wearer's place in each plain form, for
her number and code name, for passwords and keys. Before rebroadcasts were sealed, the broker's store had her
place in clear for every alarm.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2
import pytest

from hwsim.world import World
from relay.broker.nats import NatsBroker
from relay.downlink import Desk
from relay.store import schema
from relay.subscribers import file
from relay.subscribers.audiences import Permission, open_epoch
from relay.verify import Alarm, Cell, Fix, Heartbeat
from relay.verify.down import Kind
from relay.verify.envelope import open_down, parse
from relay.verify.ratchet import ChainState
from tests.hostile.searching import forms, hits, key_forms, number_forms, semi_octets
from tests.relay.service.rig import Bracelet, Rig, eventually, rig

pytestmark = pytest.mark.xdist_group("reading along")  # one worker: the life is lived once, and mostly waits

RELAY, NUMBER, NAME = "+10000000009", "+4915712345678", "Nachtigall-Zielona"
LAT, LON = 697234567, 1131234567  # no time of day reads like these degrees
CELL = Cell(262, 1, 54321, 28471)
DRILL, CANCEL, DURESS, GNSS = 1, 2, 4, 3 << 3


class Talkative(NatsBroker):
    """The embedded broker with everything in its log."""

    def _configuration(self) -> dict[str, object]:
        return {**super()._configuration(), "debug": True, "trace": True}


@dataclass
class Life:
    """What is left of a life."""

    rig: Rig
    bracelet: Bracelet
    partner: file.SubscriberFile
    published: int


def enrol(made: Rig, called: str, permission: Permission) -> file.SubscriberFile:
    private, public = file.key_pair()
    entry = made.relay.subscribers.add(called, public, permission, now=time.time())
    return made.relay.home().file_for(entry, private)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    with World(realtime=True) as world:
        world.sms.delay_us = 20_000
        port = world.relay_modem(RELAY).port
        with rig(tmp_path_factory.mktemp("life"), sms_port=port) as made:
            phone = world.sms.phone(NUMBER)
            bracelet = made.bracelet(NAME)
            partner, region = enrol(made, "partner", Permission()), enrol(made, "region", Permission(None, 5))
            world.start_thread()
            data = made.data
            made.broker = Talkative(
                data.broker, "127.0.0.1", made.port, data.server_cert, data.server_key, made.relay.users()
            )
            made.broker.start()
            made.broker.wait_ready()
            for each in (partner, region):  # they subscribe, and go away
                made.subscriber(each).close()
            relay = made.start(verbose=True)
            relay.wait_for("sms.ready")
            published = live(world, phone, made, bracelet)
            made.stop_processes()
            yield Life(made, bracelet, partner, published)


def live(world: World, phone: Any, made: Rig, bracelet: Bracelet) -> int:
    """One of each kind of event; how many documents were published for each audience."""
    device, desk = bracelet.connect(), Desk(made.relay.store, made.relay.registry)
    state, number = ChainState(0, bracelet.roots.down), 0

    def say(flags: int, seq: int = 0, *, by_sms: bool = False) -> None:
        nonlocal number
        alarm = Alarm(flags, 0, seq, int(time.time()), 80, Fix(LAT, LON, 12, 3, 34, 2, 87), CELL)
        octets = bracelet.sealer.alarm(alarm)
        number += 1
        if by_sms:
            world.call(lambda: phone.send(RELAY, octets))
        else:
            device.publish(f"{bracelet.base}/alarm", octets)
        eventually(lambda: made.count("alarm") == number, "it is stored")

    def told(kind: Kind) -> None:
        nonlocal state
        while True:
            (found, _), state = open_down(parse(device.next()[1]), state, 0)
            if found == kind:
                return

    say(GNSS)
    say(GNSS, 1)
    say(GNSS | CANCEL, 2)
    say(GNSS, by_sms=True)
    say(GNSS | CANCEL | DURESS, 1)
    say(GNSS | DRILL)
    desk.accept(f"{bracelet.kid}-5", now=time.time())
    told(Kind.ACCEPT)
    desk.close(f"{bracelet.kid}-5", now=time.time())
    told(Kind.CLOSE)
    desk.configure(bracelet.kid, {"heartbeat_s": 900}, now=time.time())
    told(Kind.CONFIGURE)
    device.publish(f"{bracelet.base}/hb", bracelet.heartbeat())
    eventually(lambda: made.count("heartbeat") == 1, "a heartbeat is stored")
    made.relay.subscribers.new_epochs(now=time.time())
    say(GNSS)
    eventually(lambda: made.unfinished() == 0, "all was published")
    desk.revoke(bracelet.kid, now=time.time())
    told(Kind.REVOKE)
    beat = bracelet.sealer.heartbeat(Heartbeat(0, int(time.time()), 80, 0, state.next))
    device.publish(f"{bracelet.base}/hb", beat)
    eventually(lambda: made.relay.registry.get(bracelet.kid).state == "revoked", "the wipe is confirmed")
    return number


def secrets_of(life: Life) -> dict[str, set[bytes]]:
    relay, number = life.rig.relay, NUMBER.lstrip("+")
    with relay.store.read() as connection:
        rows = connection.execute(schema.epoch.select()).all()
        epochs = [open_epoch(relay.store.box, row.id, row.key_sealed).key for row in rows]
    assert len(epochs) >= 5
    assert life.partner.private is not None
    local = relay.local_subscriber()
    assert local.private is not None
    keys = [*epochs, relay.data.signing_seed(), relay.data.store_key(), life.partner.private, local.private]
    keys += [*life.bracelet.roots]
    passwords = [life.bracelet.password, life.partner.password, local.password, relay.data.secret("mqtt-relay")]
    return {
        "position": number_forms(LAT) | number_forms(LON) | {b"lat_e7", b"lon_e7"},
        "cell": {cbor2.dumps([*CELL]), b'"lac"', b'"cid"', b"54321-28471"},
        "number": {*forms(number), semi_octets(number), semi_octets(number).hex().encode()},
        "code name": {*forms(NAME), *forms(NAME.lower())},
        "key": set().union(*map(key_forms, keys)),
        "password": set().union(*(forms(password) for password in passwords)),
    }


def files_of(life: Life) -> list[Path]:
    """Everything on the relay's and the broker's disk, logs too; without the folders that hold keys."""
    data, keys = life.rig.data, (life.rig.data.keys, life.rig.data.secrets, life.rig.data.tls)
    found = [path for path in life.rig.folder.rglob("*") if path.is_file()]
    assert any(path.is_relative_to(data.broker) for path in found)
    return [path for path in found if not any(path.is_relative_to(folder) for folder in keys)]


def test_the_search_would_find_them(life: Life) -> None:
    """The control: a document in clear, an SMS and a key as they might lie there."""
    secret = secrets_of(life)
    position = json.dumps({"lat_e7": LAT, "lon_e7": LON}, separators=(",", ":")).encode()
    assert hits(position, secret["position"]) and hits(b"69.72345, 113.12345", secret["position"])
    assert hits(cbor2.dumps([1, 24, LAT, LON]), secret["position"])
    assert hits(b"+4915712345678", secret["number"]) and hits(semi_octets(NUMBER), secret["number"])
    assert hits(b"x" + life.rig.data.store_key(), secret["key"])
    assert hits(base64.b64encode(b'{"code_name": "' + NAME.encode() + b'"}'), secret["code name"])


def test_what_the_away_subscriber_is_to_read_lies_at_the_broker(life: Life) -> None:
    """Else the search below would prove nothing."""
    stored = b"".join(path.read_bytes() for path in life.rig.data.broker.rglob("*") if path.is_file())
    assert stored.count(f"s.{life.partner.audience}.{life.bracelet.kid}.alarm".encode()) >= life.published
    assert b".case" in stored
    assert b".key.sub-" in stored


@pytest.mark.parametrize("what", ["position", "cell", "number", "code name", "key", "password"])
def test_nothing_is_found(life: Life, what: str) -> None:
    secret = secrets_of(life)[what]
    found = []
    for path in files_of(life):
        # The embedded broker's own list of accounts; it is as private as `secrets/`, and goes with the gate.
        if what == "password" and path == life.rig.data.broker / "nats.conf":
            assert path.stat().st_mode & 0o077 == 0
            continue
        if hits(path.read_bytes(), secret):
            found.append(str(path.relative_to(life.rig.folder)))
    assert found == []


def test_duress_can_not_be_told_by_the_size_of_what_lies_there(life: Life) -> None:
    """One size for alarms, one for what becomes of them; and the subscriber, back again, reads all of it."""
    subscriber = life.rig.subscriber(life.partner)
    documents = [json.loads(subscriber.next()[1]) for _ in range(life.published + 2)]
    assert {document["counter"] for document in documents if document["type"] == "alarm"} == {*range(life.published)}
    assert any(document["type"] == "alarm" and document["flags"]["duress"] for document in documents)
    assert [document["state"] for document in documents if document["type"] == "case"] == ["accepted", "closed"]
    assert subscriber.refused == []
    assert (len(subscriber.lengths["alarm"]), len(subscriber.lengths["case"])) == (1, 1)

"""Broker staff, a thief of the relay's disk, a reader of logs and a thief of the bracelet, after a life with each kind
of event: none finds a place, a telephone number, a code name, a key or a password.

Everything is real: `relay run` with its log at debug level, the broker and gate that it embeds, a modem on a
pseudo-terminal, and a bracelet's firmware in MicroPython; two subscribers are away, so that what they are to read lies
at the broker. test_reading_along.py searches a shorter life, in each run of the tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import cbor2
import paho.mqtt.client as paho
import pytest

from hwsim.powercut.secrets import dense, readable_positions
from hwsim.scenario import wearer
from hwsim.world import Track
from relay import outbox
from relay.broker import RELAY
from relay.broker.nats import NatsBroker
from relay.demo.stack import Happened, Stack
from relay.ingest.mqtt import client_tls
from relay.store import chains, schema
from relay.subscribers import file
from relay.subscribers.audiences import Permission, open_epoch
from relay.verify.envelope import parse_sign1
from relay.verify.keys import message_key, next_chain_key
from relay.verify.payload import parse_alarm
from relay.verify.ratchet import ChainState
from tests.end_to_end.test_hostile import publish
from tests.hostile.searching import forms, hits, key_forms, number_forms, phone_forms, with_an_address
from tests.relay.service.rig import Subscriber, eventually

# One worker: the life is lived once, and mostly waits.
pytestmark = [pytest.mark.long, pytest.mark.timeout(900), pytest.mark.xdist_group("search")]

LAT, LON = 697234567, 1131234567  # no time of day reads like these degrees
NUMBER, NAME = "+4915712345678", "Nachtigall-Zielona"
PATIENCE_S = 200.0
MARK = b"a mark that somebody left in clear"
DRIVER = Path(__file__).with_name("talkative_relay.py")


class Talkative(NatsBroker):
    """The embedded broker with everything in its log."""

    def _configuration(self) -> dict[str, object]:
        return {**super()._configuration(), "debug": True, "trace": True}


class Place(Stack):
    """The stack, with what its relay writes kept."""

    def __init__(self, folder: Path) -> None:
        self.log = bytearray()
        super().__init__(
            folder,
            broker=self._embedded,
            relay_command=(sys.executable, str(DRIVER)),
            code_name=NAME,
            number=NUMBER,
            track=Track.still(LAT / 1e7, LON / 1e7, 34),
        )

    def _embedded(self, *where: Any) -> Talkative:
        """As `relay.assembly` makes it, but with a life of its own, so that the relay can be killed alone."""
        return Talkative(*where, store=self.relay_parts.store_url)

    def _read_relay(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        lines = process.stderr

        def kept() -> Iterator[str]:
            for line in lines:
                self.log += line.encode()
                yield line

        super()._read_relay(SimpleNamespace(stderr=kept()))  # type: ignore[arg-type]


class Dump(NamedTuple):
    """A bracelet's chip, opened."""

    parts: dict[str, bytes]
    sent: dict[str, int]  # counters below these the relay has had, by chain


@dataclass
class Life:
    """What is left of a life."""

    stack: Place
    partner: file.SubscriberFile
    region: file.SubscriberFile
    chains: dict[str, ChainState]  # of the bracelet, before its life
    dumps: dict[str, Dump] = field(default_factory=dict)  # of the bracelet, by the moment


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    with Place(tmp_path_factory.mktemp("life")) as stack:
        partner, region = _away(stack, "partner", Permission()), _away(stack, "region", Permission(None, 5))
        lived = Life(stack, partner, region, _chains(stack))
        _live(lived)
        stack.stop_relay()
        yield lived


def _chains(stack: Place) -> dict[str, ChainState]:
    store, kid = stack.relay_parts.store, int(stack.kid, 16)
    with store.read() as connection:
        stored = chains.read(connection, store.box, [kid])
    return {name: found.state for (_, name), found in stored.items() if found is not None}


def _away(stack: Place, called: str, permission: Permission) -> file.SubscriberFile:
    """A subscriber that has subscribed once, and is away."""
    private, public = file.key_pair()
    relay = stack.relay_parts
    own = relay.home().file_for(relay.subscribers.add(called, public, permission, now=time.time()), private)
    stack.broker.reload(relay.users())
    _back(stack, own).close()
    return own


def _back(stack: Place, own: file.SubscriberFile) -> Subscriber:
    rig: Any = SimpleNamespace(data=stack.data, port=stack.broker.port)
    return Subscriber(rig, own, clean=False)


def _live(life: Life) -> None:
    stack = life.stack
    world, bracelet = stack.world, stack.bracelet
    seen: list[Happened] = []

    def happens(what: str, do: Callable[[], object] = lambda: None, source: str = "firmware", **detail: object) -> int:
        """Do this, and wait until that has happened since; its counter."""
        seen.extend(stack.events())
        do()

        def wanted(event: Happened) -> bool:
            return (event.source, event.what) == (source, what) and detail.items() <= event.detail.items()

        seen.extend(stack.wait_for(wanted, PATIENCE_S, f"{source} {what} {detail}"))
        return int(next(event for event in reversed(seen) if wanted(event)).detail.get("counter", -1))

    def gesture(do: Callable[[Any], object]) -> Callable[[], object]:
        rig = SimpleNamespace(world=world, bracelet=bracelet)
        return lambda: world.call(lambda: do(rig))

    def relay(*words: object) -> Callable[[], object]:
        command = [sys.executable, "-m", "relay", *map(str, words), "--data", str(stack.data.path)]
        return lambda: subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)

    def networks(wifi: bool, mobile: bool) -> None:
        def switch() -> None:
            bracelet.wifi.up, bracelet.modem.service = wifi, mobile

        world.call(switch)

    def raised(by: str = "hold", do: Callable[[Any], object] = _hold) -> str:
        counter = happens("raised", gesture(do), by=by)
        time.sleep(4)  # until she has let go, and what is felt is over
        return f"{stack.kid}-{counter}"

    alarm = raised()
    happens("accept", relay("accept", alarm))
    happens("update")
    happens("close", relay("close", alarm))
    for back in (wearer.call_back, wearer.duress_call_back):
        alarm = raised()
        happens("cancelled", gesture(back))
        happens("update", by="time")
        relay("accept", alarm)()
    happens("close", relay("close", raised("drill", wearer.drill)))
    happens("strap", gesture(wearer.strap_close), state="worn")
    happens("raised", gesture(wearer.strap_cut), by="strap")
    happens("configure", relay("bracelet", "configure", stack.kid, "--check-in", 1))
    happens("check_in", gesture(wearer.check_in), state="start")
    happens("check_in", state="missed")
    scene: Any = SimpleNamespace(stack=stack)
    # Refused, all of it; and the bracelet's session is taken by whoever knows its password.
    happens("link", lambda: publish(scene, [b"", b"\x01" * 150, bytes(100), MARK]), path="mqtt", up=1)
    stack.relay_parts.subscribers.new_epochs(now=time.time())
    networks(wifi=False, mobile=False)
    happens("raised", gesture(_hold))
    time.sleep(5)
    life.dumps["with messages that nobody has"] = _dump(life)
    happens("delivered", lambda: networks(wifi=False, mobile=True))
    time.sleep(31)  # a hold before would be an Update
    stack.kill_relay()
    networks(wifi=True, mobile=True)
    happens("raised", gesture(_hold))
    stack.start_relay()
    happens("delivered")
    relay("backup", stack.data.path.parent / "backup")()
    eventually(lambda: _unfinished(life) == 0, "all was published", PATIENCE_S)
    life.dumps["after a life"] = _dump(life)
    happens("wiped", relay("bracelet", "revoke", "--yes", stack.kid))
    eventually(
        lambda: stack.relay_parts.registry.get(stack.kid).state == "revoked", "the wipe is confirmed", PATIENCE_S
    )
    life.dumps["wiped"] = _dump(life)


def _hold(rig: Any) -> None:
    wearer.press(rig, wearer.HOLD_S)


def _unfinished(life: Life) -> int:
    return outbox.Outbox(life.stack.relay_parts.store, life.stack.relay_parts.keys).pending()


def _dump(life: Life) -> Dump:
    bracelet, store = life.stack.bracelet, life.stack.relay_parts.store

    def take() -> dict[str, bytes]:
        return {
            "journal": dense(bracelet.flash.journal),
            "NVS": dense(bracelet.flash.nvs.image),
            "clock's memory": bytes.fromhex(bracelet.rtc.memory),
            "file system": dense(bracelet.flash_path.read_bytes()),
        }

    with store.read() as connection:
        sent = {row.name: row.next for row in connection.execute(schema.chain.select())}
    return Dump(life.stack.world.call(take), sent)


# -- what is looked for, and where


def _relays_keys(life: Life) -> set[bytes]:
    """All that opens anything of the relay's, or of its subscribers'."""
    relay, data = life.stack.relay_parts, life.stack.data
    with relay.store.read() as connection:
        rows = connection.execute(schema.epoch.select()).all()
        epochs = [open_epoch(relay.store.box, row.id, row.key_sealed).key for row in rows]
    many = len(epochs)
    assert many >= 4, "two audiences, whose key was changed"
    private = [own.private for own in (life.partner, life.region, relay.local_subscriber())]
    return {data.signing_seed(), data.store_key(), *epochs, *(key for key in private if key is not None)}


def _chain_keys(life: Life, sent: Mapping[str, int]) -> set[bytes]:
    """Of every message that was sent: what opens it, and what those that follow are opened by."""
    keys: set[bytes] = set()
    for chain in (chains.ALARM, chains.HEARTBEAT):
        key = life.chains[chain].key
        assert sent[chain] > life.chains[chain].next
        for _ in range(life.chains[chain].next, sent[chain]):
            keys |= {key, message_key(key)[:16]}
            key = next_chain_key(key)
    return keys


def _passwords(life: Life) -> set[str]:
    relay, data = life.stack.relay_parts, life.stack.data
    own = (life.partner.password, life.region.password, relay.local_subscriber().password)
    return {*own, data.secret("mqtt-relay"), life.stack.offer["mqtt"]["password"], life.stack.offer["wifi"][0][1]}


def _wanted(life: Life) -> dict[str, set[bytes]]:
    down = {state.key for state in life.chains.values()}
    keys = _relays_keys(life) | down | _chain_keys(life, life.dumps["after a life"].sent)
    return {
        "position": number_forms(LAT) | number_forms(LON) | {b"lat_e7", b"lon_e7"},
        "number": phone_forms(NUMBER),
        "code name": {*forms(NAME), *forms(NAME.lower())},
        "key": set().union(*map(key_forms, keys)),
        "password": set().union(*map(forms, _passwords(life))),
    }


def _written(life: Life) -> dict[str, bytes]:
    """All that relay, broker and gate have left, without the folders that hold keys; what the bracelet has said on its
    console, too."""
    data = life.stack.data
    apart = (data.keys, data.secrets, data.tls)
    files = [path for path in data.path.parent.rglob("*") if path.is_file()]
    found = {
        str(path.relative_to(data.path.parent)): path.read_bytes()
        for path in files
        if not any(path.is_relative_to(folder) for folder in apart)
    }
    found["relay's log"] = bytes(life.stack.log)
    found["console"] = "\n".join(life.stack.bracelet.console).encode()
    return found


@pytest.mark.parametrize("what", ["position", "number", "code name", "key", "password"])
def test_nothing_is_found_of(life: Life, what: str) -> None:
    wanted, written = _wanted(life)[what], _written(life)
    assert [name for name, octets in written.items() if hits(octets, wanted)] == []


def test_no_log_tells_where_a_bracelet_is_online(life: Life) -> None:
    own = [name.encode() for name in (life.stack.kid, life.stack.offer["mqtt"]["user"])]
    logs = {name: octets for name, octets in _written(life).items() if "log" in name.rpartition("/")[2]}
    assert len(logs) >= 4, sorted(logs)
    assert {name: lines for name, octets in logs.items() if (lines := with_an_address(octets, own)[:1])} == {}


@pytest.mark.parametrize("moment", ["with messages that nobody has", "after a life"])
def test_a_thief_of_the_bracelet_finds_nothing(life: Life, moment: str) -> None:
    parts, sent = life.dumps[moment]
    wanted = {name: forms_of for name, forms_of in _wanted(life).items() if name not in ("key", "password")}
    wanted["key"] = set().union(*map(key_forms, _relays_keys(life) | _chain_keys(life, sent)))
    found = [(part, what) for part, octets in parts.items() for what in wanted if hits(octets, wanted[what])]
    found += [(part, how) for part, octets in parts.items() for how in readable_positions(octets, [(LAT, LON)])]
    assert found == []


def test_a_wiped_bracelet_has_not_even_what_it_needs(life: Life) -> None:
    parts, number = life.dumps["wiped"].parts, life.stack.offer["sms"]
    wanted = set().union(*_wanted(life).values(), forms(number.lstrip("+")))
    assert [part for part, octets in parts.items() if part != "file system" and hits(octets, wanted)] == []


# -- the controls: else all that would prove nothing


def test_who_has_the_keys_finds_all_of_it(life: Life) -> None:
    relay = life.stack.relay_parts
    with relay.store.read() as connection:
        rows = connection.execute(schema.alarm.select()).all()
    alarms = []
    for row in rows:
        opened = relay.store.box.open(outbox.EVIDENCE, row.id, row.evidence_sealed)
        alarms.append(parse_alarm(parse_sign1(cbor2.loads(opened)[1])[0], row.counter))
    assert {row.path for row in rows} == {"mqtt", "sms"}
    assert all(fix and abs(fix.lat_e7 - LAT) < 100 and abs(fix.lon_e7 - LON) < 100 for fix in (a.fix for a in alarms))
    kinds = {name for alarm in alarms for name in ("cancel", "duress", "drill") if getattr(alarm, name)}
    assert (kinds, {alarm.cause for alarm in alarms} >= {0, 1}) == ({"cancel", "duress", "drill"}, True)
    for own, kind in ((life.partner, "alarm"), (life.region, "coarse")):
        documents = [json.loads(octets) for octets in _all(_back(life.stack, own))]
        assert {d["counter"] for d in documents if d["type"] == kind} == {row.counter for row in rows}
        assert {d["state"] for d in documents if d["type"] == "case"} == {"accepted", "closed"}


def _all(subscriber: Subscriber) -> list[bytes]:
    """What waited for it: until nothing has come for a while."""
    found = [subscriber.next()[1]]
    while True:
        time.sleep(2)
        more = subscriber.drain()
        if not more:
            subscriber.close()
            assert subscriber.refused == []
            return found
        found += more


def test_what_somebody_left_in_clear_is_found_wherever_it_lies(life: Life) -> None:
    stack, wanted = life.stack, _wanted(life)
    clear = json.dumps({"lat_e7": LAT, "of": NAME, "from": NUMBER}).encode()
    _publish_as_the_relay(life, f"s/{life.partner.audience}/{stack.kid}/alarm", clear)
    with stack.relay_parts.store.write() as connection:
        row = {"at_ms": 0, "actor": NUMBER, "action": NAME, "kid": None, "alarm_id": LAT}
        connection.execute(schema.audit.insert().values(row))
    stack.world.call(stack.bracelet.power_cut)
    stack.world.call(lambda: stack.bracelet.files.put("/left", clear))
    written = _written(life) | _dump(life).parts
    for what in ("position", "number", "code name"):
        found = [name for name, octets in written.items() if hits(octets, wanted[what])]
        for place in ("relay/broker/", "relay/relay.sqlite3", "file system"):
            assert any(name.startswith(place) for name in found), (what, place, found)
    assert stack.kid.encode() in written["relay's log"]
    assert b"[TRC]" in written["relay/broker/log"]


def _publish_as_the_relay(life: Life, topic: str, octets: bytes) -> None:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="left-in-clear")
    client.username_pw_set(RELAY, life.stack.data.secret("mqtt-relay"))
    client.tls_set_context(client_tls(life.stack.data.ca_cert))
    client.connect("localhost", life.stack.broker.port)
    client.loop_start()
    client.publish(topic, octets, qos=1).wait_for_publish(30)
    client.disconnect()
    client.loop_stop()

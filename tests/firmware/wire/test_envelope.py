"""What the device seals, the relay opens, and the other way round; and everything fits one SMS."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import cbor2
import pytest

from relay import verify
from relay.verify import down
from relay.verify.payload import parse_alarm
from relay.verify.seal import seal, seal_receipt

from .interpreter import ROOT, Device, Refused

Vectors = Callable[[str], dict[str, Any]]
LIMIT = 140
LAST = 2**24 - 1
PAYLOAD, SEAL = "tocsin.envelope.alarm_payload", "seal_alarm"


def unhex(record: dict[str, str]) -> dict[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in record.items()}


def test_the_vectors_are_what_their_script_makes(make: dict[str, Any]) -> None:
    assert make["text"]() == (ROOT / "tests/vectors/envelope.json").read_text()


def test_device_keys(both: Device, vectors: Vectors) -> None:
    keys = unhex(vectors("envelope")["keys"])
    assert both.call("tocsin.crypto.x25519.public", keys["device_x25519_private"]) == keys["device_x25519_public"]
    assert both.call("tocsin.crypto.ed25519.public", keys["device_ed25519_seed"]) == keys["device_ed25519_public"]
    shared = both.call("tocsin.crypto.x25519.shared", keys["device_x25519_private"], keys["relay_x25519_public"])
    assert shared == keys["shared"]
    roots = both.call("tocsin.ratchet.roots", shared, keys["kid"], keys["relay_id"])
    assert roots == [keys["alarm_root"], keys["heartbeat_root"], keys["down_root"]]


def test_relay_keys(vectors: Vectors) -> None:
    keys = unhex(vectors("envelope")["keys"])
    assert verify.RelayKeys(keys["relay_ed25519_seed"]).id == keys["relay_id"]
    shared = verify.agree(keys["relay_x25519_private"], keys["device_x25519_public"])
    roots = verify.roots(shared, keys["kid"], keys["relay_id"])
    assert list(roots) == [keys["alarm_root"], keys["heartbeat_root"], keys["down_root"]]


def test_device_seals_the_vectors(both: Device, vectors: Vectors) -> None:
    found = vectors("envelope")
    keys = unhex(found["keys"])
    for case in found["alarms"]:
        chain_key = bytes.fromhex(case["chain_key"])
        sealed = both.call(
            SEAL,
            keys["kid"],
            keys["relay_id"],
            case["counter"],
            chain_key,
            case["payload"],
            keys["device_ed25519_seed"],
            True,
        )
        assert [octets.hex() for octets in sealed] == [case["message"], case["next_chain_key"]]
    for case in found["heartbeats"]:
        chain_key = bytes.fromhex(case["chain_key"])
        sealed = both.call("tocsin.envelope.seal_heartbeat", keys["kid"], case["counter"], chain_key, case["fields"])
        assert sealed[0].hex() == case["message"]


def test_device_opens_the_vectors(device: Device, vectors: Vectors) -> None:
    found = vectors("envelope")
    keys = unhex(found["keys"])
    messages = [bytes.fromhex(case["message"]) for case in found["receipts"]]
    results = device.call("receive", keys["kid"], [0, keys["down_root"], {}], messages)
    assert [result for result, _ in results] == [["receipt", case["confirms"]] for case in found["receipts"]]


def test_device_opens_the_commands(device: Device, vectors: Vectors) -> None:
    found = vectors("envelope")
    keys = unhex(found["keys"])
    everything = [*found["receipts"], *found["commands"]]
    results = device.call(
        "receive", keys["kid"], [0, keys["down_root"], {}], [bytes.fromhex(case["message"]) for case in everything]
    )
    for case, (result, _) in zip(found["commands"], results[len(found["receipts"]) :], strict=True):
        content = case["content"]
        if case["kind"] == "configure":
            content = {down.SETTINGS[name].key: value for name, value in content.items()}
        assert result == [case["kind"], content]


def test_relay_opens_the_vectors(vectors: Vectors) -> None:
    found = vectors("envelope")
    keys = unhex(found["keys"])
    for case in found["alarms"]:
        state = verify.ChainState(case["counter"], bytes.fromhex(case["chain_key"]))
        envelope = verify.parse(bytes.fromhex(case["message"]))
        opened = verify.open_alarm(envelope, state, keys["device_ed25519_public"], keys["relay_id"], now=0)
        assert opened.alarm.encode() == cbor2.dumps(case["payload"])
        assert opened.sign1.hex() == case["sign1"]
        assert opened.state == verify.ChainState(case["counter"] + 1, bytes.fromhex(case["next_chain_key"]))
    for case in found["heartbeats"]:
        state = verify.ChainState(case["counter"], bytes.fromhex(case["chain_key"]))
        opened_heartbeat = verify.open_heartbeat(verify.parse(bytes.fromhex(case["message"])), state, now=0)
        assert opened_heartbeat.heartbeat.fields() == case["fields"]


def test_relay_refuses_the_vectors_for_the_reason_they_name(vectors: Vectors) -> None:
    found = vectors("envelope")
    keys = unhex(found["keys"])
    state = verify.ChainState(0, keys["alarm_root"])
    for case in found["refused"]:
        message = bytes.fromhex(case["message"])
        with pytest.raises(verify.Refused) as caught:
            verify.open_alarm(verify.parse(message), state, keys["device_ed25519_public"], keys["relay_id"], now=0)
        assert (case["name"], caught.value.reason.value) == (case["name"], case["reason"])


def random_fix(rng: random.Random) -> tuple[Any, ...] | None:
    if rng.random() < 0.2:
        return None
    tail = (rng.randint(-32768, 32767), rng.randint(0, 255), rng.randint(0, 359))
    known = rng.randrange(4)
    return (
        rng.choice([rng.randint(-900000000, 900000000), rng.randint(-300, 300)]),
        rng.randint(-1800000000, 1800000000),
        rng.choice([rng.randrange(30), rng.randrange(65536)]),
        rng.choice([rng.randrange(30), rng.randrange(65536)]),
        *tail[:known],
        *[None] * (3 - known),
    )


def random_cell(rng: random.Random) -> tuple[int, ...] | None:
    if rng.random() < 0.5:
        return None
    return rng.randrange(1000), rng.randrange(1000), rng.randrange(65536), rng.randrange(2**28)


def test_relay_opens_what_the_device_seals(both: Device, device: Device) -> None:
    """1,200 alarms of eight bracelets for three relays, with jumps of the counter, each opened by the relay's code.
    Without native code only the signature is another, and takes much longer: 200."""
    rng = random.Random(9)
    relays = [rng.randbytes(8) for _ in range(3)]
    seeds = [rng.randbytes(32) for _ in range(8)]
    publics = both.batch([("tocsin.crypto.ed25519.public", seed) for seed in seeds])
    arguments, states, seals = [], [], []
    for _ in range(1200 if both is device else 200):
        counter = rng.choice([rng.randrange(300), rng.randrange(70000), rng.randrange(2**24)])
        head = (rng.randrange(128), rng.randrange(24), rng.randint(0, min(counter, 65535)))
        arguments.append((*head, rng.getrandbits(32), rng.randint(0, 100), random_fix(rng), random_cell(rng), counter))
        states.append(verify.ChainState(counter, rng.randbytes(32)))
    payloads = both.batch([(PAYLOAD, *case) for case in arguments])
    for state, payload in zip(states, payloads, strict=True):
        bracelet = rng.randrange(8)
        kid = bytes((0, 0, 0, bracelet))
        seals.append((SEAL, kid, relays[bracelet % 3], state.next, state.key, payload, seeds[bracelet], False))
    sealed = both.batch(seals)
    for case, state, call, payload, (octets, next_key) in zip(arguments, states, seals, payloads, sealed, strict=True):
        assert len(octets) <= LIMIT
        envelope = verify.parse(octets)
        assert (envelope.kid, envelope.counter) == (int.from_bytes(call[1], "big"), state.next)
        opened = verify.open_alarm(envelope, state, publics[envelope.kid], call[2], now=0)
        assert opened.state == verify.ChainState(state.next + 1, next_key)
        assert opened.alarm.encode() == cbor2.dumps(payload)
        assert opened.alarm[:5] == case[:5]
        for other in set(relays) - {call[2]}:
            with pytest.raises(verify.Refused):
                verify.open_alarm(envelope, state, publics[envelope.kid], other, now=0)


def test_relay_opens_the_devices_heartbeats(device: Device) -> None:
    rng = random.Random(10)
    kid, chain = rng.randbytes(4), verify.ChainState(0, rng.randbytes(32))
    for _ in range(300):
        fields = [rng.randrange(512), rng.getrandbits(32), rng.randint(0, 100), rng.randrange(65536)]
        network = [rng.randrange(6), rng.randrange(256), rng.randrange(1000000), rng.randrange(3)]
        health = [rng.randrange(6), rng.randrange(256), rng.getrandbits(32), rng.randrange(2)]
        fields = [*fields, rng.getrandbits(32), network, health, rng.randint(1, 2**31 - 1)][: rng.randint(4, 8)]
        octets, next_key = device.call("tocsin.envelope.seal_heartbeat", kid, chain.next, chain.key, fields)
        opened = verify.open_heartbeat(verify.parse(octets), chain, now=0)
        assert opened.heartbeat.fields() == fields
        assert opened.state == verify.ChainState(chain.next + 1, next_key)
        chain = opened.state


def test_device_opens_the_relays_receipts(device: Device) -> None:
    rng = random.Random(11)
    for _ in range(30):
        kid, root = rng.randbytes(4), rng.randbytes(32)
        counter = start = rng.choice([0, rng.randrange(70000), rng.randrange(2**32 - 100)])
        confirms = [rng.choice([rng.randrange(300), rng.randrange(2**24)]) for _ in range(40)]
        key, messages = root, []
        for confirmed in confirms:
            message, key = seal_receipt(kid, counter, key, confirmed)
            messages.append(message)
            counter += 1
        results = device.call("receive", kid, [start, root, {}], messages)
        assert [result for result, _ in results] == [["receipt", confirmed] for confirmed in confirms]
        assert results[-1][1] == [counter, key, {}]


def test_device_opens_the_relays_commands(device: Device) -> None:
    rng = random.Random(16)
    for _ in range(20):
        kid, key = rng.randbytes(4), rng.randbytes(32)
        root, counter = key, rng.choice([0, rng.randrange(70000)])
        start, messages, wanted = counter, [], []
        for _ in range(20):
            settings = {name: rng.randint(s.low, s.high) for name, s in down.SETTINGS.items() if rng.random() < 0.6}
            alert = rng.choice([rng.randrange(300), rng.randrange(2**24)])
            bundle = down.Bundle(rng.randrange(1, 1 << 31), rng.randrange(1025, 131073), rng.randbytes(32))
            body, expected = rng.choice(
                [
                    (down.about(down.Kind.ACCEPT, alert), ["accept", alert]),
                    (down.about(down.Kind.CLOSE, alert), ["close", alert]),
                    (down.configure(settings), ["configure", {down.SETTINGS[n].key: v for n, v in settings.items()}]),
                    (down.revoke(), ["revoke", None]),
                    (down.update(bundle), ["update", [*bundle]]),
                ]
            )
            assert down.parse(body)[0].name.lower() == expected[0]
            message, key = seal(kid, counter, key, body)
            messages.append(message)
            wanted.append(expected)
            counter += 1
        results = device.call("receive", kid, [start, root, {}], messages)
        assert [result for result, _ in results] == wanted


def expected_payload(head: tuple[int, ...], fix: tuple[Any, ...] | None, cell: Any, counter: int) -> list[Any]:
    """README's rule, written down a second time: what is left out, and in which order, until 140 octets are enough."""
    position = [item for item in fix if item is not None] if fix else []
    cells = [list(cell)] if cell else []

    def octets() -> int:
        payload = cbor2.dumps([1, *head, *position, *cells])
        signed = cbor2.dumps([cbor2.dumps({1: -19}), {}, payload, bytes(64)])
        header = cbor2.dumps({1: 10, 4: bytes(4), 6: bytes(max(1, (counter.bit_length() + 7) // 8))})
        return len(cbor2.dumps([header, {}, signed + bytes(8)]))

    while octets() > LIMIT:
        if len(position) > 4:
            del position[-1]
        elif cells and position and position[3] > 3600:
            position = []
        else:
            cells = []
    return [1, *head, *position, *cells]


def extremes() -> list[tuple[Any, ...]]:
    """Every field at its shortest and at its longest, in every combination."""
    heads = list(itertools.product((0, 511), (0, 23), (0, 65535), (0, 2**32 - 1), (0, 100)))
    tails = [(None, None, None)]
    for altitude, speed, heading in ((0, 0, 0), (-32768, 255, 359)):
        tails += [(altitude, None, None), (altitude, speed, None), (altitude, speed, heading)]
    places = [(0, 0), (-900000000, 0), (0, 1800000000), (900000000, -1800000000)]
    fixes: list[tuple[Any, ...] | None] = [None]
    for place, accuracy, age, tail in itertools.product(places, (0, 65535), (0, 3600, 3601, 65535), tails):
        fixes.append((*place, accuracy, age, *tail))
    cells = (None, (0, 0, 0, 0), (999, 999, 65535, 268435455))
    return [
        (*head, fix, cell, counter)
        for head, fix, cell, counter in itertools.product(heads, fixes, cells, (0, LAST))
        if head[2] <= counter and head[1] == (23 if head[0] else 0)
    ]


def test_every_worst_case_fits_one_sms(device: Device) -> None:
    cases = extremes()
    assert len(cases) > 10000
    payloads = device.batch([(PAYLOAD, *case) for case in cases])
    kinds: dict[tuple[int, int], tuple[list[Any], int]] = {}
    for case, payload in zip(cases, payloads, strict=True):
        assert payload == expected_payload(case[:5], *case[5:])
        parse_alarm(cbor2.dumps(payload), case[7])
        kinds[len(cbor2.dumps(payload)), case[7]] = payload, case[7]
    seed = key = bytes(32)
    sealed = device.batch(
        [(SEAL, bytes(4), bytes(8), counter, key, payload, seed, False) for payload, counter in kinds.values()]
    )
    lengths = [len(octets) for octets, _ in sealed]
    assert LIMIT - 5 < max(lengths) <= LIMIT
    heartbeats = itertools.product(
        (0, 511), (0, 2**32 - 1), (0, 100), (0, 65535), (0, 2**32 - 1), [[5, 255, 999999, 2]], [[5, 255, 2**32 - 1, 1]]
    )
    calls = [
        ("tocsin.envelope.seal_heartbeat", bytes(4), counter, bytes(32), list(fields))
        for fields in heartbeats
        for counter in (0, 2**32 - 1)
    ]
    assert max(len(octets) for octets, _ in device.batch(calls)) <= LIMIT


def test_a_broken_sensor_does_not_keep_an_alarm_from_being_raised(device: Device) -> None:
    """Whatever the measurements are, the payload follows the grammar."""
    rng = random.Random(12)
    odd = [None, -1, 0, 65536, 2**31, 2**32, 2**70, -(2**40), True, "7", 901_000_000, 360]

    def some(*good: int) -> Any:
        return rng.choice(odd) if rng.random() < 0.4 else rng.choice(good)

    cases = []
    for _ in range(1000):
        fix = (some(1, 2), some(3), some(4), some(5, 4000), some(6), some(7), some(8))
        cell = (some(262), some(1), some(5), some(6))
        cases.append((0, 0, 0, some(1767225600), some(50), rng.choice([None, fix]), rng.choice([None, cell]), 0))
    payloads = device.batch([(PAYLOAD, *case) for case in cases])
    for case, payload in zip(cases, payloads, strict=True):
        alarm = parse_alarm(cbor2.dumps(payload), 0)
        if type(case[3]) is int and 0 <= case[3] < 2**32:
            assert alarm.time == case[3]
        else:
            assert alarm.time == 0
    kept = [
        ((1, 2, 3, 4, 5, 6, 360), [1, 2, 3, 4, 5, 6]),
        ((1, 2, -1, 70000, 5, None, 7), [1, 2, 65535, 65535, 5]),
        ((900000001, 2, 3, 4, 5, 6, 7), []),
    ]
    for fix, items in kept:
        assert device.call(PAYLOAD, 0, 0, 0, 0, 0, fix, None, 0)[6:] == items


@pytest.mark.parametrize(
    ("flags", "cause", "seq", "counter"),
    [(512, 0, 0, 0), (-1, 0, 0, 0), (0, 24, 0, 0), (0, 0, 65536, 0), (0, 0, 0, 2**24), (True, 0, 0, 0)],
)
def test_mistakes_of_the_caller_are_refused(device: Device, flags: int, cause: int, seq: int, counter: int) -> None:
    with pytest.raises(Refused):
        device.call(PAYLOAD, flags, cause, seq, 0, 0, None, None, counter)


def test_the_alarm_chain_ends(device: Device) -> None:
    payload = [1, 0, 0, 0, 0, 0]
    assert device.call(SEAL, bytes(4), bytes(8), LAST, bytes(32), payload, bytes(32), False)
    for counter in (LAST + 1, -1):
        with pytest.raises(Refused):
            device.call(SEAL, bytes(4), bytes(8), counter, bytes(32), payload, bytes(32), False)


def test_nothing_longer_than_an_sms_is_sealed_or_read(device: Device) -> None:
    with pytest.raises(Refused):
        device.call(SEAL, bytes(4), bytes(8), 0, bytes(32), [0] * 50, bytes(32), False)
    with pytest.raises(Refused):
        device.call("tocsin.envelope.peek", bytes(141))

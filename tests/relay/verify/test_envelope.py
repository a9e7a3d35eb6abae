"""Messages as they come from outside: the good ones are read, and of everything else nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.verify import (
    SENTENCES,
    Alarm,
    Cell,
    ChainState,
    Fix,
    Heartbeat,
    Reason,
    Refused,
    open_alarm,
    open_heartbeat,
    open_receipt,
    parse,
    roots,
)
from relay.verify.down import Kind, about
from relay.verify.envelope import MAX_ALARM_COUNTER, MAX_OCTETS, SIGN_HEADER
from relay.verify.payload import (
    CELL,
    DOWN,
    FIX,
    HEAD,
    HEALTH,
    HEARTBEAT,
    NETWORK,
    PROGRAM,
    Health,
    Network,
    parse_alarm,
    parse_heartbeat,
)
from relay.verify.seal import Sealer, seal, seal_up

KID = bytes.fromhex("c0ffee01")
RELAY = bytes(8)
ROOTS = roots(bytes(range(32)), KID, RELAY)
FULL = Alarm(0b1011000, 0, 0, 1767225600, 87, Fix(597700000, -438501234, 12, 3, 34, 14, 87))


def sealer(kid: bytes = KID, relay: bytes = RELAY, seed: bytes = bytes(32)) -> Sealer:
    return Sealer(kid, relay, ROOTS, seed)


PUBLIC = sealer().public


def read(octets: bytes, state: ChainState = ChainState(0, ROOTS.alarm)) -> Alarm:  # noqa: B008 - immutable
    return open_alarm(parse(octets), state, PUBLIC, RELAY, 0).alarm


def refusal(act: Callable[[], object]) -> Reason:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.reason


def fixes() -> st.SearchStrategy[Fix]:
    def cut(items: tuple[int, ...], length: int) -> Fix:
        return Fix(*items[:length])

    return st.builds(cut, st.tuples(*(st.integers(*limits) for limits in FIX)), st.integers(4, 7))


def alarms() -> st.SearchStrategy[Alarm]:
    cells = st.builds(Cell, *(st.integers(*limits) for limits in CELL))
    head = [st.integers(*limits) for limits in HEAD[1:]]
    return st.builds(Alarm, *head, fix=st.none() | fixes(), cell=st.none() | cells)


# --- what is good ---


@given(alarms())
def test_alarm_comes_back(alarm: Alarm) -> None:
    source = sealer()
    source.alarm_counter = alarm.seq
    octets = source.alarm(alarm)
    state = ChainState(alarm.seq, ROOTS.alarm)
    if len(octets) > MAX_OCTETS:
        assert refusal(lambda: read(octets, state)) is Reason.OVERSIZED
    else:
        assert read(octets, state) == alarm


def heartbeats() -> st.SearchStrategy[Heartbeat]:
    """Every range, and what is left out left out from the end."""
    down, program = (st.integers(*limits[0]) for limits in (DOWN, PROGRAM))
    network = st.builds(Network, *(st.integers(*limits) for limits in NETWORK))
    health = st.builds(Health, *(st.integers(*limits) for limits in HEALTH))
    more = st.tuples(down, network, health, program)
    head = st.tuples(*(st.integers(*limits) for limits in HEARTBEAT[1:]))
    return st.builds(lambda head, more, left: Heartbeat(*head, *more[:left]), head, more, st.integers(0, 4))


@given(heartbeats())
def test_any_heartbeat_comes_back(beat: Heartbeat) -> None:
    octets = sealer().heartbeat(beat)
    assert len(octets) <= MAX_OCTETS
    assert open_heartbeat(parse(octets), ChainState(0, ROOTS.heartbeat), 0).heartbeat == beat


def test_heartbeat_comes_back() -> None:
    source, state = sealer(), ChainState(0, ROOTS.heartbeat)
    full = (Network(5, 255, 999999, 2), Health(5, 255, 2**32 - 1, 1), 2**31 - 1)
    for beat in (Heartbeat(0, 0, 0, 0), Heartbeat(511, 2**32 - 1, 100, 65535, 2**32 - 1, *full)):
        opened = open_heartbeat(parse(source.heartbeat(beat)), state, 0)
        assert opened.heartbeat == beat
        state = opened.state


def test_flags() -> None:
    alarm = FULL._replace(flags=0b1010111)
    assert (alarm.drill, alarm.cancel, alarm.duress) == (True, True, True)
    assert (alarm.time_quality, alarm.strap) == ("network", "open")
    assert (alarm.last, alarm.doubtful) == (False, False)
    assert (FULL._replace(flags=128).last, FULL._replace(flags=256).doubtful) == (True, True)
    quiet = FULL._replace(flags=0)
    assert (quiet.drill, quiet.cancel, quiet.duress) == (False, False, False)
    assert (quiet.time_quality, quiet.strap) == ("unknown", "none")


# --- what is not ---


def test_every_prefix_is_refused() -> None:
    octets = sealer().alarm(FULL)
    for length in range(len(octets)):
        assert refusal(lambda cut=octets[:length]: read(cut)) is Reason.NOT_CBOR


def test_every_bit_flip_is_refused() -> None:
    octets = sealer().alarm(FULL)
    seen = set()
    for bit in range(len(octets) * 8):
        damaged = bytearray(octets)
        damaged[bit // 8] ^= 1 << bit % 8
        seen.add(refusal(lambda flipped=bytes(damaged): read(flipped)))
    assert {Reason.NOT_CBOR, Reason.BAD_STRUCTURE, Reason.BAD_HEADER, Reason.BAD_TAG} <= seen


def test_every_bit_flip_of_a_heartbeat_is_refused() -> None:
    octets = sealer().heartbeat(Heartbeat(0, 1767225600, 87, 2))
    for bit in range(len(octets) * 8):
        damaged = bytearray(octets)
        damaged[bit // 8] ^= 1 << bit % 8
        state = ChainState(0, ROOTS.heartbeat)
        refusal(lambda flipped=bytes(damaged), state=state: open_heartbeat(parse(flipped), state, 0))


@given(st.binary(max_size=200))
def test_anything_else_is_refused(octets: bytes) -> None:
    refusal(lambda: read(octets))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=60) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 9) | st.text(max_size=2), inner),
        max_leaves=8,
    )
)
def test_any_other_cbor_is_refused(value: Any) -> None:
    octets = cbor2.dumps(value)
    refusal(lambda: parse(octets))
    refusal(lambda: parse_alarm(octets, 10))
    refusal(lambda: parse_heartbeat(octets))
    signed = sealer().alarm_plaintext(octets)
    refusal(lambda: read(signed))


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (bytes(141), Reason.OVERSIZED),
        (b"", Reason.NOT_CBOR),
        (b"\x00", Reason.BAD_STRUCTURE),
        (b"\x83\x40\xa0\x40\x00", Reason.NOT_CBOR),  # an octet behind
        (b"\x9f\x40\xa0\x40\xff", Reason.NOT_CBOR),  # indefinite length
        (b"\x98\x03\x40\xa0\x40", Reason.NOT_CBOR),  # length longer than it needs to be
        (b"\xa2\x01\x02\x01\x03", Reason.NOT_CBOR),  # a key twice
        (b"\xc4\x82\x1a\x7f\xff\xff\xff\x01", Reason.NOT_CBOR),  # a tag that would be expanded
        (b"\xd8\x1c\x81\xd8\x1d\x00", Reason.NOT_CBOR),  # a list that contains itself
        (b"\xd9\xff\xff\x00", Reason.BAD_STRUCTURE),  # a tag that nobody knows
        (b"\x81" * 140, Reason.NOT_CBOR),
        (b"\x83\x40\xa0\x49" + bytes(9), Reason.BAD_HEADER),
        (b"\x83\x40\xa0\x48" + bytes(8), Reason.BAD_STRUCTURE),  # a tag and no content
        (b"\x83\x60\xa0\x49" + bytes(9), Reason.BAD_STRUCTURE),  # text for octets
    ],
)
def test_malformed(octets: bytes, reason: Reason) -> None:
    assert refusal(lambda: parse(octets)) is reason


@pytest.mark.parametrize(
    "header",
    [
        {1: 24, 4: KID, 6: b"\0"},
        {1: 10, 4: KID[:3], 6: b"\0"},
        {1: 10, 4: KID, 6: b""},
        {1: 10, 4: KID, 6: b"\0\0"},
        {1: 10, 4: KID, 6: b"\1\0\0\0\0"},
        {1: 10, 4: KID, 6: 0},
        {1: 10, 6: b"\0", 4: KID},
        {True: 10, 4: KID, 6: b"\0"},
        {1: 10.0, 4: KID, 6: b"\0"},
        {1: 10, 4: KID},
        {1: 10, 4: KID, 5: b"\0" * 13, 6: b"\0"},
        [1, 10],
        10,
    ],
)
def test_header(header: Any) -> None:
    octets = cbor2.dumps([cbor2.dumps(header), {}, bytes(20)])
    assert refusal(lambda: parse(octets)) is Reason.BAD_HEADER


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: [cbor2.dumps({1: -8}), {}, s[2], s[3]], Reason.BAD_HEADER),
        (lambda s: [b"", {}, s[2], s[3]], Reason.BAD_HEADER),
        (lambda s: [s[0], {4: KID}, s[2], s[3]], Reason.BAD_STRUCTURE),
        (lambda s: [s[0], {}, s[2], s[3][:63]], Reason.BAD_STRUCTURE),
        (lambda s: [s[0], {}, s[2], s[3], 0], Reason.BAD_STRUCTURE),
        (lambda s: [s[0], {}, None, s[3]], Reason.BAD_STRUCTURE),
        (lambda s: {0: s[0]}, Reason.BAD_STRUCTURE),
        (lambda s: [s[0], {}, s[2][:-1] + b"\x58", s[3]], Reason.BAD_SIGNATURE),
        (lambda s: [s[0], {}, s[2], bytes(64)], Reason.BAD_SIGNATURE),
        (lambda s: [s[0], {}, s[2], s[3][:32] + b"\xff" * 32], Reason.BAD_SIGNATURE),
    ],
)
def test_sign1(change: Callable[[list[Any]], Any], reason: Reason) -> None:
    """A bracelet's key is known to somebody, or its firmware is wrong: the tag is good, the inside isn't."""
    sign1 = cbor2.loads(open_alarm(parse(sealer().alarm(FULL)), ChainState(0, ROOTS.alarm), PUBLIC, RELAY, 0).sign1)
    octets = sealer().alarm_plaintext(cbor2.dumps(change(sign1)))
    assert refusal(lambda: read(octets)) is reason


def test_sign1_must_be_deterministic() -> None:
    sign1 = open_alarm(parse(sealer().alarm(FULL)), ChainState(0, ROOTS.alarm), PUBLIC, RELAY, 0).sign1
    assert sign1[0] == 0x84
    for other in (b"\x98\x04" + sign1[1:], sign1 + b"\x00"):
        octets = sealer().alarm_plaintext(other)
        assert refusal(lambda octets=octets: read(octets)) is Reason.BAD_STRUCTURE


def test_wrong_relay() -> None:
    octets = sealer(relay=bytes(7) + b"\1").alarm(FULL)
    assert refusal(lambda: read(octets)) is Reason.BAD_SIGNATURE


def test_wrong_key() -> None:
    octets = sealer(seed=b"\1" * 32).alarm(FULL)
    assert refusal(lambda: read(octets)) is Reason.BAD_SIGNATURE


def test_wrong_bracelet() -> None:
    """Another bracelet's message, and the same message under this bracelet's key id."""
    other = Sealer(b"othr", RELAY, roots(b"\1" * 32, b"othr", RELAY), b"\1" * 32)
    octets = other.alarm(FULL)
    assert refusal(lambda: read(octets)) is Reason.BAD_TAG
    assert refusal(lambda: read(octets.replace(b"othr", KID))) is Reason.BAD_TAG


def test_the_signature_binds_the_counter() -> None:
    """Even who has the chain key can't move a signed alarm to another counter."""
    source = sealer()
    sign1 = open_alarm(parse(source.alarm(FULL)), ChainState(0, ROOTS.alarm), PUBLIC, RELAY, 0).sign1
    moved, _ = seal_up(KID, 1, ROOTS.alarm, sign1)
    assert refusal(lambda: read(moved, ChainState(1, ROOTS.alarm))) is Reason.BAD_SIGNATURE


def test_lanes_are_separate() -> None:
    """A heartbeat is no alarm and an alarm no heartbeat, even under the other chain's key."""
    alarm, beat = sealer().alarm(FULL), sealer().heartbeat(Heartbeat(0, 0, 0, 0))
    assert refusal(lambda: read(beat)) is Reason.BAD_TAG
    heartbeat_state, alarm_state = ChainState(0, ROOTS.heartbeat), ChainState(0, ROOTS.alarm)
    assert refusal(lambda: open_heartbeat(parse(alarm), heartbeat_state, 0)) is Reason.BAD_TAG
    assert refusal(lambda: open_heartbeat(parse(alarm), alarm_state, 0)) is Reason.BAD_PAYLOAD


def test_only_what_goes_down_has_a_salt() -> None:
    down, _ = seal(KID, 0, ROOTS.down, about(Kind.RECEIPT, 7))
    state = ChainState(0, ROOTS.down)
    assert open_receipt(parse(down), state, 0)[0] == 7
    assert refusal(lambda: open_alarm(parse(down), state, PUBLIC, RELAY, 0)) is Reason.BAD_HEADER
    assert refusal(lambda: open_heartbeat(parse(down), state, 0)) is Reason.BAD_HEADER
    bare, _ = seal_up(KID, 0, ROOTS.down, about(Kind.RECEIPT, 7))
    assert refusal(lambda: open_receipt(parse(bare), state, 0)) is Reason.BAD_HEADER


def test_two_texts_under_one_counter_share_no_key() -> None:
    """The salt comes from the text: XOR of the ciphertexts is not XOR of the texts, and the same text is the same."""
    one, two = (seal(KID, 3, ROOTS.down, about(Kind.RECEIPT, counter))[0] for counter in (1, 2))
    assert one == seal(KID, 3, ROOTS.down, about(Kind.RECEIPT, 1))[0]
    first, second = parse(one), parse(two)
    assert first.salt != second.salt
    xor = [a ^ b for a, b in zip(first.ciphertext[:4], second.ciphertext[:4], strict=True)]
    assert xor != [0, 0, 0, 3]
    swapped = one.replace(first.salt or b"", second.salt or b"")
    assert refusal(lambda: open_receipt(parse(swapped), ChainState(3, ROOTS.down), 0)) is Reason.BAD_TAG


def test_the_alarm_chain_ends() -> None:
    source = sealer()
    source.alarm_counter = MAX_ALARM_COUNTER
    last, beyond = source.alarm(FULL), source.alarm(FULL)
    assert read(last, ChainState(MAX_ALARM_COUNTER, ROOTS.alarm)) == FULL
    state = ChainState(MAX_ALARM_COUNTER + 1, ROOTS.alarm)
    assert refusal(lambda: read(beyond, state)) is Reason.BAD_HEADER


# --- the payload's grammar ---

GOOD = [1, 24, 0, 0, 1767225600, 87, 597700000, -438501234, 12, 3, 34, 14, 87, [262, 1, 54321, 28471062]]


@pytest.mark.parametrize(("place", "limits"), list(enumerate([*HEAD, *FIX])))
def test_limits(place: int, limits: tuple[int, int]) -> None:
    for value, good in ((limits[0], True), (limits[1], True), (limits[0] - 1, False), (limits[1] + 1, False)):
        octets = cbor2.dumps([*GOOD[:place], value, *GOOD[place + 1 :]])
        if good:
            assert parse_alarm(octets, 65535).encode() == octets
        else:
            assert refusal(lambda octets=octets: parse_alarm(octets, 65535)) is Reason.BAD_PAYLOAD


@pytest.mark.parametrize("place", range(13))
@pytest.mark.parametrize("value", [None, True, 1.0, "1", b"1", [1], {}])
def test_types(place: int, value: Any) -> None:
    octets = cbor2.dumps([*GOOD[:place], value, *GOOD[place + 1 :]])
    assert refusal(lambda: parse_alarm(octets, 65535)) is Reason.BAD_PAYLOAD


@pytest.mark.parametrize("length", range(15))
def test_lengths(length: int) -> None:
    octets = cbor2.dumps(GOOD[:length])
    if length in (6, 10, 11, 12, 13, 14):
        assert parse_alarm(octets, 0).encode() == octets
    else:
        assert refusal(lambda: parse_alarm(octets, 0)) is Reason.BAD_PAYLOAD


def test_an_update_is_not_older_than_its_chain() -> None:
    octets = FULL._replace(seq=3).encode()
    assert parse_alarm(octets, 3).seq == 3
    assert refusal(lambda: parse_alarm(octets, 2)) is Reason.BAD_PAYLOAD


@pytest.mark.parametrize("place", range(len(HEARTBEAT)))
def test_heartbeat_limits(place: int) -> None:
    good = [1, 24, 1767225600, 87, 2]
    for value in (HEARTBEAT[place][0] - 1, HEARTBEAT[place][1] + 1, None, 1.0, True):
        octets = cbor2.dumps([*good[:place], value, *good[place + 1 :]])
        assert refusal(lambda octets=octets: parse_heartbeat(octets)) is Reason.BAD_PAYLOAD
    assert refusal(lambda: parse_heartbeat(cbor2.dumps(good[:4]))) is Reason.BAD_PAYLOAD
    assert refusal(lambda: parse_heartbeat(cbor2.dumps([*good, -1]))) is Reason.BAD_PAYLOAD


@pytest.mark.parametrize(("item", "place"), [(item, place) for item in (6, 7) for place in range(4)])
def test_limits_of_what_a_heartbeat_reports(item: int, place: int) -> None:
    good: list[Any] = [1, 24, 1767225600, 87, 2, 9, [1, 73, 262001, 1], [3, 1, 7, 0]]
    low, high = (NETWORK, HEALTH)[item - 6][place]
    for value in (low, high):
        good[item][place] = value
        assert parse_heartbeat(cbor2.dumps(good)).fields() == good[1:]
    for bad in (low - 1, high + 1, None, 1.0, True, [1]):
        good[item][place] = bad
        assert refusal(lambda: parse_heartbeat(cbor2.dumps(good))) is Reason.BAD_PAYLOAD


@pytest.mark.parametrize("version", [0, -1, 2**31, None, 1.0, True, [1], b"\x01", "1"])
def test_limits_of_the_program_s_version(version: Any) -> None:
    beat = [1, 24, 1767225600, 87, 2, 9, [1, 73, 262001, 1], [3, 1, 7, 0]]
    for good in (1, 2**31 - 1):
        assert parse_heartbeat(cbor2.dumps([*beat, good])).program == good
    assert refusal(lambda: parse_heartbeat(cbor2.dumps([*beat, version]))) is Reason.BAD_PAYLOAD


def test_what_a_heartbeat_leaves_out_it_leaves_out_from_the_end() -> None:
    full = [1, 24, 1767225600, 87, 2, 9, [1, 73, 262001, 1], [3, 1, 7, 0], 12]
    for items in range(11):
        octets = cbor2.dumps([*full, 0, 0][:items])
        if 5 <= items <= 9:
            assert parse_heartbeat(octets).encode() == octets
        else:
            assert refusal(lambda octets=octets: parse_heartbeat(octets)) is Reason.BAD_PAYLOAD
    for wrong in ([*full[:5], full[6]], [*full[:6], full[6][:3]], [*full[:7], 12]):
        refusal(lambda wrong=wrong: parse_heartbeat(cbor2.dumps(wrong)))


def test_a_will_is_a_heartbeat_without_a_link() -> None:
    assert Heartbeat(0, 0, 0, 0, 0, Network(1, 73, 262001, 0)).will
    assert not Heartbeat(0, 0, 0, 0, 0, Network(1, 73, 262001, 1)).will
    assert not Heartbeat(0, 0, 0, 0).will


def test_every_reason_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Reason)
    assert SIGN_HEADER == bytes.fromhex("a10132")


def test_no_position_is_printed() -> None:
    assert "597" not in repr(FULL)
    opened = open_alarm(parse(sealer().alarm(FULL)), ChainState(0, ROOTS.alarm), PUBLIC, RELAY, 0)
    assert "597" not in repr(opened)

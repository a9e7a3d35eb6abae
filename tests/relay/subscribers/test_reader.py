"""The reading end: documents wait for their key, and what is not genuine is said so."""

from __future__ import annotations

import random

import pytest

from relay import case_document
from relay.subscribers import epoch_keys
from relay.subscribers.audiences import Audience, Permission
from relay.subscribers.file import key_pair
from relay.subscribers.reader import MOST_EPOCHS, MOST_WAITING, OVERDUE_S, SENTENCES, Reader
from relay.subscribers.sealing import Epoch
from relay.verify.keys import RelayKeys
from tests.relay.support import KEYS

PRIVATE, PUBLIC = key_pair()
KID = 0x0A1B2C3D
KEY_TOPIC = "s/0000c0ffee01/key/sub-0000000a"


def epoch(number: int) -> Epoch:
    return Epoch(number.to_bytes(8, "big"), bytes((number % 256,)) * 32)


def sealed(number: int, case: int = 0, keys: RelayKeys = KEYS, kid: int = KID) -> tuple[str, bytes]:
    audience = Audience("0000c0ffee01", Permission(), epoch(number))
    return audience.seal(kid, "case", case_document.build(keys, (KID << 24) + case, "accepted", 1_767_225_700_000))


def keys(*numbers: int) -> tuple[str, bytes]:
    return KEY_TOPIC, epoch_keys.seal(KEYS, KEY_TOPIC, PUBLIC, [epoch(number) for number in numbers], 7)


@pytest.fixture
def reader() -> Reader:
    return Reader("0000c0ffee01", "sub-0000000a", KEYS.public, PRIVATE)


def test_documents_wait_for_their_key_and_come_in_their_order(reader: Reader) -> None:
    for number in range(5):
        assert reader.take(*sealed(1, number), number, 0) == []
    assert reader.take(*sealed(2, 9), 9, 0) == []
    heard = reader.take(*keys(1), "key", 1)
    assert [(each.kind, each.message) for each in heard] == [("key", "key"), *(("case", n) for n in range(5))]
    assert all(each.ok for each in heard)
    assert reader.waiting == 1
    assert [each.message for each in reader.take(*keys(2, 1), "key", 2)] == ["key", 9]
    assert reader.take(*sealed(1, 7), 7, 3)[0].ok, "an earlier key stays good"


def test_how_many_wait_is_bounded_and_the_oldest_is_said_to_be_unreadable(reader: Reader) -> None:
    for number in range(MOST_WAITING):
        assert reader.take(*sealed(1, number), number, 0) == []
    (dropped,) = reader.take(*sealed(1, MOST_WAITING), MOST_WAITING, 0)
    assert (dropped.message, dropped.findings[0].code) == (0, "no_key")
    assert reader.waiting == MOST_WAITING


def test_that_a_key_is_overdue_is_said_once(reader: Reader) -> None:
    reader.take(*sealed(1), 0, 0)
    reader.take(*sealed(1, 1), 0, 5)
    assert reader.overdue(OVERDUE_S - 1) == []
    assert [finding.code for finding in reader.overdue(OVERDUE_S)] == ["no_key"]
    assert reader.overdue(OVERDUE_S + 20) == []
    assert len(reader.take(*keys(1), "key", 30)) == 3


def test_keys_are_asked_for_while_a_document_waits_and_ever_more_rarely(reader: Reader) -> None:
    assert not reader.asks_for_keys(0)
    reader.take(*sealed(1), 0, 100)
    assert [now for now in range(100, 400) if reader.asks_for_keys(now)] == [
        100,
        101,
        103,
        107,
        115,
        131,
        163,
        223,
        283,
        343,
    ]
    reader.take(*keys(1), "key", 400)
    assert not reader.asks_for_keys(400)
    reader.take(*sealed(2), 0, 401)
    assert reader.asks_for_keys(401), "what waits next is not made to wait for what waited before"


def test_how_many_keys_are_kept_is_bounded(reader: Reader) -> None:
    for number in range(MOST_EPOCHS + 5):
        reader.take(*keys(number), None, 0)
    assert reader.take(*sealed(0), 0, 0) == []
    assert reader.take(*sealed(MOST_EPOCHS + 4), 0, 0)[0].ok


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (("s/0000c0ffee01/0a1b2c3d/case", b"{}"), "not_sealed"),
        (("s/0000c0ffee01/0a1b2c3d/case", b""), "not_sealed"),
        (("s/0000c0ffee01/0a1b2c3d/alarm", sealed(1)[1]), "bad_tag"),
        (("s", sealed(1)[1]), "bad_tag"),
        (sealed(1, keys=RelayKeys(bytes(32))), "not_genuine"),
        (sealed(1, kid=KID + 1), "wrong_topic"),
        ((KEY_TOPIC, b"junk"), "keys_not_by_relay"),
        ((KEY_TOPIC, b""), "keys_removed"),
        ((KEY_TOPIC, epoch_keys.seal(KEYS, KEY_TOPIC, key_pair()[1], [], 7)), "keys_for_another"),
    ],
)
def test_what_is_not_genuine_is_named(reader: Reader, message: tuple[str, bytes], code: str) -> None:
    reader.take(*keys(1), None, 0)
    (heard,) = reader.take(*message, "it", 0)
    assert (heard.ok, heard.document, heard.message) == (False, None, "it")
    assert heard.findings[0] == (code, SENTENCES[code], "")


def test_nothing_that_comes_in_makes_it_raise(reader: Reader) -> None:
    drawn, good = random.Random(5), [sealed(1), keys(1)]
    reader.take(*keys(1), None, 0)
    for _ in range(5000):
        topic, octets = drawn.choice(good)
        changed = bytearray(octets[: drawn.choice([len(octets), drawn.randrange(len(octets))])])
        for _ in range(drawn.randrange(1, 4)):
            if changed:
                changed[drawn.randrange(len(changed))] = drawn.randrange(256)
        if bytes(changed) != octets:
            assert not any(each.ok for each in reader.take(topic, bytes(changed), None, 0))

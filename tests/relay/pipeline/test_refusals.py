"""What the pipeline refuses: counted by reason, and nothing else in the database moves."""

from __future__ import annotations

from nacl.bindings import crypto_sign_seed_keypair

from relay.pipeline import Inbound, Pipeline, Status
from relay.store import Store
from relay.verify import Reason
from tests.relay.support import NOW, Bracelet, contents, one, provision, refusals


def test_refused_messages_move_nothing(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    """One of each kind, in one batch with a good one, counted by reason."""
    other = provision(store, "heron")
    good = bracelet.alarm()
    forged = other.alarm().replace(bytes.fromhex(other.kid), bytes.fromhex(bracelet.kid))
    batch = [
        Inbound("mqtt", bytes(141), "alarm", bracelet.kid),
        Inbound("mqtt", good[:-1], "alarm", bracelet.kid),
        Inbound("mqtt", b"\x83\x40\xa0\x40", "alarm", bracelet.kid),
        Inbound("mqtt", b"\x83\x40\xa0\x49" + bytes(9), "alarm", bracelet.kid),
        Inbound("mqtt", good, "alarm", other.kid),
        Inbound("mqtt", good.replace(bytes.fromhex(bracelet.kid), bytes(4)), "alarm", "00000000"),
        bracelet.by_mqtt(forged),
        bracelet.by_mqtt(bracelet.heartbeat()),
        bracelet.beat(good),
        bracelet.by_sms(good[:-1] + b"\x00"),
    ]
    before = contents(store)
    items = pipeline.process(batch, NOW).items
    assert [item.status for item in items] == [Status.REFUSED] * len(batch)
    assert [item.reason for item in items] == [
        Reason.OVERSIZED,
        Reason.NOT_CBOR,
        Reason.BAD_STRUCTURE,
        Reason.BAD_HEADER,
        Reason.WRONG_TOPIC,
        Reason.UNKNOWN_KID,
        *[Reason.BAD_TAG] * 4,
    ]
    assert all(item.receipt is None and item.document is None and not item.deliveries for item in items)
    after = contents(store)
    assert {name for name in after if after[name] != before[name]} == {"refusal"}
    assert refusals(store)["bad_tag", "mqtt"] == 3
    assert refusals(store)["bad_tag", "sms"] == 1
    assert one(pipeline, bracelet.by_mqtt(good)) == (Status.NEW, None)
    pipeline.process(batch[:1], NOW)
    assert refusals(store)["oversized", "mqtt"] == 2


def test_sealed_with_the_right_key_but_not_as_it_must_be(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    """Signed for another relay, by another key, or around a payload that is none: the tag is good, and still nothing
    moves."""
    sealer, good = bracelet.sealer, bracelet.alarm()
    chain = sealer._alarm_key
    wrong: list[bytes] = []
    for change in ({"relay_id": bytes(8)}, {"_secret": crypto_sign_seed_keypair(bytes(32))[1]}):
        kept = {name: getattr(sealer, name) for name in change}
        vars(sealer).update(change)
        wrong.append(bracelet.alarm(1))
        vars(sealer).update(kept, alarm_counter=1, _alarm_key=chain)
    wrong.append(sealer.alarm_octets(b"\x83\x01\x02\x03"))
    before = contents(store)
    items = pipeline.process([bracelet.by_mqtt(octets) for octets in wrong], NOW).items
    assert [item.reason for item in items] == [Reason.BAD_SIGNATURE, Reason.BAD_SIGNATURE, Reason.BAD_PAYLOAD]
    after = contents(store)
    assert {name for name in after if after[name] != before[name]} == {"refusal"}
    assert refusals(store) == {("bad_signature", "mqtt"): 2, ("bad_payload", "mqtt"): 1}
    assert one(pipeline, bracelet.by_mqtt(good)) == (Status.NEW, None)


def test_every_cut_and_flip_moves_nothing(store: Store, pipeline: Pipeline, bracelet: Bracelet) -> None:
    good = bracelet.alarm()
    damaged = [good[:length] for length in range(len(good))]
    damaged += [(int.from_bytes(good, "big") ^ 1 << bit).to_bytes(len(good), "big") for bit in range(len(good) * 8)]
    before = contents(store)
    items = pipeline.process([Inbound("sms", octets) for octets in damaged], NOW).items
    assert {item.status for item in items} == {Status.REFUSED}
    after = contents(store)
    assert {name for name in after if after[name] != before[name]} == {"refusal"}
    assert sum(refusals(store).values()) == len(damaged)
    assert one(pipeline, bracelet.by_sms(good)) == (Status.NEW, None)

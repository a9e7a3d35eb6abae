"""What the watch decides about sessions and queues, and how nats-server names them."""

from __future__ import annotations

import pytest

from relay.broker import PROBE, PROBE_BRACELET, temporary_id
from relay.broker.nats import NatsBroker
from relay.broker.system import Queue
from relay.broker.watch import AWAY_MOST_S, QUEUE_WARN, SESSIONS_SPARE, TEMPORARY_AWAY_S, Seen, client_hash, plan

from .conftest import Connect

KEPT = {"relay-1": None, "partner": 1000, "bracelet": 500}


def seen(**changes: object) -> Seen:
    fields = {"stored": 0, "most": 1000, "sessions": set(), "queues": [], "connected": set(), "kept": KEPT}
    return Seen(**{**fields, **changes})  # type: ignore[arg-type]


def queue(client_id: str, waiting: int, connected: bool = False) -> Queue:
    return Queue(client_hash(client_id) + "_durable", waiting, connected)


def test_a_hash_is_what_nats_server_makes_of_a_client_id(nats: NatsBroker, connect: Connect) -> None:
    connect(nats, "relay", clean=False).close()
    streams = nats.folder / "jetstream" / "TOCSIN" / "streams" / "$MQTT_sess"
    kept = b"".join(file.read_bytes() for file in (streams / "msgs").iterdir())
    assert f"$MQTT.sess.{client_hash('relay')}".encode() in kept


def test_what_no_account_owns_goes_unless_it_is_connected() -> None:
    sessions = {client_hash(name) for name in ("relay-1", "gone", "partner", "here")}
    made = plan(seen(sessions=sessions, connected={"here"}), {}, 0.0)
    assert made.orphans == {client_hash("gone")}
    assert made.overfull == {}


def test_a_queue_without_a_record_goes_too() -> None:
    assert plan(seen(queues=[queue("gone", 3)]), {}, 0.0).orphans == {client_hash("gone")}


def test_a_partner_with_too_much_waiting_is_ended_and_told_of_before() -> None:
    some, many = [queue("partner", 501)], [queue("partner", 600), queue("partner", 401)]
    assert plan(seen(queues=some), {}, 0.0).overfull == {}
    assert "broker.queue_of_subscriber" in plan(seen(queues=some), {}, 0.0).warnings
    assert plan(seen(queues=many), {}, 0.0).overfull == {client_hash("partner"): "partner"}


def test_a_partner_that_stays_away_is_ended() -> None:
    away: dict[str, float] = {}
    assert plan(seen(queues=[queue("partner", 1)]), away, 0.0).overfull == {}
    assert plan(seen(queues=[queue("partner", 1)]), away, AWAY_MOST_S - 1).overfull == {}
    assert plan(seen(queues=[queue("partner", 1)]), away, AWAY_MOST_S + 1).overfull != {}


@pytest.mark.parametrize("client_id", [temporary_id("partner", 4), PROBE, PROBE_BRACELET])
def test_what_a_temporary_client_left_goes_soon(client_id: str) -> None:
    """A broker that is killed keeps its session."""
    away: dict[str, float] = {}
    left = seen(queues=[queue(client_id, 1)], kept={client_id: 1000})
    assert plan(left, away, 0.0).overfull == {}
    assert plan(left, away, TEMPORARY_AWAY_S - 1).overfull == {}, "it may be on its way back"
    assert plan(left, away, TEMPORARY_AWAY_S + 1).overfull == {client_hash(client_id): client_id}


def test_its_coming_back_starts_the_time_anew() -> None:
    away: dict[str, float] = {}
    plan(seen(queues=[queue("partner", 1)]), away, 0.0)
    plan(seen(queues=[queue("partner", 1, connected=True)]), away, 10.0)
    assert plan(seen(queues=[queue("partner", 1)]), away, AWAY_MOST_S + 5).overfull == {}


def test_the_relays_own_session_is_never_ended_but_told_of() -> None:
    made = plan(seen(queues=[queue("relay-1", QUEUE_WARN)]), {client_hash("relay-1"): 0.0}, 10 * AWAY_MOST_S)
    assert made.overfull == {}
    assert made.orphans == set()
    assert "broker.queue" in made.warnings


@pytest.mark.parametrize(("stored", "told"), [(499, False), (500, True), (1000, True)])
def test_the_fill_is_told_from_half_on(stored: int, told: bool) -> None:
    assert ("broker.fill" in plan(seen(stored=stored), {}, 0.0).warnings) is told


def test_more_sessions_than_accounts_are_told_of() -> None:
    names = {f"any-{number}" for number in range(SESSIONS_SPARE + 10)}
    sessions = {client_hash(name) for name in names}
    assert "broker.sessions" in plan(seen(sessions=sessions, connected=names), {}, 0.0).warnings

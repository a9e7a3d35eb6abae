"""Watch and bound what the embedded broker keeps, and clear it of what belongs to nobody.

nats-server keeps one record a session in the stream $MQTT_sess and one consumer a QoS 1 subscription on $MQTT_msgs; a
message stays as long as a consumer has not had it. It forgets none of it by itself: a session to which nobody comes
back keeps every message for ever. Names of both begin with the same hash of the client id (server/mqtt.go and getHash
in server/events.go of nats-server 2.15), so that the watch finds what belongs to no account without opening a record.

`plan` decides and is pure; `Watch` looks and acts, by nats-server's JetStream API. It warns in the relay's log, and
never touches a session of the relay's own.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import nats
from nats.aio.client import Client

from relay.broker import is_temporary
from relay.broker.system import MESSAGES, RETAINED, SESSIONS, Queue, Storage, connections, end_connections
from relay.log import Logger

AWAY_MOST_S = 7 * 86400.0  # a partner's session waits this long for its partner
# A temporary client's session is there only because the broker was killed meanwhile; a probe's client is away while a
# check asks whether its session is kept.
TEMPORARY_AWAY_S = 120.0
QUEUE_WARN = 50_000  # messages waiting for one session
SESSIONS_SPARE = 1000  # so many sessions beyond one for each account need no warning
STRAY = 20  # sessions that a killed broker leaves of clients that had just connected
PER_TOPIC = 5000  # messages of one topic that are kept: an account floods its own topics only
_FULL_LOOK_S = 600.0
_REMIND_S = 3600.0
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def client_hash(client_id: str) -> str:
    """Return the name under which nats-server keeps what belongs to a client id."""
    return "".join(_DIGITS[octet % len(_DIGITS)] for octet in hashlib.sha256(client_id.encode()).digest()[:8])


@dataclass
class Seen:
    """The broker's state at one moment."""

    stored: int  # octets
    most: int  # octets that it may store
    sessions: set[str]  # hashes of client ids
    queues: list[Queue]
    connected: set[str]  # client ids
    kept: Mapping[str, int | None]  # client ids of accounts, with the most that may wait for each


@dataclass
class Plan:
    """The sessions to end, and the warnings, that follow from the state."""

    orphans: set[str] = field(default_factory=set)  # sessions that no account owns
    overfull: dict[str, str] = field(default_factory=dict)  # sessions of accounts, by hash: client id
    warnings: dict[str, dict[str, Any]] = field(default_factory=dict)


def plan(seen: Seen, away_since: dict[str, float], now: float) -> Plan:
    """Decide which sessions to end and what to warn of. `away_since` is the memory between two calls: since when a
    session with a queue has had nobody connected."""
    made = Plan()
    owners = {client_hash(name): name for name in seen.kept}
    present = {client_hash(name) for name in seen.connected}
    held = seen.sessions | {queue.session for queue in seen.queues}
    made.orphans = held - owners.keys() - present
    waiting: dict[str, int] = {}
    for queue in seen.queues:
        waiting[queue.session] = waiting.get(queue.session, 0) + queue.waiting
        if queue.connected or queue.session in present:
            away_since.pop(queue.session, None)
        else:
            away_since.setdefault(queue.session, now)
    for session in away_since.keys() - waiting.keys():
        del away_since[session]
    for session, count in waiting.items():
        owner = owners.get(session)
        if owner is None:
            continue
        most = seen.kept[owner]
        if most is None:
            if count >= QUEUE_WARN:
                hint = "the relay does not keep up: see store.failed"
                made.warnings["broker.queue"] = {"waiting": count, "hint": hint}
        elif count > most or now - away_since.get(session, now) > _patience(owner):
            made.overfull[session] = owner
        elif 2 * count > most > 0:
            hint = "a subscriber is away or too slow; beyond that its session is ended, and it misses what waited"
            made.warnings["broker.queue_of_subscriber"] = {"waiting": count, "most": most, "hint": hint}
    if 2 * seen.stored >= seen.most:
        hint = "beyond 100 % the broker takes no more and bracelets go on to SMS: see which queue grows"
        made.warnings["broker.fill"] = {"percent": 100 * seen.stored // seen.most, "hint": hint}
    if len(seen.sessions - made.orphans) > len(seen.kept) + SESSIONS_SPARE:
        hint = "more sessions than accounts are connected: look for what opens them with the relay's password"
        made.warnings["broker.sessions"] = {"count": len(seen.sessions), "accounts": len(seen.kept), "hint": hint}
    return made


def _patience(client_id: str) -> float:
    return TEMPORARY_AWAY_S if is_temporary(client_id) else AWAY_MOST_S


class Directory(Protocol):
    """The accounts: see relay.broker.gate."""

    async def kept(self) -> dict[str, int | None]: ...


class Watch:
    """A watch that looks at the broker now and then, and keeps it in bounds."""

    def __init__(self, log: Logger, most: int) -> None:
        self._log = log
        self._most = most
        self._away_since: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._kept: dict[str, int | None] = {}
        self._kept_at = -math.inf
        self._bounded = False

    async def before_anyone(self, broker: Client, system: Client, directory: Directory) -> None:
        """Make room before the first connection: after a flood of sessions the relay itself could not connect."""
        self._bounded = False  # this broker may have made its streams anew
        with suppress(nats.errors.Error, LookupError, ValueError, TimeoutError):
            await asyncio.wait_for(self.look(broker, system, directory), 20)

    def look_for_owners(self) -> None:
        """Make the next look read which accounts there are, because some came or went."""
        self._kept_at = -math.inf

    async def look(self, broker: Client, system: Client, directory: Directory) -> None:
        """Look once: see, evict, warn."""
        api = Storage(broker)
        if not await self._bound(api):
            return  # nobody was ever connected, so nothing is kept
        now = time.monotonic()
        sessions, queues = await api.sessions(), await api.queues()
        connected = {one.client_id async for one in connections(system) if one.client_id}
        strangers = {q.session for q in queues} | sessions
        strangers -= {client_hash(name) for name in self._kept} | {client_hash(name) for name in connected}
        if strangers or now - self._kept_at >= _FULL_LOOK_S:
            try:
                self._kept, self._kept_at = await directory.kept(), now
            except Exception:
                return  # without the list of accounts every session would look like nobody's
        stored = await api.octets()
        seen = Seen(stored, self._most, sessions, queues, connected, self._kept)
        made = plan(seen, self._away_since, now)
        for session, owner in made.overfull.items():
            await end_connections(system, mqtt_client=owner)
            await api.end(session, queues)
        for session in made.orphans:
            await api.end(session, queues)
        if made.overfull or made.orphans:
            tell = self._log.warning if made.overfull or len(made.orphans) > STRAY else self._log.info
            tell("broker.sessions_ended", unowned=len(made.orphans), overfull=len(made.overfull))
        for event, fields in made.warnings.items():
            if now - self._told.get(event, -_REMIND_S) >= _REMIND_S:
                self._told[event] = now
                self._log.warning(event, **fields)

    async def _bound(self, api: Storage) -> bool:
        """Give the streams their limits, as soon as they are there: nats-server makes them without limits."""
        if self._bounded:
            return True
        messages = await api.configuration(MESSAGES)
        retained = await api.configuration(RETAINED)
        if messages is None or retained is None or await api.configuration(SESSIONS) is None:
            return False
        # The rest is for sessions, so that no flood of messages keeps a client from connecting. A full stream takes no
        # more (the bracelet has other ways); of one topic the oldest go first.
        most = self._most // 4 * 3
        await api.limit(MESSAGES, messages, max_msgs_per_subject=PER_TOPIC, max_bytes=most, discard="new")
        await api.limit(RETAINED, retained, max_bytes=self._most // 8, discard="new")
        self._bounded = True
        return True

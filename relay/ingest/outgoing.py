# sans-I/O
"""Keep messages from when they are handed over until their PUBACK, through as many connections as it takes (MQTT 3.1.1,
4.4). Pure.

Some brokers end the connection when a client publishes what their rules don't let it (RabbitMQ and aedes do; 3.3.5 of
the standard allows it). Sent again on each new connection, one such message would keep the relay off for ever. So after
a connection has ended, the messages that were on their way are suspect. They go in small groups, each confirmed before
the next is sent, and a group that ends the connection again is divided. A message that ended two connections alone is
set aside, with all on the same topic, and tried again later, alone. If that happens to a second topic of a kind, and
the broker has never confirmed a message of this kind, its rules lack the kind: then no message of the kind is sent
until one that is tried has passed.

A broker that confirms nothing at all says nothing about the message: it may be out of room, or be killed again and
again. Messages set aside meanwhile are tried again soon, and at once when the broker confirms something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import NamedTuple

from relay.ingest.qos1 import DUP, publish

# paho numbers its SUBSCRIBEs from 1 on, one a connection; ids from here on are ours.
FIRST_ID, LAST_ID = 1024, 65535
_IDS = LAST_ID - FIRST_ID + 1
_DIVIDE = 8
_TWICE = 2
_TRY_AGAIN = (5.0, 30.0, 120.0, 600.0, 3600.0)
_TRY_AGAIN_DOUBTFUL, _TRY_AGAIN_STALLED = 300.0, 60.0  # at most, while the broker confirms nothing
_SOON = 30.0
_ASIDE_MOST = 1000  # of one topic or kind; the caller keeps any others
_PLAIN_WORDS = frozenset({"ack", "alarm", "case", "hb", "key"})


@dataclass(slots=True)
class _Waiting:
    packet: bytes
    kind: str
    topic: str
    sent: bool = False  # on any connection
    ended: int = 0  # connections that ended while it was alone on its way


@dataclass(slots=True)
class _Refused:
    """A topic or a whole kind whose messages are set aside."""

    mids: dict[int, None]  # the last is the one to be tried
    whole_kind: bool
    try_at: float
    tries: int = 0
    doubtful: bool = False  # nothing else was confirmed either


class SetAside(NamedTuple):
    """News of a message that ended connections. `kind` is its topic with `+` for what differs, and also the rule that
    the broker lacks if `whole_kind`. The message is tried again in `again_s`, or has `passed`."""

    kind: str
    topic: str
    whole_kind: bool
    again_s: float
    passed: bool = False


@lru_cache(maxsize=4096)
def kind_of(topic: str) -> str:
    """Return the topic filter that covers all topics like this one: `b/+/+/ack`."""
    first, *rest = topic.split("/")
    return "/".join((first, *(level if level in _PLAIN_WORDS else "+" for level in rest)))


class Outgoing:
    """The messages without a PUBACK. Call `lost` when a connection has ended, `resume` on a new one, `more` now and
    then; send what they return."""

    def __init__(self) -> None:
        self._waiting: dict[int, _Waiting] = {}  # every message, in order
        self._unsent: dict[int, None] = {}  # to be sent on this connection
        self._under_way: dict[int, float] = {}  # sent on this connection, and when
        self._group: int | None = None  # so many at once; None: there is no suspicion
        self._refused: dict[str, _Refused] = {}  # by topic or kind
        self._trial: str | None = None  # the one of `_refused` that is to be tried now
        self._tried: int | None = None  # its message that was sent for that; others may have come to it since
        self._passed: set[str] = set()  # kinds of which the broker has confirmed one
        self._news: list[SetAside] = []
        self._heard = False  # something was confirmed since a connection ended
        self._last = LAST_ID

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def holds_back(self) -> bool:
        """Tell whether a new message has to wait for others."""
        return self._group is not None or self._trial is not None

    def add(
        self, topic: str, octets: bytes, now: float, *, send: bool, retain: bool = False
    ) -> tuple[int, bytes] | None:
        """Add a message. Return its id, and its packet if it is to be sent now; `send` is False without a connection.
        Return None if there is no room for it."""
        kind = kind_of(topic)
        refused = self._refused.get(kind) or self._refused.get(topic)
        if len(self._waiting) >= _IDS or (refused is not None and len(refused.mids) >= _ASIDE_MOST):
            return None
        mid = self._last
        while True:
            mid = mid + 1 if mid < LAST_ID else FIRST_ID
            if mid not in self._waiting:
                break
        self._last = mid
        packet = publish(topic.encode(), mid, octets, retain=retain)
        message = self._waiting[mid] = _Waiting(packet, kind, topic)
        if refused is not None:
            refused.mids[mid] = None
        elif send and not self.holds_back:
            message.sent = True
            self._under_way[mid] = now
            return mid, packet
        else:
            self._unsent[mid] = None
        return mid, b""

    def confirm(self, mid: int) -> bool:
        """Take a PUBACK, and tell whether a message waited for it."""
        message = self._waiting.pop(mid, None)
        if message is None:
            return False
        self._under_way.pop(mid, None)
        self._unsent.pop(mid, None)
        self._passed.add(message.kind)
        self._heard = True
        if self._refused:
            self._has_passed(mid, message)
            for refused in self._refused.values():
                if refused.doubtful:
                    refused.doubtful, refused.try_at = False, -inf
        return True

    def _has_passed(self, mid: int, message: _Waiting) -> None:
        for name in (message.kind, message.topic):
            refused = self._refused.get(name)
            if refused is not None and mid in refused.mids:
                del self._refused[name], refused.mids[mid]
                self._unsent.update(refused.mids)
                self._trial = None if self._trial == name else self._trial
                self._news.append(SetAside(message.kind, message.topic, refused.whole_kind, 0.0, passed=True))

    def resume(self, now: float) -> Iterator[bytes]:
        """Return, on a new connection, the messages that have no PUBACK, in order, or as many of them as may be sent
        now."""
        aside = {mid for refused in self._refused.values() for mid in refused.mids}
        self._unsent = {mid: None for mid in self._waiting if mid not in aside}
        self._under_way = {}
        self._trial = None
        return self.more(now)

    def more(self, now: float) -> Iterator[bytes]:
        """Return the messages that had to wait and may be sent by now."""
        if self._under_way and self.holds_back:
            return
        if self._group is not None and not self._unsent:
            self._group = None
        if self._group is None and self._trial is None:
            self._trial = next((name for name, refused in self._refused.items() if now >= refused.try_at), None)
            if self._trial is not None and self._under_way:
                return
        if self._trial is not None:
            self._tried = next(reversed(self._refused[self._trial].mids))
            yield self._send(self._tried, now)
            return
        if self._unsent:
            count = len(self._unsent) if self._group is None else self._group
            for mid in list(self._unsent)[:count]:
                yield self._send(mid, now)
            if self._group is not None:
                self._group = 2 * self._group

    def _send(self, mid: int, now: float) -> bytes:
        self._unsent.pop(mid, None)
        self._under_way[mid] = now
        message = self._waiting[mid]
        packet = bytes((message.packet[0] | DUP,)) + message.packet[1:] if message.sent else message.packet
        message.sent = True
        return packet

    def lost(self, now: float, *, stalled: bool = False) -> None:
        """Note that the connection has ended, and not because this side wanted it to; or that it was given up, because
        no PUBACK came (`stalled`)."""
        heard, self._heard = self._heard, False
        most = inf if heard else _TRY_AGAIN_STALLED if stalled else _TRY_AGAIN_DOUBTFUL
        suspects, self._under_way = list(self._under_way), {}
        trial, self._trial = self._trial, None
        if not suspects:
            return
        if trial is not None and suspects == [self._tried]:
            self._put_off(self._refused[trial], suspects[0], now, most)
            return
        self._group = max(1, len(suspects) // _DIVIDE)
        if len(suspects) == 1:
            message = self._waiting[suspects[0]]
            message.ended += 1
            if message.ended >= _TWICE:
                self._set_aside(suspects[0], message, now, most)

    def _set_aside(self, mid: int, message: _Waiting, now: float, most: float) -> None:
        kind, topic = message.kind, message.topic
        alike = [name for name in self._refused if kind_of(name) == kind]
        whole_kind = bool(alike) and kind not in self._passed
        for name in alike if whole_kind else ():
            del self._refused[name]
        mids = [n for n, each in self._waiting.items() if each.topic == topic or (whole_kind and each.kind == kind)]
        self._refused[kind if whole_kind else topic] = refused = _Refused(dict.fromkeys(mids), whole_kind, now)
        message.ended = 0
        self._put_off(refused, mid, now, most)

    def _put_off(self, refused: _Refused, mid: int, now: float, most: float) -> None:
        """Try a message again later, in at most `most` seconds if it is doubtful that the message is to blame."""
        del refused.mids[mid]
        refused.mids = {mid: None, **refused.mids}  # next time another one is tried
        again_s = min(most, _TRY_AGAIN[min(refused.tries, len(_TRY_AGAIN) - 1)])
        refused.doubtful = most < inf and again_s > _SOON
        refused.tries += 1
        refused.try_at = now + again_s
        message = self._waiting[mid]
        self._news.append(SetAside(message.kind, message.topic, refused.whole_kind, again_s))

    def take_news(self) -> list[SetAside]:
        """Return the news since the last call: messages set aside, put off again, or passed."""
        news, self._news = self._news, []
        return news

    def waits_since(self) -> float | None:
        """Return the time at which the oldest of the messages on their way was sent."""
        return next(iter(self._under_way.values()), None)

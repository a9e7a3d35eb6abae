# sans-I/O
"""The reading end: it turns the broker's messages to a subscriber into documents that are proven genuine.

Pure: messages in, findings out. A document waits until its epoch key has come; at most `MOST_WAITING` documents do. A
waiting document is not acknowledged, so the broker keeps it too.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

from relay import case_document, rebroadcast
from relay.rebroadcast import Finding
from relay.subscribers import coarse, epoch_keys
from relay.subscribers.audiences import key_topic
from relay.subscribers.sealing import Epoch, SealError, parse

MOST_WAITING = 1000
MOST_EPOCHS = 256
OVERDUE_S = 10.0
ASK_AGAIN_S = (1.0, 60.0)  # doubled from the first to the second

SENTENCES = {
    "too_large": "This is longer than anything that a relay seals.",
    "not_sealed": "This is not a sealed document.",
    "bad_tag": "This was altered, or moved here from another topic.",
    "no_key": "The key for this has not come: it was sealed before this subscriber joined, or the relay is away.",
    "keys_not_by_relay": "These keys are not signed by this subscriber's relay.",
    "keys_for_another": "These keys are sealed for another key pair: the subscriber's file is out of date.",
    "keys_unreadable": "These keys have a form that this version does not know.",
    "keys_removed": "The relay has taken this subscriber's keys away: it was removed.",
    "wrong_topic": "This is genuine, but on a topic that is not its own.",
    "not_genuine": "This is not this relay's word about an alarm.",
}


class Heard(NamedTuple):
    """A message, read: genuine when there is no finding. `kind`: alarm, case, or key (which has no document)."""

    topic: str
    kind: str
    octets: bytes
    document: dict[str, Any] | None
    findings: tuple[Finding, ...]
    message: object

    @property
    def ok(self) -> bool:
        return not self.findings


class _Waiting(NamedTuple):
    topic: str
    octets: bytes
    message: object
    since: float


class Reader:
    """A subscriber's reader. The caller acknowledges by `message`, which comes back with what was read."""

    def __init__(self, audience: str, account: str, relay_key: bytes, private: bytes) -> None:
        self.key_topic = key_topic(audience, account)
        self.filters = (f"s/{audience}/+/alarm", f"s/{audience}/+/case", self.key_topic)
        self._relay_key = relay_key
        self._private = private
        self._epochs: OrderedDict[bytes, Epoch] = OrderedDict()
        self._waiting: list[_Waiting] = []
        self._told: set[bytes] = set()  # epochs whose key was reported overdue
        self._ask_at, self._ask_after = 0.0, ASK_AGAIN_S[0]

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def take(self, topic: str, octets: bytes, message: object, now: float) -> list[Heard]:
        """Take a message; return the messages that can be read now: this one, and after a key those that waited."""
        if topic == self.key_topic:
            return self._take_keys(topic, octets, message)
        try:
            epoch = self._epochs.get(parse(octets)[0])
        except SealError as error:
            return [_refused(topic, octets, message, error.code)]
        if epoch is not None:
            return [self._open(epoch, topic, octets, message)]
        self._waiting.append(_Waiting(topic, octets, message, now))
        if len(self._waiting) <= MOST_WAITING:
            return []
        oldest = self._waiting.pop(0)
        return [_refused(oldest.topic, oldest.octets, oldest.message, "no_key")]

    def overdue(self, now: float) -> list[Finding]:
        """Report once each key that is missing for a while; its documents go on waiting."""
        found = {parse(w.octets)[0] for w in self._waiting if now - w.since >= OVERDUE_S} - self._told
        self._told |= found
        return [Finding("no_key", SENTENCES["no_key"]) for _ in found]

    def asks_for_keys(self, now: float) -> bool:
        """Tell whether to subscribe to `key_topic` again now, because a document waits for a key: then the broker sends
        what it retains there. nats-server does not send a retained message to a client that subscribes at the moment of
        its publication (seen with 2.15.1, in 3 of 150 tries within 6 ms)."""
        if not self._waiting:
            self._ask_at, self._ask_after = 0.0, ASK_AGAIN_S[0]
            return False
        if now < self._ask_at:
            return False
        self._ask_at = now + self._ask_after
        self._ask_after = min(2 * self._ask_after, ASK_AGAIN_S[1])
        return True

    def _take_keys(self, topic: str, octets: bytes, message: object) -> list[Heard]:
        if not octets:
            return [_refused(topic, octets, message, "keys_removed", "key")]
        try:
            found = epoch_keys.open_message(octets, topic, self._relay_key, self._private)
        except SealError as error:
            return [_refused(topic, octets, message, error.code, "key")]
        for epoch in reversed(found.epochs):
            self._epochs[epoch.id] = epoch
            self._epochs.move_to_end(epoch.id)
        while len(self._epochs) > MOST_EPOCHS:
            self._epochs.popitem(last=False)
        heard = [Heard(topic, "key", octets, None, (), message)]
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            epoch_or_none = self._epochs.get(parse(each.octets)[0])
            if epoch_or_none is None:
                self._waiting.append(each)
            else:
                heard.append(self._open(epoch_or_none, each.topic, each.octets, each.message))
        return heard

    def _open(self, epoch: Epoch, topic: str, octets: bytes, message: object) -> Heard:
        try:
            clear = epoch.open(topic, octets)
        except SealError as error:
            return _refused(topic, octets, message, error.code)
        kid, kind = topic.split("/")[2:4]
        document, findings = examine(clear, kind, self._relay_key)
        if document is not None and document["kid"] != kid:
            document, findings = None, (_finding("wrong_topic"),)
        return Heard(topic, kind, clear, document, findings, message)


def examine(octets: bytes, kind: str, relay_key: bytes) -> tuple[dict[str, Any] | None, tuple[Finding, ...]]:
    """Return the document if it is a genuine one of this kind, else the findings about it."""
    if kind == "case":
        document = case_document.check(octets, relay_key)
    else:
        document = coarse.check(octets, relay_key)
        if document is None:
            report = rebroadcast.check(octets, relay_key)
            return (report.document, ()) if report.ok else (None, report.findings)
    return document, () if document is not None else (_finding("not_genuine"),)


def _refused(topic: str, octets: bytes, message: object, code: str, kind: str = "sealed") -> Heard:
    return Heard(topic, kind, octets, None, (_finding(code),), message)


def _finding(code: str) -> Finding:
    return Finding(code, SENTENCES[code])

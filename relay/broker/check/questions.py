"""Put each question to a broker, over real connections, and say what came.

Every message goes to topics of the check's own accounts. `visit` decides who comes, and under which name; `asking` how
bad an answer is, and what to do.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from relay.broker import PAYLOAD, PROBE, PROBE_BRACELET, PROBE_KID, PROGRAMMER, RELAY, TEMPORARY, temporary_id
from relay.broker.check.client import Account, Answer, Client, Interrupted
from relay.broker.check.visit import Visit

SECONDS, PATIENCE = 120.0, 5.0  # for everything; for one answer
BURST = 1500  # messages; mosquitto and others keep 1,000 by default
_QUIET = 0.7  # seconds without a message that count as none
_LONG, _TOO_LONG = 16 << 10, 4 * PAYLOAD
_PIECES, _PIECE = 8, 448
_EXTRA_SESSIONS = 5

_OWN = "probe"  # the first level of topics that no relay subscribes to
_OWN_TOPICS = f"{_OWN}/+"
BURST_TOPIC, LONG_TOPIC, WILL_TOPIC, WAITING_TOPIC = (f"{_OWN}/{name}" for name in ("burst", "long", "will", "waiting"))
_BASE = f"b/{PROBE_KID[0]}/{PROBE_KID}"
RECEIPT, ALARM = f"{_BASE}/ack", f"{_BASE}/alarm"
RECEIPT_OF_OTHER = f"{_BASE}-other/ack"
DOCUMENT, CASE, KEY = f"s/{_OWN}/{PROBE_KID}/alarm", f"s/{_OWN}/{PROBE_KID}/case", f"s/{_OWN}/key/{_OWN}"
RIGHTS = {"receipts": RECEIPT, "alarms to subscribers": DOCUMENT, "cases to subscribers": CASE, "keys": KEY}


@dataclass(frozen=True)
class Came:
    """An answer in a few words. `good` is None if it could not be found out."""

    words: str
    good: bool | None = True
    advice: str = ""  # if empty, the question's advice counts


def _marker() -> bytes:
    return secrets.token_bytes(8)


def accounts(visit: Visit) -> Came:
    roles, refused = visit.roles, {}
    wanted = [(roles.relay, RELAY), (roles.programmer, PROGRAMMER), (roles.bracelet, PROBE_BRACELET), *roles.sessions]
    for account, client_id in wanted[:1] if roles.single else wanted:
        client = visit.clients.open(account, client_id, clean=False)
        if client.is_accepted:
            if not client.session_present:
                visit.made(account, client_id)
            client.close()
        else:
            refused[account.name] = client.refusal
    if refused:
        return Came("; ".join(f"{name}: {words}" for name, words in refused.items()), False)
    return Came("takes them")


def encryption(visit: Visit) -> Came:
    return Came("TLS") if visit.clients.is_encrypted else Came("in clear", False)


def strangers(visit: Visit) -> Came:
    tries = {"anyone without a password": None, "any password": Account(visit.roles.probe.name, secrets.token_hex(16))}
    entered = []
    for whom, account in tries.items():
        client = visit.clients.open(account, "probe-stranger")
        if client.is_accepted:
            entered.append(whom)
        client.close()
    return Came("lets in " + " and ".join(entered), False) if entered else Came("refused")


def quality(visit: Visit) -> Came:
    """Ask whether the relay gets QoS 1. This also shows that it may hear all bracelets. Messages that come are not
    acknowledged, and so come again."""
    relay = visit.relay()
    topics = ("b/+/+/alarm", "b/+/+/hb")
    answers = [relay.subscribe(topic) for topic in topics]
    relay.close()
    for topic, (answer, granted) in zip(topics, answers, strict=True):
        if answer is not Answer.YES:
            return Came(f"SUBSCRIBE {topic}: {answer.value}", False)
        if granted != 1:
            return Came(f"grants QoS {granted} for {topic}", False)
    return Came("granted")


def rights(visit: Visit) -> Came:
    listener, missing = visit.listener(), []
    for topic in dict.fromkeys(RIGHTS.values()):
        listener.listen(topic)
    relay = visit.relay()
    for what, topic in RIGHTS.items():
        marker = _marker()
        if relay.ended:
            relay = visit.relay()
        answer = relay.publish(topic, marker)
        if not listener.hears(marker, None if answer is Answer.YES else _QUIET):
            missing.append(f"{what}: {answer.value}, not delivered")
    if not missing:
        long = secrets.token_bytes(_LONG)
        relay.publish(DOCUMENT, long)
        if not listener.hears(long):
            missing.append(f"a document of {_LONG >> 10} KiB: not delivered")
    relay.close()
    listener.close()
    return Came("; ".join(missing), False) if missing else Came("delivered")


def session(visit: Visit) -> Came:
    listener = visit.listener()
    listener.listen(_OWN_TOPICS)
    listener.close()
    bracelet, marker = visit.bracelet(), _marker()
    bracelet.tell(WAITING_TOPIC, marker)
    bracelet.close()
    back = visit.listener()
    heard = back.hears(marker)
    back.acknowledge_all()
    back.close()
    if heard:
        return Came("kept")
    return Came("keeps the session, not the message" if back.session_present else "keeps no session", False)


def repetition(visit: Visit) -> Came:
    listener = visit.listener()
    listener.listen(_OWN_TOPICS)
    bracelet, marker = visit.bracelet(), _marker()
    bracelet.tell(WAITING_TOPIC, marker)
    bracelet.close()
    if not listener.hears(marker):
        raise Interrupted("did not deliver a message")
    listener.abandon()
    back = visit.listener()
    again = back.hears(marker)
    back.acknowledge_all()
    back.close()
    return Came("comes again") if again else Came("does not come again", False)


def queue(visit: Visit) -> Came:
    listener = visit.listener()
    listener.listen(_OWN_TOPICS)
    listener.close()
    bracelet = visit.bracelet()
    confirmed = bracelet.publish_all([(BURST_TOPIC, b"%064d" % number) for number in range(BURST)])
    bracelet.close()
    back = visit.listener()
    arrived: set[bytes] = set()
    while len(arrived) < confirmed and back.hears_more():
        arrived |= {one.octets for one in back.heard if one.topic == BURST_TOPIC}
        back.acknowledge_all()
    back.stays(0.2)  # lets the last acknowledgements out
    back.close()
    if not confirmed:
        raise Interrupted("acknowledged nothing of a burst")
    kept = f"{len(arrived):,} of {confirmed:,}"
    if len(arrived) < confirmed:
        return Came(f"{kept} acknowledged ones kept", False)
    return Came(kept if confirmed == BURST else f"{kept} acknowledged ones; {BURST - confirmed:,} not acknowledged")


def limits(visit: Visit) -> Came:
    listener = visit.listener()
    listener.listen(_OWN_TOPICS)
    bracelet, long = visit.bracelet(), secrets.token_bytes(_TOO_LONG)
    answer = bracelet.publish(LONG_TOPIC, long)
    heard = listener.hears(long, PATIENCE if answer is Answer.YES else _QUIET)
    listener.acknowledge_all()
    bracelet.close()
    listener.close()
    if heard:
        return Came(f"takes {_TOO_LONG >> 10} KiB", False)
    return Came(f"{answer.value}, not delivered")


def pieces(visit: Visit) -> Came:
    content = {f"fw/{_OWN}/{number}": secrets.token_bytes(_PIECE) for number in range(_PIECES)}
    visit.leave(content)
    bracelet = visit.bracelet()
    fetched = 0
    for topic, octets in content.items():
        bracelet.listen(topic, 0)
        fetched += bracelet.hears(octets, PATIENCE if not fetched else _QUIET)
    bracelet.close()
    visit.remove()
    if fetched < _PIECES:
        return Came(f"{fetched} of {_PIECES} kept", False)
    after = visit.bracelet()
    after.listen(next(iter(content)), 0)
    left = visit.clients.wait(lambda: bool(after.heard), _QUIET)
    after.close()
    return Came("kept, and not removed when told to", False) if left else Came("kept until removed")


def wills(visit: Visit) -> Came:
    listener = visit.listener()
    listener.listen(_OWN_TOPICS)
    marker = _marker()
    smashed = visit.clients.open(visit.roles.bracelet, PROBE_BRACELET, will=(WILL_TOPIC, marker))
    if not smashed.is_accepted:
        raise Interrupted(f"to CONNECT with a will the broker {smashed.refusal}")
    smashed.abandon()
    heard = listener.hears(marker)
    listener.acknowledge_all()
    listener.close()
    return Came("published") if heard else Came("not published", False)


def _foreign(visit: Visit, enter: Callable[[], Client], forbidden: Sequence[str], filters: Sequence[str]) -> Came:
    """Publish on, and subscribe to, topics that are not the account's own, and say what happens."""
    listener, relay = visit.listener(), visit.relay()
    for topic in forbidden:
        listener.listen(topic)
    answers: dict[str, list[str]] = {"publish": [], "subscribe": []}
    wrong = []
    client = enter()
    for topic in forbidden:
        marker = _marker()
        answer = client.publish(topic, marker)
        answers["publish"].append(answer.value)
        if listener.hears(marker, _QUIET):
            wrong.append(f"may publish {topic}")
        if client.ended:
            client = enter()
    for topic in filters:
        answer, _ = client.subscribe(topic)
        answers["subscribe"].append(answer.value)
        marker = _marker()
        if relay.ended:
            relay = visit.relay()
        relay.publish(RECEIPT_OF_OTHER if topic.startswith("b/") else DOCUMENT, marker)
        if not client.ended and client.hears(marker, _QUIET):
            wrong.append(f"may read {topic}")
        if client.ended:
            client = enter()
    for each in (client, relay, listener):
        listener.acknowledge_all()
        each.close()
    if wrong:
        return Came("; ".join(wrong), False)
    return Came("; ".join(f"{what}: {' or '.join(dict.fromkeys(said))}" for what, said in answers.items()))


def bracelet_topics(visit: Visit) -> Came:
    if visit.roles.single:
        return Came("needs several accounts", None)
    return _foreign(visit, visit.bracelet, (ALARM, RECEIPT, DOCUMENT), ("b/+/+/ack", "b/#", "s/#"))


def subscriber_topics(visit: Visit) -> Came:
    subscriber = visit.roles.subscriber
    if subscriber is None:
        return Came("no subscriber's account was given", None)
    # Where the client id is made of the name, a clean session would end the subscriber's own.
    name = temporary_id(subscriber.name, TEMPORARY - 1)
    enter = partial(visit.clients.enter, subscriber, name, clean=not visit.makes_id_of_name)
    return _foreign(visit, enter, (ALARM, RECEIPT, DOCUMENT), ("b/+/+/ack", "b/#", "s/#"))


def client_ids(visit: Visit) -> Came:
    if visit.roles.single:
        return Came("needs several accounts", None)
    victim, relay, marker = visit.listener(), visit.relay(), _marker()
    victim.listen(RECEIPT)
    thief = visit.clients.open(visit.roles.bracelet, PROBE)
    if not victim.stays(_QUIET):
        return Came("another account takes the connection", False)
    relay.publish(RECEIPT, marker)
    if not victim.hears(marker):
        return Came("another account takes the messages", False)
    victim.acknowledge_all()
    return Came(thief.refusal or ("under its own name" if visit.makes_id_of_name else "accepted, and both stay"))


def to_bracelets(visit: Visit) -> Came:
    """Ask whether receipts go to bracelets with QoS 0, though the relay publishes them with QoS 1."""
    bracelet, relay, marker = visit.bracelet(), visit.relay(), _marker()
    granted = bracelet.listen(RECEIPT if not visit.roles.single else WAITING_TOPIC, 0)
    relay.publish(RECEIPT if not visit.roles.single else WAITING_TOPIC, marker)
    heard = bracelet.hears(marker)
    qos = {one.qos for one in bracelet.heard if one.octets == marker}
    relay.close()
    bracelet.close()
    if not heard:
        return Came("not delivered", False)
    return Came("QoS 0") if granted == 0 and qos == {0} else Came(f"QoS {max(qos)} instead of 0", False)


def sessions(visit: Visit) -> Came:
    opened = []
    for number in range(_EXTRA_SESSIONS):
        name = f"{PROBE_BRACELET}-{number}"
        client = visit.clients.open(visit.roles.bracelet, name, clean=False)
        if client.is_accepted:
            visit.made(visit.roles.bracelet, name)
            opened.append(client)
    visit.clients.wait(lambda: False, _QUIET)
    standing = sum(not client.ended for client in opened)
    for client in opened:
        client.close()
    if standing > 1:
        return Came(f"{standing} of {_EXTRA_SESSIONS} opened at once", False)
    return Came("one" if opened else "one, under its own client id")

"""Check a broker: come in, ask every question, tidy up. Whatever the broker does is a finding.

A verdict says what the answer costs the relay's promises, not how good the broker is otherwise.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass

from relay.broker import PAYLOAD, PROBE
from relay.broker.check import Finding, Verdict, questions
from relay.broker.check.client import Clients, Interrupted
from relay.broker.check.questions import Came
from relay.broker.check.visit import Roles, Visit

_QUIET = 0.7  # seconds in which the end of a connection would show


@dataclass(frozen=True)
class Question:
    """A question to a broker. `weight` is the verdict when the broker does not do it, or breaks off."""

    key: str
    asked: str
    weight: Verdict
    ask: Callable[[Visit], Came]
    advice: str


RULES = "give the broker the rules that `relay broker accounts` writes, and have it read them again"

QUESTIONS = (
    Question(
        "accounts",
        "takes the relay's accounts",
        Verdict.LOSES,
        questions.accounts,
        "give the broker the accounts that `relay broker accounts` writes, and have it read them again",
    ),
    Question(
        "encryption",
        "encrypts the connection",
        Verdict.LESS,
        questions.encryption,
        "let the broker listen with TLS: passwords go over this connection",
    ),
    Question(
        "strangers",
        "refuses strangers",
        Verdict.LESS,
        questions.strangers,
        "have it ask for user names and passwords",
    ),
    Question(
        "qos",
        "grants the relay alarms and heartbeats with QoS 1",
        Verdict.LOSES,
        questions.quality,
        f"allow QoS 1, and {RULES}",
    ),
    Question("rights", "delivers what the relay publishes", Verdict.LOSES, questions.rights, RULES),
    Question(
        "session",
        "keeps alarms while the relay is away",
        Verdict.LOSES,
        questions.session,
        "switch persistent sessions on (mosquitto: persistence true), and let them live for days",
    ),
    Question(
        "repetition",
        "brings again what was not acknowledged",
        Verdict.LOSES,
        questions.repetition,
        "take another broker: what the relay was about to store when it crashed is lost here",
    ),
    Question(
        "queue",
        f"keeps a burst of {questions.BURST:,} messages",
        Verdict.LOSES,
        questions.queue,
        "lift the limit of messages in a queue (mosquitto: max_queued_messages 0); it drops what it has acknowledged",
    ),
    Question(
        "limits",
        "limits the length of a message",
        Verdict.LESS,
        questions.limits,
        f"limit messages to {PAYLOAD >> 10} KiB (mosquitto: message_size_limit), else one account fills its memory",
    ),
    Question(
        "pieces",
        "keeps pieces of programs for bracelets",
        Verdict.LESS,
        questions.pieces,
        "switch retained messages on; without them `relay bracelet update` does not work",
    ),
    Question(
        "wills",
        "publishes the last will of a bracelet",
        Verdict.LESS,
        questions.wills,
        "let clients have wills; without them a lost bracelet is noticed only when its heartbeats are missing",
    ),
    Question(
        "bracelet_topics",
        "keeps a bracelet to its own topics",
        Verdict.LESS,
        questions.bracelet_topics,
        RULES,
    ),
    Question(
        "subscriber_topics",
        "keeps a subscriber to its own topics",
        Verdict.LESS,
        questions.subscriber_topics,
        RULES,
    ),
    Question(
        "client_ids",
        "lets no account take another's connection",
        Verdict.LESS,
        questions.client_ids,
        "bind client ids to accounts (mosquitto: use_username_as_clientid true); until then only their being random "
        "keeps who has an account from throwing others off",
    ),
    Question(
        "to_bracelets",
        "answers a bracelet with QoS 0",
        Verdict.LESS,
        questions.to_bracelets,
        "with QoS 1 each bracelet costs it a queue; take another broker if there are many",
    ),
    Question(
        "sessions",
        "opens one session for an account",
        Verdict.LESS,
        questions.sessions,
        "bind client ids to accounts, or limit connections and let sessions expire; else one account fills its store",
    ),
)


def check(clients: Clients, roles: Roles, only: Collection[str] = ()) -> list[Finding]:
    """Return all findings about the broker at the other end, or those of the questions in `only`. Raises nothing for
    anything that a broker can do."""
    visit = Visit(clients, roles)
    try:
        first = _enter(visit)
        if first is not None:
            return [first]
        findings = [_asked(one, visit) for one in QUESTIONS if not only or one.key in only]
        left = visit.tidy_up()
        if left:
            advice = f"end these client ids' sessions, and retained messages, at the broker: {', '.join(left)}"
            findings.append(Finding("tidy", "is left as it was", "something stays", Verdict.LESS, advice))
        return findings
    finally:
        clients.close()


def _enter(visit: Visit) -> Finding | None:
    """Come in for the first time, and see what the broker makes of client ids. Return what keeps the check out, or
    None."""
    clients, probe = visit.clients, visit.roles.probe
    if visit.roles.single:
        unknown = f"probe-{secrets.token_hex(8)}"
        first = clients.open(probe, unknown, clean=False)
        first.close()
        if first.session_present:
            advice = (
                "the broker makes the client id of the account's name, so that a check would end this session: give an "
                "account that nobody uses"
            )
            return Finding("connection", f"has no session of {probe.name}", "has one", Verdict.UNKNOWN, advice)
        if first.is_accepted:
            clients.end_session(probe, unknown)
    first = clients.open(probe, PROBE, clean=True)
    if not first.is_accepted:
        advice = first.advice or (
            f"give the broker the account {probe.name}: run `relay broker accounts`, and have it read the files again"
            if first.refusal and first.refusal.startswith("refused")
            else "is it a broker that takes MQTT 3.1.1, and with TLS if relay.toml says so? its log says why it closes"
        )
        asked = f"lets in the account {probe.name}"
        return Finding("connection", asked, first.refusal or "", Verdict.LOSES, advice)
    other = clients.open(probe, f"{PROBE}-other")
    visit.makes_id_of_name = other.is_accepted and not first.stays(_QUIET)
    for client in (other, first):
        client.close()
    return None


def _asked(question: Question, visit: Visit) -> Finding:
    key, asked = question.key, question.asked
    if visit.clients.time_is_over():
        return Finding(key, asked, "not asked: the time was over", Verdict.UNKNOWN)
    try:
        came = question.ask(visit)
    except Interrupted as error:
        return Finding(key, asked, str(error), question.weight, question.advice)
    finally:
        visit.clients.close()  # also what a question that broke off has left
    if came.good is None:
        return Finding(key, asked, came.words, Verdict.UNKNOWN)
    if came.good:
        return Finding(key, asked, came.words, Verdict.GOOD)
    if visit.clients.time_is_over():
        return Finding(key, asked, "no answer before the time was over", Verdict.UNKNOWN)
    return Finding(key, asked, came.words, question.weight, came.advice or question.advice)

"""The relay's look at a broker that it did not configure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from relay.broker import PROBE, PROBE_BRACELET, Broker
from relay.broker.check import Verdict, exit_status
from tests.broker.conftest import ANNA, AUDIENCE, PARTNER, PASSWORDS, Connect, everyone

from .looking import altered, bad, look

ANYONE = {"allow_anonymous": "true", "password_file": None, "use_username_as_clientid": None}


@pytest.mark.long
def test_a_broker_as_we_configure_it_has_all_and_keeps_nothing_of_the_check(
    broker: Broker, tls_files: Path, connect: Connect
) -> None:
    findings = look(broker, tls_files)
    assert bad(findings) == {}
    assert len(findings) == 16
    assert exit_status(findings) == 0
    for name in (PROBE, PROBE_BRACELET, "relay", "intake-1-a", "programs"):
        client = connect(broker, name, password=PASSWORDS["relay"], clean=False)
        assert not client.session_present, name
        client.close()
    bracelet = connect(broker, ANNA)
    bracelet.subscribe("fw/+/+")
    assert bracelet.received.empty()


@pytest.mark.long
def test_the_check_ends_nobodys_session(broker: Broker, tls_files: Path, connect: Connect) -> None:
    for user, topic in (("relay", "b/+/+/alarm"), (PARTNER, f"s/{AUDIENCE}/+/alarm")):
        away = connect(broker, user, clean=False)
        away.subscribe(topic)
        away.close()
    connect(broker, ANNA).publish(f"b/0/{ANNA}/alarm", b"waits")
    connect(broker, "intake-1-a").publish(f"s/{AUDIENCE}/{ANNA}/alarm", b"waits too")
    look(broker, tls_files)
    for user, waiting in (("relay", b"waits"), (PARTNER, b"waits too")):
        back = connect(broker, user, clean=False)
        assert back.session_present
        assert back.receive().payload == waiting


def test_a_broker_that_refuses_the_account_is_a_result(broker: Broker, tls_files: Path) -> None:
    (finding,) = look(broker, tls_files, password="wrong-but-long-enough")
    assert finding.verdict is Verdict.LOSES
    assert finding.came.startswith("refused")
    assert "relay broker accounts" in finding.advice


def test_a_broker_that_is_not_there_is_a_result(broker: Broker, tls_files: Path) -> None:
    broker.stop()
    (finding,) = look(broker, tls_files)
    assert finding.verdict is Verdict.LOSES
    assert "can't be reached" in finding.came
    assert "is the broker running?" in finding.advice


def test_subscribers_that_may_do_anything_are_noticed(broker: Broker, tls_files: Path) -> None:
    free = {"publish": ("b/+/+/alarm",), "subscribe": ("s/#", "b/#")}
    broker.reload([dataclasses.replace(user, **free) if user.name == PARTNER else user for user in everyone()])
    findings = look(broker, tls_files, "bracelet_topics", "subscriber_topics")
    (words,) = bad(findings).values()
    for wrong in ("may publish b/p/probe/alarm", "may read b/#", "may read s/#"):
        assert wrong in words
    assert "may publish b/p/probe/ack" not in words
    assert exit_status(findings) == 3


@pytest.mark.parametrize("name", ["programs", "probe-bracelet", "relay"])
def test_an_account_that_the_broker_lacks_is_named(broker: Broker, tls_files: Path, name: str) -> None:
    broker.reload([user for user in everyone() if user.name != name])
    findings = look(broker, tls_files, "accounts")
    assert name in bad(findings)["accounts"]
    assert exit_status(findings) == 1


def test_a_right_that_the_relay_lacks_is_named(broker: Broker, tls_files: Path) -> None:
    users = everyone()
    no_receipts = tuple(topic for topic in users[0].publish if topic != "b/+/+/ack")
    broker.reload([dataclasses.replace(users[0], publish=no_receipts), *users[1:]])
    findings = look(broker, tls_files, "rights")
    assert bad(findings)["rights"].startswith("receipts:")
    assert exit_status(findings) == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("settings", "expected", "status"),
    [
        ({"max_queued_messages": "1000"}, {"queue"}, 1),
        ({"max_queued_bytes": "60000"}, {"queue"}, 1),
        ({"max_qos": "0"}, {"qos", "session", "repetition", "queue"}, 1),
        ({"message_size_limit": None}, {"limits"}, 3),
        ({"retain_available": "false"}, {"pieces"}, 3),
        ({"use_username_as_clientid": None}, {"client_ids", "sessions"}, 3),
        ({"acl_file": None}, {"bracelet_topics", "subscriber_topics"}, 3),
        (ANYONE, {"strangers"}, 3),
    ],
)
def test_a_broker_that_was_set_up_badly_is_noticed(
    settings: Mapping[str, str | None], expected: set[str], status: int, tmp_path: Path, tls_files: Path
) -> None:
    """Each in a mosquitto that is as it should be otherwise."""
    with altered(tmp_path / "broker", tls_files, settings) as broker:
        findings = look(broker, tls_files, *expected)
    assert bad(findings).keys() == expected
    assert exit_status(findings) == status
    assert all(finding.advice for finding in findings if finding.key in bad(findings))

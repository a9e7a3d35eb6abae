"""What a relay says at its start: where it listens, and what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.config import Broker, Config, Mqtt, Sms
from relay.readiness import Standing, lacks
from tests.relay.service.rig import rig

READY = Standing(
    Config(mqtt=Mqtt(public_host="relay.example"), sms=Sms(port="/dev/ttyUSB2", number="+10000000009")), 3, 1, True
)


def missing(standing: Standing) -> list[str]:
    return [what for what, _ in lacks(standing)]


def test_a_relay_that_has_everything_lacks_nothing() -> None:
    assert missing(READY) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"config": Config(mqtt=Mqtt(public_host="relay.example"))}, "an SMS modem"),
        ({"config": Config(mqtt=Mqtt(public_host="r"), sms=Sms(port="/dev/x"))}, "the number of its SMS modem"),
        ({"config": Config(sms=Sms(port="/dev/x", number="+10000000009"))}, "an address for bracelets"),
        ({"bracelets": 0}, "a bracelet"),
        ({"others_told": 0}, "a subscriber"),
        ({"has_recovery_key": False}, "a recovery key"),
    ],
)
def test_each_thing_that_is_missing_is_named(change: dict[str, object], what: str) -> None:
    assert missing(READY._replace(**change)) == [what]  # type: ignore[arg-type]  # of the field's type


def test_a_running_relay_says_where_it_listens_and_what_it_lacks(tmp_path: Path) -> None:
    with rig(tmp_path, own_broker=False) as made:
        made.bracelet()
        made.data.config.write_text(made.data.config.read_text().replace('listen = "127.0.0.1"', 'listen = "0.0.0.0"'))
        relay = made.start()
        (event,) = relay.events("relay.listens")
        assert event["broker"] == f"0.0.0.0:{made.port} (its own, MQTT 3.1.1 over TLS)"
        assert (event["bracelets_use"], event["modem"]) == (f"localhost:{made.port}", "none")
        assert (event["bracelets"], event["subscribers"]) == (1, 0)
        told = {event["what"]: event["hint"] for event in relay.events("relay.lacks")}
        assert {"an SMS modem", "an address for bracelets", "a subscriber"} == set(told)
        assert all(told.values())


def test_a_broker_of_ones_own_is_named(tmp_path: Path) -> None:
    assert Broker().embedded
    with rig(tmp_path) as made:
        made.start_broker()
        (event,) = made.start().events("relay.listens")
        assert event["broker"] == f"localhost:{made.port} (yours, MQTT 3.1.1 over TLS)"

"""The whole stack in real time, once for each broker: real MicroPython, real TLS, the relay in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hwsim import toolchain
from relay.broker.mosquitto import MosquittoBroker
from relay.broker.nats import NatsBroker
from relay.demo.stack import BrokerFactory, Stack
from tests.end_to_end.scene import Scene


def broker_factory(name: str) -> BrokerFactory:
    if name == "nats":
        return NatsBroker
    return partial(MosquittoBroker, program=toolchain.mosquitto())


@pytest.fixture(params=["nats", pytest.param("mosquitto", marks=pytest.mark.long)])
def broker(request: pytest.FixtureRequest) -> BrokerFactory:
    return broker_factory(request.param)


@pytest.fixture
def scene(broker: BrokerFactory, tmp_path: Path) -> Iterator[Scene]:
    """Without SMS, so that what is delivered came by MQTT."""
    with Stack(tmp_path, broker=broker, sms=False) as stack:
        yield Scene(stack)

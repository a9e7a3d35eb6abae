"""Which versions of MQTT the embedded broker takes, as relay/README.md says."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from .conftest import PARTNER, PASSWORDS, TIMEOUT, everyone, running


@pytest.mark.parametrize(("version", "taken"), [(mqtt.MQTTv31, False), (mqtt.MQTTv311, True), (mqtt.MQTTv5, False)])
def test_it_takes_mqtt_3_1_1_and_no_other(tmp_path: Path, tls_files: Path, version: int, taken: bool) -> None:
    assert PARTNER in {user.name for user in everyone()}
    answer, answered = [], threading.Event()
    with running("nats", tmp_path / "broker", tls_files) as broker:
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=PARTNER, protocol=version, reconnect_on_failure=False
        )
        client.username_pw_set(PARTNER, PASSWORDS[PARTNER])
        client.tls_set_context(ssl.create_default_context(cafile=str(tls_files / "ca.pem")))

        def note(reason: object) -> None:
            answer.append(str(reason))
            answered.set()

        client.on_connect = lambda _c, _u, _f, reason, _p: note(reason)
        client.on_disconnect = lambda _c, _u, _f, reason, _p: note(reason)
        client.connect(broker.host, broker.port)
        client.loop_start()
        assert answered.wait(TIMEOUT)
        assert (answer[0] == "Success") is taken
        client.disconnect()
        client.loop_stop()

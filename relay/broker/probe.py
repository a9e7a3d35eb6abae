"""What can be learned of a broker's settings by using it, for brokers that somebody else configured.

Each finding is a sentence for the operator. Most of what makes a broker lose messages (queue limits, autosave) can't be
seen from outside; what can be seen is whether it keeps sessions, grants QoS 1, and enforces who may do what.
"""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from relay.broker import PROBE, TEMPORARY, BrokerError, temporary_id

# A bracelet that can't exist: its kid has nine digits.
NOBODY = "b/0/000000000"
QUIET = 0.5  # seconds without an answer that count as none


def probe(
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    relay: tuple[str, str],
    subscriber: tuple[str, str] | None = None,
    timeout: float = 5.0,
) -> list[str]:
    """Warnings about the broker at host:port; `relay` and `subscriber` are (user name, password).

    Raises BrokerError when the relay itself can't use it. Takes a few seconds; run it before the service's own loop.
    """
    new = _Connector(host, port, tls, timeout)
    warnings = []
    name = PROBE if relay[0] == PROBE else f"probe-{secrets.token_hex(8)}"
    first = new(relay, name, clean=False)
    if first.code != 0:
        raise BrokerError(f"the broker refuses the relay's user {relay[0]} (reason {first.code})")
    # Some brokers refuse another client id, some replace it by the account's name: then the second ends the first.
    other = new(relay, f"{name}-other", clean=True)
    replaced = other.code == 0 and first.lost()
    other.close()
    if replaced:
        first = new(relay, name, clean=False)
    if first.subscribe("b/+/+/alarm") != 1:
        warnings.append("The broker does not grant QoS 1: alarms can get lost between it and the relay.")
    first.close()
    second = new(relay, name, clean=False)
    if not second.session_present:
        warnings.append("The broker keeps no session: alarms sent while the relay is away are lost until sent again.")
    try:
        if subscriber is not None:
            warnings += _access(new, second, subscriber, replaced)
        version = second.retained("$SYS/broker/version")
        if "mosquitto" in version:
            warnings.append(
                f"The broker is {version}: without max_queued_messages 0 it drops a burst of more than 1,000 "
                "after acknowledging it, and when it is killed it loses what came since its last autosave."
            )
    finally:
        second.close()
        new(relay, name, clean=True).close()  # leaves no session behind
    for credentials, whom in ((None, "anyone without a password"), ((relay[0], secrets.token_hex(16)), "any password")):
        stranger = new(credentials, f"probe-{secrets.token_hex(8)}", clean=True)
        if stranger.code == 0:
            warnings.append(f"The broker accepts {whom}.")
        stranger.close()
    if tls is None:
        warnings.append("The connection to the broker is not encrypted.")
    return warnings


def _access(
    new: _Connector, relay: _Connection, subscriber: tuple[str, str], replaced: bool
) -> list[str]:
    """Whether a subscriber's account is kept out of the bracelets' topics. Where the broker makes the client id of
    the account's name (`replaced`), a clean session would end the subscriber's own."""
    partner = new(subscriber, temporary_id(subscriber[0], TEMPORARY - 1), clean=not replaced)
    if partner.code != 0:
        partner.close()
        return ["The broker refuses the subscribers' account."]
    warnings = []
    marker = secrets.token_bytes(8)
    partner.subscribe("b/+/+/ack")
    relay.publish(f"{NOBODY}/ack", marker)
    if partner.hears(marker):
        warnings.append("On the broker, subscribers can read the receipts to bracelets.")
    partner.publish(f"{NOBODY}/alarm", marker)
    if relay.hears(marker):
        warnings.append("On the broker, subscribers can write to the topics of bracelets.")
    partner.unsubscribe("b/+/+/ack")
    partner.close()
    return warnings


class _Connector:
    """Opens connections to one broker."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, timeout: float) -> None:
        self.host, self.port, self.tls, self.timeout = host, port, tls, timeout

    def __call__(self, credentials: tuple[str, str] | None, client_id: str, clean: bool) -> _Connection:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=clean,
            reconnect_on_failure=False,
            manual_ack=True,  # what waits for the account stays for whom it is
        )
        if credentials is not None:
            client.username_pw_set(*credentials)
        if self.tls is not None:
            client.tls_set_context(self.tls)
        return _Connection(client, self)


class _Connection:
    """One connection, driven by hand: no thread, and every wait is bounded."""

    def __init__(self, client: mqtt.Client, to: _Connector) -> None:
        self.code: int | None = None
        self.session_present = False
        self._granted: list[int] = []
        self._heard: list[bytes] = []
        self._ended = False
        self._timeout = to.timeout
        self._client = client
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        try:
            client.connect(to.host, to.port)
        except OSError as error:
            raise BrokerError(f"the broker can't be reached: {error}") from error
        self._wait(lambda: self.code is not None, to.timeout)
        if self.code is None:
            raise BrokerError("the broker does not answer")

    def subscribe(self, topic: str) -> int:
        """The granted QoS, 128 or more for a refusal or no answer."""
        self._granted = []
        self._client.subscribe(topic, qos=1)
        self._wait(lambda: bool(self._granted), self._timeout)
        return self._granted[0] if self._granted else 128

    def publish(self, topic: str, payload: bytes) -> None:
        info = self._client.publish(topic, payload, qos=1)
        # A refused PUBLISH may stay without an answer, or end the connection: that is a result too.
        with suppress(RuntimeError, ValueError):
            self._wait(info.is_published, QUIET)

    def unsubscribe(self, topic: str) -> None:
        self._client.unsubscribe(topic)
        self._wait(lambda: False, 0.1)

    def lost(self) -> bool:
        """Whether the broker has ended this connection."""
        return self._wait(lambda: self._ended, QUIET)

    def hears(self, payload: bytes) -> bool:
        return self._wait(lambda: payload in self._heard, QUIET)

    def retained(self, topic: str) -> str:
        self._heard.clear()
        if self.subscribe(topic) > 1 or not self._wait(lambda: bool(self._heard), QUIET):
            return ""
        return self._heard[-1].decode(errors="replace")[:100]

    def close(self) -> None:
        self._client.disconnect()
        self._wait(lambda: False, 0.1)

    def _wait(self, happened: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not happened() and time.monotonic() < deadline:
            if self._client.loop(0.05) != mqtt.MQTT_ERR_SUCCESS:
                self._ended = True
                break
        return happened()

    def _on_connect(
        self, client: mqtt.Client, userdata: Any, flags: mqtt.ConnectFlags, reason: Any, properties: Any
    ) -> None:
        self.code = 0 if not reason.is_failure else reason.value
        self.session_present = flags.session_present

    def _on_subscribe(
        self, client: mqtt.Client, userdata: Any, mid: int, reasons: list[Any], properties: Any
    ) -> None:
        self._granted = [reason.value for reason in reasons]

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._heard.append(bytes(message.payload))

"""Leaves programs for bracelets with the broker, in pieces: signed bundles, whose format hwsim/bundle describes.

The broker keeps each piece as a retained message under `fw/<first 8 octets of the file's SHA-256>/<number>`, the same
for all bracelets. Each bracelet fetches one piece after the other in its own time (firmware/tocsin/update.py), and
trusts none of them until it has found the maker's signature good. So a download costs the running relay nothing, and
needs no connection of its own. The relay can't check the signature, because it does not have the maker's key. The next
order, or the withdrawal of a bundle, removes pieces that no bracelet has on order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from queue import Empty, SimpleQueue

import cbor2
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from relay.ingest.mqtt import Endpoint
from relay.verify.down import Bundle, update

MAGIC, HEADER = b"TCNB", 1024  # octets
PIECE = 448  # octets: firmware/tocsin/update.py
PATIENCE_S = 20.0  # until the broker acknowledges the next piece


class BundleError(Exception):
    """A file that is no bundle, or pieces that the broker did not take; the message says why."""


def describe(octets: bytes) -> Bundle:
    """Describe a bundle as bracelets are told of it. Raises BundleError when `octets` are no bundle."""
    length = int.from_bytes(octets[4:6], "big")
    try:
        if octets[:4] != MAGIC or length > HEADER - 6:
            raise ValueError
        version = cbor2.loads(cbor2.loads(octets[6 : 6 + length])[2])[1]
        bundle = Bundle(version, len(octets), hashlib.sha256(octets).digest())
        update(bundle)
    except (ValueError, TypeError, IndexError, KeyError, cbor2.CBORDecodeError):
        raise BundleError("is no bundle; make one with `hwsim bundle make`") from None
    return bundle


def pieces(octets: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield topic and content of each piece."""
    topics = _topics(hashlib.sha256(octets).digest(), len(octets))
    for at, topic in zip(range(0, len(octets), PIECE), topics, strict=True):
        yield topic, octets[at : at + PIECE]


def _topics(sha256: bytes, size: int) -> list[str]:
    return [f"fw/{sha256.hex()[:16]}/{at // PIECE}" for at in range(0, size, PIECE)]


def leave(octets: bytes, endpoint: Endpoint) -> None:
    """Leave a bundle with the broker; return when the broker has acknowledged every piece. Raises BundleError."""
    _keep(pieces(octets), endpoint)


def remove(unwanted: Iterable[Bundle], endpoint: Endpoint) -> None:
    """Remove these bundles from the broker, which need not have any of them. Raises BundleError when that fails."""
    _keep(((topic, b"") for bundle in unwanted for topic in _topics(bundle.sha256, bundle.size)), endpoint)


def _keep(messages: Iterable[tuple[str, bytes]], endpoint: Endpoint) -> None:
    """Publish retained messages; an empty one removes the message of its topic (MQTT 3.1.1, 3.3.1.3)."""
    answers: SimpleQueue[ReasonCode] = SimpleQueue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, endpoint.client_id, protocol=mqtt.MQTTv311)
    client.username_pw_set(endpoint.user, endpoint.password)
    if endpoint.tls is not None:
        client.tls_set_context(endpoint.tls)

    def greeted(_client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _more: object) -> None:
        answers.put(reason)

    client.on_connect = greeted
    try:
        client.connect(endpoint.host, endpoint.port, endpoint.keepalive)
        client.loop_start()
        reason = answers.get(timeout=PATIENCE_S)
        if reason.is_failure:
            raise OSError(str(reason))
        for sent in [client.publish(topic, octets, 1, True) for topic, octets in messages]:
            sent.wait_for_publish(PATIENCE_S)
            if not sent.is_published():
                raise OSError("it acknowledged nothing more")
    except Empty:
        raise BundleError("the broker does not answer; is the relay running?") from None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: the connection is lost
        raise BundleError(f"the broker did not take all of it ({error}); is the relay running?") from None
    finally:
        client.disconnect()
        client.loop_stop()

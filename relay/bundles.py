"""Programs for bracelets, left with the broker in pieces: signed bundles, whose format hwsim/bundle describes.

The broker keeps each piece as a retained message under `fw/<first 8 octets of the file's SHA-256>/<number>`, the same
for all bracelets; each fetches one after the other in its own time (firmware/tocsin/update.py) and trusts none of it
until the maker's signature is found good. So it costs the running relay nothing, and needs no connection of its own.
Nothing here can check the signature: the maker's key is not the relay's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import cbor2
import paho.mqtt.client as mqtt
from paho.mqtt import MQTTException, publish

from relay.ingest.mqtt import Endpoint
from relay.verify.down import Bundle, update

MAGIC, HEADER = b"TCNB", 1024  # octets
PIECE = 448  # octets: firmware/tocsin/update.py
CLIENT_ID = "relay-programs"


class BundleError(Exception):
    """A file that is no bundle, or that the broker did not take; the message says why."""


def describe(octets: bytes) -> Bundle:
    """What a bracelet is told of a bundle. BundleError when it is none."""
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
    """Topic and content of each piece."""
    name = hashlib.sha256(octets).hexdigest()[:16]
    for at in range(0, len(octets), PIECE):
        yield f"fw/{name}/{at // PIECE}", octets[at : at + PIECE]


def leave(octets: bytes, endpoint: Endpoint) -> None:
    """Leave a bundle with the broker; done when it has acknowledged every piece. BundleError when it can't be."""
    messages: publish.MessagesList = [
        {"topic": topic, "payload": piece, "qos": 1, "retain": True} for topic, piece in pieces(octets)
    ]
    try:
        publish.multiple(
            messages, endpoint.host, endpoint.port, CLIENT_ID, endpoint.keepalive,
            auth={"username": endpoint.user, "password": endpoint.password},
            tls=endpoint.tls, protocol=mqtt.MQTTv311,  # type: ignore[arg-type]  # it takes a context, too
        )  # fmt: skip
    except (OSError, ValueError, MQTTException) as error:
        raise BundleError(f"could not be left with the broker ({error}); is the relay running?") from None

"""Turn a blank bracelet into one that can raise: take the relay's offer, make its own keys, leave an answer.

The private keys are made here and never leave. The identity file is written last: until it is there, a reset starts
provisioning over with new keys, and the answer with them. The ephemeral key exists in memory only.
"""

import json
import os
from binascii import a2b_base64, hexlify, unhexlify

import network

from tocsin import identity, journal, ratchet, settings
from tocsin.crypto import ed25519, x25519
from tocsin.drivers import partition


def _octets(offer, name, size):
    value = unhexlify(offer[name])
    if len(value) != size:
        raise ValueError
    return value


def accept():
    """Take the offer. Raises ValueError or KeyError when it makes no sense, OSError when flash can't be written."""
    offer = settings.load(settings.OFFER)
    if offer.get("tocsin") != 1:
        raise ValueError
    kid = _octets(offer, "kid", 4)
    relay_id = _octets(offer, "relay_id", 8)
    relay_key = _octets(offer, "relay_x25519", 32)
    ca = a2b_base64(offer["ca"])

    # The chip's random numbers are random only while its radio is on; without it they are merely pseudo-random.
    network.WLAN(network.STA_IF).active(True)
    seed = os.urandom(32)
    ephemeral = os.urandom(32)
    shared = x25519.shared(ephemeral, relay_key)
    alarm, heartbeat, down = ratchet.roots(shared, kid, relay_id)
    record = journal.Record([0, alarm], [0, heartbeat], (0, down, {}))
    record.time = offer["time"] if isinstance(offer.get("time"), int) else 0

    with open(settings.CA, "wb") as file:
        file.write(ca)
    kept = {"version": settings.VERSION}
    for name in ("mqtt", "sms", "wifi", "apn", "hold_ms", "heartbeat_s"):
        if name in offer:
            kept[name] = offer[name]
    _write_json(settings.SETTINGS, kept)
    _write_json(settings.SETTINGS + settings.COPY, kept)
    _write_json(
        settings.ANSWER,
        {
            "tocsin": 1,
            "kid": offer["kid"],
            "ed25519": hexlify(ed25519.public(seed)).decode(),
            "x25519": hexlify(x25519.public(ephemeral)).decode(),
        },
    )
    book = journal.Journal(partition.journal())
    book.load()
    book.save(record.encode())
    identity.save(identity.Identity(kid, relay_id, seed))
    settings.forget_offer()


def _write_json(path, value):
    with open(path, "w") as file:
        file.write(json.dumps(value))

# sans-I/O
"""The JSON document that tells subscribers what became of an alarm: a person has accepted it, or it is closed.

The document rests on the relay's word alone. The relay signs it as it signs rebroadcasts (`relay.rebroadcast`), under a
label of its own.
"""

import base64
import json
from typing import Any

from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

from relay.rebroadcast import b64, canonical, iso
from relay.store.schema import COUNTERS
from relay.verify.envelope import SIGNATURE_OCTETS
from relay.verify.keys import RelayKeys

LABEL = b"TCN1 case\x00"
STATES = ("accepted", "closed")
MAX_OCTETS = 2048
_FIELDS = {"tocsin", "type", "kid", "alarm", "state", "at", "relay", "relay_key", "signature"}

__all__ = ["STATES", "build", "check", "iso", "signed"]


def build(keys: RelayKeys, case_id: int, state: str, at_ms: int) -> bytes:
    """Build the signed document; the same arguments always give the same octets."""
    kid, counter = divmod(case_id, COUNTERS)
    document: dict[str, Any] = {
        "tocsin": 1,
        "type": "case",
        "kid": f"{kid:08x}",
        "alarm": f"{kid:08x}-{counter}",
        "state": state,
        "at": iso(at_ms),
        "relay": keys.id.hex(),
        "relay_key": b64(keys.public),
    }
    return canonical(document | {"signature": b64(keys.sign(LABEL + canonical(document)))})


def check(octets: bytes, relay_key: bytes) -> dict[str, Any] | None:
    """Return the document if it is this relay's, else None."""
    document = signed(octets, relay_key, LABEL, _FIELDS)
    return document if document and document["type"] == "case" and document["state"] in STATES else None


def signed(octets: bytes, relay_key: bytes, label: bytes, fields: set[str]) -> dict[str, Any] | None:
    """Return a document without its signature, if it has exactly these fields and this relay's signature; else None."""
    try:
        document: dict[str, Any] = json.loads(octets[: MAX_OCTETS + 1])
        if set(document) != fields or canonical(document) != octets:
            return None
        text = document.pop("signature")
        signature = base64.b64decode(text + "==", altchars=b"-_", validate=True)
        if len(signature) != SIGNATURE_OCTETS or b64(signature) != text:
            return None
        crypto_sign_open(signature + label + canonical(document), relay_key)
    except (ValueError, TypeError, RecursionError, CryptoError):
        return None
    return document

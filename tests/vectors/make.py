"""Writes envelope.json: messages of the wire format under fixed keys, which firmware and relay must both reproduce.

A third implementation, straight from firmware/wire.md, that imports neither of the two. Signatures are the
deterministic ones of RFC 8032. Run `python tests/vectors/make.py` after a deliberate change of the wire format; a test
compares the file with what this script makes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

PATH = Path(__file__).with_name("envelope.json")
KID = bytes.fromhex("c0ffee01")
RELAY_SEED = hashlib.sha256(b"vector: relay").digest()
DEVICE_SEED = hashlib.sha256(b"vector: device").digest()
RELAY_X25519 = hashlib.sha256(b"vector: relay ephemeral").digest()
DEVICE_X25519 = hashlib.sha256(b"vector: device ephemeral").digest()
SIGN_HEADER = cbor2.dumps({1: -19})

FIX = [597700000, -438501234, 12, 3, 34, 14, 87]
FAR = [-900000000, -1800000000, 65535, 65535, -32768, 255, 359]
CELL = [262, 1, 54321, 28471062]
BIG_CELL = [999, 999, 65535, 268435455]


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def expand(key: bytes, info: bytes, octets: int) -> bytes:
    out = mac(key, info + b"\x01")
    assert octets <= len(out)
    return out[:octets]


def public(private: X25519PrivateKey | Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


def relay_id() -> bytes:
    return hashlib.sha256(public(Ed25519PrivateKey.from_private_bytes(RELAY_SEED))).digest()[:8]


def agreement() -> tuple[bytes, dict[str, bytes]]:
    """The X25519 secret, and the roots of the three chains."""
    device = X25519PrivateKey.from_private_bytes(DEVICE_X25519)
    relay = public(X25519PrivateKey.from_private_bytes(RELAY_X25519))
    shared = device.exchange(X25519PublicKey.from_public_bytes(relay))
    prk = mac(b"TCN1", shared)
    info = {chain: cbor2.dumps(["TCN1", chain, KID, relay_id()]) for chain in ("alarm", "heartbeat", "down")}
    return shared, {chain: expand(prk, octets, 32) for chain, octets in info.items()}


def step(chain_key: bytes, times: int) -> bytes:
    for _ in range(times):
        chain_key = expand(chain_key, b"c", 32)
    return chain_key


def outer_header(counter: int, kid: bytes = KID) -> bytes:
    return cbor2.dumps({1: 10, 4: kid, 6: counter.to_bytes(max(1, (counter.bit_length() + 7) // 8), "big")})


def encrypt(counter: int, chain_key: bytes, plaintext: bytes, kid: bytes = KID) -> bytes:
    message_key = expand(chain_key, b"m", 29)
    nonce = bytes(a ^ b for a, b in zip(message_key[16:], counter.to_bytes(13, "big"), strict=True))
    header = outer_header(counter, kid)
    sealed = AESCCM(message_key[:16], tag_length=8).encrypt(nonce, plaintext, cbor2.dumps(["Encrypt0", header, b""]))
    return cbor2.dumps([header, {}, sealed])


def encrypt_down(counter: int, chain_key: bytes, plaintext: bytes) -> bytes:
    first = expand(chain_key, b"m", 29)
    salt = hmac.digest(first, b"t" + plaintext, "sha256")[:8]
    key = expand(first, b"s" + salt, 29)
    nonce = bytes(a ^ b for a, b in zip(key[16:], counter.to_bytes(13, "big"), strict=True))
    header = cbor2.dumps(cbor2.loads(outer_header(counter)) | {-20: salt})
    sealed = AESCCM(key[:16], tag_length=8).encrypt(nonce, plaintext, cbor2.dumps(["Encrypt0", header, b""]))
    return cbor2.dumps([header, {}, sealed])


def sign(counter: int, payload: bytes, relay: bytes | None = None, kid: bytes = KID) -> bytes:
    external_aad = cbor2.dumps(["TCN1", relay_id() if relay is None else relay, outer_header(counter, kid)])
    to_sign = cbor2.dumps(["Signature1", SIGN_HEADER, external_aad, payload])
    return cbor2.dumps([SIGN_HEADER, {}, payload, Ed25519PrivateKey.from_private_bytes(DEVICE_SEED).sign(to_sign)])


def alarms(root: bytes) -> list[dict[str, Any]]:
    """(name, counter, head after the version, what follows the battery)."""
    high = hashlib.sha256(b"vector: a chain key far on").digest()
    table: list[tuple[str, int, list[int], list[Any]]] = [
        ("first alert, time and place unknown", 0, [0, 0, 0, 0, 0], []),
        ("alert with a full fix", 1, [24, 0, 0, 1767225600, 87], FIX),
        ("update with a fix and no altitude", 2, [24, 0, 1, 1767225620, 87], FIX[:4]),
        ("altitude only", 3, [24, 0, 2, 1767225640, 86], FIX[:5]),
        ("speed, no heading", 23, [24, 0, 3, 1767225660, 86], FIX[:6]),
        ("a cell instead of a position", 24, [16, 0, 4, 1767225680, 86], [CELL]),
        ("a position and a cell", 255, [24, 0, 5, 1767225700, 85], [*FIX[:4], CELL]),
        ("drill, cancelled", 256, [27, 0, 6, 1767225720, 85], FIX),
        ("a strap cut, the position doubtful", 257, [344, 1, 0, 1767225740, 85], FIX),
        ("a check-in missed, the battery ends", 258, [184, 2, 0, 1767225760, 1], FIX[:4]),
        ("the battery not measured", 259, [24, 0, 0, 1767225780, 101], FIX[:4]),
        ("the largest counter and the longest items", 2**24 - 1, [511, 23, 65535, 2**32 - 1, 100], FAR[:6]),
        ("a stale position gives way to the cell", 2**24 - 1, [511, 23, 65535, 2**32 - 1, 100], [BIG_CELL]),
    ]
    out = []
    for name, counter, head, where in table:
        chain_key = step(root, counter) if counter < 1000 else high
        payload = cbor2.dumps([1, *head, *where])
        signed = sign(counter, payload)
        out.append(
            {
                "name": name,
                "counter": counter,
                "chain_key": chain_key.hex(),
                "next_chain_key": step(chain_key, 1).hex(),
                "payload": [1, *head, *where],
                "sign1": signed.hex(),
                "message": encrypt(counter, chain_key, signed).hex(),
            }
        )
    return out


def heartbeats(root: bytes) -> list[dict[str, Any]]:
    out = []
    table: list[list[Any]] = [
        [0, 0, 0, 0],
        [24, 1767225600, 55, 1],
        [511, 2**32 - 1, 100, 65535],
        [24, 1767225600, 55, 1, 0],
        [56, 1767225600, 55, 0, 7, [1, 73, 262001, 1]],
        [56, 1767225600, 55, 0, 7, [5, 255, 0, 0]],
        [152, 1767225600, 2, 0, 24, [1, 73, 262001, 1], [3, 1, 305419896, 0]],
        [511, 2**32 - 1, 100, 65535, 2**32 - 1, [5, 255, 999999, 2], [5, 255, 2**32 - 1, 1]],
        [56, 1767225600, 55, 0, 7, [1, 73, 262001, 1], [4, 0, 0, 0], 1],
        [511, 2**32 - 1, 100, 65535, 2**32 - 1, [5, 255, 999999, 2], [5, 255, 2**32 - 1, 1], 2**31 - 1],
    ]
    for counter, fields in enumerate(table):
        chain_key = step(root, counter)
        message = encrypt(counter, chain_key, cbor2.dumps([1, *fields]))
        out.append(
            {"counter": counter, "chain_key": chain_key.hex(), "fields": fields, "message": message.hex()},
        )
    return out


def receipts(root: bytes) -> list[dict[str, Any]]:
    """On the down chain, in the order of their counters: which alarm message each confirms."""
    out = []
    for counter, confirms in enumerate((0, 1, 23, 24, 255, 256, 65536, 2**24 - 1)):
        message = encrypt_down(counter, step(root, counter), cbor2.dumps([1, 0, confirms]))
        out.append({"counter": counter, "confirms": confirms, "message": message.hex()})
    return out


def commands(root: bytes) -> list[dict[str, Any]]:
    """On the down chain behind the receipts, in the order of their counters: kind and content as both sides name
    them."""
    table: list[tuple[str, Any, list[Any]]] = [
        ("accept", 0, [1, 1, 0]),
        ("accept", 2**24 - 1, [1, 1, 2**24 - 1]),
        ("close", 23, [1, 2, 23]),
        ("configure", {}, [1, 3, {}]),
        ("configure", {"heartbeat_s": 60}, [1, 3, {1: 60}]),
        ("configure", {"hold_ms": 10000, "check_in_min": 0}, [1, 3, {2: 10000, 3: 0}]),
        (
            "configure",
            {"heartbeat_s": 86400, "hold_ms": 1000, "check_in_min": 1440},
            [1, 3, {1: 86400, 2: 1000, 3: 1440}],
        ),
        ("revoke", None, [1, 4]),
    ]
    out = []
    for counter, (kind, content, body) in enumerate(table, 8):
        message = encrypt_down(counter, step(root, counter), cbor2.dumps(body))
        out.append({"counter": counter, "kind": kind, "content": content, "message": message.hex()})
    return out


def refused(roots: dict[str, bytes]) -> list[dict[str, Any]]:
    """Messages to a relay that expects alarm counter 0, each wrong in one way. `reason` is the relay's name for it."""
    root = roots["alarm"]
    payload = cbor2.dumps([1, 24, 0, 0, 1767225600, 87, *FIX])
    signed = sign(0, payload)
    good = encrypt(0, root, signed)
    wrong_tag = good[:-1] + bytes([good[-1] ^ 1])
    outer = cbor2.loads(good)
    bad_signature = signed[:-1] + bytes([signed[-1] ^ 0x80])
    header_24 = cbor2.dumps({1: 24, 4: KID, 6: b"\x00"})
    header_long = cbor2.dumps({1: 10, 4: KID, 6: b"\x00\x00"})
    cases = [
        ("tag", "bad_tag", wrong_tag),
        ("sealed with another chain's key", "bad_tag", encrypt(0, roots["heartbeat"], signed)),
        ("truncated", "not_cbor", good[:-1]),
        ("octets behind", "not_cbor", good + b"\x00"),
        ("longer than an SMS", "oversized", good + bytes(140)),
        ("no array", "bad_structure", cbor2.dumps({1: 2})),
        ("something unprotected", "bad_structure", cbor2.dumps([outer[0], {1: 1}, outer[2]])),
        ("another algorithm", "bad_header", cbor2.dumps([header_24, {}, outer[2]])),
        ("counter not in its shortest form", "bad_header", cbor2.dumps([header_long, {}, outer[2]])),
        ("signature", "bad_signature", encrypt(0, root, bad_signature)),
        ("signed for another relay", "bad_signature", encrypt(0, root, sign(0, payload, relay=bytes(8)))),
        ("signed for another counter", "bad_signature", encrypt(0, root, sign(1, payload))),
        ("unknown version", "bad_payload", encrypt(0, root, sign(0, cbor2.dumps([2, 24, 0, 0, 0, 87])))),
        ("half a position", "bad_payload", encrypt(0, root, sign(0, cbor2.dumps([1, 24, 0, 0, 0, 87, 1, 2])))),
        ("a float", "bad_payload", encrypt(0, root, sign(0, cbor2.dumps([1, 24, 0, 0, 0, 87.5])))),
        ("too far ahead", "gap", encrypt(5001, step(root, 5001), sign(5001, payload))),
    ]
    return [{"name": name, "reason": reason, "message": message.hex()} for name, reason, message in cases]


def vectors() -> dict[str, Any]:
    shared, roots = agreement()
    return {
        "source": "tests/vectors/make.py",
        "keys": {
            "kid": KID.hex(),
            "relay_id": relay_id().hex(),
            "device_ed25519_seed": DEVICE_SEED.hex(),
            "device_ed25519_public": public(Ed25519PrivateKey.from_private_bytes(DEVICE_SEED)).hex(),
            "device_x25519_private": DEVICE_X25519.hex(),
            "device_x25519_public": public(X25519PrivateKey.from_private_bytes(DEVICE_X25519)).hex(),
            "relay_ed25519_seed": RELAY_SEED.hex(),
            "relay_x25519_private": RELAY_X25519.hex(),
            "relay_x25519_public": public(X25519PrivateKey.from_private_bytes(RELAY_X25519)).hex(),
            "shared": shared.hex(),
            "alarm_root": roots["alarm"].hex(),
            "heartbeat_root": roots["heartbeat"].hex(),
            "down_root": roots["down"].hex(),
        },
        "alarms": alarms(roots["alarm"]),
        "heartbeats": heartbeats(roots["heartbeat"]),
        "receipts": receipts(roots["down"]),
        "commands": commands(roots["down"]),
        "refused": refused(roots),
    }


def text() -> str:
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())

# sans-I/O
"""COSE_Encrypt0( COSE_Sign1( payload ) ): from the octets on the wire to a verified alarm or heartbeat.

`parse` needs no key: it says from which bracelet a message claims to be. `open_alarm` and `open_heartbeat` then prove
that claim. The protected header's original octets are kept throughout, because tag and signature were made over them,
and not over a re-encoding.
"""

from typing import Any, NamedTuple

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

from relay.verify.down import Body, Kind
from relay.verify.down import parse as parse_down
from relay.verify.keys import LABEL, SALT_OCTETS, salted_key
from relay.verify.payload import Alarm, Heartbeat, decode_exactly, parse_alarm, parse_heartbeat
from relay.verify.ratchet import ChainState, advance
from relay.verify.reasons import Reason, Refused

MAX_OCTETS = 140
MAX_ALARM_COUNTER = 2**24 - 1
TAG_OCTETS = 8
KEY_OCTETS = 16
NONCE_OCTETS = 13
SIGNATURE_OCTETS = 64
ALG_AES_CCM_16_64_128 = 10
ALG_ED25519 = -19
_BYTES = 0x40  # a CBOR byte string; its length is added
_HEADER_BEFORE_KID = bytes((0xA3, 1, ALG_AES_CCM_16_64_128, 4, _BYTES | 4))
_KID, _PARTIAL_IV = slice(5, 9), slice(11, None)
_FOUR_ENTRIES = b"\xa4"
_BEFORE_SALT = bytes((0x33, _BYTES | SALT_OCTETS))  # the label -20, salt (RFC 9053, table 9)
SIGN_HEADER = cbor2.dumps({1: ALG_ED25519})


class Envelope(NamedTuple):
    """A message of the right shape. Nothing in it is proven yet."""

    kid: int
    counter: int
    protected: bytes
    ciphertext: bytes
    salt: bytes | None = None  # of a message of the down chain


class OpenedAlarm(NamedTuple):
    """A verified alarm message, the evidence for it, and the chain state that follows."""

    alarm: Alarm
    sign1: bytes
    state: ChainState

    def __repr__(self) -> str:
        return "OpenedAlarm()"


class OpenedHeartbeat(NamedTuple):
    """A verified heartbeat and the chain state that follows."""

    heartbeat: Heartbeat
    state: ChainState


def parse(octets: bytes) -> Envelope:
    """Check size, encoding, structure and header."""
    if len(octets) > MAX_OCTETS:
        raise Refused(Reason.OVERSIZED)
    try:
        message = decode_exactly(octets)
    except ValueError:
        raise Refused(Reason.NOT_CBOR) from None
    if not (
        type(message) is list
        and len(message) == 3
        and type(message[0]) is bytes
        and type(message[1]) is dict
        and not message[1]
        and type(message[2]) is bytes
        and len(message[2]) > TAG_OCTETS
    ):
        raise Refused(Reason.BAD_STRUCTURE)
    protected, salt = message[0], None
    if protected[:1] == _FOUR_ENTRIES and protected[-10:-8] == _BEFORE_SALT:
        salt = protected[-SALT_OCTETS:]
        protected = _HEADER_BEFORE_KID[:1] + protected[1:-10]
    kid, counter = parse_header(protected)
    return Envelope(kid, counter, message[0], message[2], salt)


def parse_header(protected: bytes) -> tuple[int, int]:
    """Read key id and counter from an outer protected header."""
    kid, partial_iv = protected[_KID], protected[_PARTIAL_IV]
    counter = int.from_bytes(partial_iv, "big")
    # One comparison checks all: algorithm, no further entry, key order, lengths, shortest counter, shortest heads.
    if len(partial_iv) > 4 or outer_header(kid, counter) != protected:
        raise Refused(Reason.BAD_HEADER)
    return int.from_bytes(kid, "big"), counter


def salted_header(kid: bytes, counter: int, salt: bytes) -> bytes:
    """Make the protected header of a message of the down chain: `outer_header`, and {-20: salt}."""
    return b"%b%b%b%b" % (_FOUR_ENTRIES, outer_header(kid, counter)[1:], _BEFORE_SALT, salt)


def outer_header(kid: bytes, counter: int) -> bytes:
    """Make the protected header of a message: {1: AES-CCM-16-64-128, 4: kid, 6: counter} in deterministic CBOR."""
    partial_iv = shortest(counter)
    return b"%b%b\x06%c%b" % (_HEADER_BEFORE_KID, kid, _BYTES | len(partial_iv), partial_iv)


def shortest(counter: int) -> bytes:
    """Encode a counter in as few octets as possible, zero in one."""
    return counter.to_bytes((counter.bit_length() + 7) // 8 or 1, "big")


def open_alarm(envelope: Envelope, state: ChainState, public: bytes, relay_id: bytes, now: int) -> OpenedAlarm:
    """Prove and read a message of the alarm chain. `public` is the bracelet's Ed25519 key."""
    if envelope.counter > MAX_ALARM_COUNTER or envelope.salt is not None:
        raise Refused(Reason.BAD_HEADER)
    key, state = advance(state, envelope.counter, now)
    sign1 = decrypt(key, envelope)
    payload, signature = parse_sign1(sign1)
    if not signature_is_good(public, relay_id, envelope.protected, payload, signature):
        raise Refused(Reason.BAD_SIGNATURE)
    return OpenedAlarm(parse_alarm(payload, envelope.counter), sign1, state)


def open_heartbeat(envelope: Envelope, state: ChainState, now: int) -> OpenedHeartbeat:
    """Prove and read a message of the heartbeat chain."""
    if envelope.salt is not None:
        raise Refused(Reason.BAD_HEADER)
    key, state = advance(state, envelope.counter, now)
    return OpenedHeartbeat(parse_heartbeat(decrypt(key, envelope)), state)


def open_down(envelope: Envelope, state: ChainState, now: int) -> tuple[Body, ChainState]:
    """Prove and read a message of the down chain, as a bracelet does. For tests and benchmarks."""
    if envelope.salt is None:
        raise Refused(Reason.BAD_HEADER)
    key, state = advance(state, envelope.counter, now)
    return parse_down(decrypt(salted_key(key, envelope.salt), envelope)), state


def open_receipt(envelope: Envelope, state: ChainState, now: int) -> tuple[int, ChainState]:
    """Read the alarm counter that a receipt confirms. For tests and benchmarks."""
    (kind, counter), state = open_down(envelope, state, now)
    if kind != Kind.RECEIPT or not isinstance(counter, int):
        raise Refused(Reason.BAD_PAYLOAD)
    return counter, state


def decrypt(message_key: bytes, envelope: Envelope) -> bytes:
    """Decrypt a message. Raises Refused when the tag is wrong."""
    cipher = AESCCM(message_key[:KEY_OCTETS], tag_length=TAG_OCTETS)
    context = encrypt_context(envelope.protected)
    try:
        return cipher.decrypt(nonce(message_key, envelope.counter), envelope.ciphertext, context)
    except InvalidTag:
        raise Refused(Reason.BAD_TAG) from None


def nonce(message_key: bytes, counter: int) -> bytes:
    """Compute the nonce: base IV XOR partial IV, padded left (RFC 9052, 3.1)."""
    return (int.from_bytes(message_key[KEY_OCTETS:], "big") ^ counter).to_bytes(NONCE_OCTETS, "big")


def encrypt_context(protected: bytes) -> bytes:
    """Encode the Enc_structure, which the tag covers beside the ciphertext (RFC 9052, 5.3)."""
    return cbor2.dumps(["Encrypt0", protected, b""])


def sign_context(relay_id: bytes, protected: bytes, payload: bytes) -> bytes:
    """Encode the Sig_structure, which a bracelet signs (RFC 9052, 4.4). It binds one relay, one bracelet, one
    counter."""
    return cbor2.dumps(["Signature1", SIGN_HEADER, cbor2.dumps([LABEL, relay_id, protected]), payload])


def parse_sign1(sign1: bytes) -> tuple[bytes, bytes]:
    """Read payload and signature of a COSE_Sign1."""
    try:
        items: Any = decode_exactly(sign1)
    except ValueError:
        raise Refused(Reason.BAD_STRUCTURE) from None
    if not (
        type(items) is list
        and len(items) == 4
        and type(items[0]) is bytes
        and type(items[1]) is dict
        and not items[1]
        and type(items[2]) is bytes
        and type(items[3]) is bytes
        and len(items[3]) == SIGNATURE_OCTETS
    ):
        raise Refused(Reason.BAD_STRUCTURE)
    if items[0] != SIGN_HEADER:
        raise Refused(Reason.BAD_HEADER)
    return items[2], items[3]


def signature_is_good(public: bytes, relay_id: bytes, protected: bytes, payload: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is the bracelet's over this payload, for this relay and this header."""
    try:
        crypto_sign_open(signature + sign_context(relay_id, protected, payload), public)
    except (CryptoError, ValueError):
        return False
    return True

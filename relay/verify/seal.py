# sans-I/O
"""Seals the messages that the relay sends down (`relay.verify.down`), and for tests and load those of a bracelet.

`Sealer` is a bracelet's cryptography without the bracelet. It keeps its chains in memory only and signs without
hedging, so it is no model for firmware; firmware/tocsin is that.
"""

import cbor2
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from relay.verify import down
from relay.verify.envelope import (
    KEY_OCTETS,
    SIGN_HEADER,
    SIGNATURE_OCTETS,
    TAG_OCTETS,
    encrypt_context,
    nonce,
    outer_header,
    salted_header,
    sign_context,
)
from relay.verify.keys import Roots, message_key, next_chain_key, salt, salted_key
from relay.verify.payload import Alarm, Heartbeat


def seal(kid: bytes, counter: int, chain_key: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
    """Seal a message of the down chain; return it and the chain key that follows. Store that key before the message
    leaves."""
    first = message_key(chain_key)
    mark = salt(first, plaintext)
    protected = salted_header(kid, counter, mark)
    return _encrypt(protected, counter, salted_key(first, mark), plaintext), next_chain_key(chain_key)


def seal_up(kid: bytes, counter: int, chain_key: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
    """Seal a message of the alarm or heartbeat chain; return it and the chain key that follows. For tests and load."""
    octets = _encrypt(outer_header(kid, counter), counter, message_key(chain_key), plaintext)
    return octets, next_chain_key(chain_key)


def _encrypt(protected: bytes, counter: int, key: bytes, plaintext: bytes) -> bytes:
    cipher = AESCCM(key[:KEY_OCTETS], tag_length=TAG_OCTETS)
    ciphertext = cipher.encrypt(nonce(key, counter), plaintext, encrypt_context(protected))
    return cbor2.dumps([protected, {}, ciphertext])


def seal_receipt(kid: bytes, counter: int, chain_key: bytes, alarm_counter: int) -> tuple[bytes, bytes]:
    """Seal a receipt for the alarm message `alarm_counter`, as message `counter` of the down chain."""
    return seal(kid, counter, chain_key, down.about(down.Kind.RECEIPT, alarm_counter))


class Sealer:
    """The sending side of a bracelet, for tests and load."""

    def __init__(self, kid: bytes, relay_id: bytes, roots: Roots, seed: bytes) -> None:
        self.kid = kid
        self.relay_id = relay_id
        self.public, self._secret = crypto_sign_seed_keypair(seed)
        self.alarm_counter = 0
        self.heartbeat_counter = 0
        self._alarm_key = roots.alarm
        self._heartbeat_key = roots.heartbeat

    def alarm(self, alarm: Alarm) -> bytes:
        """Seal the next message of the alarm chain."""
        return self.alarm_octets(alarm.encode())

    def alarm_octets(self, payload: bytes) -> bytes:
        """Seal the next message of the alarm chain around any payload, well-formed or not."""
        protected = outer_header(self.kid, self.alarm_counter)
        signature = crypto_sign(sign_context(self.relay_id, protected, payload), self._secret)[:SIGNATURE_OCTETS]
        return self.alarm_plaintext(cbor2.dumps([SIGN_HEADER, {}, payload, signature]))

    def alarm_plaintext(self, plaintext: bytes) -> bytes:
        """Seal the next message of the alarm chain around any plaintext."""
        octets, self._alarm_key = seal_up(self.kid, self.alarm_counter, self._alarm_key, plaintext)
        self.alarm_counter += 1
        return octets

    def heartbeat(self, heartbeat: Heartbeat) -> bytes:
        """Seal the next message of the heartbeat chain."""
        return self.heartbeat_octets(heartbeat.encode())

    def heartbeat_octets(self, plaintext: bytes) -> bytes:
        """Seal the next message of the heartbeat chain around any plaintext."""
        octets, self._heartbeat_key = seal_up(self.kid, self.heartbeat_counter, self._heartbeat_key, plaintext)
        self.heartbeat_counter += 1
        return octets

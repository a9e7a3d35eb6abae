# sans-I/O
# hwsim: no-float
"""COSE_Encrypt0 and COSE_Sign1 (RFC 9052) as the wire format uses them: untagged, all headers protected.

Not for: any other algorithm, key or header. A message has exactly one valid encoding; everything else is refused.
"""

from tocsin import cbor
from tocsin.crypto import ccm

_ALG_CCM = 10  # AES-CCM-16-64-128
_ALG_ED25519 = -19
_SALT = -20  # RFC 9053, table 9
SALT_OCTETS = 8
_SIGN_HEADER = cbor.encode({1: _ALG_ED25519})


def partial_iv(counter):
    """Return the counter in its shortest form, at least one octet."""
    n = 1
    while counter >> (8 * n):
        n += 1
    return counter.to_bytes(n, "big")


def outer_header(kid, counter, salt=None):
    fields = {1: _ALG_CCM, 4: kid, 6: partial_iv(counter)}
    if salt is not None:
        fields[_SALT] = salt
    return cbor.encode(fields)


def _nonce(base_iv, counter):
    return (int.from_bytes(base_iv, "big") ^ counter).to_bytes(13, "big")


def encrypt0(kid, counter, message_key, plaintext):
    """Encrypt a message. `message_key` is 16 octets of key and 13 of base IV, used for this counter only."""
    header = outer_header(kid, counter)
    aad = cbor.encode(["Encrypt0", header, b""])
    sealed = ccm.seal(message_key[:16], _nonce(message_key[16:], counter), aad, plaintext)
    return cbor.encode([header, {}, sealed])


def split0(octets):
    """Return (kid, counter, salt, header, ciphertext) of a message, the salt None where it has none; nothing is
    authenticated yet. ValueError when it isn't a message."""
    message = cbor.decode(octets)
    if not isinstance(message, list) or len(message) != 3 or message[1] != {}:
        raise ValueError("cose: structure")
    header, _, ciphertext = message
    if not isinstance(header, bytes) or not isinstance(ciphertext, bytes):
        raise ValueError("cose: structure")
    fields = cbor.decode(header)
    kid = fields.get(4) if isinstance(fields, dict) else None
    iv = fields.get(6) if isinstance(fields, dict) else None
    salt = fields.get(_SALT) if isinstance(fields, dict) else None
    if salt is not None and (not isinstance(salt, bytes) or len(salt) != SALT_OCTETS):
        raise ValueError("cose: header")
    if not isinstance(kid, bytes) or len(kid) != 4 or not isinstance(iv, bytes) or not 1 <= len(iv) <= 4:
        raise ValueError("cose: header")
    counter = int.from_bytes(iv, "big")
    # One comparison covers the algorithm, unknown labels and a partial IV that isn't in its shortest form.
    if outer_header(kid, counter, salt) != header:
        raise ValueError("cose: header")
    return kid, counter, salt, header, ciphertext


def decrypt0(counter, header, message_key, ciphertext):
    """Return the plaintext, or None when the tag is wrong."""
    aad = cbor.encode(["Encrypt0", header, b""])
    return ccm.open(message_key[:16], _nonce(message_key[16:], counter), aad, ciphertext)


def sign1(payload, external_aad, signer):
    """Return a COSE_Sign1 around the octets `payload`."""
    signature = signer.sign(cbor.encode(["Signature1", _SIGN_HEADER, external_aad, payload]))
    return cbor.encode([_SIGN_HEADER, {}, payload, signature])

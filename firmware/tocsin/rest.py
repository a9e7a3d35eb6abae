# sans-I/O
# hwsim: no-float
"""Pack what a sleeping bracelet remembers in the real-time clock's memory, which a lost supply empties: the unused part
of the counters' reserves, so that waking costs neither flash nor counters; the last fix; what is due.

Pure: octets in, octets out. The memory is read once, and emptied before anything is sealed: were its content still
there after a crash, the counters would be used twice. It is not needed: without it the journal has all that matters.
"""

from hashlib import sha256

from tocsin import cbor

VERSION = 4  # 3: to the second
SIZE_MAX = 2048  # the memory's size on an ESP32
_CHECK = 8


def pack(items):
    """Return the octets of these items (CBOR: integers, octets, lists, None)."""
    body = cbor.encode([VERSION] + items)
    return body + sha256(body).digest()[:_CHECK]


def unpack(octets, count):
    """Return the items, or None when these are not `count` items that pack() wrote."""
    octets = bytes(octets)
    if len(octets) <= _CHECK or sha256(octets[:-_CHECK]).digest()[:_CHECK] != octets[-_CHECK:]:
        return None
    try:
        items = cbor.decode(octets[:-_CHECK])
    except ValueError:
        return None
    if not isinstance(items, list) or len(items) != count + 1 or items[0] != VERSION:
        return None
    return items[1:]

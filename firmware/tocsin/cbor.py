# sans-I/O
# hwsim: no-float
"""Encode and decode deterministic CBOR (RFC 8949, 4.2.1), the part that the wire format and the journal use.

For: int, bytes, str, bool, None, list or tuple, and dict with int, bytes or str keys.
Not for: floats, tags, indefinite lengths, other simple values; none of them occurs in this project, so all are refused.

`decode` accepts exactly one encoding of a value. Two implementations then can't disagree about what was signed, and an
object can be compared by its octets.
"""


def _head(major, n):
    """Return the initial octet and the argument, in the shortest form."""
    major <<= 5
    if n < 24:
        return bytes((major | n,))
    if n < 0x100:
        return bytes((major | 24, n))
    if n < 0x10000:
        return bytes((major | 25,)) + n.to_bytes(2, "big")
    if not n >> 32:
        return bytes((major | 26,)) + n.to_bytes(4, "big")
    if not n >> 64:
        return bytes((major | 27,)) + n.to_bytes(8, "big")
    raise ValueError("cbor: integer too large")


def array_head(n):
    """Return the begin of an array of `n` items; their encodings follow."""
    return _head(4, n)


def encode(obj):
    """Return the octets of `obj`; ValueError when it holds anything that this subset hasn't."""
    if obj is None:
        return b"\xf6"
    if obj is True:
        return b"\xf5"
    if obj is False:
        return b"\xf4"
    if isinstance(obj, int):
        return _head(0, obj) if obj >= 0 else _head(1, -1 - obj)
    if isinstance(obj, (bytes, bytearray)):
        return _head(2, len(obj)) + obj
    if isinstance(obj, str):
        obj = obj.encode()
        return _head(3, len(obj)) + obj
    if isinstance(obj, (list, tuple)):
        return _head(4, len(obj)) + b"".join([encode(item) for item in obj])
    if isinstance(obj, dict):
        for key in obj:
            _check_key(key)
        pairs = sorted([(encode(key), encode(obj[key])) for key in obj])
        return _head(5, len(pairs)) + b"".join([key + value for key, value in pairs])
    raise ValueError("cbor: type")


def decode(data, max_depth=4):
    """Return the object whose deterministic encoding is the whole of `data`; ValueError for everything else.

    Arrays come back as lists. `max_depth` bounds how deep arrays and maps may nest.
    """
    obj, end = _item(data, 0, max_depth)
    if end != len(data):
        raise ValueError("cbor: octets left over")
    return obj


def _check_key(key):
    # bool is an int to Python and would collide with 0 and 1 in a dict.
    if isinstance(key, bool) or not isinstance(key, (int, bytes, str)):
        raise ValueError("cbor: key")


def _text(octets):
    # MicroPython lets overlong forms and surrogates pass, which would be further encodings of a text or none at all.
    text = str(octets, "utf-8")
    size = 0
    for char in text:
        code = ord(char)
        if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
            raise ValueError("cbor: not UTF-8")
        size += 1 + (code > 0x7F) + (code > 0x7FF) + (code > 0xFFFF)
    if size != len(octets):
        raise ValueError("cbor: not UTF-8")
    return text


def _item(data, at, depth):
    """Decode the item at `at`; return (object, index behind it)."""
    if at >= len(data):
        raise ValueError("cbor: truncated")
    major = data[at] >> 5
    n = data[at] & 31
    at += 1
    if major == 7:
        if 20 <= n <= 22:
            return (False, True, None)[n - 20], at
        raise ValueError("cbor: simple value or float")
    if n > 27:
        raise ValueError("cbor: indefinite or reserved length")
    if n > 23:
        size = 1 << (n - 24)
        if at + size > len(data):
            raise ValueError("cbor: truncated")
        n = int.from_bytes(data[at : at + size], "big")
        at += size
        if n < 24 or (size > 1 and not n >> (4 * size)):
            raise ValueError("cbor: head not in its shortest form")
    if major == 0:
        return n, at
    if major == 1:
        return -1 - n, at
    # Every octet of a string, and every item of an array or map, takes at least one octet: a length that can't be
    # true is refused before anything is allocated for it.
    if n > len(data) - at:
        raise ValueError("cbor: truncated")
    if major == 2:
        return bytes(data[at : at + n]), at + n
    if major == 3:
        return _text(bytes(data[at : at + n])), at + n
    if major == 6:
        raise ValueError("cbor: tag")
    if depth <= 0:
        raise ValueError("cbor: nested too deep")
    if major == 4:
        items = []
        for _ in range(n):
            item, at = _item(data, at, depth - 1)
            items.append(item)
        return items, at
    pairs = {}
    last = b""
    for _ in range(n):
        start = at
        key, at = _item(data, at, depth - 1)
        _check_key(key)
        raw = bytes(data[start:at])
        if raw <= last:  # also catches a key given twice
            raise ValueError("cbor: keys not in order")
        last = raw
        pairs[key], at = _item(data, at, depth - 1)
    return pairs, at

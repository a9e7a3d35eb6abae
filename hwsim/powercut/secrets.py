"""Secrets that must not be found on a flash chip: the keys of one bracelet, and positions in any likely encoding.

In virtual time the bracelet's random numbers follow from the world's seed (shims/os.py), so this module knows the
private keys without asking the firmware.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hwsim.world.bracelet import Bracelet
from relay.verify import keys

_DRAWS = 64  # random numbers of one boot that are looked at
_NEAR = 64  # octets between the two halves of a position
_RUN = 128
_RUNS = re.compile(rb"\x00{%d,}|\xff{%d,}" % (_RUN, _RUN))


@dataclass(frozen=True, repr=False)
class Secrets:
    """The keys that one provisioning made."""

    ephemeral: bytes
    shared: bytes
    prk: bytes
    roots: dict[str, bytes]

    @classmethod
    def of(cls, offer: dict[str, Any], answer: dict[str, Any], seeds: Iterable[str]) -> Secrets:
        """Derive the keys of an offer and its answer. Raises LookupError when none of the boots with these seeds drew
        the answer's key."""
        wanted = bytes.fromhex(answer["x25519"])
        for ephemeral in _draws(seeds):
            key = X25519PrivateKey.from_private_bytes(ephemeral).public_key()
            if key.public_bytes(Encoding.Raw, PublicFormat.Raw) == wanted:
                break
        else:
            raise LookupError("the answer's key was not drawn from this bracelet's random numbers")
        shared = keys.agree(ephemeral, bytes.fromhex(offer["relay_x25519"]))
        roots = keys.roots(shared, bytes.fromhex(offer["kid"]), bytes.fromhex(offer["relay_id"]))
        named = {"alarm": roots.alarm, "heartbeat": roots.heartbeat}
        return cls(ephemeral, shared, keys.extract(keys.LABEL.encode(), shared), named)

    def chain_keys(self, chain: str, last: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield (counter, chain key, message key) from the first to `last`."""
        key = self.roots[chain]
        for counter in range(last + 1):
            yield counter, key, keys.message_key(key)
            key = keys.next_chain_key(key)


def chip_seeds(bracelet: Bracelet) -> list[str]:
    """List the seed of each boot's random numbers, as world/device.py gives them."""
    return [f"{bracelet.world.seed}/{bracelet.name}/{boot}" for boot in range(1, bracelet.boots + 1)]


def _draws(seeds: Iterable[str]) -> Iterator[bytes]:
    for seed in seeds:
        for count in range(1, _DRAWS):
            yield hashlib.sha256(f"{seed}/{count}".encode()).digest()


def dense(image: bytes) -> bytes:
    """Return a chip's image with its long runs of zeros or ones shortened to 128 octets. That is longer than any secret
    and than the distance that `readable_positions` looks around. A search in it takes a hundredth of the time."""
    return _RUNS.sub(lambda run: run[0][:_RUN], image)


def readable_positions(image: bytes, places: Iterable[tuple[int, int]]) -> list[str]:
    """List the encodings in which one of these places (latitude and longitude in degrees x 10^7) can be read in the
    image.

    A number of four octets alone may be there by chance, so both halves of a position must be near each other. Decimal
    text counts as degrees, as 10^-7 degrees and in the form of NMEA 0183 (ddmm.mm), to about 10 m.
    """
    found = []
    for lat, lon in places:
        for name, encode in _BINARY.items():
            if _near(image, encode(lat), encode(lon)):
                found.append(name)
        for name, pair in (
            ("text, degrees", [_degrees(lat), _degrees(lon)]),
            ("text, 10^-7 degrees", [str(lat)[:-3].encode(), str(lon)[:-3].encode()]),
            ("text, NMEA", [_nmea(lat), _nmea(lon)]),
        ):
            found += [name for text in pair if text in image]
    return found


_BINARY: dict[str, Callable[[int], bytes]] = {
    "int32, big endian": lambda value: value.to_bytes(4, "big", signed=True),
    "int32, little endian": lambda value: value.to_bytes(4, "little", signed=True),
    "CBOR": lambda value: (value if value >= 0 else -1 - value).to_bytes(4, "big"),  # after its head, RFC 8949, 3.1
}


def _near(image: bytes, one: bytes, other: bytes) -> bool:
    at = image.find(one)
    while at >= 0:
        if other in image[max(0, at - _NEAR) : at + _NEAR]:
            return True
        at = image.find(one, at + 1)
    return False


def _degrees(e7: int) -> bytes:
    return f"{abs(e7) // 10**7}.{abs(e7) % 10**7 // 1000:04}".encode()


def _nmea(e7: int) -> bytes:
    minutes = abs(e7) % 10**7 * 60
    return f"{abs(e7) // 10**7:02}{minutes // 10**7:02}.{minutes % 10**7 // 10**5:02}".encode()

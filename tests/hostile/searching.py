"""What a searcher of disks, logs and dumps looks for: places, numbers, names and keys, in each form in which they may
lie in clear."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterable

import cbor2

_ADDRESS = re.compile(rb"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])|\[[0-9a-f:]*:[0-9a-f:]+\]")


def forms(text: str) -> set[bytes]:
    """A text as files may have it."""
    plain = text.encode()
    encoded = {base64.b64encode(bytes(shift) + plain)[8 if shift else 0 : -4] for shift in range(3)}
    return {plain, text.encode("utf-16-le"), text.encode("utf-16-be"), plain.hex().encode()} | {
        each for each in encoded if len(each) >= 12
    }


def number_forms(value: int) -> set[bytes]:
    """An integer of 32 bits as text and in binary."""
    degrees = f"{value // 10_000_000}.{value % 10_000_000:07d}"
    binary = {struct.pack(order, value) for order in ("<i", ">i", "<q", ">q", "<d", ">d")}
    binary |= {struct.pack(order, value / 1e7) for order in ("<d", ">d")}
    return {str(value).encode(), degrees[:7].encode(), nmea(value), cbor2.dumps(value), *binary}


def nmea(e7: int) -> bytes:
    """Degrees x 10^7 as a receiver's sentence has them (NMEA 0183: ddmm.mm), to 20 m."""
    minutes = abs(e7) % 10**7 * 60
    return f"{abs(e7) // 10**7:02}{minutes // 10**7:02}.{minutes % 10**7 // 10**5:02}".encode()


def semi_octets(number: str) -> bytes:
    """Digits as an SMS's address has them (3GPP TS 23.040, 9.1.2.3)."""
    digits = number.lstrip("+")
    digits += "F" * (len(digits) % 2)
    return bytes.fromhex("".join(digits[at + 1] + digits[at] for at in range(0, len(digits), 2)))


def key_forms(key: bytes) -> set[bytes]:
    return {key, key.hex().encode(), base64.urlsafe_b64encode(key).rstrip(b"="), base64.b64encode(key).rstrip(b"=")}


def septets(digits: str) -> bytes:
    """A text in the 7-bit alphabet of an SMS, packed (3GPP TS 23.038, 6.1.2.1); for digits its codes are ASCII's."""
    bits = sum(ord(digit) << 7 * at for at, digit in enumerate(digits))
    return bits.to_bytes((7 * len(digits) + 7) // 8, "little")[:-1]  # in the last octet others' bits may be


def phone_forms(number: str) -> set[bytes]:
    """A telephone number as text, in an SMS's address, and in its text."""
    digits = number.lstrip("+")
    return {*forms(digits), semi_octets(number), semi_octets(number).hex().encode(), septets(digits)}


def with_an_address(octets: bytes, names: Iterable[bytes]) -> list[bytes]:
    """Lines in which one of these names stands together with an IP address."""
    wanted = [*names]
    return [line for line in octets.splitlines() if any(name in line for name in wanted) and _ADDRESS.search(line)]


def hits(octets: bytes, wanted: set[bytes]) -> bool:
    return any(each in octets for each in wanted)

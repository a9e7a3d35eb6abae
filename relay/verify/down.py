# sans-I/O
"""Makes and reads the relay's messages to a bracelet (`down` in firmware/wire.cddl).

The messages here are plaintexts; `relay.verify.seal` encrypts them, in the order of the down chain.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

import cbor2

from relay.verify.payload import UINT32, decode_exactly
from relay.verify.reasons import Reason, Refused

VERSION = 1


class Kind(IntEnum):
    """The kind of a down message, by its number on the wire."""

    RECEIPT = 0  # the relay has this alarm message on disk
    ACCEPT = 1  # a person has accepted the alarm that began with this Alert
    CLOSE = 2  # that alarm is over
    CONFIGURE = 3
    REVOKE = 4  # wipe every key
    UPDATE = 5  # fetch and install another program


class Setting(NamedTuple):
    """A setting of the bracelet that the relay may change: its key on the wire and its range, both ends included."""

    key: int
    low: int
    high: int


SETTINGS: Mapping[str, Setting] = {
    "heartbeat_s": Setting(1, 60, 86400),  # seconds between heartbeats
    "hold_ms": Setting(2, 1000, 10000),  # milliseconds that a hold must last to raise an alarm
    "check_in_min": Setting(3, 0, 1440),  # minutes from one check-in to the next; 0: off
}
HEARTBEAT_S = 900  # of a bracelet that was told nothing else (firmware/tocsin/settings.py)
_BY_KEY = {setting.key: (name, setting) for name, setting in SETTINGS.items()}


class Bundle(NamedTuple):
    """A file with another program: its version, and the octets and SHA-256 of the file."""

    version: int
    size: int
    sha256: bytes


Body = tuple[Kind, int | dict[str, int] | Bundle | None]


def about(kind: Kind, counter: int) -> bytes:
    """Make a receipt for an alarm message, or acceptance or closing of the alarm whose Alert has this counter."""
    return cbor2.dumps([VERSION, int(kind), counter])


def configure(settings: Mapping[str, int]) -> bytes:
    """Make a command to change these settings and no others. Raises ValueError for one that is unknown or out of its
    range."""
    values = {}
    for name, value in settings.items():
        setting = SETTINGS.get(name)
        if setting is None or not setting.low <= value <= setting.high:
            raise ValueError(f"no such setting, or out of its range: {name}")
        values[setting.key] = value
    return cbor2.dumps([VERSION, int(Kind.CONFIGURE), dict(sorted(values.items()))])


def revoke() -> bytes:
    """Make a command to wipe every key."""
    return cbor2.dumps([VERSION, int(Kind.REVOKE)])


def update(bundle: Bundle) -> bytes:
    """Make a command to fetch and install this bundle. Raises ValueError for a bundle that can't be one."""
    if not _is_bundle([*bundle]):
        raise ValueError("no such bundle: its version, size or hash is out of range")
    return cbor2.dumps([VERSION, int(Kind.UPDATE), [*bundle]])


def _is_bundle(items: list[object]) -> bool:
    if [type(item) for item in items] != [int, int, bytes]:
        return False
    version, size, sha256 = items
    assert isinstance(version, int) and isinstance(size, int) and isinstance(sha256, bytes)
    return 1 <= version < 1 << 31 and 1025 <= size <= 163840 and len(sha256) == 32


def parse(octets: bytes) -> Body:
    """Read kind and content of a down message's plaintext, as a bracelet does. Raises Refused when it breaks the
    grammar."""
    try:
        items = decode_exactly(octets)
    except ValueError:
        raise Refused(Reason.BAD_PAYLOAD) from None
    if type(items) is list and len(items) in (2, 3) and [type(item) for item in items[:2]] == [int, int]:
        version, kind, *content = items
        if version == VERSION and kind in Kind.__members__.values() and len(content) == (kind != Kind.REVOKE):
            if kind == Kind.REVOKE:
                return Kind.REVOKE, None
            if kind == Kind.CONFIGURE:
                return Kind.CONFIGURE, _settings(content[0])
            if kind == Kind.UPDATE:
                if type(content[0]) is list and _is_bundle(content[0]):
                    return Kind.UPDATE, Bundle(*content[0])
            elif type(content[0]) is int and 0 <= content[0] <= UINT32:
                return Kind(kind), content[0]
    raise Refused(Reason.BAD_PAYLOAD)


def _settings(content: object) -> dict[str, int]:
    if type(content) is not dict:
        raise Refused(Reason.BAD_PAYLOAD)
    settings = {}
    for key, value in content.items():
        name, setting = _BY_KEY.get(key, ("", None)) if type(key) is int else ("", None)
        if setting is None or type(value) is not int or not setting.low <= value <= setting.high:
            raise Refused(Reason.BAD_PAYLOAD)
        settings[name] = value
    return settings

"""The file that makes somebody a subscriber: the broker's address, the account, the keys. Its owner keeps it secret."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.datadir import read_secret, write_named

FORMAT = 1
_HEX64 = re.compile(r"[0-9a-f]{64}")
_NO_FILE = "there is no such file; name the one that the relay's operator made for you with `relay subscriber add`"
_NO_KEY = "there is no such file; name the one that `relay subscribe --new-key` made"
_STRINGS = ("name", "host", "ca", "account", "password", "audience", "relay_key")


class FileError(Exception):
    """A file that can't be used; the message says which, why, and what to do."""


class SubscriberFile(NamedTuple):
    """The content of a subscriber's file. `private` is None where its owner keeps the key in another file."""

    name: str
    host: str
    port: int
    ca: str  # PEM
    account: str
    password: str
    audience: str
    relay_key: bytes
    private: bytes | None

    def __repr__(self) -> str:
        return f"SubscriberFile({self.account})"


def write(path: Path, subscriber: SubscriberFile) -> Path:
    """Write the file so that only its owner can read it."""
    fields: dict[str, Any] = {"tocsin_subscriber": FORMAT, **subscriber._asdict()}
    fields["relay_key"] = subscriber.relay_key.hex()
    del fields["private"]
    if subscriber.private is not None:
        fields["private_key"] = subscriber.private.hex()
    return write_named(path, json.dumps(fields, indent=1).encode() + b"\n")


def read(path: Path) -> SubscriberFile:
    """Read a subscriber's file. Raises FileError when it is none, DataDirError when it is missing or not secret."""
    try:
        fields = json.loads(read_secret(path, _NO_FILE))
    except ValueError:
        fields = None
    if type(fields) is not dict or fields.pop("tocsin_subscriber", None) != FORMAT:
        raise FileError(f"{path}: is no subscriber file of this version; `relay subscriber add` writes one")
    private = fields.pop("private_key", None)
    good = set(fields) == {*_STRINGS, "port"} and all(type(fields[key]) is str for key in _STRINGS)
    if not (
        good and type(fields["port"]) is int and 0 < fields["port"] < 1 << 16 and _HEX64.fullmatch(fields["relay_key"])
    ):
        raise FileError(f"{path}: is damaged; have the relay's operator write it anew with `relay subscriber rotate`")
    fields["relay_key"] = bytes.fromhex(fields["relay_key"])
    return SubscriberFile(**fields, private=None if private is None else _key(path, private))


def new_key(path: Path) -> bytes:
    """Draw a key pair, keep its private half in this new file, and return the public one."""
    if path.exists():
        raise FileError(f"{path}: exists already; name a new file, so that no key is overwritten")
    private, public = key_pair()
    write_named(path, private.hex().encode() + b"\n")
    return public


def read_key(path: Path) -> bytes:
    """Read the private key from a file that `new_key` wrote."""
    return _key(path, read_secret(path, _NO_KEY))


def key_pair() -> tuple[bytes, bytes]:
    """Draw a new X25519 key: private and public half."""
    private = X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def public_of(private: bytes) -> bytes:
    """Return the public half of a key."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _key(path: Path, text: object) -> bytes:
    if type(text) is not str or not _HEX64.fullmatch(text):
        raise FileError(f"{path}: holds no key of 64 hexadecimal digits; `relay subscribe --new-key` makes one")
    return bytes.fromhex(text)

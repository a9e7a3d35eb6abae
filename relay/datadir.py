"""The relay's data folder, which holds everything that must survive a restart, and guards who may read it.

One folder, mode 0700, holds configuration, keys, certificates, passwords, the database and the embedded broker's files.
This module knows the names and the permissions; it does not interpret the configuration (`relay.config`), does not
speak to the database (`relay.store`) and makes no network connection. Each secret is a file of its own, mode 0600, so
that the machine's own way of handing out secrets can provide it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

ENVIRONMENT = "TOCSIN_DATA"
DEFAULT = "tocsin-data"
SIGNING_KEY = "relay-signing.key"
STORE_KEY = "store.key"
RECOVERY_PUBLIC = "recovery.pub"
RECOVERY_MARKS = "recovery.sig"
SECRET_RELAY = "mqtt-relay"
WATCH = "watch.json"


class DataDirError(Exception):
    """A data folder that can't be used as it is. The message says which file, what is wrong with it and what to do."""


class DataDir:
    """Paths and small files of one data folder. Creating the object touches nothing on disk."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(path if path is not None else os.environ.get(ENVIRONMENT, DEFAULT)).absolute()
        self.config = self.path / "relay.toml"
        self.keys = self.path / "keys"
        self.tls = self.path / "tls"
        self.secrets = self.path / "secrets"
        self.broker = self.path / "broker"
        self.database = self.path / "relay.sqlite3"
        self.exported = self.path / "broker-accounts"  # a hash of the accounts last given to the operator's own broker
        self.in_use = self.keys / "in-use"  # exists since these keys have a bracelet
        self.pid_file = self.path / "relay.pid"
        self.ca_cert = self.tls / "ca.pem"
        self.ca_key = self.tls / "ca.key"
        self.server_cert = self.tls / "server.pem"
        self.server_key = self.tls / "server.key"
        self.relay_public_key = self.keys / "relay-signing.pub"
        self.watch = self.secrets / WATCH  # the subscriber file of this machine

    @property
    def db_url(self) -> str:
        """SQLAlchemy URL of the default database."""
        return f"sqlite:///{self.database}"

    def exists(self) -> bool:
        return self.config.is_file()

    def require(self) -> DataDir:
        """Return self, or say what is missing."""
        if not self.exists():
            raise DataDirError(
                f"{self.path}: no relay data here (no {self.config.name}); "
                f"run `relay init {self.path}` first, or name it with --data"
            )
        return self

    def resolve(self, name: str | os.PathLike[str]) -> Path:
        """Resolve a path from the configuration: relative ones count from the data folder."""
        return self.path / name

    # ---- keys and passwords ----

    def signing_seed(self) -> bytes:
        """Read the seed of the relay's Ed25519 key, which signs rebroadcasts; a hash of its public half is the relay
        id."""
        return self._hex_key(self.keys / SIGNING_KEY)

    @property
    def signing_key(self) -> Path:
        return self.keys / SIGNING_KEY

    def recovery_public(self) -> bytes:
        """Read the public half of the operators' recovery key, to which backups are sealed."""
        path = self.keys / RECOVERY_PUBLIC
        try:
            key = bytes.fromhex(path.read_text(encoding="ascii"))
        except FileNotFoundError:
            raise DataDirError(
                f"{path}: is missing, so nobody could open a backup; make a recovery key with "
                "`relay backup FILE --new-recovery-key KEYFILE`"
            ) from None
        except ValueError:
            key = b""
        if len(key) != 32:
            raise DataDirError(
                f"{path}: is not a key of 64 hexadecimal digits; restore it, or make a new recovery key with "
                "`relay backup FILE --new-recovery-key KEYFILE`"
            )
        return key

    def write_recovery_public(self, key: bytes) -> None:
        write_private(self.keys / RECOVERY_PUBLIC, recovery_text(key))

    def recovery_marks(self) -> list[str]:
        """Read the relay's signatures of its recovery key, one a line; a folder of an earlier version has none."""
        try:
            return (self.keys / RECOVERY_MARKS).read_text(encoding="ascii", errors="replace").split()
        except FileNotFoundError:
            return []

    def write_recovery_marks(self, marks: list[str]) -> None:
        write_private(self.keys / RECOVERY_MARKS, marks_text(marks))

    def store_key(self) -> bytes:
        """Read the key that encrypts positions, names and chain keys in the database."""
        return self._hex_key(self.keys / STORE_KEY)

    def secret(self, name: str) -> str:
        """Read a password from `secrets/`, without the end of line."""
        return read_secret(self.secrets / name)

    def write_secret(self, name: str, value: str) -> Path:
        return write_private(self.secrets / name, value.encode() + b"\n")

    def new_password(self, name: str) -> str:
        """Draw a random password, keep it as `secrets/<name>` and return it."""
        value = secrets.token_urlsafe(24)
        self.write_secret(name, value)
        return value

    def _hex_key(self, path: Path) -> bytes:
        text = read_secret(path)
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise DataDirError(
                f"{path}: is not a key of 64 hexadecimal digits; restore it from your backup "
                "(a new one would make the stored data unreadable)"
            )
        return key


def recovery_text(key: bytes) -> bytes:
    """Write the public half of the recovery key as its file holds it."""
    return key.hex().encode() + b"\n"


def marks_text(marks: list[str]) -> bytes:
    """Write signatures of the recovery key as their file holds them."""
    return "".join(f"{mark}\n" for mark in marks).encode()


def read_secret(path: Path, if_missing: str = "is missing; restore it from your backup") -> str:
    """Read a secret's file. Refuse a file that other users of the machine can read. `if_missing`: what to say of a file
    that does not belong to the data folder."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise DataDirError(f"{path}: {if_missing}") from None
    except (PermissionError, UnicodeDecodeError) as error:
        raise DataDirError(
            f"{path}: can't be read ({type(error).__name__}); "
            "it must be a text file owned by the user who runs the relay"
        ) from None
    if mode & 0o077:
        raise DataDirError(
            f"{path}: other users can read it (mode {mode & 0o777:04o}); "
            f"run `chmod 600 {path}` and consider the secret known to them"
        )
    return text


def write_private(path: Path, content: bytes) -> Path:
    """Write `content` so that only the owner can read it and a power cut leaves the old file or the new one, never half
    of one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_folder(path.parent)
    return path


def write_named(path: Path, content: bytes) -> Path:
    """Write a file that somebody named, as `write_private` does, but make no folder for it: a mistyped one would keep
    secrets where nobody looks for them."""
    path.parent.stat()
    return write_private(path, content)


def sync_folder(path: Path) -> None:
    """Make a rename in this folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

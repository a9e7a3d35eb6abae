"""Checks that keys, database and certificates of a data folder belong together. An administrator who copies single
files from one folder into another makes a relay that no bracelet believes, or that can read nothing. So the relay
refuses such a folder at the start, and names the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from sqlalchemy import Connection, select, update
from sqlalchemy.engine import make_url

from relay.datadir import (
    RECOVERY_MARKS,
    RECOVERY_PUBLIC,
    STORE_KEY,
    DataDir,
    DataDirError,
    marks_text,
    recovery_text,
    write_private,
)
from relay.registry import PROFILE
from relay.store import AtRestError, Store, schema
from relay.store.atrest import Box
from relay.subscribers import audiences
from relay.verify.keys import RelayKeys

_SAMPLE = 20
_RECOVERY_LABEL = b"TCN1 recovery key of this relay\x00"  # the relay signs nothing else that begins like this


def check_public(data: DataDir, keys: RelayKeys) -> None:
    """Check that the public key in the file beside the signing key belongs to it."""
    path = data.relay_public_key
    try:
        written = path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        raise DataDirError(
            f"{path}: is missing; restore it from your backup. If {data.signing_key} is the key that this relay always "
            f"had, write {keys.public.hex()} into it"
        ) from None
    if written != keys.public.hex():
        raise DataDirError(
            f"{path}: does not belong to {data.signing_key}; one of the two is another relay's. Restore both from your "
            "backup"
        )


def check_recovery(data: DataDir, keys: RelayKeys) -> None:
    """Check that the recovery key is one that was made for this relay: nobody here could open a backup that is sealed
    to another relay's. A folder of an earlier version has no mark that tells (see `mark_recovery`). A file that is
    missing or holds no key is told of where a backup needs it."""
    path, marks = data.keys / RECOVERY_PUBLIC, data.recovery_marks()
    public = _recovery_public(data)
    if marks and public is not None and _mark(keys, public) not in marks:
        raise DataDirError(
            f"{path}: is not the recovery key of this relay, and this relay's would not open the backups; restore it "
            f"from your backup. If it is lost, delete {path} and make a new one with `relay backup FILE "
            "--new-recovery-key KEYFILE`"
        )


def mark_recovery(data: DataDir, keys: RelayKeys) -> bool:
    """Mark the recovery key of a folder of an earlier version as this relay's; tell whether that was done now."""
    public = _recovery_public(data)
    if public is None or data.recovery_marks():
        return False
    data.write_recovery_marks([_mark(keys, public)])
    return True


def give_recovery(data: DataDir, keys: RelayKeys, public: bytes) -> None:
    """Make this the relay's recovery key. A crash between two of the writes leaves the former key or the new one, with
    its mark."""
    former = _recovery_public(data)
    both = [_mark(keys, public), *([] if former is None else [_mark(keys, former)])]
    data.write_recovery_marks(both)
    data.write_recovery_public(public)
    data.write_recovery_marks(both[:1])


def recovery_files(data: DataDir, keys: RelayKeys, public: bytes) -> dict[str, bytes]:
    """Return the files that `give_recovery` writes, by their names in the data folder."""
    files = {RECOVERY_PUBLIC: recovery_text(public), RECOVERY_MARKS: marks_text([_mark(keys, public)])}
    return {f"{data.keys.name}/{name}": content for name, content in files.items()}


def _recovery_public(data: DataDir) -> bytes | None:
    try:
        return data.recovery_public()
    except DataDirError:
        return None


def _mark(keys: RelayKeys, public: bytes) -> str:
    return keys.sign(_RECOVERY_LABEL + public).hex()


def check_database(data: DataDir, url: str) -> None:
    """Check that the database exists, if it is a file: without it every bracelet is unknown. The data folder's own
    database was made with the keys; another database must exist only once these keys have a bracelet."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or (url != data.db_url and not data.in_use.exists()):
        return
    database = Path(parsed.database or "")
    if not database.exists() or not database.stat().st_size:
        raise DataDirError(
            f"{database}: is missing or empty, beside keys that have served; restore the folder from your backup "
            "with `relay restore`. If this relay never had a bracelet, delete the folder and run `relay init` again"
        )


def claim(data: DataDir, store: Store, keys: RelayKeys, *, with_ca: bool) -> None:
    """Check that this database belongs to the relay with this signing key and this CA. A database that no relay has
    claimed yet becomes this relay's. `with_ca`: the CA is the data folder's own."""
    table = schema.registry.c
    authority = _ca_key(data) if with_ca else None
    with store.read() as connection:
        owner, ca_key = connection.execute(select(table.relay_id, table.ca_key)).one()
        opens = _opens(connection, store.box)
        has_bracelets = connection.execute(select(schema.bracelet.c.kid).limit(1)).first() is not None
    if owner not in (None, keys.id):
        raise DataDirError(
            f"{data.signing_key}: is the key of relay {keys.id.hex()}, but the database is that of {owner.hex()}; "
            "restore both from one backup, or correct store.url"
        )
    if not opens:
        raise DataDirError(
            f"{data.keys / STORE_KEY}: does not open what is in the database; it is another relay's. Restore both from "
            "one backup"
        )
    if authority is not None and ca_key not in (None, authority):
        raise DataDirError(
            f"{data.ca_cert}: is not the CA that this relay's bracelets were given, and they would refuse the broker; "
            f"restore {data.tls} from your backup"
        )
    if has_bracelets and not data.in_use.exists():
        with suppress(OSError):
            write_private(data.in_use, b"")
    if owner is None and not has_bracelets and data.in_use.exists():
        raise DataDirError(
            "the database that store.url names is new, and these keys have bracelets; correct store.url, or make a "
            "relay of your backup with `relay restore`"
        )
    if owner is None or (ca_key is None and authority is not None):
        with store.write() as connection:
            connection.execute(update(schema.registry).values(relay_id=keys.id, ca_key=ca_key or authority))


def _opens(connection: Connection, box: Box) -> bool:
    """Tell whether this store key opens the database. One value is enough: a subscriber's key, which every relay has
    from its start, or a bracelet's password. A single damaged value does not prove that the key is another relay's."""
    epoch, bracelet = schema.epoch.c, schema.bracelet.c
    epochs = connection.execute(select(epoch.id, epoch.key_sealed).limit(_SAMPLE)).all()
    bracelets = connection.execute(select(bracelet.kid, bracelet.profile_sealed).limit(_SAMPLE)).all()
    tries: list[Callable[[], object]] = [partial(audiences.open_epoch, box, *row) for row in epochs]
    tries += [partial(box.open, PROFILE, *row) for row in bracelets]
    for each in tries:
        with suppress(AtRestError):
            each()
            return True
    return not tries


def _ca_key(data: DataDir) -> bytes | None:
    """Hash the CA's public key, which a renewed certificate keeps. Return None when the CA is missing or can't be read:
    the code that needs the CA reports that."""
    try:
        public = x509.load_pem_x509_certificate(data.ca_cert.read_bytes()).public_key()
    except (OSError, ValueError):
        return None
    try:
        private = load_pem_private_key(data.ca_key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        private = None
    if private is not None and private.public_key() != public:
        raise DataDirError(
            f"{data.ca_key}: is not the key of {data.ca_cert}; one of the two is another relay's. Restore {data.tls} "
            "from your backup"
        )
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()

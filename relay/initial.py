"""Makes a new data folder: keys, certificate authority, passwords, configuration, database.

The folder holds all that a relay needs to start, and no more: people and their rights come with the console. `init`
never overwrites a relay, because a second signing key would be a second relay, and a second store key would make the
data unreadable.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes
from sqlalchemy.exc import DBAPIError

from relay import config, pki, store, together
from relay.backup import recovery
from relay.datadir import (
    SECRET_RELAY,
    SIGNING_KEY,
    STORE_KEY,
    DataDir,
    DataDirError,
    sync_folder,
    write_private,
)
from relay.subscribers.local import Home, local
from relay.subscribers.register import Subscribers
from relay.verify.keys import RelayKeys


@dataclass(frozen=True)
class Options:
    """The settings that differ between relays from the start."""

    names: tuple[str, ...] = ("localhost", "127.0.0.1")
    listen: str = "0.0.0.0"
    port: int = 8883
    sms_port: str | None = None
    sms_number: str | None = None


@dataclass(frozen=True)
class Made:
    """The public face of the new relay."""

    relay_id: str
    relay_key: str
    ca_sha256: str
    recovery_key: str = field(repr=False)  # the private half, which is kept nowhere here


def init(
    data: DataDir, options: Options, now: datetime | None = None, recovery_key: tuple[str, bytes] | None = None
) -> Made:
    """Create the folder. Raises DataDirError when there is a relay in it already. `now`: this machine's time.
    `recovery_key`: private and public half, if the private one is in safety already."""
    if data.keys.exists() and not data.exists():
        raise DataDirError(
            f"{data.path}: an earlier `relay init` did not finish here, or {data.config.name} was lost. If this relay "
            "never ran, delete the folder and repeat; else restore the file from your backup"
        )
    if data.exists():
        raise DataDirError(
            f"{data.path}: there is a relay here already; "
            f"use another folder, or `relay run --data {data.path}` to start it"
        )
    if data.path.exists() and not data.path.is_dir():
        raise DataDirError(f"{data.path}: is a file; name a folder")
    try:
        data.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(data.path, 0o700)
    except OSError as error:
        raise DataDirError(
            f"{data.path}: can't be made ({error.strerror}); name a folder that you may write to"
        ) from None

    try:
        return _fill(data, options, now, recovery_key or recovery.new())
    except (OSError, DBAPIError) as error:
        said = error.orig if isinstance(error, DBAPIError) else error.strerror or error
        raise DataDirError(
            f"{data.path}: {said}; make room or choose another disk, delete the folder and repeat"
        ) from None


def _fill(data: DataDir, options: Options, now: datetime | None, recovery_key: tuple[str, bytes]) -> Made:
    write_private(data.keys / SIGNING_KEY, secrets.token_bytes(32).hex().encode() + b"\n")
    write_private(data.keys / STORE_KEY, secrets.token_bytes(32).hex().encode() + b"\n")
    keys = RelayKeys(data.signing_seed())
    write_private(data.relay_public_key, keys.public.hex().encode() + b"\n")
    data.relay_public_key.chmod(0o644)

    private, public = recovery_key
    together.give_recovery(data, keys, public)

    authority = pki.create_ca(now=now)
    certificate, key = pki.issue_server(authority, options.names, now=now)
    write_private(data.ca_key, authority.key_pem)
    write_private(data.ca_cert, authority.cert_pem).chmod(0o644)
    write_private(data.server_key, key)
    write_private(data.server_cert, certificate).chmod(0o644)

    data.new_password(SECRET_RELAY)
    database = store.open(data.db_url, data.store_key())
    try:
        together.claim(data, database, keys, with_ca=True)
        home = Home(options.names[0], options.port, authority.cert_pem.decode(), keys.public)
        local(Subscribers(database), data.watch, home, (now or datetime.now(UTC)).timestamp())
    finally:
        database.close()

    # The configuration comes last, because its presence means that the folder is complete.
    text = config.render_default(
        names=list(options.names),
        listen=options.listen,
        port=options.port,
        sms_port=options.sms_port,
        sms_number=options.sms_number,
    )
    write_private(data.config, text.encode())
    sync_folder(data.path)
    config.load(data)
    fingerprint = authority.certificate.fingerprint(hashes.SHA256()).hex()
    return Made(keys.id.hex(), keys.public.hex(), fingerprint, private)

"""Do keys, database and certificates of a data folder belong together? Who copies single files from one folder into
another makes a relay that no bracelet believes, or that can read nothing. So that is refused, by name, at the start.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from sqlalchemy import select, update

from relay.datadir import DataDir, DataDirError
from relay.store import Store, schema
from relay.verify.keys import RelayKeys


def check_public(data: DataDir, keys: RelayKeys) -> None:
    """Is the public half that lies beside the signing key its own?"""
    path = data.relay_public_key
    try:
        written = path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        raise DataDirError(
            f"{path}: is missing; restore it from your backup, or write `{keys.public.hex()}` into it if {data.signing_key} "
            "is the key that this relay always had"
        ) from None
    if written != keys.public.hex():
        raise DataDirError(
            f"{path}: does not belong to {data.signing_key}; one of the two is another relay's. Restore both from your "
            "backup"
        )


def check_database(data: DataDir, url: str) -> None:
    """Is the data folder's own database there? It was made with the keys; without it every bracelet is unknown."""
    missing = not data.database.exists() or not data.database.stat().st_size
    if url == data.db_url and missing:
        raise DataDirError(
            f"{data.database}: is missing or empty, beside keys that have served; restore the folder from your backup "
            "with `relay restore`. If this relay never had a bracelet, delete the folder and run `relay init` again"
        )


def claim(data: DataDir, store: Store, keys: RelayKeys) -> None:
    """Is this the database of the relay with this signing key? One that nobody has opened yet becomes it."""
    owner = schema.registry.c.relay_id
    with store.read() as connection:
        found = connection.execute(select(owner)).scalar_one()
    if found is None:
        with store.write() as connection:
            connection.execute(update(schema.registry).where(owner.is_(None)).values(relay_id=keys.id))
    elif found != keys.id:
        raise DataDirError(
            f"{data.signing_key}: is the key of relay {keys.id.hex()}, but the database is that of relay {found.hex()}; "
            "restore both from one backup, or correct store.url"
        )


def check_certificates(data: DataDir) -> None:
    """Did this CA sign the broker's certificate? Bracelets believe the CA that they were given, and no other. What can't
    be read is not judged here: it is made anew."""
    try:
        authority = x509.load_pem_x509_certificate(data.ca_cert.read_bytes())
        server = x509.load_pem_x509_certificate(data.server_cert.read_bytes())
        server.verify_directly_issued_by(authority)
    except FileNotFoundError:
        return
    except InvalidSignature:
        pass
    except (ValueError, TypeError):
        return
    else:
        return
    raise DataDirError(
        f"{data.ca_cert}: did not sign {data.server_cert}; one of the two is another relay's. Restore {data.tls} from your "
        f"backup. If you changed the CA on purpose (bracelets must be made anew then), delete {data.server_cert}"
    )

"""Proves in a database that the contents of a backup make a relay: in memory before a backup is called good, in the new
database before a restore is.
"""

from sqlalchemy import Connection, select

from relay import registry
from relay.backup import BackupError
from relay.outbox import EVIDENCE
from relay.store import AtRestError, Store, chains, schema
from relay.verify.keys import RelayKeys

SAMPLE = 200  # newest alarm messages whose evidence is opened


def prove(store: Store, keys: RelayKeys) -> None:
    """Raise BackupError unless database and keys belong together and all that a bracelet needs can be opened."""
    with store.read() as connection:
        owner = connection.execute(select(schema.registry.c.relay_id)).scalar_one()
        if owner is not None and owner != keys.id:
            raise BackupError("its database belongs to another relay than its signing key")
        try:
            _open(connection, store)
        except AtRestError as error:
            raise BackupError(f"a value in it does not open: {error}") from None


def _open(connection: Connection, store: Store) -> None:
    table = schema.bracelet.c
    kids = []
    for kid, profile, offer in connection.execute(select(table.kid, table.profile_sealed, table.offer_key_sealed)):
        kids.append(kid)
        store.box.open(registry.PROFILE, kid, profile)
        if offer is not None:
            store.box.open(registry.OFFER_KEY, kid, offer)
    for at in range(0, len(kids), SAMPLE):
        for (kid, name), stored in chains.read(connection, store.box, kids[at : at + SAMPLE]).items():
            if stored is None:
                raise AtRestError(f"chain.{name} of {kid:08x}")
    alarm = schema.alarm.c
    newest = select(alarm.id, alarm.evidence_sealed).order_by(alarm.received_ms.desc()).limit(SAMPLE)
    for number, evidence in connection.execute(newest):
        store.box.open(EVIDENCE, number, evidence)

"""Makes a relay of a backup, in an empty folder, and moves every down chain forward.

The relay went on after the backup was made: receipts and orders left under counters that the backup takes for unused.
So each down chain steps forward before anything is sealed, past the counters that can have been used since. No chain
steps so far that a bracelet which was away all the time could not follow: a bracelet opens no message that is more than
5000 ahead. Nobody can know from the backup whether more counters were used, or whether another relay restored from the
same file is running; bracelets' heartbeats show that later (`relay.rollback`). Two texts share no key even then
(`relay.verify.keys`).
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.engine import make_url

from relay import config as configuration
from relay.backup import BackupError, contents, proof, sealed
from relay.datadir import DataDir, sync_folder, write_private
from relay.rollback import room
from relay.store import Store, chains, commands, records, schema
from relay.store.atrest import Box
from relay.store.chains import LEAP, Replacement
from relay.store.database import empty, has_tables, may_idle, open_engine
from relay.verify.keys import RelayKeys

STEPS_LEAST, STEPS_SPREAD = 1536, 512  # at least, and a random part: two restores of one backup differ at once
CHAINS_AT_ONCE = 500


class Restored(NamedTuple):
    """The relay that was made of a backup."""

    relay_id: bytes
    made_ms: int
    rows: int
    bracelets: int
    alarms: int


def restore(file: Path, private: bytes, target: DataDir, *, now: float) -> Restored:
    """Make a relay of a backup. Nothing is left behind when this raises."""
    if target.path.exists() and (not target.path.is_dir() or any(target.path.iterdir())):
        raise BackupError(f"{target.path}: is not empty; name a folder that does not exist, or an empty one")
    staged = DataDir(target.path.with_name(f".{target.path.name}.restoring"))
    try:
        target.path.parent.mkdir(parents=True, exist_ok=True)
        staged.path.mkdir(mode=0o700)
    except OSError as error:
        if staged.path.exists():
            raise BackupError(
                f"{staged.path}: is left from a restore that was interrupted, or is under way; delete it if none is"
            ) from None
        raise _not_restored(target, error) from None
    try:
        with file.open("rb") as opened:
            try:
                found = _restore(sealed.read(opened, private=private), staged, target, now)
            except (TypeError, ValueError, LookupError) as error:
                raise BackupError(
                    "this backup has a form that this version does not know; it was made by a newer one, or not by "
                    "`relay backup`"
                ) from error
        if target.path.exists():
            target.path.rmdir()
        staged.path.rename(target.path)
    except BaseException as error:
        shutil.rmtree(staged.path, ignore_errors=True)
        if isinstance(error, OSError):
            raise _not_restored(target, error) from None
        raise
    sync_folder(target.path.parent)
    return found


def _not_restored(target: DataDir, error: OSError) -> BackupError:
    return BackupError(f"{error.filename or target.path}: {error.strerror or error}; nothing was restored")


def _restore(read: Iterator[list[Any]], staged: DataDir, target: DataDir, now: float) -> Restored:
    about = contents.about(read)
    first = _files(read, staged)
    keys = RelayKeys(staged.signing_seed())
    url = configuration.load(staged).store.url or staged.db_url
    elsewhere = url != staged.db_url
    if elsewhere and make_url(url).get_backend_name() == "sqlite" and Path(make_url(url).database or "").exists():
        raise BackupError(f"{make_url(url).database}: exists already; move it away, or correct store.url")
    engine = open_engine(url)
    try:
        if elsewhere and has_tables(engine):
            raise BackupError(
                f"the database that {target.config.name} names is not empty; name an empty one, in the environment as "
                "TOCSIN_STORE__URL"
            )
    except BaseException:
        engine.dispose()
        raise
    try:
        rows = contents.fill(engine, about, first, lambda *_: None)
        store = Store(engine, Box(staged.store_key()))
        proof.prove(store, keys)
        bracelets, alarms = begin_anew(store, keys, int(now * 1000))
        return Restored(keys.id, about.made_ms, rows, bracelets, alarms)
    except BaseException:
        if elsewhere:  # that database was empty before
            empty(engine)
        raise
    finally:
        engine.dispose()


def _files(read: Iterator[list[Any]], staged: DataDir) -> Iterator[list[Any]]:
    """Write the files, which come first; return the records behind them."""
    for record in read:
        if record[0] != "file":
            return _chain(record, read)
        _, name, octets, public = record
        path = staged.path / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BackupError("this backup names a file outside its folder; it was not made by `relay backup`")
        written = write_private(path, octets)
        if public:
            written.chmod(0o644)
    raise BackupError("this backup holds no database; use an earlier one")


def _chain(first: list[Any], rest: Iterator[list[Any]]) -> Iterator[list[Any]]:
    yield first
    yield from rest


def begin_anew(store: Store, keys: RelayKeys, now_ms: int) -> tuple[int, int]:
    """Step the down chains forward, and record that this is a restored relay. Return the numbers of its bracelets and
    of its alarm messages."""
    table = schema.registry
    with store.write() as connection:
        may_idle(connection)  # stepping hundreds of chains takes seconds
        kids = list(connection.execute(select(schema.chain.c.kid).where(schema.chain.c.name == chains.DOWN)).scalars())
        for at in range(0, len(kids), CHAINS_AT_ONCE):
            some = kids[at : at + CHAINS_AT_ONCE]
            heard = records.heard_downs(connection, some)
            found = chains.read(connection, store.box, some)
            stepped = []
            for kid in some:
                stored = found[kid, chains.DOWN]
                assert stored is not None  # `prove` has read it
                steps = steps_for(stored.state.next, stored.floor, heard.get(kid))
                state = chains.leapt(stored.state, steps)
                stepped.append(Replacement(kid, chains.DOWN, stored.version, state, state.next))
            chains.replace(store, connection, stepped)
            commands.unseal(connection, some, now_ms)
        change = {"version": table.c.version + 1, "restored_ms": now_ms, "relay_id": keys.id}
        connection.execute(update(table).values(change))
        records.write_audit(store, connection, [(now_ms, "operator", "relay.restored", None, None)])
        alarms = connection.execute(select(func.count()).select_from(schema.alarm)).scalar_one()
    return len(kids), alarms


def steps_for(number: int, floor: int, heard: int | None) -> int:
    """Choose how far a down chain at `number` steps. A chain that has sealed nothing since its last step, and whose
    bracelet has reported no `down`, takes a short step."""
    wanted = STEPS_LEAST + secrets.randbelow(STEPS_SPREAD)
    if heard is None and floor and number == floor:
        wanted = LEAP  # nothing was sealed since the last step
    return min(wanted, room(number, heard))

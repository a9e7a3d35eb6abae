"""Makes a backup while the relay runs: writes it, reads it back, restores it in memory, and only then names it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from relay import together
from relay.backup import BackupError, contents, proof, sealed
from relay.backup.contents import Progress
from relay.config import Config
from relay.datadir import STORE_KEY, DataDir, sync_folder
from relay.store import Store
from relay.store.atrest import Box
from relay.store.database import scratch
from relay.verify.keys import RelayKeys


class Saved(NamedTuple):
    """A backup that is on disk and was found good."""

    octets: int
    rows: int
    sha256: str


def save(
    file: Path,
    data: DataDir,
    config: Config,
    keys: RelayKeys,
    store: Store,
    *,
    now: float,
    progress: Progress = lambda *_: None,
    new_key: bytes | None = None,
) -> Saved:
    """Write a backup to `file`, which must not exist; `file` is not there when this raises. `new_key`: the public half
    of the recovery key that the backup is for, and holds, if the data folder does not have it yet."""
    if file.exists() or file.is_symlink():
        raise _exists(file)
    public = data.recovery_public() if new_key is None else new_key
    instead = {} if new_key is None else together.recovery_files(data, keys, new_key)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            writer = sealed.Writer(out, public)
            for record in contents.dump(data, config, keys, store, int(now * 1000), progress, instead):
                writer.write(record, last=record[0] == "end")
            out.flush()
            os.fsync(out.fileno())
            made = os.fstat(out.fileno())
        saved = _prove(temporary, writer.key, data, keys)
        try:
            _give_name(temporary, file)
            sync_folder(file.parent)
        except BaseException:
            _take_name(made, file)
            raise
    except OSError as error:
        where = Path(error.filename) if error.filename not in (None, str(temporary)) else file
        what = error.strerror or error
        if isinstance(error, FileNotFoundError) and where != file and where.is_relative_to(data.path):
            what = "is missing; restore it from an earlier backup"
        raise BackupError(f"{where}: {what}; no backup was made") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return saved


def _give_name(temporary: Path, file: Path) -> None:
    """Name the backup, and overwrite no file: another backup may be made at the same time."""
    try:
        os.link(temporary, file)
    except FileExistsError:
        raise _exists(file) from None
    except OSError:  # a file system without links, as on a memory stick
        if file.exists():
            raise _exists(file) from None
        os.rename(temporary, file)


def _take_name(made: os.stat_result, file: Path) -> None:
    """Remove the backup if it has its name already, and no other file."""
    with contextlib.suppress(OSError):
        if os.path.samestat(made, file.lstat()):
            file.unlink()


def _exists(file: Path) -> BackupError:
    return BackupError(f"{file}: exists already; name another file, a backup is never overwritten")


def _prove(file: Path, key: bytes, data: DataDir, keys: RelayKeys) -> Saved:
    """Read the backup from the disk again, restore it in memory, and check the result."""
    digest, kept = hashlib.sha256(), {}

    def take(name: str, octets: bytes, _public: bool) -> None:
        kept[name] = octets

    engine = scratch()
    try:
        with file.open("rb") as read:
            records = sealed.read(read, key=key)
            rows = contents.fill(engine, contents.about(records), records, take)
        signing, of_store = (_hex(kept, f"{data.keys.name}/{name}") for name in (data.signing_key.name, STORE_KEY))
        if RelayKeys(signing).id != keys.id:
            raise BackupError("the signing key was changed while the backup was made; make it again")
        proof.prove(Store(engine, Box(of_store)), keys)
    finally:
        engine.dispose()
    with file.open("rb") as read:
        for part in iter(lambda: read.read(1 << 20), b""):
            digest.update(part)
    return Saved(file.stat().st_size, rows, digest.hexdigest())


def _hex(kept: dict[str, bytes], name: str) -> bytes:
    return bytes.fromhex(kept[name].decode().strip())

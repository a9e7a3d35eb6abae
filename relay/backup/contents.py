"""The contents of a backup, record by record, and the filling of a database from them.

    ["about", {relay_id, made_ms, schema}]
    ["file", name, octets, may others read it]    keys, passwords, certificates, relay.toml
    ["table", name, [column ...]]
    ["rows", [[value ...] ...]]                   of the table before
    ["end", {table: rows}]

The tables are read in one transaction, so they show one moment, on SQLite and on PostgreSQL. A backup of either can
fill either. Columns that are sealed stay sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, MetaData, Table, delete, func, insert, select, text

from relay.backup import BackupError
from relay.config import Config
from relay.datadir import DataDir
from relay.store import Store, schema
from relay.store.database import HEAD, may_idle
from relay.store.migrate import upgrade
from relay.verify.keys import RelayKeys

ROWS = 500  # in one record

Progress = Callable[[int, int], None]
Take = Callable[[str, bytes, bool], None]


class About(NamedTuple):
    """The relay that a backup is of, the time at which it was made, and its schema."""

    relay_id: bytes
    made_ms: int
    schema: str


def files(data: DataDir, config: Config) -> list[str]:
    """List the small files that a relay can't do without, by their names in the data folder."""
    named = [config.mqtt.ca, config.mqtt.password_file, config.sms.pin_file]
    found = [data.config, *(data.resolve(name) for name in named if name)]
    for folder in (data.keys, data.tls, data.secrets):
        found += sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    inside = [file.relative_to(data.path) for file in map(_plain, found) if file.is_relative_to(data.path)]
    return list(dict.fromkeys(map(str, inside)))


def _plain(file: Path) -> Path:
    return Path(file.parent.resolve(), file.name) if ".." in file.parts else file


def dump(
    data: DataDir,
    config: Config,
    keys: RelayKeys,
    store: Store,
    made_ms: int,
    progress: Progress = lambda *_: None,
    instead: Mapping[str, bytes] = MappingProxyType({}),
) -> Iterator[list[Any]]:
    """Yield the records of a backup. `instead`: files whose content is not that in the data folder, by their names."""
    yield ["about", About(keys.id, made_ms, HEAD)._asdict()]
    for name, octets in instead.items():
        yield ["file", name, octets, False]
    for name in files(data, config):
        if name in instead:
            continue
        file = data.path / name
        yield ["file", name, file.read_bytes(), bool(file.stat().st_mode & 0o004)]
    counts: dict[str, int] = {}
    with _one_moment(store) as connection:
        sizes = {table: _count(connection, table) for table in schema.metadata.sorted_tables}
        for table in schema.metadata.sorted_tables:
            yield ["table", table.name, [column.name for column in table.columns]]
            found = connection.execution_options(yield_per=ROWS).execute(select(table))
            counts[table.name] = 0
            for rows in found.partitions():
                yield ["rows", [list(row) for row in rows]]
                counts[table.name] += len(rows)
                progress(sum(counts.values()), sum(sizes.values()))
    yield ["end", counts]


def _one_moment(store: Store) -> Connection:
    if store.engine.dialect.name == "sqlite":
        return store.engine.connect()
    return may_idle(store.engine.connect().execution_options(isolation_level="REPEATABLE READ"))


def _count(connection: Connection, table: Table) -> int:
    counted: int = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return counted


def about(records: Iterator[list[Any]]) -> About:
    """Read the first record."""
    kind, told = next(records)
    if kind != "about":
        raise BackupError("this backup begins with something else than what it is; it can't be restored")
    return About(**told)


def fill(engine: Engine, found: About, records: Iterable[list[Any]], take: Take) -> int:
    """Make the backup's tables in an empty database, fill them, and bring them to the present form; files go to `take`.
    Return the number of rows. One transaction writes the rows: none of them is in the database when it raises."""
    upgrade(engine, None, found.schema)
    with engine.connect() as connection, connection.execution_options(tocsin_write=True).begin():
        tables = MetaData()
        tables.reflect(may_idle(connection))
        rows = _fill(connection, tables, records, take)
        if engine.dialect.name == "sqlite":
            if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                raise BackupError("this backup has rows that refer to missing ones; use an earlier one")
        else:
            _set_sequences(connection, tables)
    upgrade(engine, found.schema)
    return rows


def _fill(connection: Connection, tables: MetaData, records: Iterable[list[Any]], take: Take) -> int:
    counts: dict[str, int] = {}
    names: list[str] = []
    table, ended = None, False
    for kind, *content in records:
        if kind == "file":
            take(*content)
        elif kind == "table":
            name, names = content
            table, counts[name] = tables.tables[name], 0
            connection.execute(delete(table))  # a migration may have written a first row
        elif kind == "rows" and table is not None:
            rows = [dict(zip(names, row, strict=True)) for row in content[0]]
            connection.execute(insert(table), rows)
            counts[table.name] += len(rows)
        elif kind == "end":
            ended = content[0] == counts
    if not ended:
        raise BackupError("this backup does not hold all that it says it holds; use an earlier one")
    return sum(counts.values())


def _set_sequences(connection: Connection, tables: MetaData) -> None:
    """Set PostgreSQL's sequences, so that the next id is above those that were filled in."""
    for table in tables.sorted_tables:
        for column in islice(table.primary_key.columns, 1):
            sequence = connection.execute(
                text("SELECT pg_get_serial_sequence(:t, :c)"), {"t": table.name, "c": column.name}
            ).scalar()
            if sequence is not None:
                highest = connection.execute(select(func.max(column))).scalar()
                connection.execute(
                    text("SELECT setval(:s, :n, :used)"),
                    {"s": sequence, "n": highest or 1, "used": highest is not None},
                )

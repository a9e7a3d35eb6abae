"""The command `relay bench --accounts N` measures many accounts: the cost for the embedded broker's gate, and whether
the alarm loop feels it.

    python -m relay.bench.accounts SPEC.json      -> one JSON object: the load, a process of its own

A real relay has N bracelets in its store. Some hundred connect, as fast as they are let in, and stay; meanwhile one
other bracelet raises alarms and waits for the receipts; then a bracelet is added, which the relay takes up at once. The
figures are those of this machine: relay, broker, gate and load share it.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from sqlalchemy import insert

from relay import initial
from relay.assembly import Relay
from relay.bench.fleet import Fleet, read
from relay.bench.load import Connection, Spec
from relay.bench.plan import BenchError
from relay.broker.passwords import verifier
from relay.broker.process import Child, connect_packet, free_port
from relay.commands.common import tell_running_relay
from relay.datadir import DataDir
from relay.ingest import qos1
from relay.ingest.mqtt import client_tls
from relay.registry import PROFILE
from relay.store import schema

_READY = 60.0
_AT_ONCE = 16  # connections that are being opened
_EVERY = 0.05  # seconds between two alarms
_ANSWER = 30.0
_ROWS = 1000


@dataclass(frozen=True)
class Size:
    """The size of a run."""

    accounts: int
    connections: int = 600  # a process may open 1,024 files
    alarms: int = 100  # in each phase


@dataclass(frozen=True)
class LoadSpec:
    """The accounts that are to connect, and the place where."""

    port: int
    ca: str
    accounts: list[tuple[str, str]]


def run(folder: Path, size: Size, progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure all figures."""
    data = DataDir(folder / "data")
    initial.init(data, initial.Options(listen="127.0.0.1", port=free_port("127.0.0.1")))
    relay = Relay(data)
    progress(f"making {size.accounts} accounts")
    connecting = _make(relay, size)
    fleet = Fleet(relay, 1, int(time.time()), lambda _: None)
    phases = ("quiet", "while_connecting", "while_one_is_added")
    alarms = folder / "alarms"
    fleet.seal(alarms, size.alarms * len(phases), 1.0)
    messages = list(read(alarms))
    began = time.monotonic()
    with _running(data):
        results: dict[str, Any] = {"accounts": size.accounts, "ready_s": round(time.monotonic() - began, 1)}
        device = _Device(relay, Path(data.ca_cert))
        progress("alarms, nothing else")
        results["memory_mib"] = {"before": _memory(data)}
        receipts = {"quiet": device.delays(messages[: size.alarms])}
        progress(f"alarms while {size.connections} bracelets connect")
        with _load(folder, LoadSpec(relay.config.mqtt.port, str(data.ca_cert), connecting)) as load:
            receipts["while_connecting"] = device.delays(messages[size.alarms : 2 * size.alarms])
            results["connects"] = json.loads(load.readline())
            results["memory_mib"]["connected"] = _memory(data)
        progress("alarms while a bracelet is added")
        relay.registry.offer("one more", now=time.time(), host="localhost", port=1, ca_der=relay.ca_der())
        tell_running_relay(data)
        receipts["while_one_is_added"] = device.delays(messages[2 * size.alarms :])
        results["receipts"] = receipts
        device.close()
    relay.store.close()
    return results


def _make(relay: Relay, size: Size) -> list[tuple[str, str]]:
    """Make rows as `Registry.offer` makes them, many in a transaction; return the accounts that will connect."""
    store, now_ms = relay.store, int(time.time() * 1000)
    accounts: list[tuple[str, str]] = []
    for first in range(0, size.accounts, _ROWS):
        rows = []
        for kid in range(first, min(first + _ROWS, size.accounts)):
            account, password = secrets.token_hex(8), secrets.token_urlsafe(18)
            profile = json.dumps({"code_name": f"bench {kid}", "password": password}).encode()
            sealed = store.box.seal(PROFILE, kid, profile)
            row = {"kid": kid, "state": "offered", "offered_ms": now_ms, "profile_sealed": sealed}
            rows.append({**row, "account": account, "account_hash": verifier(password)})
            if len(accounts) < size.connections:
                accounts.append((account, password))
        with store.write() as connection:
            connection.execute(insert(schema.bracelet), rows)
    return accounts


@contextmanager
def _running(data: DataDir) -> Iterator[None]:
    """Run `relay run`; begin when it hears bracelets."""
    log = data.path / "run.log"
    with log.open("wb") as stream:
        process = Child([sys.executable, "-m", "relay", "run", "--log-json", "--data", str(data.path)], stderr=stream)
    try:
        end = time.monotonic() + _READY
        while b'"mqtt.ready"' not in log.read_bytes():
            if time.monotonic() > end or process.has_ended(0):
                raise BenchError(f"the relay did not start; it said: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.05)
        yield
    finally:
        process.stop()


class _Device:
    """A bracelet that raises alarms again and again."""

    def __init__(self, relay: Relay, ca: Path) -> None:
        with relay.store.read() as connection:
            active = schema.bracelet.c.state == "active"
            row = connection.execute(schema.bracelet.select().where(active)).one()
        profile = json.loads(relay.store.box.open(PROFILE, row.kid, row.profile_sealed))
        kid = f"{row.kid:08x}"
        unused: dict[str, Any] = {"messages": "", "rate": None, "raw": False, "audience": "", "epoch": ""}
        spec = Spec(
            port=relay.config.mqtt.port,
            ca=str(ca),
            user=row.account,
            password=profile["password"],
            sealed=False,
            timeout=_ANSWER,
            **unused,
        )
        self._connection = Connection(spec, row.account)
        self._connection.subscribe([f"b/{kid[0]}/{kid}/ack"])

    def delays(self, messages: Sequence[tuple[bytes, bytes]]) -> dict[str, float]:
        """Measure the time from each alarm to its receipt, in ms."""
        took = []
        for number, (topic, message) in enumerate(messages):
            began = time.monotonic()
            self._connection.socket.send(qos1.publish(topic, number % 65_535 + 1, message))
            self._connection.expect(qos1.PUBACK, qos1.PUBLISH)
            took.append((time.monotonic() - began) * 1000)
            time.sleep(_EVERY)
        took.sort()
        p99 = took[math.ceil(0.99 * len(took)) - 1]
        return {"p50_ms": round(took[len(took) // 2], 1), "p99_ms": round(p99, 1), "slowest_ms": round(took[-1], 1)}

    def close(self) -> None:
        self._connection.socket.close()


@contextmanager
def _load(folder: Path, spec: LoadSpec) -> Iterator[Any]:
    """Run bracelets that connect and stay, in a process of their own; its output has one line."""
    file = folder / "load.json"
    file.write_text(json.dumps(asdict(spec)))
    command = [sys.executable, "-m", "relay.bench.accounts", str(file)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout
    finally:
        process.communicate()  # the end of its input ends it


def _memory(data: DataDir) -> dict[str, float]:
    """Read the resident memory of the processes that serve this folder, in MiB, as Linux reports it."""
    names = {b"relay.broker.gate": "gate", b"nats.conf": "broker", b"run": "relay"}
    found: dict[str, float] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            status = (process / "status").read_text()
        except OSError:
            continue
        if not any(bytes(data.path) in word for word in words):
            continue
        for word, name in names.items():
            if any(each.endswith(word) for each in words) and "VmRSS:" in status:
                mib = round(int(status.split("VmRSS:")[1].split()[0]) / 1024, 1)
                found[name] = max(mib, found.get(name, 0.0))  # a shell that watches it has the same words
    return found


async def _connect_all(spec: LoadSpec) -> dict[str, Any]:
    """Connect everyone, some at a time, and say how fast that was."""
    tls = client_tls(Path(spec.ca))
    places, streams, refused = asyncio.Semaphore(_AT_ONCE), [], 0

    async def one(account: str, password: str) -> None:
        nonlocal refused
        async with places:
            try:
                reader, writer = await asyncio.open_connection("localhost", spec.port, ssl=tls)
                writer.write(connect_packet(account, account, password))
                answer = await asyncio.wait_for(reader.readexactly(4), _ANSWER)
            except (OSError, asyncio.IncompleteReadError, TimeoutError, ssl.SSLError):
                refused += 1
                return
            refused += answer[3] != 0
            streams.append(writer)

    began = time.monotonic()
    await asyncio.gather(*(one(*account) for account in spec.accounts))
    took = time.monotonic() - began
    return {"connected": len(streams) - refused, "refused": refused, "per_s": round(len(spec.accounts) / took)}


async def _main(spec: LoadSpec) -> None:
    click.echo(json.dumps(await _connect_all(spec)))
    await asyncio.to_thread(sys.stdin.read)


def describe(results: dict[str, Any]) -> str:
    """Write the report for people."""
    connects, receipts = results["connects"], results["receipts"]
    lines = [
        f"{results['accounts']:,} accounts; the relay was ready after {results['ready_s']} s",
        f"{connects['connected']} connected, {connects['per_s']} a second; {connects['refused']} refused",
    ]
    for when, memory in results["memory_mib"].items():
        lines.append(f"memory, {when}: " + ", ".join(f"{name} {mib} MiB" for name, mib in sorted(memory.items())))
    for when, row in receipts.items():
        words = when.replace("_", " ")
        lines.append(f"receipts, {words}: p50 {row['p50_ms']} ms, p99 {row['p99_ms']}, slowest {row['slowest_ms']}")
    return "\n".join(lines)


if __name__ == "__main__":
    asyncio.run(_main(LoadSpec(**json.loads(Path(sys.argv[1]).read_text()))))

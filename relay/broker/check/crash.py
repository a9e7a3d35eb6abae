"""Start a known broker with a relay's accounts, check it, and kill it: while messages wait, and in mid-alarm.

For developers: `relay broker check --crash` fills the README's table with it. The relay is a real one in a process of
its own; the bracelet has real keys and does what the firmware does: it sends an alarm again until it has a receipt.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import func, select

from relay import initial
from relay.assembly import Relay
from relay.bench.fleet import Fleet, read
from relay.broker import PROBE, PROBE_BRACELET, PROGRAMMER, BrokerError
from relay.broker.check import Finding, Verdict
from relay.broker.check.client import Account, Client, Clients, Interrupted
from relay.broker.check.examine import target_of
from relay.broker.check.known import KNOWN, Found, kill
from relay.broker.check.questions import BURST_TOPIC
from relay.broker.process import Child, ChildBroker, free_port
from relay.datadir import DataDir
from relay.ingest.sessions import client_ids
from relay.store import schema

ALARMS, KILL_AFTER = 10, 3
WAITING = 200
PIECES = 8
_READY = 90.0  # RabbitMQ takes half a minute
_AGAIN = 2.0  # a bracelet waits so long for a receipt before it sends again
_GIVE_UP = 120.0
_SECONDS = 600.0


def examine(name: str, found: Found, tell: Callable[[str], None]) -> tuple[str, list[Finding]]:
    """Check a known broker. Return its version, and everything that was found about it. Raises Missing when it can't be
    had."""
    with tempfile.TemporaryDirectory(prefix="tocsin-broker-") as folder:
        data = DataDir(Path(folder) / "data")
        initial.init(data, initial.Options(listen="127.0.0.1", port=free_port("127.0.0.1")))
        data.config.write_text(data.config.read_text().replace("embedded = true", "embedded = false"))
        relay = Relay(data)
        fleet = Fleet(relay, 1, int(time.time()), lambda _: None)
        relay.local_subscriber()
        where = data.path / "its", "127.0.0.1", relay.config.mqtt.port, data.server_cert, data.server_key
        version, broker = KNOWN[name]((*where, relay.users()), found)
        try:
            tell(f"starting {name} {version}")
            broker.start()
            broker.wait_ready(_READY)
            tell("asking")
            findings = target_of(relay, sessions=client_ids(relay.config.mqtt.sessions)).examine()
            trial = _Trial(relay, broker)
            for what in (trial.waiting, trial.pieces):
                tell(f"killing: {what.__name__}")
                findings.append(what())
            tell("killing: in mid-alarm")
            alarms = Path(folder) / "alarms"
            fleet.seal(alarms, ALARMS, 1.0)
            findings.append(trial.alarms([message for _, message in read(alarms)]))
            return version, findings
        finally:
            broker.stop()
            relay.store.close()


class _Trial:
    """A broker that is killed and started again."""

    def __init__(self, relay: Relay, broker: ChildBroker) -> None:
        self._relay, self._broker = relay, broker
        password = relay.endpoint().password
        self._probe, self._bracelet = Account(PROBE, password), Account(PROBE_BRACELET, password)
        self._programmer = Account(PROGRAMMER, password)

    def waiting(self) -> Finding:
        """Kill the broker while messages wait that it has acknowledged and nobody has fetched."""
        key, asked = "kill_waiting", f"kill -9 while {WAITING} acknowledged messages wait"
        with self._clients() as clients:
            listener = clients.enter(self._probe, PROBE, clean=False)
            listener.listen(BURST_TOPIC)
            listener.close()
            bracelet = clients.enter(self._bracelet, PROBE_BRACELET)
            confirmed = bracelet.publish_all([(BURST_TOPIC, b"%d" % number) for number in range(WAITING)])
            kill(self._broker)
        self._start_again()
        with self._clients() as clients:
            back = clients.enter(self._probe, PROBE, clean=False)
            kept: set[bytes] = set()
            while len(kept) < confirmed and back.hears_more():
                kept |= {one.octets for one in back.heard}
                back.acknowledge_all()
            back.close()
            clients.end_session(self._probe, PROBE)
        words = f"{len(kept)} of {confirmed} kept" + ("" if back.session_present else ", session lost")
        if len(kept) == confirmed:
            return Finding(key, asked, words, Verdict.GOOD)
        return Finding(key, asked, words, Verdict.LESS, "bracelets send them again, as long as they have no receipt")

    def pieces(self) -> Finding:
        """Kill the broker while it keeps retained pieces of programs."""
        key, asked = "kill_pieces", "kill -9 while it keeps pieces of programs"
        topics = [f"fw/probe/{number}" for number in range(PIECES)]
        with self._clients() as clients:
            programmer = clients.enter(self._programmer, PROGRAMMER)
            for topic in topics:
                programmer.tell(topic, topic.encode(), retain=True)
            kill(self._broker)
        self._start_again()
        with self._clients() as clients:
            bracelet = clients.enter(self._bracelet, PROBE_BRACELET)
            for topic in topics:
                bracelet.listen(topic, 0)
            kept = sum(bracelet.hears(topic.encode(), 1.0) for topic in topics)
            programmer = clients.enter(self._programmer, PROGRAMMER)
            for topic in topics:
                programmer.tell(topic, b"", retain=True)
        if kept == PIECES:
            return Finding(key, asked, f"{kept} of {PIECES} kept", Verdict.GOOD)
        advice = "after a crash of the broker run `relay bracelet update` again"
        return Finding(key, asked, f"{kept} of {PIECES} kept", Verdict.LESS, advice)

    def alarms(self, messages: list[bytes]) -> Finding:
        """Send each alarm as a bracelet does, again and again; kill the broker between a PUBACK and the receipt."""
        key, asked = "kill_alarms", f"{ALARMS} alarms, kill -9 in the middle of one"
        ((account, kid, password),) = self._relay.registry.accounts()
        base = f"b/{kid[0]}/{kid}"
        with self._running_relay(), self._clients() as clients:
            device = _Device(clients, Account(account, password), base)
            slowest = 0.0
            for number, message in enumerate(messages):
                began = time.monotonic()
                if number == KILL_AFTER:
                    device.send(message)
                    kill(self._broker)
                    self._start_again()
                if not device.alarm(message):
                    break
                slowest = max(slowest, time.monotonic() - began)
        with self._relay.store.read() as connection:
            stored = int(connection.execute(select(func.count()).select_from(schema.alarm)).scalar_one())
        words = f"{stored} stored, {device.receipts} answered, the slowest after {slowest:.1f} s"
        good = stored == len(messages) == device.receipts
        return Finding(key, asked, words, Verdict.GOOD if good else Verdict.LOSES)

    @contextmanager
    def _clients(self) -> Iterator[Clients]:
        endpoint = self._relay.endpoint()
        clients = Clients(endpoint.host, endpoint.port, endpoint.tls, seconds=_SECONDS, patience=5.0)
        try:
            yield clients
        finally:
            clients.close()

    def _start_again(self) -> None:
        end = time.monotonic() + _READY
        while not self._ensure_running(end):
            time.sleep(0.05)
        self._broker.wait_ready(_READY)

    def _ensure_running(self, end: float) -> bool:
        try:
            if self._broker.ensure_running():
                return True
        except BrokerError:  # a program that it had started may still hold the port
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            raise BrokerError("the broker does not start again")
        return False

    @contextmanager
    def _running_relay(self) -> Iterator[None]:
        """Run `relay run` on this folder; yield once it hears bracelets."""
        log = self._relay.data.path / "run.log"
        command = [sys.executable, "-m", "relay", "run", "--log-json", "--data", str(self._relay.data.path)]
        with log.open("wb") as stream:
            process = Child(command, stderr=stream)
        try:
            end = time.monotonic() + _READY
            while b'"mqtt.ready"' not in log.read_bytes():
                if time.monotonic() > end or process.has_ended(0):
                    raise BrokerError("the relay did not get ready with this broker")
                time.sleep(0.05)
            yield
        finally:
            process.stop()


class _Device:
    """A bracelet at the broker. Each message to it that had not come before counts as a receipt."""

    def __init__(self, clients: Clients, account: Account, base: str) -> None:
        self.receipts = 0
        self._clients, self._account, self._base = clients, account, base
        self._client: Client | None = None
        self._heard: set[bytes] = set()

    def send(self, message: bytes) -> bool:
        """Publish, and tell whether the broker has acknowledged it."""
        try:
            if self._client is None or self._client.ended:
                self._client = self._clients.enter(self._account, self._account.name)
                self._client.listen(f"{self._base}/ack", 0)
            self._client.tell(f"{self._base}/alarm", message)
        except Interrupted:
            return False
        return True

    def alarm(self, message: bytes) -> bool:
        """Send an alarm until there is a receipt; return False when there is none for long."""
        end = time.monotonic() + _GIVE_UP
        while time.monotonic() < end:
            if self.send(message) and self._client is not None and self._clients.wait(self._has_news, _AGAIN):
                self._heard |= {one.octets for one in self._client.heard}
                self.receipts += 1
                return True
            time.sleep(0.1)
        return False

    def _has_news(self) -> bool:
        return self._client is not None and any(one.octets not in self._heard for one in self._client.heard)

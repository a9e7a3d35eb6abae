"""Run the check for a relay's operator, or by itself beside a running relay with a broker of the operator's own.

Only one check may look at a broker at a time, because its accounts have one name each: a lock in the data folder sees
to that.
"""

from __future__ import annotations

import fcntl
import os
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from relay.broker.check import Finding, Verdict
from relay.broker.check.asking import check
from relay.broker.check.client import Account, Clients
from relay.broker.check.questions import PATIENCE, SECONDS
from relay.broker.check.visit import Roles
from relay.datadir import DataDir
from relay.log import Logger

if TYPE_CHECKING:
    from relay.assembly import Relay

LOCK = "broker-check.lock"
_LOOK_S = 1.0
_AGAIN_S = 30.0  # until a broker that kept the check out is tried again
_AT_MOST_EVERY_S = 60.0  # a broker that comes and goes is not examined each time


@dataclass(frozen=True)
class Target:
    """A broker's address, and the accounts to look at it with."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    roles: Roles

    def examine(
        self, only: Collection[str] = (), *, seconds: float = SECONDS, patience: float = PATIENCE
    ) -> list[Finding]:
        """Return all findings, or some; takes up to `seconds`, and a little for tidying up."""
        return check(Clients(self.host, self.port, self.tls, seconds=seconds, patience=patience), self.roles, only)

    def with_subscriber(self, name: str, password: str) -> Target:
        return replace(self, roles=replace(self.roles, subscriber=Account(name, password)))


def target_of(relay: Relay, *, sessions: Sequence[str] = ()) -> Target:
    """Return the broker of relay.toml, with the relay's own accounts and this machine's subscriber. `sessions`: the
    client ids of the relay's sessions; none if a running relay has them."""
    endpoint, subscriber = relay.endpoint(), relay.local_subscriber()
    roles = Roles.of_relay(endpoint.password, user=endpoint.user, sessions=sessions)
    target = Target(endpoint.host, endpoint.port, endpoint.tls, roles)
    return target.with_subscriber(subscriber.account, subscriber.password)


@contextmanager
def alone(data: DataDir) -> Iterator[None]:
    """Wait until no other check of this folder runs, and keep others waiting."""
    fd = os.open(data.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # freed by the kernel when this process dies
        yield
    finally:
        os.close(fd)


def keep_examining(
    target: Target, data: DataDir, log: Logger, readiness: Callable[[], int], *, every_s: float = _AT_MOST_EVERY_S
) -> None:
    """Start examining a broker beside a running relay, which does not wait for it: now, and whenever the broker was
    away. `readiness` says how often the relay's sessions have come to be ready."""
    examiner = _Examiner(target, data, log)

    def go_on() -> None:
        while True:
            seen, began = readiness(), time.monotonic()
            entered = examiner.examine()
            pause = every_s if entered else min(_AGAIN_S, every_s)
            while time.monotonic() - began < pause or (entered and readiness() == seen):
                time.sleep(min(_LOOK_S, every_s))

    threading.Thread(target=go_on, daemon=True).start()


class _Examiner:
    def __init__(self, target: Target, data: DataDir, log: Logger) -> None:
        self._target, self._data, self._log = target, data, log
        self._told: Sequence[Finding] = ()

    def examine(self) -> bool:
        """Log the findings that are new, and tell whether the broker let the check in."""
        try:
            with alone(self._data):
                findings = self._target.examine()
        except OSError as error:  # of the folder: whatever the broker does is a finding
            self._log.warning("broker.not_examined", error=error, retry_s=_AGAIN_S)
            return False
        news = [one for one in findings if one.verdict in (Verdict.LOSES, Verdict.LESS) and one not in self._told]
        self._told = findings
        kept_out = findings[0].key == "connection"
        for finding in news:
            said = {"asked": finding.asked, "came": finding.came, "hint": finding.advice}
            if kept_out:
                self._log.warning("broker.not_examined", retry_s=_AGAIN_S, **said)
            elif finding.verdict is Verdict.LOSES:
                self._log.error("broker.loses", **said)
            else:
                self._log.warning("broker.lacks", **said)
        if not kept_out and not any(one.verdict is Verdict.LOSES for one in findings):
            self._log.info("broker.examined", findings=len(findings))
        return not kept_out

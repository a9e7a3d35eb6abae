"""A relay that kills itself with SIGKILL at one of its boundaries: `crashing.py BOUNDARY DATA`. The product has no such
hook."""

import os
import signal
import sys

from relay import log
from relay.assembly import Relay
from relay.datadir import DataDir
from relay.service import Service

BOUNDARIES = ("before-commit", "after-commit", "after-publish", "after-ack", "after-receipt")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Crashing(Service):
    """Each step is done, its octets are on the network, and then the process is gone."""

    boundary = ""

    def _at(self, boundary: str, batch: object) -> None:
        if batch and self.boundary == boundary:
            self.mqtt.flush()
            die()

    def commit(self, batch):
        self._at("before-commit", batch)
        outcome = super().commit(batch)
        self._at("after-commit", batch)
        return outcome

    def publish(self, outcome, now):
        super().publish(outcome, now)
        self._at("after-publish", outcome.items)

    def acknowledge(self, batch, now):
        super().acknowledge(batch, now)
        self._at("after-ack", batch)

    def answer(self, batch, outcome, now):
        super().answer(batch, outcome, now)
        self._at("after-receipt", batch)


if __name__ == "__main__":
    Crashing.boundary = sys.argv[1]
    assert Crashing.boundary in BOUNDARIES
    log.configure(json=True)
    Relay(DataDir(sys.argv[2])).service(log.get(), Crashing).run()

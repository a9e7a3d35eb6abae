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

    def acknowledge(self, batch, outcome, now):
        super().acknowledge(batch, outcome, now)
        self._at("after-ack", batch)

    def answer(self, batch, outcome, now):
        super().answer(batch, outcome, now)
        self._at("after-receipt", batch)


def serve(boundary: str, folder: str) -> None:
    Crashing.boundary = boundary
    assert boundary in BOUNDARIES
    log.configure(json=True)
    Relay(DataDir(folder)).service(log.get(), Crashing).run()


if __name__ == "__main__":
    serve(*sys.argv[1:3])

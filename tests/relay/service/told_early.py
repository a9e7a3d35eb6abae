"""`relay run` in which `relay bracelet` tells it of a change as early as it can: once the folder's lock is held."""

import os
import signal
import sys

from relay.assembly import Relay
from relay.cli import main
from relay.commands.common import running_relay
from relay.datadir import DataDir
from relay.log import Logger
from relay.service import Service

original = Relay.service


def service(self: Relay, log: Logger) -> Service:
    assert running_relay(DataDir(sys.argv[1])) == os.getpid()
    os.kill(os.getpid(), signal.SIGHUP)
    return original(self, log)


if __name__ == "__main__":
    Relay.service = service
    main(["run", "--log-json", "--data", sys.argv[1]])

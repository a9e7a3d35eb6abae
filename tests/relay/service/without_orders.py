"""`relay run` in which a fault of the program lets no order to a bracelet be sent."""

import sys

from relay.cli import main
from relay.downlink import Downlink


def fails(*_: object, **_options: object) -> None:
    raise ZeroDivisionError("a fault of the program")


if __name__ == "__main__":
    Downlink.due = fails  # type: ignore[method-assign,assignment]
    main(["run", "--log-json", "--data", sys.argv[1]])

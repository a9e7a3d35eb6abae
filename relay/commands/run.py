"""`relay run`."""

from __future__ import annotations

import gc
from pathlib import Path

import click

from relay import log
from relay.commands.common import AlreadyRunning, Failure, data_option, errors_in_words, sole_relay
from relay.datadir import DataDir


@click.command()
@data_option
@click.option("--log-json", is_flag=True, help="Log JSON lines, one event each, on standard error.")
@click.option("--verbose", is_flag=True, help="Log more.")
@errors_in_words
def run(data: Path, log_json: bool, verbose: bool) -> None:
    """Serve: receive alarms, verify and store them, tell subscribers, send receipts.

    Starts the embedded broker, unless relay.toml names one of your own, and keeps it running. Ends on Ctrl-C or SIGTERM
    in good order; a kill or a power cut loses nothing either. `relay bracelet ...` makes it read the registry again
    (SIGHUP).
    """
    from relay.assembly import Relay

    folder = DataDir(data).require()
    log.configure(json=log_json, verbose=verbose)
    relay = Relay(folder)
    try:
        with sole_relay(folder):
            service = relay.service(log.get())
            # What is loaded by now stays: collecting it again and again would only delay alarms.
            gc.collect()
            gc.freeze()
            service.run()
    except AlreadyRunning:
        raise Failure(
            f"{folder.path}: a relay is serving this folder already; stop it first, or use another folder with --data"
        ) from None

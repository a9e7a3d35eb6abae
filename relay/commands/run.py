"""`relay run`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay import log
from relay.commands.common import AlreadyRunning, Failure, data_option, errors_in_words, sole_relay
from relay.datadir import DataDir

if TYPE_CHECKING:
    from relay.ingest.mqtt import Endpoint


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
    # From here on `relay bracelet` finds us and sends SIGHUP, which would end a process that has no handler for it yet.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        with sole_relay(folder):
            service = relay.service(log.get())
            if service.broker is None:
                accounts = relay.endpoint(), relay.temporary(relay.local_subscriber())
                threading.Thread(target=_examine_broker, args=accounts, daemon=True).start()
            service.run()
    except AlreadyRunning:
        raise Failure(
            f"{folder.path}: a relay is serving this folder already; stop it first, or use another folder with --data"
        ) from None


def _examine_broker(own: Endpoint, subscriber: Endpoint) -> None:
    """Warn of what a broker of the operator's own is seen to do wrong. Beside the service, because alarms don't wait
    for it."""
    from relay.broker import BrokerError
    from relay.broker.probe import probe

    accounts = (own.user, own.password), (subscriber.user, subscriber.password)
    try:
        for warning in probe(own.host, own.port, own.tls, *accounts):
            log.get().warning("broker.setting", warning=warning)
    except (BrokerError, OSError) as error:
        log.get().warning("broker.not_examined", error=error)

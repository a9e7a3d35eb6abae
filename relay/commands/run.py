"""The command `relay run`."""

from __future__ import annotations

import signal
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
    # From here on `relay bracelet` finds us and sends SIGHUP, which would end a process that has no handler for it yet.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        with sole_relay(folder):
            service = relay.service(log.get())
            if service.broker is None:
                from relay.broker.check.examine import keep_examining, target_of

                keep_examining(target_of(relay), folder, log.get(), lambda: service.sessions.times_ready)
            service.run()
    except AlreadyRunning:
        raise Failure(
            f"{folder.path}: a relay is serving this folder already; stop it first, or use another folder with --data"
        ) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

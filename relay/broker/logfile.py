"""Write the embedded broker's log, without who and where, in a process of its own.

    python -m relay.broker.logfile FILE        standard input -> FILE, FILE.1, FILE.2

nats-server names address and client id of each connection that something happens to, at every level; together they
tell where a wearer is online, which nobody must find on a disk. So neither is ever written. The process is a separate
one, because the broker ends when nobody reads its log any more.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

MOST, OLDER = 10 << 20, 2  # octets of a file, and how many earlier ones are kept
_LONGEST = 2000  # characters of a line: names may have 60,000, and the patterns take a while for that
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|\\\"(?:[^\"\\]|\\.)*?\\\"")
_WHO = re.compile(r"(?:\S+:\d+ - )?\b[mwclrg]id:\d+\b")
_NAME = re.compile(r"\b[brs][./][^\s\"',]*|\b[0-9a-f]{8,}\b")  # topics; key ids and accounts
_ADDRESS = re.compile(r"(?:\b\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F.]*:[0-9a-fA-F:.]+(?:%[^\]\s]*)?\])(?::\d+)?")
_OURS = re.compile(
    r"(?:\[\d+\] )?[\d/]+ [\d:.]+ \[INF\] +(?:Listening for |Version: |Git: |Using configuration file|Store Directory)"
)


def cleaned(line: str) -> str:
    """Return a line of the broker's without addresses, client ids, names of accounts and topics; everything quoted
    goes."""
    if _OURS.match(line):
        return line
    whole, line = len(line) <= _LONGEST, _QUOTED.sub("…", line[:_LONGEST])
    if not whole:
        line = line.partition('"')[0] + "…"  # the pattern does not find a quotation that was cut in two
    for pattern, instead in ((_WHO, "a client"), (_NAME, "…"), (_ADDRESS, "…")):
        line = pattern.sub(instead, line)
    return line


class Log:
    """A file that is put aside when it is full."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()

    def write(self, line: str) -> None:
        if self._written >= MOST:
            os.close(self._file)
            for number in range(OLDER, 0, -1):
                earlier = self._path if number == 1 else self._path.with_name(f"{self._path.name}.{number - 1}")
                if earlier.exists():
                    earlier.replace(self._path.with_name(f"{self._path.name}.{number}"))
            self._open()
        octets = line.encode(errors="replace") + b"\n"
        os.write(self._file, octets)
        self._written += len(octets)

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._written = os.fstat(self._file).st_size


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # this process ends when the broker has
    log = Log(Path(sys.argv[1]))
    for octets in sys.stdin.buffer:
        try:
            log.write(cleaned(octets.decode(errors="replace").rstrip("\n")))
        except OSError:
            continue  # a full disk must not end the broker


if __name__ == "__main__":
    main()

"""The cores have no clock, no socket and no task of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import ROOT
from .sans_io import check, main

CORES = [
    *(f"firmware/tocsin/{name}.py" for name in (
        "alarm", "delivery", "gesture", "strap", "checkin", "nmea", "fixes", "movement", "at", "pdu", "cbor", "cose",
        "envelope", "ratchet", "chains", "clock", "crypto/*", "links/mqtt_codec",
    )),
    *(f"relay/{name}.py" for name in (
        "verify/*", "cases/*", "subscribers/audiences", "subscribers/coarse", "subscribers/epoch_keys",
        "subscribers/reader", "subscribers/register", "subscribers/sealing", "rebroadcast", "case_document",
        "receipt", "downlink", "pipeline", "outbox",
        "ingest/answers", "ingest/at", "ingest/flood", "ingest/holdings", "ingest/initialise", "ingest/intake",
        "ingest/lanes", "ingest/outgoing", "ingest/pdu", "ingest/qos1", "ingest/ratelimit", "ingest/reports",
        "ingest/send_queue", "ingest/sms", "ingest/upkeep",
    )),
]  # a table, read by rows # fmt: skip


@pytest.mark.parametrize("pattern", CORES)
def test_a_core_computes_and_does_nothing_else(pattern: str) -> None:
    files = list(ROOT.glob(pattern))
    assert files, f"no module matches {pattern}: correct the list"
    found = [f"{file.relative_to(ROOT)}:{line}: {what}" for file in files for line, what in check(file.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "from time import time",
        "import socket, json",
        "import urllib.request",
        "from asyncio import sleep",
        "import machine",
        "from pathlib import Path",
        "x = datetime.now(UTC)",
        "x = datetime.datetime.now()",
        "x = os.environ['X']",
        "from os import environ",
        "with open('x') as f: pass",
        "print('x')",
        "async def f(): pass",
    ],
)
def test_what_acts_is_seen(line: str) -> None:
    assert check(line) != []


@pytest.mark.parametrize(
    "line",
    [
        "from os import urandom",
        "from datetime import UTC, datetime; x = datetime.fromtimestamp(now, UTC)",
        "from .time_source import x",
        "import hashlib, json, struct",
        "x = reader.open(); y = modem.print",
        "def time(now): return now",
    ],
)
def test_what_computes_is_left_alone(line: str) -> None:
    assert check(line) == []


def test_as_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "core.py"
    file.write_text("x = 1\nimport time\n")
    assert main([str(file)]) == 1
    assert capsys.readouterr().out == f"{file}:2: imports time\n"
    file.write_text("x = 1\n")
    assert main([str(file)]) == 0

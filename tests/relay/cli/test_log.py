"""The log lets through what operation needs and blocks what could betray a person."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from relay import log
from relay.log import BLOCKED, EventLog, safe, scrub


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kid", "0a1b2c3d"),
        ("counter", 16_777_215),
        ("octets", 127),
        ("reason", "bad_tag"),
        ("path", "sms"),
        ("delay_s", 3.5),
        ("at", 1795205913.781141),
        ("waiting", 20_000),
        ("session_present", True),
        ("hint", "nothing listens there: is the broker running?"),
        ("error", "ConnectionRefusedError: [Errno 111] Connection refused"),
        ("broker", "192.168.120.5:8883 (its own)"),
        ("broker", "10.0.123.255"),
        ("error", "/srv/tocsin/data/relay.toml: mqtt.port: must be a number"),
    ],
)
def test_what_operation_needs_passes(name: str, value: object) -> None:
    assert safe(name, value) == value


@pytest.mark.parametrize(
    "name",
    ["lat", "lon_e7", "position", "phone", "sender", "recipient_number", "code_name", "user_name", "chain_key",
     "password", "seed", "token", "pdu", "plaintext", "cell", "wifi_psk", "sql_params"],
)  # words, several a line # fmt: skip
def test_fields_about_people_and_secrets_are_blocked_by_name(name: str) -> None:
    for value in ("anything", 7, 7.5, b"x", ["a"], {"b": 1}):
        assert safe(name, value) == BLOCKED


@pytest.mark.parametrize(
    "text",
    [
        "+10000000001",
        "0171 23456789",
        "52.1234567",
        "-113.12345",
        "52.123",
        "1.1.52.1234567",
        "521234567",
        "deadbeef" * 4,
        "A" * 20 + "b1" * 10,
        "postgresql://relay:secret@host/db",
        "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----",
    ],
)
def test_values_that_look_like_secrets_are_blocked_inside_any_text(text: str) -> None:
    for value in (f"failed: {text}, sorry", ValueError(f"bad {text}")):
        logged = str(safe("error", value))
        assert BLOCKED in logged
        assert text.split()[-1] not in logged


@pytest.mark.parametrize("value", [b"octets", object(), 1e9, 10_000_000, memoryview(b"x")])
def test_values_of_which_nobody_knows_what_they_hold_are_blocked(value: object) -> None:
    assert safe("anything", value) == BLOCKED


def test_containers_are_searched() -> None:
    assert safe("detail", {"lat": 1, "count": 2, "more": ["+10000000001"]}) == {
        "lat": BLOCKED,
        "count": 2,
        "more": [BLOCKED],
    }


@given(st.floats(-90, 90).filter(lambda x: abs(x) > 0.001), st.floats(-180, 180).filter(lambda x: abs(x) > 0.001))
def test_no_coordinate_survives_in_a_text(lat: float, lon: float) -> None:
    text = scrub(f"at {lat:.6f},{lon:.6f} / {int(lat * 1e7)} {int(lon * 1e7)}")
    assert f"{abs(lat):.6f}" not in text
    assert f"{abs(lon):.6f}" not in text


@given(st.binary(min_size=16, max_size=64))
def test_no_key_survives_in_a_text(key: bytes) -> None:
    assert key.hex() not in scrub(f"key {key.hex()} refused")


def utc(at: float) -> str:
    return datetime.fromtimestamp(int(at * 1000) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.fixture
def lines() -> Any:
    stream = io.StringIO()
    yield stream
    structlog.reset_defaults()


def test_json_lines(lines: io.StringIO) -> None:
    log.configure(json=True, stream=lines)
    structlog.get_logger().info("alarm.committed", kid="0a1b2c3d", counter=7, position="52.1, 13.1")
    event = json.loads(lines.getvalue())
    assert event["event"] == "alarm.committed"
    assert (event["kid"], event["counter"], event["position"]) == ("0a1b2c3d", 7, BLOCKED)
    assert isinstance(event["at"], float)
    assert list(event)[:3] == ["at", "level", "event"]
    assert event["time"] == utc(event["at"])


def test_lines_for_people(lines: io.StringIO) -> None:
    log.configure(json=False, stream=lines)
    structlog.get_logger().warning("sms.trouble", what="reading failed", at=0.25)
    assert lines.getvalue() == '1970-01-01T00:00:00.250Z WARNING sms.trouble what="reading failed"\n'


HOSTILE = "one\ntwo\r\n\tthree\x0b\x85\u2028four \x00\x1b[31m\x9b\u202e\udcff five"
JOINED = "one two three four \\x00\\x1b[31m\\x9b\\u202e\\udcff five"


@pytest.mark.parametrize("json_lines", [False, True])
def test_an_event_is_one_line_whatever_its_values_hold(json_lines: bool) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="utf-8")
    log.configure(json=json_lines, stream=stream)
    event: dict[str, Any] = {"detail": HOSTILE, "kid": HOSTILE, "many": [HOSTILE], "error": ValueError(HOSTILE)}
    structlog.get_logger().info(HOSTILE, **event, **{f"a{HOSTILE}": 1}, at=0.25)
    structlog.reset_defaults()
    text = written.getvalue().decode()
    assert len(text.splitlines()) == 1 and text.endswith("\n")
    assert text[:-1].isprintable()
    if not json_lines:
        assert text.startswith(f'1970-01-01T00:00:00.250Z {JOINED} detail="{JOINED}" kid="{JOINED}" many=')
        assert f'error="ValueError: {JOINED}"' in text
        assert f"a{JOINED}=1" in text


def test_an_error_of_the_database_is_one_line(lines: io.StringIO) -> None:
    error = OperationalError("SELECT 1", {}, Exception("disk I/O error"))
    assert "\n" in str(error)
    log.configure(json=False, stream=lines)
    structlog.get_logger().error("store.failed", error=error)
    assert lines.getvalue().count("\n") == 1
    assert "disk I/O error" in lines.getvalue()


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/St_Johns"])
def test_times_are_utc_wherever_the_machine_is(lines: io.StringIO, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        log.configure(json=False, stream=lines)
        structlog.get_logger().info("relay.started", at=1767225600.5)
        assert lines.getvalue() == "2026-01-01T00:00:00.500Z relay.started\n"
    finally:
        monkeypatch.undo()
        time.tzset()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_are_for_terminals_that_want_them(no_color: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal = Terminal()
    log.configure(json=False, stream=terminal)
    structlog.get_logger().error("store.failed")
    structlog.reset_defaults()
    assert ("\x1b" in terminal.getvalue()) == (not no_color)


def test_a_reader_that_went_away_does_not_stop_the_relay(lines: io.StringIO) -> None:
    log.configure(json=True, stream=lines)
    logger = structlog.get_logger()
    lines.close()
    logger.info("anything")


class Recorder:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def _note(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))

    debug = info = warning = error = _note


def test_a_flood_is_counted_and_not_written() -> None:
    recorder = Recorder()
    events = EventLog(recorder, per_second=10, burst=20)
    events.refresh(0.0)
    for number in range(1000):
        events.emit("alarm.received", 0.0, "0a1b2c3d", number)
    assert len(recorder.events) == 20
    events.refresh(1.0)
    assert recorder.events[-1] == ("log.left_out", {"count": 980})


def test_an_event_without_a_counter_names_none() -> None:
    recorder = Recorder()
    events = EventLog(recorder, per_second=10, burst=20)
    events.refresh(0.0)
    events.emit("command.arrived", 0.0, "0a1b2c3d", None, command="accept")
    assert recorder.events == [("command.arrived", {"kid": "0a1b2c3d", "command": "accept", "at": 0.0})]


def test_what_a_flood_leaves_out_is_told_while_it_lasts() -> None:
    recorder = Recorder()
    events = EventLog(recorder, per_second=10, burst=20)
    for second in range(60):
        events.refresh(float(second))
        for number in range(100):
            events.emit("alarm.received", 0.0, "0a1b2c3d", number)
    told = [fields["count"] for event, fields in recorder.events if event == "log.left_out"]
    assert len(told) >= 5
    assert sum(told) > 4000

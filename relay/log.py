"""The relay's log: one event a line, on standard error, safe to hand to somebody else.

Human-readable on a terminal, JSON with `--log-json`. Every event passes `redact`, which lets through what operation
needs (the random key id, counters, times, reasons) and blocks what could betray a person: positions, phone numbers,
names, keys, passwords. `redact` is a second fence: callers don't log such things in the first place. This log is not
the audit log, which lives in the database.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol, TextIO

import structlog

BLOCKED = "[blocked]"
# Parts of a field's name (split at underscores) that mark it as personal or secret.
_BLOCKED_PARTS = frozenset(
    {
        "lat",
        "lon",
        "latitude",
        "longitude",
        "position",
        "pos",
        "fix",
        "coordinates",
        "location",
        "altitude",
        "heading",
        "speed",
        "cell",
        "lac",
        "cid",
        "number",
        "phone",
        "msisdn",
        "sender",
        "address",
        "recipient",
        "contact",
        "imsi",
        "imei",
        "iccid",
        "name",
        "names",
        "user",
        "person",
        "who",
        "email",
        "mail",
        "key",
        "keys",
        "seed",
        "secret",
        "password",
        "passwd",
        "pin",
        "token",
        "credential",
        "credentials",
        "psk",
        "ssid",
        "payload",
        "octets",
        "plaintext",
        "body",
        "pdu",
        "text",
        "evidence",
        "document",
        "params",
        "parameters",
    }
)
# Fields that carry a blocked part in their name but are wanted, because they hold a count or a public thing.
_ALLOWED = frozenset({"octets", "kid", "counter", "at", "event", "level", "timestamp", "path", "reason", "error"})
_FLOATS = re.compile(r"(?:^at|_s|_ms|_us|_ratio)\Z")
_LEAKS = (
    re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.S),
    re.compile(r"\b[a-z]+://[^\s/@]+@"),  # a password in a URL
    re.compile(r"[-+]?\b\d{7,}\b"),  # a phone number, or a coordinate times 10^7
    re.compile(r"\b(?:[0-9a-fA-F]{2}){12,}\b"),  # a key or a message in hexadecimal
    re.compile(
        r"(?=[^\s=]*[a-z])(?=[^\s=]*[A-Z])[A-Za-z0-9+/_-]{32,}={0,2}"
    ),  # a key or a message in base64; a path in lower case is none
)
# A coordinate. The group matches an IPv4 address, which is no coordinate.
_COORDINATE = re.compile(r"(\b(?:\d{1,3}\.){3}\d{1,3}\b(?!\.\d))|[-+]?\b\d{1,3}\.\d{3,}\b")
_VERBATIM = frozenset({"event", "level", "timestamp", "kid", "at"})
_MAX_TEXT = 300
_LEFT_OUT_INTERVAL = 10.0


class Logger(Protocol):
    """A logger, as far as the relay uses it."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


def scrub(text: str) -> str:
    """Remove from `text` anything that looks like a position, a number, a key or a password."""
    text = _COORDINATE.sub(lambda found: found[1] or BLOCKED, text)
    for pattern in _LEAKS:
        text = pattern.sub(BLOCKED, text)
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


def safe(name: str, value: object) -> object:
    """Return the value that may be logged under `name`."""
    if name in _VERBATIM:
        return value
    if name not in _ALLOWED and not _BLOCKED_PARTS.isdisjoint(name.lower().split("_")):
        return BLOCKED
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if name in _ALLOWED or abs(value) < 10_000_000 or name.endswith("_unix") else BLOCKED
    if isinstance(value, float):
        return value if _FLOATS.search(name) else BLOCKED
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {scrub(str(value))}"
    if isinstance(value, Mapping):
        return {str(k): safe(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [safe(name, v) for v in value]
    return BLOCKED  # octets, objects: nobody knows what their repr holds


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Block everything personal or secret, as a structlog processor."""
    for name in list(event):
        event[name] = safe(name, event[name])
    return event


def stamp(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add `at`, seconds since 1970, as a structlog processor, unless the caller knew the time of the event better."""
    event.setdefault("at", time.time_ns() / 1e9)
    return event


_COLOURS = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}


def order(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put time, level and event first, as a structlog processor; `time` is `at` in UTC, for people."""
    first = {name: event.pop(name) for name in ("at", "level", "event")}
    return {**first, "time": _iso(float(first["at"])), **event}


def _iso(at: float) -> str:
    """Write a time as ISO 8601 in UTC, with milliseconds."""
    ms = int(at * 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03d}Z"


class _Human:
    """The form for people: `2026-01-01T12:34:56.789Z event key=value`, with colour on a terminal."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        fields = dict(event)
        del fields["at"]
        clock = fields.pop("time")
        level = str(fields.pop("level", "info"))
        mark = "" if level == "info" else f"{level.upper()} "
        line = f"{clock} {mark}{_one_line(str(fields.pop('event')))}"
        if self._colour and level in _COLOURS:
            line = f"{_COLOURS[level]}{line}\x1b[0m"
        return " ".join([line, *(f"{_one_line(k)}={_plain(v)}" for k, v in fields.items())])


def _plain(value: object) -> str:
    text = _one_line(str(value))
    return f'"{text}"' if " " in text else text


def _one_line(text: str) -> str:
    """Join white space, and escape what a terminal would obey, or what can't be encoded."""
    text = " ".join(text.split())
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class _LineLogger:
    """A writer of finished lines. A reader that went away must not stop the relay."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


class _Factory:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, *_: Any) -> _LineLogger:
        return _LineLogger(self._stream)


class EventLog:
    """The stages of single alarms in the log, within a rate. In a flood the database has every alarm; the log says how
    many entries it left out."""

    def __init__(self, log: Logger, *, per_second: float = 100.0, burst: int = 3000) -> None:
        self._log = log
        self._rate = per_second
        self._burst = float(burst)
        self._tokens = float(burst)
        self._then: float | None = None
        self._left_out = 0
        self._told_at = -_LEFT_OUT_INTERVAL

    def refresh(self, now: float) -> None:
        """Call once a turn of the loop, with the monotonic time."""
        if self._then is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._then) * self._rate)
        self._then = now
        if self._left_out and now - self._told_at >= _LEFT_OUT_INTERVAL:
            left_out, self._left_out = self._left_out, 0
            self._told_at = now
            self._log.warning("log.left_out", count=left_out)

    def emit(self, event: str, at: float, kid: str | None, counter: int | None, **fields: Any) -> None:
        if self._tokens < 1:
            self._left_out += 1
            return
        self._tokens -= 1
        if kid is not None:
            fields = {"kid": kid, **({} if counter is None else {"counter": counter}), **fields}
        (self._log.error if "hint" in fields else self._log.info)(event, at=at, **fields)


def drill_mark(drill: object) -> dict[str, bool]:
    """Make the field that marks log entries of a drill; for an alarm there is none."""
    return {"drill": True} if drill else {}


_json = False


def is_json() -> bool:
    """Tell whether this process logs JSON, for the processes that it starts."""
    return _json


def configure(*, json: bool, stream: TextIO | None = None, verbose: bool = False) -> None:
    """Set up logging for this process."""
    global _json
    _json = json
    target = stream if stream is not None else sys.stderr
    colour = target.isatty() and not os.environ.get("NO_COLOR")
    renderer: Any = structlog.processors.JSONRenderer() if json else _Human(colour=colour)
    structlog.configure(
        processors=[structlog.processors.add_log_level, stamp, redact, order, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=_Factory(target),
        cache_logger_on_first_use=True,
    )


def get() -> Logger:
    """Return the relay's logger."""
    logger: Logger = structlog.get_logger()
    return logger

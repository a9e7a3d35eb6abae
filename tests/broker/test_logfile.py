"""The broker's log as it is kept: nothing in it tells who was where."""

from __future__ import annotations

import pytest

from relay.broker.logfile import cleaned

AT = "[7] 2026/08/01 10:00:00.000000"


@pytest.mark.parametrize(
    "line",
    [
        f"{AT} [ERR] 192.0.2.7:40000 - mid:9 - TLS handshake error: EOF",
        f"{AT} [ERR] read tcp [2001:db8::7]:8883->[2001:db8::9]:40000: i/o timeout",
        f"{AT} [ERR] read tcp [fe80::7%eth0]:8883->[fe80::9%wlan-1]:40000: i/o timeout",
        f'{AT} [ERR] 192.0.2.7:40000 - mid:9 - "[INF] Version:  0a1b2c3d" - authentication error',
        f"{AT} [DBG] 192.0.2.7:40000 - mid:9 - [INF] Listening for 0a1b2c3d",
    ],
)
def test_no_line_names_an_address_or_a_client(line: str) -> None:
    text = cleaned(line)
    for told in ("192.0.2", "2001:db8", "fe80", "40000", "0a1b2c3d", "eth0"):
        assert told not in text, text


def test_where_it_listens_is_told() -> None:
    line = f"{AT} [INF] Listening for MQTT clients on mqtts://127.0.0.1:8883"
    assert cleaned(line) == line


@pytest.mark.parametrize("word", ["a", "\\", '\\"', "0a1b2c3d ", "192.0.2.7 "])
@pytest.mark.parametrize("quote", ['"', ""])
def test_a_line_of_any_length_costs_little_and_tells_nothing(word: str, quote: str) -> None:
    """Its name somebody chooses who has no account; the broker waits while its line is written."""
    line = f"{AT} [ERR] 192.0.2.7:40000 - mid:9 - authentication error - User {quote}{word * 30_000}{quote}"
    text = cleaned(line)
    assert len(text) <= 2001
    assert text.startswith(f"{AT} [ERR] a client - authentication error - User ")
    assert "192.0.2" not in text and "0a1b2c3d" not in text

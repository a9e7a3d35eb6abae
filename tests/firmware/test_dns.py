"""Questions and answers of a name server, octet by octet."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin.links import dns

NAME = "relay.test"
QUESTION = b"\x05relay\x04test\x00\x00\x01\x00\x01"
ADDRESS = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x4d\x00\x01"
ALIAS = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x06\x03www\xc0\x12"
SIGNED = b"\xc0\x0c\x00\x2e\x00\x01\x00\x00\x00\x3c\x00\x02xy"


def reply(*records, code=0, question=QUESTION, number=b"\x12\x34"):
    return (
        number
        + b"\x81"
        + bytes((0x80 | code,))
        + b"\x00\x01\x00"
        + bytes((len(records),))
        + b"\0\0\0\0"
        + question
        + b"".join(records)
    )


def test_query():
    assert dns.query(NAME, 0x1234) == b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + QUESTION


def test_address():
    assert dns.answer(reply(ADDRESS), NAME, 0x1234) == "10.77.0.1"


def test_address_behind_an_alias_and_among_others():
    long_name = b"\x03www\x05relay\x04test\x00" + ADDRESS[2:]
    assert dns.answer(reply(SIGNED, ALIAS, long_name, ADDRESS), NAME, 0x1234) == "10.77.0.1"


def test_case_does_not_matter():
    assert dns.answer(reply(ADDRESS, question=QUESTION.upper().replace(b"\x00\x01", b"\x00\x01")), NAME, 0x1234)


@pytest.mark.parametrize("data", [reply(code=3), reply(), reply(ALIAS)])
def test_no_address(data):
    assert dns.answer(data, NAME, 0x1234) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        reply(ADDRESS, number=b"\x12\x35"),
        reply(ADDRESS, question=QUESTION.replace(b"relay", b"delay")),
        dns.query(NAME, 0x1234),
        reply(ADDRESS[:-2]),
        reply(ADDRESS)[:-1] + b"",
        reply(b"\x3f"),
    ],
)
def test_not_the_answer(data):
    with pytest.raises(ValueError):
        dns.answer(data, NAME, 0x1234)


@pytest.mark.parametrize("name", ["", ".", "a..b", "a" * 64, "a." * 127 + "a"])
def test_no_name(name):
    with pytest.raises(ValueError):
        dns.query(name, 1)


@pytest.mark.parametrize(
    ("host", "expected"), [("10.0.0.1", True), ("10.0.0", False), ("a.b.c.d", False), (NAME, False)]
)
def test_is_address(host, expected):
    assert dns.is_address(host) is expected


@given(st.binary(max_size=80), st.integers(1, 255))
def test_garbage(tail, count):
    data = bytearray(reply() + tail)
    data[7] = count
    with contextlib.suppress(ValueError):
        found = dns.answer(bytes(data), NAME, 0x1234)
        assert found is None or dns.is_address(found)

"""SMS PDUs: against known ones, there and back, and against garbage."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin import pdu


def deliver(number_hex, length, data, first="04", coding="04", kind="91"):
    return (
        f"07911326040000F0{first}{length:02X}{kind}{number_hex}00{coding}62101000000000{len(data):02X}"
        + data.hex().upper()
    )


def test_submit():
    assert pdu.submit("+46708251358", b"hello") == (18, "0001000B916407281553F800040568656C6C6F")


def test_submit_limits():
    length, text = pdu.submit("+12345678901234567890", bytes(140))
    assert length == len(text) // 2 - 1
    for number, data in (("+1", b""), ("+1", bytes(141)), ("+1x", b"a"), ("", b"a"), ("+" + "1" * 21, b"a")):
        with pytest.raises(ValueError):
            pdu.submit(number, data)


@pytest.mark.parametrize("coding", ["04", "F4", "F5", "F6", "F7", "14", "05"])
def test_deliver_of_eight_bit_data(coding):
    assert pdu.deliver(deliver("6407281553F8", 11, b"\x00\xff octets", coding=coding)) == (
        "+46708251358",
        b"\x00\xff octets",
    )


def test_deliver_from_national_and_named_senders():
    assert pdu.deliver(deliver("2143", 4, b"a", kind="81"))[0] == "1234"
    assert pdu.deliver(deliver("D4F29C0E", 8, b"a", kind="D0"))[0] == "?"


@pytest.mark.parametrize("coding", ["00", "08", "F0", "F1", "24", "C8"])
def test_text_is_refused(coding):
    with pytest.raises(ValueError):
        pdu.deliver(deliver("6407281553F8", 11, b"hello", coding=coding))


@pytest.mark.parametrize("first", ["44", "05", "06", "C4"])
def test_headers_and_reports_are_refused(first):
    with pytest.raises(ValueError):
        pdu.deliver(deliver("6407281553F8", 11, b"hello", first=first))


def test_cut_anywhere_is_refused():
    whole = deliver("6407281553F8", 11, b"hello")
    for cut in range(len(whole)):
        with pytest.raises(ValueError):
            pdu.deliver(whole[:cut])
    assert pdu.deliver(whole + "00") == pdu.deliver(whole)  # some modems show octets behind the message


@given(st.text(alphabet="0123456789ABCDEFxyz ", max_size=450))
def test_garbage_is_a_value_error_or_data(text):
    with contextlib.suppress(ValueError):
        assert len(pdu.deliver(text)[1]) <= pdu.DATA_MAX


@pytest.mark.parametrize(
    "header", ["0500030A0101", "060804000A0101", "0605040B8423F0", "0B00030A010105040B8423F0", "00"]
)
def test_a_header_of_a_message_with_one_part_is_skipped(header):
    """3GPP TS 23.040, 9.2.3.24: concatenation (00, 08) one of one, ports (05)."""
    octets = bytes.fromhex(header) + b"hello"
    assert pdu.deliver(deliver("6407281553F8", 11, octets, first="44"))[1] == b"hello"


@pytest.mark.parametrize(
    "header", ["0500030A0201", "0500030A0202", "060804000A0201", "0500030A0001", "FF", "0500", "050003", "01000000"]
)
def test_parts_and_broken_headers_are_refused(header):
    with pytest.raises(ValueError):
        pdu.deliver(deliver("6407281553F8", 11, bytes.fromhex(header) + b"he", first="44"))


def test_a_message_without_a_service_centre():
    whole = deliver("6407281553F8", 11, b"hello")
    assert pdu.deliver("00" + whole[16:]) == pdu.deliver(whole)


@pytest.mark.parametrize("behind", ["", "00", "FF" * 7])
@pytest.mark.parametrize("told", ["", "own", "99"])
def test_a_message_that_begins_behind_the_service_centre(behind, told):
    whole = deliver("6407281553F8", 11, b"hello")
    bare = whole[16:]
    told = str(len(bare) // 2) if told == "own" else told
    assert pdu.deliver(bare + behind, told) == pdu.deliver(whole, told) == pdu.deliver(whole)


@given(st.binary(max_size=140))
def test_whatever_header_comes(octets):
    with contextlib.suppress(ValueError):
        assert len(pdu.deliver(deliver("6407281553F8", 11, octets, first="44"))[1]) < len(octets)

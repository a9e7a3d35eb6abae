"""The SMS codec: known octets, round trips, and whatever a network may throw at it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.ingest.pdu import (
    MAX_OCTETS,
    Deliver,
    PduError,
    Submit,
    decode_deliver,
    decode_submit,
    encode_deliver,
    encode_submit,
)

numbers = st.builds(
    lambda plus, digits: plus + digits, st.sampled_from(["", "+"]), st.text("0123456789*#", min_size=1, max_size=20)
)
messages = st.binary(max_size=MAX_OCTETS)


def test_a_receipt_as_the_modem_wants_it() -> None:
    # 00: SIM's service centre; 01: SMS-SUBMIT; 00: reference; 0B 91 …: international number of 11 digits; 00: protocol;
    # 04: 8-bit; 03: length
    assert encode_submit(Submit("+46708251358", bytes.fromhex("83a0ff"))) == ("0001000B916407281553F800040383A0FF", 16)


def test_a_message_as_a_modem_shows_it() -> None:
    # service centre of 7 octets, first octet 24 (more messages, status report), sender, 8-bit data, time stamp
    text = "07911326040000F0240B911346610089F600042080629173148004DEADBEEF"
    assert decode_deliver(text) == Deliver(
        "+31641600986", bytes.fromhex("deadbeef"), 4, False, bytes.fromhex("20806291731480")
    )


def test_text_in_the_seven_bit_alphabet_keeps_its_packed_octets() -> None:
    text = "00040B911346610089F60000208062917314800" + "5" + "C8329BFD06"
    assert decode_deliver(text).octets == bytes.fromhex("c8329bfd06")


def test_a_sender_with_a_name_can_not_be_answered() -> None:
    # type of number 5: alphanumeric, a name in 6 octets
    assert decode_deliver("00040CD0C8329BFD860300042080629173148001FF").sender == ""


def test_a_header_is_noticed() -> None:
    assert decode_deliver("0044059121436500042080629173148003050003").has_header


@given(numbers, messages, st.binary(min_size=7, max_size=7))
def test_what_was_sent_arrives(sender: str, octets: bytes, scts: bytes) -> None:
    text, length = encode_deliver(sender, octets, scts=scts)
    assert length == len(text) // 2 - 1
    assert decode_deliver(text) == Deliver(sender, octets, 4, False, scts)


@given(numbers, messages, st.integers(0, 255))
def test_what_is_submitted_can_be_read(recipient: str, octets: bytes, reference: int) -> None:
    message = Submit(recipient, octets, reference)
    text, length = encode_submit(message)
    assert length == len(text) // 2 - 1
    assert decode_submit(text) == message


@given(st.binary(max_size=200))
def test_noise_is_decoded_or_refused_and_never_more_than_one_message(noise: bytes) -> None:
    try:
        message = decode_deliver(noise.hex())
    except PduError:
        return
    assert len(message.octets) <= MAX_OCTETS


@given(st.text(max_size=300))
def test_text_that_is_no_pdu_is_refused(text: str) -> None:
    for decode in (decode_deliver, decode_submit):
        with contextlib.suppress(PduError):
            decode(text)


@given(numbers, messages, st.data())
def test_a_message_cut_short_is_refused(sender: str, octets: bytes, data: st.DataObject) -> None:
    text, _ = encode_deliver(sender, octets)
    cut = data.draw(st.integers(0, len(text) // 2 - 1))
    with pytest.raises(PduError):
        decode_deliver(text[: 2 * cut])


@pytest.mark.parametrize(
    ("dcs", "length", "octets"),
    [(0x00, 8, 7), (0x04, 7, 7), (0x08, 8, 8), (0x20, 7, 7), (0xF4, 7, 7), (0xF0, 8, 7), (0xE0, 8, 8), (0xC0, 8, 7)],
)
def test_the_length_is_counted_as_the_alphabet_says(dcs: int, length: int, octets: int) -> None:
    text = f"0004059121436500{dcs:02X}20806291731480{length:02X}" + "AA" * octets
    assert decode_deliver(text).octets == b"\xaa" * octets
    with pytest.raises(PduError):
        decode_deliver(text[:-2])


@pytest.mark.parametrize("number", ["", "+", "123456789012345678901", "+49 170", "hello"])
def test_an_address_that_is_no_number_can_not_be_sent_to(number: str) -> None:
    with pytest.raises(PduError):
        encode_submit(Submit(number, b""))


def test_more_than_one_message_holds_is_refused() -> None:
    with pytest.raises(PduError):
        encode_submit(Submit("+123456", bytes(141)))


def test_a_delivery_report_is_no_message() -> None:
    with pytest.raises(PduError, match="type 2"):
        decode_deliver("0006010591214365" + "20806291731480" * 2 + "00")


ALARM = bytes(range(100))


def delivered(first: str, data: bytes, dcs: str = "04") -> str:
    """A PDU without service centre, with this first octet, alphabet and user data."""
    return f"00{first}05912143F500{dcs}20806291731480{len(data):02X}{data.hex()}"


@pytest.mark.parametrize("header", ["050003070101", "06080400070101", "0B0504158A158A0003070101"])
@pytest.mark.parametrize("dcs", ["04", "F5", "14"])
def test_a_header_of_one_part_before_data_is_left_out(header: str, dcs: str) -> None:
    """Some networks put one before each 8-bit message (23.040, 9.2.3.24.1)."""
    assert decode_deliver(delivered("44", bytes.fromhex(header) + ALARM, dcs)).octets == ALARM


def test_a_header_longer_than_its_message_is_handed_on_whole() -> None:
    assert decode_deliver(delivered("44", b"\xff\x01\x02")).octets == b"\xff\x01\x02"


@pytest.mark.parametrize("padding", ["", "00", "FF" * 12])
def test_octets_behind_the_user_data_are_left_out(padding: str) -> None:
    assert decode_deliver(delivered("04", ALARM) + padding).octets == ALARM


def test_a_pdu_without_even_the_length_of_a_service_centre_is_known_by_its_length() -> None:
    text, length = encode_deliver("+10000000001", ALARM)
    assert decode_deliver(text, length).octets == ALARM
    assert decode_deliver(text[2:], length).octets == ALARM
    assert decode_deliver(text, length + 1).octets == ALARM, "the length is wrong, and the centre is there"


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(0, 300)))
def test_noise_is_refused_or_decoded_and_never_raises_anything_else(noise: bytes, length: int | None) -> None:
    with contextlib.suppress(PduError):
        decode_deliver(noise.hex(), length)


@pytest.mark.parametrize("length", [None, 0, 139, 140, 255])
@pytest.mark.parametrize("centre", ["00", "07911326040000F0", "0891132604000000F0", "0491132604"])
def test_a_service_centre_is_known_whatever_length_is_told(centre: str, length: int | None) -> None:
    """Some count it, some tell no length."""
    data = bytes(range(120))
    tpdu = encode_deliver("+10000000001", data)[0][2:]
    assert decode_deliver(centre + tpdu, length).octets == data
    assert decode_deliver(centre + tpdu, len(centre + tpdu) // 2).octets == data


@pytest.mark.parametrize("length", [None, 131, 255])
def test_a_service_centre_that_is_left_out_is_known_by_what_makes_no_sense(length: int | None) -> None:
    data = bytes(range(200, 80, -1))
    tpdu = encode_deliver("+16431669089", data)[0][2:]
    assert decode_deliver(tpdu, length).octets == data

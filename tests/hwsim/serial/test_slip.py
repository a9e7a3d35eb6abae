"""SLIP framing against noise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hwsim.serial import slip


def test_the_two_octets_that_are_escaped():
    assert slip.encode(b"a\xc0b\xdbc") == b"\xc0a\xdb\xdcb\xdb\xddc\xc0"


@given(st.lists(st.binary(min_size=1)))
def test_frames_come_out_as_they_went_in(frames):
    assert slip.Decoder().feed(b"".join(slip.encode(frame) for frame in frames)) == frames


@given(st.binary(), st.lists(st.integers(0, 50)))
def test_how_the_octets_are_cut_changes_nothing(noise, cuts):
    decoder, pieces, at = slip.Decoder(), [], 0
    for cut in cuts:
        pieces += decoder.feed(noise[at : at + cut])
        at += cut
    pieces += decoder.feed(noise[at:])
    assert pieces == slip.Decoder().feed(noise)


@given(st.binary(), st.binary(min_size=1))
def test_after_any_noise_the_next_frame_comes_through(noise, frame):
    assert slip.Decoder().feed(noise + b"\xc0" + slip.encode(frame))[-1] == frame


def test_a_wrong_escape_and_an_endless_frame_are_dropped():
    decoder = slip.Decoder()
    assert decoder.feed(b"\xc0a\xdbb\xc0\xc0ok\xc0") == [b"ok"]
    assert decoder.feed(b"x" * (slip.LONGEST + 1) + b"\xc0" + slip.encode(b"ok")) == [b"ok"]
    assert decoder.feed(b"half\xdb\xc0" + slip.encode(b"ok")) == [b"ok"]

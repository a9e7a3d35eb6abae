"""One rule for signatures: the firmware's verifier and CPython's (PyNaCl, for `hwsim bundle`) agree on every input."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from hwsim import bundle
from tests import edwards

from .interpreter import Device

VERIFY, GOOD = "tocsin.crypto.ed25519.verify", "tocsin.crypto.ed25519.good"


def cpython(case: edwards.Case) -> bool:
    """As bundle.check does it."""
    if not bundle.is_public_key(case.public):
        return False
    try:
        VerifyKey(case.public).verify(case.message, case.signature)
    except (CryptoError, ValueError):
        return False
    return True


def library(case: edwards.Case) -> bool:
    """PyNaCl alone: should a later libsodium change its rule, this says so."""
    try:
        VerifyKey(case.public).verify(case.message, case.signature)
    except (CryptoError, ValueError):
        return False
    return True


@pytest.mark.parametrize("kind", edwards.KINDS)
def test_every_kind_of_odd_signature(both: Device, kind: str) -> None:
    case = edwards.KINDS[kind]
    expected = kind in ("honest", "A and R mixed")
    assert edwards.accepts(*case) is expected
    assert both.call(VERIFY, *case) is expected
    assert cpython(case) is expected
    assert library(case) is expected


@pytest.mark.parametrize("kind", edwards.BAD_KEYS)
def test_what_is_no_good_key(device: Device, kind: str) -> None:
    key = edwards.BAD_KEYS[kind]
    assert device.call(GOOD, key) is False
    assert not bundle.is_public_key(key)


@given(a=st.integers(1, edwards.L - 1), i=st.integers(0, 7))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_good_key_is_one_with_a_part_of_large_order(device: Device, a: int, i: int) -> None:
    key = edwards.encode(edwards.add(edwards.times(a, edwards.BASE), edwards.TORSION[i]))
    assert device.call(GOOD, key) is True
    assert bundle.is_public_key(key)


numbers = st.integers(0, edwards.L - 1) | st.sampled_from([0, 1, edwards.L - 1])
places = st.integers(0, 7)


@given(numbers, places, numbers, places, st.binary(max_size=40), st.sampled_from([0, 0, 0, edwards.L]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mixture_of_orders(device: Device, a: int, i: int, r: int, j: int, message: bytes, more: int) -> None:
    case = edwards.signed(a, i, r, j, message, more)
    expected = edwards.accepts(*case)
    assert device.call(VERIFY, *case) is expected
    assert cpython(case) is expected
    assert library(case) is expected


@given(st.sampled_from(sorted(edwards.KINDS)), st.integers(0, 95), st.integers(1, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_octet_of_those_changed(device: Device, kind: str, at: int, by: int) -> None:
    case = edwards.KINDS[kind]
    octets = bytearray(case.public + case.signature)
    octets[at] ^= by
    changed = edwards.Case(bytes(octets[:32]), case.message, bytes(octets[32:]))
    expected = edwards.accepts(*changed)
    assert device.call(VERIFY, *changed) is expected
    assert cpython(changed) is expected
    assert library(changed) is expected

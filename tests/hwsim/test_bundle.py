"""`hwsim bundle`: the maker's key, bundles, and what is not one."""

from __future__ import annotations

import json
import stat

import cbor2
import pytest
from click.testing import CliRunner
from nacl.signing import SigningKey, VerifyKey

from hwsim import bundle
from hwsim.cli import main
from hwsim.world.bracelet import FIRMWARE
from tests import edwards

KEY = SigningKey(bytes(range(32)))
IMAGE = bytes(range(256)) * 20


def made() -> bytes:
    return bundle.sign(7, bundle.processor("xtensawin"), IMAGE, KEY)


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["bundle", *map(str, words)])
    return done.exit_code, done.output


def test_a_bundle_says_what_was_signed() -> None:
    assert bundle.check(made(), KEY.verify_key) == bundle.Bundle(7, "xtensawin", IMAGE)
    assert made() == made()


def test_the_header_is_a_cose_sign1_of_rfc_9052() -> None:
    octets = made()
    header, unprotected, manifest, signature = cbor2.loads(octets[6 : 6 + int.from_bytes(octets[4:6], "big")])
    assert cbor2.loads(header) == {1: -19}
    assert unprotected == {}
    assert len(signature) == 64
    assert cbor2.loads(manifest)[:4] == [1, 7, 6 | 3 << 8 | 10 << 10, len(IMAGE)]


@pytest.mark.parametrize("at", [0, 4, 5, 6, 20, 60, 100, 140, 1024, 1024 + len(IMAGE) - 1])
def test_any_octet_changed_is_found(at: int) -> None:
    octets = bytearray(made())
    octets[at] ^= 1
    with pytest.raises(bundle.BundleError):
        bundle.check(bytes(octets), KEY.verify_key)


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "no bundle"),
        (made()[:1000], "no bundle"),
        (made()[:-1], "not whole"),
        (made() + b"\0", "not whole"),
        (bundle.sign(7, 6, IMAGE, SigningKey(bytes(32))), "not that of this key"),
        (bundle.sign(7, 6 | 63 << 10, IMAGE, KEY), "processor"),
    ],
)
def test_what_is_wrong_is_said(octets: bytes, why: str) -> None:
    with pytest.raises(bundle.BundleError, match=why):
        bundle.check(octets, KEY.verify_key)


def test_an_image_without_room_in_a_slot_is_refused() -> None:
    with pytest.raises(bundle.BundleError, match="has room for"):
        bundle.sign(7, 6, bytes(bundle.IMAGE_MAX + 1), KEY)


@pytest.mark.parametrize("kind", edwards.BAD_KEYS)
def test_what_is_no_public_key_checks_nothing(tmp_path, kind: str) -> None:
    file, public = tmp_path / "bundle", tmp_path / "maker.pub"
    octets = bytearray(made())
    end = 6 + int.from_bytes(octets[4:6], "big")
    octets[end - 64 : end] = edwards.encode(edwards.NEUTRAL) + bytes(32)
    file.write_bytes(octets)
    public.write_bytes(edwards.BAD_KEYS[kind])
    status, said = run("check", file, "--public", public)
    assert (status, "is no public key" in said) == (1, True)
    if len(edwards.BAD_KEYS[kind]) == 32:
        with pytest.raises(bundle.BundleError, match="no public key"):
            bundle.check(bytes(octets), VerifyKey(edwards.BAD_KEYS[kind]))


def test_key_bundle_check(tmp_path) -> None:
    key, file = tmp_path / "key", tmp_path / "bundle"
    assert run("key", key)[0] == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len((tmp_path / "key.pub").read_bytes()) == 32
    status, said = run("key", key)
    assert (status, "File exists" in said) == (1, True)

    status, said = run("make", file, "--key", key, "--json")
    facts = json.loads(said)
    assert (status, facts["version"], facts["march"]) == (0, bundle.version_of(FIRMWARE), "xtensawin")
    assert run("check", file, "--public", tmp_path / "key.pub", "--json") == (0, said)

    file.write_bytes(file.read_bytes()[:-1])
    status, said = run("check", file, "--public", tmp_path / "key.pub")
    assert (status, said.startswith("Error: its image has")) == (1, True)


def test_misuse(tmp_path) -> None:
    (tmp_path / "no").write_text("key")
    for words in (
        ["make", tmp_path / "out", "--key", tmp_path / "no"],
        ["check", tmp_path / "no", "--public", tmp_path / "no"],
        ["make", tmp_path / "out", "--key", tmp_path / "missing"],
    ):
        assert run(*words)[0] == 1
    key = tmp_path / "key"
    run("key", key)
    status, said = run("make", tmp_path / "out", "--key", key, "--march", "z80")
    assert (status, "no processor is called z80" in said) == (1, True)
    status, said = run("make", tmp_path / "out", "--key", key, "--firmware", tmp_path)
    assert (status, "__init__.py" in said) == (1, True)

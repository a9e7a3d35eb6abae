"""The image: fetched once, its hash known or confirmed, and never another."""

from __future__ import annotations

import hashlib
import json

import pytest

from hwsim.workshop import images
from hwsim.workshop.people import BY_ENGINEER, NOT_ASKED, Answer
from hwsim.workshop.trouble import Trouble

CONTENT = b"an image"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def section(tmp_path):
    """A board's [image] whose address is a file of this machine, as urllib takes it."""
    (tmp_path / "web.bin").write_bytes(CONTENT)
    return {"file": "stock.bin", "url": (tmp_path / "web.bin").as_uri(), "sha256": DIGEST}


@pytest.fixture
def notes(tmp_path):
    return tmp_path / "state" / "images.json"


def never(text: str) -> Answer:
    raise AssertionError("nobody should be asked")


def yes(text: str) -> Answer:
    return Answer(True, BY_ENGINEER)


def test_it_is_downloaded_once(section, notes, tmp_path):
    assert images.get(section, None, never, notes) == (CONTENT, DIGEST, "board file")
    (tmp_path / "web.bin").unlink()
    assert images.get(section, None, never, notes) == (CONTENT, DIGEST, "board file")


def test_a_bad_hash_is_refused_and_nothing_is_kept(section, notes):
    with pytest.raises(Trouble, match="bad image, its SHA-256 is"):
        images.get(section | {"sha256": "0" * 64}, None, never, notes)
    assert not (images.folder() / "stock.bin").exists()


def test_what_changed_in_the_cache_is_found(section, notes):
    images.get(section, None, never, notes)
    (images.folder() / "stock.bin").write_bytes(b"another")
    with pytest.raises(Trouble, match="bad image"):
        images.get(section, None, never, notes)


def test_an_unknown_hash_is_shown_and_confirmed_once(section, notes, tmp_path):
    unknown, shown = section | {"sha256": ""}, []

    def no(text: str) -> Answer:
        shown.append(text)
        return Answer(False, BY_ENGINEER)

    with pytest.raises(Trouble, match="not confirmed"):
        images.get(unknown, None, no, notes)
    assert DIGEST in shown[0]
    assert images.get(unknown, None, yes, notes)[1:] == (DIGEST, BY_ENGINEER)
    assert json.loads(notes.read_text()) == {DIGEST: "stock.bin"}
    assert images.get(unknown, None, never, notes)[1:] == (DIGEST, BY_ENGINEER)
    own = tmp_path / "stock.bin"
    own.write_bytes(b"another")
    with pytest.raises(Trouble, match="not confirmed"):
        images.get(unknown, own, no, notes)
    assert f"Until now it was {DIGEST}" in shown[1]


def test_what_nobody_was_asked_is_not_noted(section, notes):
    unknown = section | {"sha256": ""}
    assert images.get(unknown, None, lambda text: Answer(True, NOT_ASKED), notes)[2] == NOT_ASKED
    assert not notes.exists()


def test_a_file_of_ones_own(section, notes, tmp_path):
    own = tmp_path / "built.bin"
    own.write_bytes(b"my build")
    assert images.get(section, own, yes, notes)[:2] == (b"my build", hashlib.sha256(b"my build").hexdigest())
    with pytest.raises(Trouble, match="can't be read"):
        images.get(section, tmp_path / "none.bin", never, notes)


def test_one_that_must_be_built(notes):
    section = {"file": "built.bin", "recipe": "firmware/image/X", "sha256": ""}
    with pytest.raises(Trouble, match=r"build it \(firmware/image/X\), and name it with --image"):
        images.get(section, None, never, notes)


def test_no_network(section, notes, tmp_path):
    (tmp_path / "web.bin").unlink()
    with pytest.raises(Trouble, match=r"could not be downloaded .* --image FILE"):
        images.get(section, None, never, notes)

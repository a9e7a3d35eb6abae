"""The image: fetched once, its hash known or confirmed, and never another."""

from __future__ import annotations

import hashlib
import json

import pytest

from hwsim.workshop import images
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


def never(text: str) -> bool:
    raise AssertionError("nobody should be asked")


def test_it_is_downloaded_once(section, tmp_path):
    assert images.get(section, None, never) == (CONTENT, DIGEST)
    (tmp_path / "web.bin").unlink()
    assert images.get(section, None, never) == (CONTENT, DIGEST)


def test_a_bad_hash_is_refused_and_nothing_is_kept(section):
    with pytest.raises(Trouble, match="bad image, its SHA-256 is"):
        images.get(section | {"sha256": "0" * 64}, None, never)
    assert not (images.folder() / "stock.bin").exists()


def test_what_changed_in_the_cache_is_found(section):
    images.get(section, None, never)
    (images.folder() / "stock.bin").write_bytes(b"another")
    with pytest.raises(Trouble, match="bad image"):
        images.get(section, None, never)


def test_an_unknown_hash_is_shown_confirmed_and_compared_from_then_on(section, tmp_path):
    unknown = section | {"sha256": ""}
    shown = []
    with pytest.raises(Trouble, match="not confirmed"):
        images.get(unknown, None, lambda text: bool(shown.append(text)))
    assert DIGEST in shown[0]
    assert images.get(unknown, None, lambda text: True)[1] == DIGEST
    assert json.loads((images.folder() / "confirmed.json").read_text()) == {"stock.bin": DIGEST}
    assert images.get(unknown, None, never)[1] == DIGEST
    own = tmp_path / "stock.bin"
    own.write_bytes(b"another")
    with pytest.raises(Trouble, match="confirmed here before"):
        images.get(unknown, own, never)


def test_a_file_of_ones_own(section, tmp_path):
    own = tmp_path / "built.bin"
    own.write_bytes(b"my build")
    content, digest = images.get(section, own, lambda text: True)
    assert (content, digest) == (b"my build", hashlib.sha256(b"my build").hexdigest())
    with pytest.raises(Trouble, match="can't be read"):
        images.get(section, tmp_path / "none.bin", never)


def test_no_network(section, tmp_path):
    (tmp_path / "web.bin").unlink()
    with pytest.raises(Trouble, match=r"could not be downloaded .* --image FILE"):
        images.get(section, None, never)

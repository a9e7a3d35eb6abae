"""Hardening: said before it is done, asked for twice, and done by the stock tools on their own model of a chip."""

from __future__ import annotations

import json
import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner

from hwsim.workshop import harden

ALL = ["--flash-encryption", "--secure-boot", "--closed"]


def run(*words, answers=""):
    done = CliRunner().invoke(harden.main, [str(word) for word in words], input=answers)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def fuses(chip, file):
    words = ["--chip", chip, "--virt", "--path-efuse-file", str(file), "summary", "--format", "json"]
    done = subprocess.run([sys.executable, "-m", "espefuse", *words], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout[done.stdout.index("{") :])
    return {name: int(str(found[name]["raw_value"]), 0) for name in found if found[name]["bit_len"] <= 8}


def test_without_burn_it_only_says_what_it_would_do(tmp_path):
    status, said = run("--board", "reference", *ALL, "--keys", tmp_path / "keys")
    assert status == 0
    assert "FLASH_CRYPT_CNT 127" in said
    assert "Nothing was done" in said
    assert not (tmp_path / "keys").exists()


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A folder with keys, and beside them what stands for an image, `image`, and the same `signed`."""
    keys = tmp_path_factory.mktemp("made") / "keys"
    harden.make_keys([harden.ENCRYPTION, harden.SIGNED], keys)
    (keys.parent / "image").write_bytes(bytes(range(256)) * 20)
    files = "--output", str(keys.parent / "signed"), str(keys.parent / "image")
    harden.run("espsecure", "sign-data", "--version", "2", "--keyfile", str(keys / "secure-boot.pem"), *files)
    return keys


@pytest.mark.parametrize(("board", "chip"), [("reference", "esp32"), ("walter", "esp32s3")])
def test_everything_is_burnt_on_a_virtual_chip(tmp_path, keys, board, chip):
    file, image = tmp_path / "efuses", keys.parent / "signed"
    words = ["--board", board, *ALL, "--keys", keys, "--image", image, "--burn", "--virtual", file]
    status, said = run(*words, answers=f"y\n{chip}\n")
    assert (status, "Burnt." in said) == (0, True), said
    found = fuses(chip, file)
    for option in harden.CHIPS[{"esp32": "ESP32", "esp32s3": "ESP32-S3"}[chip]].fuses.values():
        assert {name: found[name] for name in option} == {name: int(value, 0) for name, value in option.items()}
    assert {stat.S_IMODE(each.stat().st_mode) & 0o077 for each in keys.iterdir()} == {0}


@pytest.mark.parametrize("answers", ["", "n\n", "y\n\n", "y\nyes\n"])
def test_without_both_answers_nothing_is_burnt(tmp_path, answers):
    file = tmp_path / "efuses"
    words = ["--board", "reference", "--closed", "--keys", tmp_path / "keys", "--burn", "--virtual", file]
    assert run(*words, answers=answers)[0] == 1
    assert not file.exists()


def test_an_image_that_the_chip_would_not_start_stops_it(tmp_path, keys):
    file = tmp_path / "efuses"
    words = ["--board", "reference", "--secure-boot", "--keys", keys, "--burn", "--virtual", file]
    status, said = run(*words, "--image", keys.parent / "image", answers="y\nesp32\n")
    assert (status, "is not signed with" in said) == (1, True)
    status, said = run(*words, answers="y\nesp32\n")
    assert (status, "needs --image" in said) == (1, True)
    assert not file.exists()


def test_misuse(tmp_path):
    assert run("--board", "reference")[0] == 2
    assert run("--board", "reference", "--closed", "--burn")[0] == 2
    assert run("--board", "nonsense", "--closed")[0] == 1

"""Hardening: said before it is done, asked for twice, and done by the stock tools on their own model of a chip."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import espsecure
import pytest
from click.testing import CliRunner

from hwsim.chips import FAMILIES
from hwsim.serial import image as chip_image
from hwsim.workshop import harden, partitions
from hwsim.workshop.rehearse import SCRIPT
from hwsim.workshop.trouble import Trouble

pytestmark = pytest.mark.xdist_group("harden")  # its keys and images are made once
ALL = ["--flash-encryption", "--secure-boot", "--closed"]
JOURNAL = 0x3FA000
TABLE = [
    partitions.Partition("factory", partitions.APP, 0, chip_image.APPLICATION, 0x1D0000),
    partitions.Partition("journal", partitions.DATA, 0x40, JOURNAL, 0x6000, 1),  # 1: `encrypted`
]


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
    """A folder with keys, and beside them what stands for images: `esp32-1000` for what lies at 0x1000 of an ESP32, and
    `.signed` and `.encrypted`."""
    keys = tmp_path_factory.mktemp("made") / "keys"
    harden.make_keys([harden.ENCRYPTION, harden.SIGNED], keys)
    for family, cipher in (("esp32", ()), ("esp32s3", ("--aes-xts",))):
        parts = chip_image.stand_in(FAMILIES[family]) | {partitions.TABLE: partitions.encode(TABLE), JOURNAL: b"j" * 64}
        for address, content in parts.items():
            file = keys.parent / f"{family}-{address:x}"
            file.write_bytes(content)
            signed = file.with_suffix(".signed")
            if content.startswith(b"\xe9"):
                words = "--version", "2", "--keyfile", str(keys / "secure-boot.pem"), "--output", str(signed)
                espsecure.main(["sign-data", *words, str(file)])
            else:
                signed.write_bytes(content)
            words = "--keyfile", str(keys / "flash-encryption.key"), "--address", hex(address)
            encrypted = str(file.with_suffix(".encrypted"))
            espsecure.main(["encrypt-flash-data", *cipher, *words, "--output", encrypted, str(signed)])
    return keys


def there(keys, chip):
    """All that is to be in its flash, as arguments."""
    words = []
    for file in sorted(keys.parent.glob(f"{chip}-*.encrypted")):
        words += ["--encrypted", f"0x{file.stem.partition('-')[2]}={file}"]
        if int(file.stem.partition("-")[2], 16) not in (partitions.TABLE, JOURNAL):
            words += ["--image", file.with_suffix(".signed")]
    return words


@pytest.mark.long
@pytest.mark.parametrize(("board", "chip"), [("reference", "esp32"), ("walter", "esp32s3")])
def test_everything_is_burnt_on_a_virtual_chip(tmp_path, keys, board, chip):
    file = tmp_path / "efuses"
    words = ["--board", board, *ALL, "--keys", keys, *there(keys, chip), "--burn", "--virtual", file]
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
    assert not any(file.read_bytes())


@pytest.mark.parametrize("chip", [pytest.param("esp32", marks=pytest.mark.long), "esp32s3"])
def test_an_interruption_between_the_keys_and_the_rest_is_gone_on_from(tmp_path, keys, chip):
    known = harden.CHIPS[FAMILIES[chip].name]
    file, both = tmp_path / "efuses", [harden.ENCRYPTION, harden.SIGNED]
    virtual = ["--virt", "--path-efuse-file", str(file)]
    espefuse = ["espefuse", "--chip", chip, *virtual, "--do-not-confirm"]
    harden.run(*espefuse, *harden.burning(known, both, keys)[0])
    summary = harden.summary_of(known, virtual)
    assert not summary[known.blocks[harden.ENCRYPTION]]["readable"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "flash-encryption.key").write_bytes(bytes(32))
    (other / "secure-boot.digest").write_bytes(bytes(32))
    harden.note(other, summary | {"MAC": {"raw_value": "0x123456789abc"}})  # another chip's
    with pytest.raises(Trouble, match="holds a key already, and nothing says that it is"):
        harden.left(known, [harden.ENCRYPTION], other, summary)
    with pytest.raises(Trouble, match=r"holds something else than .*secure-boot\.digest, for ever"):
        harden.left(known, [harden.SIGNED], other, summary)
    harden.note(keys, summary)
    commands = harden.left(known, both, keys, summary)
    assert [command[0] for command in commands] == ["burn-key", "burn-efuse"]
    assert known.keys[harden.ENCRYPTION][0] not in commands[0]  # nobody can compare it: only what was noted says so
    harden.run(*espefuse, *commands[0])


def test_what_the_chip_could_not_start_when_it_decrypts_stops_it(keys):
    chip, family = harden.CHIPS["ESP32-S3"], FAMILIES["esp32s3"]
    files = {address: keys.parent / f"esp32s3-{address:x}.encrypted" for address in (0, 0x8000, 0x10000, JOURNAL)}

    def wrong(changed, signed=()):
        with pytest.raises(Trouble) as caught:
            harden.check_encrypted(chip, family, {k: v for k, v in (files | changed).items() if v}, signed, keys)
        return str(caught.value)

    said = wrong({0: None})
    assert "bootloader at 0x0 is missing. espsecure encrypt-flash-data --aes-xts --keyfile" in said
    said = wrong({0: keys.parent / "esp32s3-0.signed"})
    assert "it was encrypted with another key, for another place, or not at all" in said
    assert "does not become an image for an ESP32-S3" in wrong({0: files[0x10000]})  # for another place
    assert "does not become a partition table" in wrong({0x8000: files[JOURNAL]})
    assert f"journal at {JOURNAL:#x} is missing" in wrong({JOURNAL: None})
    assert "none of the signed images" in wrong({}, [keys.parent / "esp32s3-10000.signed"])


def test_flash_sh_has_it(tmp_path):
    done = subprocess.run(
        [str(SCRIPT), "harden", "--board", "walter", "--closed"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TOCSIN_PYTHON": sys.executable},
    )
    assert "DIS_DOWNLOAD_MODE" in done.stdout and "Nothing was done" in done.stdout


def test_an_image_that_the_chip_would_not_start_stops_it(tmp_path, keys):
    file = tmp_path / "efuses"
    words = ["--board", "reference", "--secure-boot", "--keys", keys, "--burn", "--virtual", file]
    status, said = run(*words, "--image", keys.parent / "esp32-1000", answers="y\nesp32\n")
    assert (status, "is not signed with" in said) == (1, True)
    status, said = run(*words, answers="y\nesp32\n")
    assert (status, "needs --image" in said) == (1, True)
    assert not file.exists()


def test_misuse(tmp_path):
    assert run("--board", "reference")[0] == 2
    assert run("--board", "reference", "--closed", "--burn")[0] == 2
    assert run("--board", "reference", "--closed", "--encrypted", "x")[0] == 2
    assert run("--board", "nonsense", "--closed")[0] == 1

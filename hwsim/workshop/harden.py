"""`python -m hwsim.workshop.harden`: flash encryption, secure boot, closed ports, by the stock espsecure and espefuse.

Never a part of flashing: eFuses are burnt for ever, and a mistake ends the board. Without `--burn` it only says what it
would do and why. With it, it is asked for twice, keys are made where there are none yet, both images are signed and the
signatures checked before the first eFuse is touched, and `--virtual FILE` does all of it on espefuse's model of a chip.

Steps and eFuses: ESP-IDF Programming Guide, "Security Features Enablement Workflows" (esp32, esp32s3); espefuse's own
documentation. The images must be built with CONFIG_SECURE_FLASH_ENC_ENABLED or CONFIG_SECURE_BOOT_V2_ENABLED: nothing
here can see that. Nobody has tried it with MicroPython on a chip: unverified.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from hwsim import board as boards
from hwsim.workshop.trouble import Trouble

ENCRYPTION, SIGNED, CLOSED = "flash-encryption", "secure-boot", "closed"
WHY = {
    ENCRYPTION: "what is read out of the flash chip (keys, password, number, undelivered messages) is noise. Every "
                "write takes whole blocks of 16 octets; images must be encrypted with the chip's key",
    SIGNED: "the chip starts only what your key has signed: nobody who has the bracelet for an hour leaves another "
            "program in it. Who loses the key can never build another image for these boards",
    CLOSED: "no reading, writing or debugging through the ROM loader and JTAG. The board can't be flashed by cable "
            "again: only updates over the air are left, and MicroPython and its first image never change",
}  # fmt: skip


class Chip(NamedTuple):
    """Names of a family's eFuses; keys are written by burn-key: (block, its file, purpose or nothing)."""

    name: str  # as the tools call it
    keys: dict[str, Sequence[str]]
    fuses: dict[str, dict[str, str]]


_KEY, _DIGEST = "flash-encryption.key", "secure-boot.digest"
_SIGNING = "secure-boot.pem"
CHIPS = {
    "ESP32": Chip(
        "esp32",
        {ENCRYPTION: ("flash_encryption", _KEY), SIGNED: ("secure_boot_v2", _DIGEST)},
        {
            ENCRYPTION: {
                "FLASH_CRYPT_CONFIG": "0xF", "FLASH_CRYPT_CNT": "127", "DISABLE_DL_ENCRYPT": "1",
                "DISABLE_DL_DECRYPT": "1", "DISABLE_DL_CACHE": "1",
            },
            SIGNED: {"ABS_DONE_1": "1"},
            CLOSED: {"JTAG_DISABLE": "1", "CONSOLE_DEBUG_DISABLE": "1", "UART_DOWNLOAD_DIS": "1"},
        },
    ),
    "ESP32-S3": Chip(
        "esp32s3",
        {
            ENCRYPTION: ("BLOCK_KEY0", _KEY, "XTS_AES_128_KEY"),
            SIGNED: ("BLOCK_KEY1", _DIGEST, "SECURE_BOOT_DIGEST0"),
        },
        {
            ENCRYPTION: {
                "SPI_BOOT_CRYPT_CNT": "7", "DIS_DOWNLOAD_MANUAL_ENCRYPT": "1", "DIS_DOWNLOAD_ICACHE": "1",
                "DIS_DOWNLOAD_DCACHE": "1", "DIS_DIRECT_BOOT": "1",
            },
            SIGNED: {"SECURE_BOOT_EN": "1"},
            CLOSED: {"DIS_PAD_JTAG": "1", "DIS_USB_JTAG": "1", "DIS_DOWNLOAD_MODE": "1"},
        },
    ),
}  # fmt: skip


def burning(chip: Chip, options: Sequence[str], keys: Path) -> list[list[str]]:
    """What espefuse is told, in this order: the keys first, then what makes the chip use them."""
    burn_keys = ["burn-key"]
    for option in options:
        if option in chip.keys:
            block, file, *purpose = chip.keys[option]
            burn_keys += [block, str(keys / file), *purpose]
    fuses = [word for option in options for pair in chip.fuses[option].items() for word in pair]
    return [*([burn_keys] if burn_keys[1:] else []), ["burn-efuse", *fuses]]


def run(tool: str, *words: str) -> str:
    """A command of the stock tools. Trouble when it fails, with its last line."""
    done = subprocess.run([sys.executable, "-m", tool, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["it gave no reason"]
        raise Trouble(f"{tool} {words[0]} failed: {lines[-1].strip()}")
    return done.stdout


def make_keys(options: Sequence[str], keys: Path) -> None:
    """Make what is not there yet, for its owner only."""
    keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    before = os.umask(0o077)
    try:
        if ENCRYPTION in options and not (keys / _KEY).exists():
            run("espsecure", "generate-flash-encryption-key", str(keys / _KEY))
        if SIGNED in options and not (keys / _SIGNING).exists():
            run("espsecure", "generate-signing-key", "--version", "2", "--scheme", "rsa3072", str(keys / _SIGNING))
        if SIGNED in options and not (keys / _DIGEST).exists():
            files = "--keyfile", str(keys / _SIGNING), "--output", str(keys / _DIGEST)
            run("espsecure", "digest-sbv2-public-key", *files)
    finally:
        os.umask(before)


def check_signed(images: Sequence[Path], keys: Path) -> None:
    """Trouble unless each was signed with this key: a chip that demands it would not start it."""
    if not images:
        raise Trouble("secure boot needs --image FILE for the boot loader and for the application, both signed")
    for image in images:
        try:
            run("espsecure", "verify-signature", "--version", "2", "--keyfile", str(keys / _SIGNING), str(image))
        except Trouble:
            sign = f"espsecure sign-data --version 2 --keyfile {keys / _SIGNING} --output SIGNED {image}"
            raise Trouble(f"{image} is not signed with {keys / _SIGNING}; first: {sign}") from None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--board", "name", required=True, help="Name in board_configs/, or the path of a file.")
@click.option("--flash-encryption", is_flag=True, help="What is on the flash chip is encrypted.")
@click.option("--secure-boot", is_flag=True, help="Only what your key has signed is started.")
@click.option("--closed", is_flag=True, help="No ROM loader, no JTAG, no cable any more.")
@click.option("--keys", default="keys", show_default=True, type=click.Path(path_type=Path), help="Folder for the keys.")
@click.option("--image", "images", multiple=True, type=click.Path(exists=True, path_type=Path), help="Signed; repeat.")
@click.option("--burn", is_flag=True, help="Do it, for ever. You are asked twice.")
@click.option("--port", help="Serial port of the board.")
@click.option("--virtual", type=click.Path(path_type=Path), help="On espefuse's model of a chip, kept in this file.")
def main(
    name: str, keys: Path, images: tuple[Path, ...], burn: bool, port: str | None, virtual: Path | None,
    **wanted: bool,
) -> None:  # fmt: skip
    """Harden one board for ever: say what that takes and protects, or with --burn do it."""
    try:
        _harden(name, [option for option in WHY if wanted[option.replace("-", "_")]], keys, images, burn, port, virtual)
    except (Trouble, boards.BoardError) as error:
        raise click.ClickException(f"{error}") from error


def _harden(
    name: str, options: list[str], keys: Path, images: Sequence[Path], burn: bool, port: str | None,
    virtual: Path | None,
) -> None:  # fmt: skip
    chip = CHIPS.get(boards.load(name).family.name)
    if chip is None:
        raise Trouble(f"for the chip of {name} it is not known here what to burn")
    if not options:
        raise click.UsageError("name at least one of --flash-encryption, --secure-boot, --closed")
    commands = burning(chip, options, keys)
    for option in options:
        click.echo(f"{option}: {WHY[option]}.")
    for command in commands:
        click.echo(f"  espefuse --chip {chip.name} {' '.join(command)}")
    if not burn:
        click.echo("Nothing was done. With --burn it is, and can never be undone.")
        return
    if (port is None) == (virtual is None):
        raise click.UsageError("--burn needs either --port or --virtual")
    make_keys(options, keys)
    if SIGNED in options:
        check_signed(images, keys)
    where = ["--virt", "--path-efuse-file", str(virtual)] if virtual else ["--port", str(port)]
    click.confirm("Burn this for ever? A mistake ends the board", abort=True)
    if click.prompt(f"Then type {chip.name}", default="", show_default=False) != chip.name:
        raise click.Abort
    for command in commands:
        run("espefuse", "--chip", chip.name, *where, "--do-not-confirm", *command)
    click.echo(f"Burnt. Keep a copy of {keys}, off the network.")


if __name__ == "__main__":
    main()

"""`flash.sh harden`: set up flash encryption, secure boot, closed ports, by the stock espsecure and espefuse.

This is never a part of flashing: eFuses are burnt for ever, and a mistake ends the board. Without `--burn` the command
only says what it would do and why. With `--burn` it asks twice, makes keys where there are none yet, and checks the
images that the chip is to start then (signed, encrypted with its key, in its flash) before it touches the first eFuse.
After an interruption it goes on with the eFuses that the chip says are not burnt yet. `--virtual FILE` does all of it
on espefuse's model of a chip.

Steps and eFuses: ESP-IDF Programming Guide, "Security Features Enablement Workflows" (esp32, esp32s3); espefuse's own
documentation. The images must be built with CONFIG_SECURE_FLASH_ENC_ENABLED or CONFIG_SECURE_BOOT_V2_ENABLED: nothing
here can see that. Nobody has tried it with MicroPython on a chip: unverified.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from hwsim import board as boards
from hwsim.chips import Family
from hwsim.workshop import partitions
from hwsim.workshop.plan import write_private
from hwsim.workshop.trouble import Trouble
from relay.program import SETTINGS, Single, version_option

ENCRYPTION, SIGNED, CLOSED = "flash-encryption", "secure-boot", "closed"
WHY = {
    ENCRYPTION: "what is read out of the flash chip (keys, password, number, undelivered messages) is noise. Every "
    "write takes whole blocks of 16 octets; what is there now must be encrypted with the chip's key before",
    SIGNED: "the chip starts only what your key has signed: nobody who has the bracelet for an hour leaves another "
    "program in it. Who loses the key can never build another image for these boards",
    CLOSED: "no reading, writing or debugging through the ROM loader and JTAG. The board can't be flashed by cable "
    "again: only updates over the air are left, and MicroPython and its first image never change",
}


class Chip(NamedTuple):
    """Names of a family's eFuses; keys are written by burn-key: (block, its file, purpose or nothing)."""

    name: str  # as the tools call it
    keys: dict[str, Sequence[str]]
    fuses: dict[str, dict[str, str]]
    blocks: dict[str, str]  # what espefuse's summary calls them
    cipher: Sequence[str]  # said to espsecure


_KEY, _DIGEST = "flash-encryption.key", "secure-boot.digest"
_NOTED = "burnt.json"
_ENCRYPTED_FLAG = 1  # of a partition (ESP-IDF Programming Guide, Partition Tables)
_PRIVATE = ("vfs", "romfs", "journal")
_SIGNING = "secure-boot.pem"
_STARTED = {0: "bootloader", partitions.TABLE: "partition-table", 0x10000: "micropython"}  # 0: where the chip has it
CHIPS = {
    "ESP32": Chip(
        "esp32",
        {ENCRYPTION: ("flash_encryption", _KEY), SIGNED: ("secure_boot_v2", _DIGEST)},
        {
            ENCRYPTION: {
                "FLASH_CRYPT_CONFIG": "0xF",
                "FLASH_CRYPT_CNT": "127",
                "DISABLE_DL_ENCRYPT": "1",
                "DISABLE_DL_DECRYPT": "1",
                "DISABLE_DL_CACHE": "1",
            },
            SIGNED: {"ABS_DONE_1": "1"},
            CLOSED: {"JTAG_DISABLE": "1", "CONSOLE_DEBUG_DISABLE": "1", "UART_DOWNLOAD_DIS": "1"},
        },
        {ENCRYPTION: "BLOCK1", SIGNED: "BLOCK2"},
        (),
    ),
    "ESP32-S3": Chip(
        "esp32s3",
        {
            ENCRYPTION: ("BLOCK_KEY0", _KEY, "XTS_AES_128_KEY"),
            SIGNED: ("BLOCK_KEY1", _DIGEST, "SECURE_BOOT_DIGEST0"),
        },
        {
            ENCRYPTION: {
                "SPI_BOOT_CRYPT_CNT": "7",
                "DIS_DOWNLOAD_MANUAL_ENCRYPT": "1",
                "DIS_DOWNLOAD_ICACHE": "1",
                "DIS_DOWNLOAD_DCACHE": "1",
                "DIS_DIRECT_BOOT": "1",
            },
            SIGNED: {"SECURE_BOOT_EN": "1"},
            CLOSED: {"DIS_PAD_JTAG": "1", "DIS_USB_JTAG": "1", "DIS_DOWNLOAD_MODE": "1"},
        },
        {ENCRYPTION: "BLOCK_KEY0", SIGNED: "BLOCK_KEY1"},
        ("--aes-xts",),
    ),
}


def burning(chip: Chip, options: Sequence[str], keys: Path) -> list[list[str]]:
    """Return the commands for espefuse, in this order: the keys first, then the eFuses that make the chip use them."""
    burn_keys = ["burn-key"]
    for option in options:
        if option in chip.keys:
            block, file, *purpose = chip.keys[option]
            burn_keys += [block, str(keys / file), *purpose]
    fuses = [word for option in options for pair in chip.fuses[option].items() for word in pair]
    return [*([burn_keys] if burn_keys[1:] else []), ["burn-efuse", *fuses]]


def left(chip: Chip, options: Sequence[str], keys: Path, summary: Mapping[str, Any]) -> list[list[str]]:
    """Return the commands that are left for a chip with this summary. Raises Trouble where a block holds another key:
    that key is there for ever. espefuse leaves a block that is burnt with the same value, and only protects it."""
    missing = [option for option in options if option in chip.keys]
    for option in tuple(missing):
        block, file = chip.blocks[option], keys / chip.keys[option][1]
        if not summary[block]["readable"]:  # a key that only the chip can read
            if _mark(summary, file) not in _noted(keys):
                raise Trouble(
                    f"{block} of this chip holds a key already, and nothing says that it is {file}: take the folder of "
                    "keys that it was burnt with (--keys). Nothing was burnt"
                )
            missing.remove(option)
            continue
        there = bytes.fromhex(summary[block]["raw_value"].removeprefix("0x"))
        if any(there) and file.read_bytes() not in (there, there[::-1]):  # keys lie there in reverse order
            raise Trouble(f"{block} of this chip holds something else than {file}, for ever. Nothing was burnt")
    commands = burning(chip, options, keys)
    burn_keys = burning(chip, missing, keys)[0] if missing else None
    return [*([burn_keys] if burn_keys else []), commands[-1]]


def _mark(summary: Mapping[str, Any], file: Path) -> str:
    """Return a mark that says that this chip has this key, to somebody who has both."""
    return hashlib.sha256(str(summary["MAC"]["raw_value"]).encode() + file.read_bytes()).hexdigest()


def _noted(keys: Path) -> list[str]:
    try:
        marks: list[str] = json.loads((keys / _NOTED).read_bytes())
    except FileNotFoundError:
        return []
    except ValueError:
        raise Trouble(f"{keys / _NOTED} is damaged: it says which chips have the key; get the copy of it") from None
    return marks


def note(keys: Path, summary: Mapping[str, Any]) -> None:
    """Note that this chip gets the key, before it is burnt: afterwards nobody can read it."""
    write_private(keys / _NOTED, json.dumps(sorted({*_noted(keys), _mark(summary, keys / _KEY)})).encode())


def summary_of(chip: Chip, where: Sequence[str]) -> dict[str, Any]:
    """Return the eFuses of a chip, by the names that espefuse has for them."""
    said = run("espefuse", "--chip", chip.name, *where, "summary", "--format", "json")
    try:
        found: dict[str, Any] = json.loads(said[said.index("{") :])
    except ValueError:
        raise Trouble("espefuse does not say what is burnt: is it version 5?") from None
    return found


def run(tool: str, *words: str) -> str:
    """Run a command of the stock tools. Raises Trouble with its last line when it fails."""
    done = subprocess.run([sys.executable, "-m", tool, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["it gave no reason"]
        raise Trouble(f"{tool} {words[0]} failed: {lines[-1].strip()}")
    return done.stdout


def make_keys(options: Sequence[str], keys: Path) -> None:
    """Make the keys that are not there yet, for their owner only."""
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
    """Raise Trouble unless each image was signed with this key: a chip with secure boot would not start another."""
    if not images:
        raise Trouble("secure boot needs --image FILE for the boot loader and for the application, both signed")
    for image in images:
        try:
            run("espsecure", "verify-signature", "--version", "2", "--keyfile", str(keys / _SIGNING), str(image))
        except Trouble:
            sign = f"espsecure sign-data --version 2 --keyfile {keys / _SIGNING} --output SIGNED {image}"
            raise Trouble(f"{image} is not signed with {keys / _SIGNING}; first: {sign}") from None


def encrypting(chip: Chip, keys: Path, address: int, name: str) -> str:
    """Return the command that encrypts the file for this address."""
    words = "espsecure encrypt-flash-data", *chip.cipher, f"--keyfile {keys / _KEY} --address {address:#x}"
    return f"{' '.join(words)} --output {name}.encrypted {name}.bin"


def check_encrypted(chip: Chip, family: Family, files: Mapping[int, Path], images: Sequence[Path], keys: Path) -> None:
    """Raise Trouble unless all that the chip will decrypt is there, encrypted with this key, each file for its address.
    `images`: the signed ones; the chip must start no others."""

    def plain(address: int, name: str) -> bytes:
        if address not in files:
            raise Trouble(
                f"what is in the flash in plain text is noise to a chip that decrypts: {name} at {address:#x} is "
                f"missing. {encrypting(chip, keys, address, name)}; then write it there, and name it with --encrypted "
                f"{address:#x}={name}.encrypted"
            )
        with tempfile.TemporaryDirectory(prefix="tocsin-") as scratch:
            out = Path(scratch) / "plain"
            where = "--keyfile", str(keys / _KEY), "--address", hex(address), "--output", str(out)
            run("espsecure", "decrypt-flash-data", *chip.cipher, *where, str(files[address]))
            return out.read_bytes()

    def started(address: int, name: str) -> None:
        content = plain(address, name)
        if content[:1] != b"\xe9" or int.from_bytes(content[12:14], "little") != family.image_id:
            raise Trouble(
                f"{files[address]} does not become an image for an {family.name} when {keys / _KEY} decrypts it at "
                f"{address:#x}: it was encrypted with another key, for another place, or not at all"
            )
        if images and not any(content.startswith(image.read_bytes()) for image in images):
            raise Trouble(f"{files[address]} is none of the signed images that --image names")

    started(family.image_offset, "bootloader")
    table = plain(partitions.TABLE, "partition-table")
    try:
        found = partitions.decode(table)
    except Trouble:
        raise Trouble(f"{files[partitions.TABLE]} does not become a partition table when it is decrypted") from None
    for part in found:
        if part.kind == partitions.APP:
            started(part.offset, part.name)
        elif part.flags & _ENCRYPTED_FLAG:
            plain(part.offset, part.name)
        elif part.name in _PRIVATE:
            raise Trouble(f"the partition {part.name} has no flag `encrypted`: what is private would stay plain text")


def check_written(port: str, address: int, file: Path) -> None:
    """Raise Trouble unless the flash holds this file as it is: a chip that decrypts could not start otherwise."""
    try:
        run("esptool", "--port", port, "verify-flash", hex(address), str(file))
    except Trouble as trouble:
        raise Trouble(
            f"{file} is not what lies at {address:#x} of the flash; first: esptool --port {port} write-flash "
            f"{address:#x} {file} ({trouble})"
        ) from None


def _places(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[int, Path]:
    found = {}
    for value in values:
        address, _, file = value.partition("=")
        try:
            found[int(address, 0)] = Path(file)
        except ValueError:
            raise click.BadParameter(f"{value} is not ADDRESS=FILE, like 0x8000=partition-table.encrypted") from None
        if not Path(file).is_file():
            raise click.BadParameter(f"there is no file {file}")
    return found


@click.command(cls=Single, context_settings=SETTINGS)
@version_option("flash.sh harden")
@click.option("--board", "name", required=True, help="Name in board_configs/, or the path of a file.")
@click.option("--flash-encryption", is_flag=True, help="What is on the flash chip is encrypted.")
@click.option("--secure-boot", is_flag=True, help="Only what your key has signed is started.")
@click.option("--closed", is_flag=True, help="No ROM loader, no JTAG, no cable any more.")
@click.option("--keys", default="keys", show_default=True, type=click.Path(path_type=Path), help="Folder for the keys.")
@click.option("--image", "images", multiple=True, type=click.Path(exists=True, path_type=Path), help="Signed; repeat.")
@click.option(
    "--encrypted",
    multiple=True,
    callback=_places,
    metavar="ADDRESS=FILE",
    help="With --flash-encryption: what lies there, encrypted; repeat.",
)
@click.option("--burn", is_flag=True, help="Do it, for ever. You are asked twice.")
@click.option("--port", help="Serial port of the board.")
@click.option("--virtual", type=click.Path(path_type=Path), help="On espefuse's model of a chip, kept in this file.")
def main(
    name: str,
    keys: Path,
    images: tuple[Path, ...],
    encrypted: dict[int, Path],
    burn: bool,
    port: str | None,
    virtual: Path | None,
    **wanted: bool,
) -> None:
    """Harden one board for ever: say what that takes and protects, or with --burn do it."""
    try:
        options = [option for option in WHY if wanted[option.replace("-", "_")]]
        _harden(name, options, keys, images, encrypted, burn, port, virtual)
    except (Trouble, boards.BoardError) as error:
        raise click.ClickException(f"{error}") from error


def _harden(
    name: str,
    options: list[str],
    keys: Path,
    images: Sequence[Path],
    encrypted: Mapping[int, Path],
    burn: bool,
    port: str | None,
    virtual: Path | None,
) -> None:
    family = boards.load(name).family
    chip = CHIPS.get(family.name)
    if chip is None:
        raise Trouble(f"for the chip of {name} it is not known here what to burn")
    if not options:
        raise click.UsageError("name at least one of --flash-encryption, --secure-boot, --closed")
    for option in options:
        click.echo(f"{option}: {WHY[option]}.")
    if ENCRYPTION in options:
        click.echo("  First encrypted and written (esptool write-flash), and all partitions with the flag `encrypted`:")
        for address, part in _STARTED.items():
            click.echo(f"  {encrypting(chip, keys, address or family.image_offset, part)}")
    for command in burning(chip, options, keys):
        click.echo(f"  espefuse --chip {chip.name} {' '.join(command)}")
    if not burn:
        click.echo("Nothing was done. With --burn it is, and can never be undone.")
        return
    if (port is None) == (virtual is None):
        raise click.UsageError("--burn needs either --port or --virtual")
    make_keys(options, keys)
    if SIGNED in options:
        check_signed(images, keys)
    if ENCRYPTION in options:
        check_encrypted(chip, family, encrypted, images if SIGNED in options else (), keys)
    for address, file in encrypted.items():
        if port is not None:
            check_written(port, address, file)
    where = ["--virt", "--path-efuse-file", str(virtual)] if virtual else ["--port", str(port)]
    summary = summary_of(chip, where)
    commands = left(chip, options, keys, summary)
    click.confirm("Burn this for ever? A mistake ends the board", abort=True)
    if click.prompt(f"Then type {chip.name}", default="", show_default=False) != chip.name:
        raise click.Abort
    if ENCRYPTION in options:
        note(keys, summary)
    for command in commands:
        run("espefuse", "--chip", chip.name, *where, "--do-not-confirm", *command)
    click.echo(f"Burnt. Keep a copy of {keys}, off the network.")


if __name__ == "__main__":
    main(prog_name="flash.sh harden")

"""Make and check signed bundles. A bundle is one file with a version of the firmware, signed by the firmware's maker.

A bundle is 1024 octets of header and the ROMFS image (hwsim/mpy.py) of one kind of processor, as both lie in a slot of
the bracelet's flash. On a stock image the first program is a bundle too, but nobody has signed it. The header is
"TCNB", the length of what follows in two octets, and a COSE_Sign1 (RFC 9052, 4.2) with Ed25519 (RFC 9864) over the
manifest, in deterministic CBOR (RFC 8949, 4.2.1):

    [format: 1, version, processor, size of the image in octets, its SHA-256]

`processor` is MicroPython's `sys.implementation._mpy` (docs/reference/mpyfiles.rst): version of the compiled modules
and the architecture of their native code. `version` is that of `tocsin.VERSION`; a bracelet installs only a higher
one. The external_aad of the signature is "TCN1 bundle", so that no other signature of the same key fits a bundle.
Every bracelet checks the bundle by firmware/tocsin/update.py.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cbor2
from nacl.bindings import crypto_core_ed25519_add
from nacl.exceptions import BadSignatureError
from nacl.exceptions import RuntimeError as NaClRuntimeError
from nacl.signing import SigningKey, VerifyKey

from hwsim import mpy
from hwsim.toolchain import MPY_VERSION

MAGIC, HEADER = b"TCNB", 1024  # octets
IMAGE_MAX = 0x28000 - HEADER  # a third of the partition `romfs`
SIGN_HEADER = b"\xa1\x01\x32"  # << {1: -19} >>, alg: Ed25519
LABEL = b"TCN1 bundle"
FORMAT = 1
FIRST = "/firmware.bin"  # the program of a stock image; MicroPython and slots.py find it through the files BESIDE it
BESIDE = ("/boot.py", "/main.py", "/slots.mpy")
_SIGNATURE = 64  # octets
_P = 2**255 - 19
_NEUTRAL = b"\x01" + bytes(31)  # of the curve's points, encoded
# Numbers of the processors for which there is an interpreter, desktops included: docs/reference/mpyfiles.rst.
PROCESSORS = {None: 0, "x86": 1, "x64": 2, "xtensawin": 10, "rv32imc": 11}


class BundleError(Exception):
    """A bundle or key that can't be made or is not good; the message says why."""


class Bundle(NamedTuple):
    """The content of a bundle."""

    version: int
    march: str | None  # as mpy-cross calls the processor; None: there is no native code in it
    image: bytes


def processor(march: str | None) -> int:
    """Return `sys.implementation._mpy` of an interpreter for this processor. Raises BundleError when there is none."""
    if march not in PROCESSORS:
        raise BundleError(f"no processor is called {march}; there are {', '.join(name for name in PROCESSORS if name)}")
    return MPY_VERSION[0] | MPY_VERSION[1] << 8 | PROCESSORS[march] << 10


def version_of(firmware: Path) -> int:
    """Read `VERSION` in a firmware's tocsin/__init__.py. Raises BundleError when it has none."""
    file = firmware / "tocsin" / "__init__.py"
    try:
        tree = ast.parse(file.read_text())
    except (OSError, SyntaxError) as error:
        raise BundleError(f"{file} can't be read: {error}") from error
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["VERSION"]:
            version = ast.literal_eval(node.value)
            if isinstance(version, int) and 0 < version < 1 << 31:
                return version
    raise BundleError(f"{file} has no VERSION, an integer from 1 on")


def make(firmware: Path, march: str | None, key: SigningKey) -> bytes:
    """Make the bundle of a firmware's folder. Raises BundleError, and mpy.CompileError when it doesn't compile."""
    return sign(version_of(firmware), processor(march), mpy.rom(firmware, march).read_bytes(), key)


def sign(version: int, number: int, image: bytes, key: SigningKey) -> bytes:
    """Sign a bundle around this image; `number` is its `processor`. BundleError when a slot has no room for it."""
    return _around(version, number, image, lambda manifest: key.sign(_to_sign(manifest)).signature)


def unsigned(version: int, number: int, image: bytes) -> bytes:
    """Make the same without a signature, for the first image of a bracelet. It comes by cable and only has to be whole:
    no key vouches for it, and no bracelet installs it as an update."""
    return _around(version, number, image, lambda _: bytes(_SIGNATURE))


def _around(version: int, number: int, image: bytes, signature: Callable[[bytes], bytes]) -> bytes:
    if len(image) > IMAGE_MAX:
        raise BundleError(f"the image has {len(image)} octets, and a slot has room for {IMAGE_MAX}")
    manifest = cbor2.dumps([FORMAT, version, number, len(image), hashlib.sha256(image).digest()], canonical=True)
    signed = cbor2.dumps([SIGN_HEADER, {}, manifest, signature(manifest)], canonical=True)
    return (MAGIC + len(signed).to_bytes(2, "big") + signed).ljust(HEADER, b"\xff") + image


def check(octets: bytes, public: VerifyKey | None) -> Bundle:
    """Check the signature of a bundle and the hash of its image, and return its content. BundleError says what is
    wrong. Without a key nobody vouches for the bundle: then it is only known to be whole."""
    length = int.from_bytes(octets[4:6], "big")
    signed, rest = octets[6 : 6 + length], octets[6 + length : HEADER]
    if octets[:4] != MAGIC or len(octets) < HEADER or length > HEADER - 6 or rest.strip(b"\xff"):
        raise BundleError("it is no bundle: its header is not one")
    try:
        header, unprotected, manifest, signature = cbor2.loads(signed)
        if cbor2.dumps([header, unprotected, manifest, signature], canonical=True) != signed:
            raise ValueError
        if public is not None:
            if not is_public_key(bytes(public)):
                raise BundleError("what it is checked with is no public key")
            public.verify(_to_sign(manifest), signature)
        form, version, number, size, digest = cbor2.loads(manifest)
    except BadSignatureError:
        raise BundleError("its signature is not that of this key") from None
    except (ValueError, TypeError, cbor2.CBORDecodeError):
        raise BundleError("it is no bundle: its header is not one") from None
    if header != SIGN_HEADER or unprotected != {} or form != FORMAT:
        raise BundleError("it is a bundle of a format that is not known here")
    image = octets[HEADER:]
    if len(image) != size:
        raise BundleError(f"its image has {len(image)} octets, and should have {size}: the file is not whole")
    if hashlib.sha256(image).digest() != digest:
        raise BundleError("its image is not the one that was signed")
    marches = [name for name in PROCESSORS if processor(name) == number]
    if not marches:
        raise BundleError("it is for a processor, or a MicroPython, that is not known here")
    return Bundle(version, marches[0], image)


def _to_sign(manifest: bytes) -> bytes:
    return cbor2.dumps(["Signature1", SIGN_HEADER, LABEL, manifest], canonical=True)


def new_key(file: Path) -> SigningKey:
    """Make the maker's key. The private half goes into `file`, for its owner only. The public half, which bracelets get
    as /update.key, goes beside it with the ending .pub. Raises BundleError when there is such a file already."""
    key = SigningKey.generate()
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BundleError(f"{file} can't be made: {error.strerror}") from error
    with os.fdopen(handle, "w") as out:
        out.write(bytes(key).hex() + "\n")
    public_file(file).write_bytes(bytes(key.verify_key))
    return key


def public_file(file: Path) -> Path:
    """Return the file in which `new_key` puts the public half."""
    return file.with_name(file.name + ".pub")


def read_key(file: Path) -> SigningKey:
    """Read the maker's key as `new_key` has written it. Raises BundleError, which doesn't quote the file."""
    try:
        return SigningKey(bytes.fromhex(file.read_text().strip()))
    except (OSError, ValueError, TypeError):
        raise BundleError(f"{file} holds no key: 64 hexadecimal digits, made by `hwsim bundle key`") from None


def read_public(file: Path) -> VerifyKey:
    """Read the public half. Raises BundleError when there is none, when no signature can be genuine for it, or when one
    signature can be genuine for many messages."""
    try:
        octets = file.read_bytes()
    except OSError:
        octets = b""
    if not is_public_key(octets):
        raise BundleError(f"{file} is no public key: 32 octets, made by `hwsim bundle key`")
    return VerifyKey(octets)


def is_public_key(octets: bytes) -> bool:
    """Tell whether these octets are the one encoding of a point of Ed25519's curve (RFC 8032, 5.1.3), and the point's
    order is more than 8."""
    if len(octets) != 32 or int.from_bytes(octets, "little") & (1 << 255) - 1 >= _P:
        return False
    point = octets
    try:
        for _ in range(3):
            point = crypto_core_ed25519_add(point, point)
    except NaClRuntimeError:  # no such point
        return False
    return point != _NEUTRAL

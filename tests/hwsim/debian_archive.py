"""A Debian archive of our own on this machine, signed as apt demands, to test unpacking from it without any network.

Enough of OpenPGP (RFC 4880, and EdDSA as GnuPG has it) to sign one file: GnuPG itself need not be installed.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import textwrap
from pathlib import Path

from nacl.signing import SigningKey

from hwsim.toolchain import ARCHITECTURES

ARCHITECTURE, TRIPLET, LOADER = ARCHITECTURES[os.uname().machine]
CREATED = (1735689600).to_bytes(4, "big")
ED25519, SHA512, CLEAR_TEXT, CERTIFICATION = 22, 10, 0x01, 0x13


class Key:
    """An OpenPGP key that signs."""

    def __init__(self) -> None:
        self._signing = SigningKey.generate()
        point = b"\x40" + bytes(self._signing.verify_key)
        curve = bytes.fromhex("092b06010401da470f01")
        self._body = b"\x04" + CREATED + bytes([ED25519]) + curve + (263).to_bytes(2, "big") + point
        self._hashed_body = b"\x99" + len(self._body).to_bytes(2, "big") + self._body
        self._fingerprint = hashlib.sha1(self._hashed_body, usedforsecurity=False).digest()

    def keyring(self) -> bytes:
        name = b"Archive of a test <test@example.org>"
        certified = self._hashed_body + b"\xb4" + len(name).to_bytes(4, "big") + name
        return _packet(6, self._body) + _packet(13, name) + self._sign(CERTIFICATION, certified)

    def clear_sign(self, text: str) -> str:
        lines = [line.rstrip() for line in text.splitlines()]
        signature = base64.b64encode(self._sign(CLEAR_TEXT, "\r\n".join(lines).encode())).decode()
        armour = "\n".join(textwrap.wrap(signature, 64))
        return (
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n"
            + "\n".join(lines)
            + f"\n-----BEGIN PGP SIGNATURE-----\n\n{armour}\n-----END PGP SIGNATURE-----\n"
        )

    def _sign(self, kind: int, data: bytes) -> bytes:
        hashed = _subpacket(2, CREATED) + _subpacket(27, b"\x03") + _subpacket(33, b"\x04" + self._fingerprint)
        head = bytes([4, kind, ED25519, SHA512]) + len(hashed).to_bytes(2, "big") + hashed
        digest = hashlib.sha512(data + head + b"\x04\xff" + len(head).to_bytes(4, "big")).digest()
        signature = self._signing.sign(digest).signature
        unhashed = _subpacket(16, self._fingerprint[-8:])
        numbers = _number(signature[:32]) + _number(signature[32:])
        return _packet(2, head + len(unhashed).to_bytes(2, "big") + unhashed + digest[:2] + numbers)


def _packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4, "big") + body


def _subpacket(kind: int, body: bytes) -> bytes:
    return bytes([len(body) + 1, kind]) + body


def _number(octets: bytes) -> bytes:
    value = int.from_bytes(octets, "big")
    return value.bit_length().to_bytes(2, "big") + value.to_bytes((value.bit_length() + 7) // 8, "big")


class Archive:
    """Suite trixie with `tool`, which needs the library `libtool-test`, and `adduser-test` to be installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "debian"
        self.keyring = folder / "archive.gpg"
        self.key = Key()
        self.index = self.folder / f"dists/trixie/main/binary-{ARCHITECTURE}/Packages"
        self.index.parent.mkdir(parents=True)
        self.pool = self.folder / "pool"
        self.pool.mkdir()
        stanzas = [
            # The loader stands for Debian's libc; unpacking asks it to list the programs' libraries.
            self._build(
                "tool",
                {f"usr/lib/{TRIPLET}/{LOADER}": "exit 0", "usr/bin/tool": "echo works"},
                "libtool-test, adduser-test",
            ),
            self._build(
                "libtool-test",
                {
                    f"usr/lib/{TRIPLET}/libtool-test.so.1": "library",
                    f"usr/lib/{TRIPLET}/libtool-test.so": "-> libtool-test.so.1",
                    "usr/share/doc/libtool-test/copyright": "text",
                },
            ),
            self._build("adduser-test", {"usr/sbin/adduser-test": "echo not wanted"}),
        ]
        self.index.write_text("\n".join(stanzas))
        self.publish()

    def publish(self, origin: str = "Debian", key: Key | None = None) -> None:
        """Write the signed InRelease over the index as it is now."""
        self.keyring.write_bytes(self.key.keyring())
        octets = self.index.read_bytes()
        name = self.index.relative_to(self.folder / "dists/trixie")
        release = (
            f"Origin: {origin}\nSuite: stable\nCodename: trixie\nDate: Wed, 01 Jan 2025 00:00:00 UTC\n"
            f"Architectures: {ARCHITECTURE}\nComponents: main\n"
            f"SHA256:\n {hashlib.sha256(octets).hexdigest()} {len(octets)} {name}\n"
        )
        (self.folder / "dists/trixie/InRelease").write_text((key or self.key).clear_sign(release))

    def deb(self, package: str) -> Path:
        return self.pool / f"{package}_2.5.1-3_{ARCHITECTURE}.deb"

    def machine(self, options: str = "", extra: str = "") -> str:
        """Make this the archive of a machine's apt; returns what APT_CONFIG is then."""
        sources = self.folder.parent / "sources.list"
        sources.write_text(f"deb [signed-by={self.keyring} {options}] copy:{self.folder} bookworm main\n")
        configuration = self.folder.parent / "apt.conf"
        configuration.write_text(
            # Run by root, apt becomes a user who may not see a test's folder.
            'APT::Sandbox::User "root";\n'
            f'Dir::Etc::sourcelist "{sources}";\nDir::Etc::sourceparts "/dev/null";\n{extra}'
        )
        return str(configuration)

    def _build(self, name: str, files: dict[str, str], depends: str = "") -> str:
        tree = self.folder.parent / f"build-{name}"
        for path, content in files.items():
            file = tree / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if content.startswith("-> "):
                file.symlink_to(content[3:])
            else:
                file.write_text(f"#!/bin/sh\n{content}\n")
                file.chmod(0o755)
        control = f"Package: {name}\nVersion: 1:2.5.1-3\nArchitecture: {ARCHITECTURE}\nMaintainer: A <a@example.org>\n"
        control += f"Depends: {depends}\n" if depends else ""
        control += "Description: for a test\n"
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(control)
        deb = self.deb(name)
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, deb], check=True, capture_output=True)
        octets = deb.read_bytes()
        place = f"Filename: {deb.relative_to(self.folder)}\nSize: {len(octets)}\n"
        return control + place + f"SHA256: {hashlib.sha256(octets).hexdigest()}\n"

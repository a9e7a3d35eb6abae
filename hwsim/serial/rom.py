# sans-I/O
"""The serial loader of an ESP32 or ESP32-S3: the one in its ROM, and the stub that esptool uploads in its place.

Sans-I/O: octets come in by `feed` and go out by the given function. Commands and status codes follow Espressif's
"Serial Protocol" (esptool's documentation), registers are in `registers.py`. This model can't execute the stub's
machine code. It takes any program that is uploaded to RAM and started for esptool's stub, and then answers the stub's
commands itself. Not modelled: baud rates, encryption and secure boot, the time the flash takes.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable

from hwsim.serial import slip
from hwsim.serial.registers import Chip
from hwsim.serial.spiflash import OutOfRange, SpiFlash

__all__ = ["SYNC", "Chip", "Loader"]

# The first frame that esptool sends (see usb.py).
SYNC = slip.encode(struct.pack("<BBHI", 0, 0x08, 36, 0) + b"\x07\x07\x12\x20" + b"\x55" * 32)
_SYNC_VALUE = 0x20120707  # of the ROM; the stub answers with zero
_CHECKSUM_SEED = 0xEF
_OK = 0
# Status codes of the ROM, and of the stub where it has its own.
_INVALID, _CHECKSUM, _WRITE_FAILED, _READ_FAILED, _DEFLATE = 0x05, 0x07, 0x08, 0x09, 0x0B
_STUB_STATUS = {_INVALID: 0xFF, _CHECKSUM: 0xC1, _WRITE_FAILED: 0xC4, _READ_FAILED: 0xC4, _DEFLATE: 0xC7}
_READ_SLOW = 64  # octets that the ROM reads at once

_SPI_USR = 1 << 18  # of SPI_CMD_REG: a command that the program defines
_READ_JEDEC_ID = 0x9F


class Loader:
    """A serial loader. It calls `left` when a command ends it, and `note` to tell what happened."""

    def __init__(
        self,
        chip: Chip,
        flash: SpiFlash,
        send: Callable[[bytes], None],
        left: Callable[[], None],
        note: Callable[..., None],
    ) -> None:
        self._chip = chip
        self._flash = flash
        self._send = send
        self._left = left
        self._note = note
        self._slip = slip.Decoder()
        self._registers = chip.registers()
        self._stub = False
        self._uploaded: list[range] = []  # addresses of RAM that hold something
        self._writing: _Write | None = None
        self._reading: _Read | None = None
        self._crashed = False

    def feed(self, data: bytes) -> None:
        for frame in self._slip.feed(data):
            if self._reading and len(frame) == 4:
                self._acknowledged(int.from_bytes(frame, "little"))
            elif len(frame) >= 8 and not self._crashed:
                direction, op, length, checksum = struct.unpack_from("<BBHI", frame)
                if direction == 0 and length == len(frame) - 8:
                    self._command(op, frame[8:], checksum)

    def _command(self, op: int, data: bytes, checksum: int) -> None:
        entry = _COMMANDS.get(op)
        if (
            entry is None
            or (entry.stub_only and not self._stub)
            or (entry.rom_only and self._stub)
            or (op == _SECURITY_INFO and self._chip.security_info is None)
        ):
            self._reply(op, status=_INVALID)
            return
        if op not in (0x03, 0x11):
            self.finish_write()
        try:
            if entry.has_block:
                block = data[16:]
                if len(data) < 16 or struct.unpack_from("<I", data)[0] != len(block):
                    raise _Refused(_INVALID)
                if _xor(block) != checksum & 0xFF:
                    raise _Refused(_CHECKSUM)
                data = block
            elif len(data) < 4 * entry.words:
                raise _Refused(_INVALID)
            entry.handler(self, op, data, struct.unpack_from(f"<{entry.words}I", data))
        except _Refused as refused:
            self._reply(op, status=refused.status)
        except OutOfRange:
            self._reply(op, status=_READ_FAILED if op in (0x0E, 0x13, 0xD2) else _WRITE_FAILED)

    def _reply(self, op: int, value: int = 0, data: bytes = b"", status: int = _OK) -> None:
        if self._stub:
            tail = bytes([bool(status), _STUB_STATUS[status] if status else 0])
        else:
            tail = bytes([bool(status), status, 0, 0])
        self._send(slip.encode(struct.pack("<BBHI", 1, op, len(data) + len(tail), value) + data + tail))

    # -- talking

    def _sync(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        for _ in range(8):
            self._reply(op, 0 if self._stub else _SYNC_VALUE)

    def _nothing(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        self._reply(op)

    # -- registers

    def _read_register(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        self._reply(op, self._registers.get(words[0], 0))

    def _write_register(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        address, value, mask, _ = words
        self._registers[address] = self._registers.get(address, 0) & ~mask | value & mask
        spi = self._chip.spi
        if address == spi.command and self._registers[address] & _SPI_USR:
            command = self._registers.get(spi.user2, 0) & 0xFF
            self._registers[spi.data] = self._flash.jedec_id if command == _READ_JEDEC_ID else 0
            self._registers[address] &= ~_SPI_USR
        self._reply(op)

    def _security_info(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        self._reply(op, data=self._chip.security_info or b"")

    # -- RAM

    def _ram_begin(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        size, _, _, address = words
        self._uploaded.append(range(address, address + size))
        self._reply(op)

    def _ram_end(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        stay, entry = words
        self._reply(op)
        if stay:
            return
        if any(entry in part for part in self._uploaded):
            self._stub = True
            self._note("stub")
            self._send(slip.encode(b"OHAI"))
        else:  # it runs what isn't there
            self._crashed = True
            self._note("crashed")

    # -- flash

    def _begin(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        size, _, _, address = words
        packed = op == 0x10
        if not (self._stub and packed):
            self._flash.erase(address, size)
        self._writing = _Write(address, address + size, packed, erased=None if not (self._stub and packed) else address)
        self._reply(op)

    def _block(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        writing = self._writing
        if writing is None or writing.packed != (op == 0x11):
            raise _Refused(_INVALID)
        if writing.inflate:
            try:
                data = writing.inflate.decompress(data)
            except zlib.error:
                raise _Refused(_DEFLATE) from None
        data = data[: max(0, writing.end - writing.at)]  # the last block is filled up
        if writing.erased is not None and writing.at + len(data) > writing.erased:  # the stub erases as it goes
            self._flash.erase(writing.erased, writing.at + len(data) - writing.erased)
            writing.erased = writing.at + len(data) + -(writing.at + len(data)) % 4096
        self._flash.program(writing.at, data)
        writing.at += len(data)
        writing.written += len(data)
        self._reply(op)

    def _end(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        self._reply(op)
        if self._stub and words[0] == 0:  # the stub's way back to the ROM's loader
            self._stub = False
        elif not self._stub:
            self._left()

    def finish_write(self) -> None:
        """End a write, as another command has come or no more will, and note what was written."""
        writing, self._writing = self._writing, None
        if writing and writing.written:
            self._note("written", octets=writing.written, at=f"0x{writing.at - writing.written:x}")

    def _md5(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        digest = hashlib.md5(self._flash.read(words[0], words[1]), usedforsecurity=False)
        self._reply(op, data=digest.digest() if self._stub else digest.hexdigest().encode())

    def _read_slow(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        if words[1] > _READ_SLOW:
            raise _Refused(0x0A)
        self._reply(op, data=self._flash.read(*words).ljust(_READ_SLOW, b"\0"))

    def _erase_chip(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        self._flash.erase(0, self._flash.size)
        self._note("chip erased")
        self._reply(op)

    def _erase_region(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        if words[0] % 4096 or words[1] % 4096:
            raise _Refused(_INVALID)
        self._flash.erase(*words)
        self._note("erased", octets=words[1], at=f"0x{words[0]:x}")
        self._reply(op)

    def _read_begin(self, op: int, data: bytes, words: tuple[int, ...]) -> None:
        address, length, block, window = words
        content = self._flash.read(address, length)
        if not block or not window:
            raise _Refused(_INVALID)
        self._reply(op)
        self._note("read", octets=length, at=f"0x{address:x}")
        self._reading = _Read(content, block, block * window)
        self._acknowledged(0)

    def _acknowledged(self, octets: int) -> None:
        reading = self._reading
        assert reading is not None
        while reading.sent < len(reading.content) and reading.sent < octets + reading.window:
            self._send(slip.encode(reading.content[reading.sent : reading.sent + reading.block]))
            reading.sent += reading.block
        if octets >= len(reading.content):
            self._reading = None
            self._send(slip.encode(hashlib.md5(reading.content, usedforsecurity=False).digest()))


class _Refused(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Write:
    def __init__(self, at: int, end: int, packed: bool, erased: int | None) -> None:
        self.at, self.end, self.packed = at, end, packed
        self.erased = erased  # up to this address; None: the whole range
        self.written = 0
        self.inflate = zlib.decompressobj() if packed else None


class _Read:
    def __init__(self, content: bytes, block: int, window: int) -> None:
        self.content, self.block, self.window = content, block, window
        self.sent = 0


class _Entry:
    def __init__(
        self,
        handler: Callable[[Loader, int, bytes, tuple[int, ...]], None],
        words: int = 0,
        *,
        has_block: bool = False,
        stub_only: bool = False,
        rom_only: bool = False,
    ) -> None:
        self.handler, self.words, self.has_block = handler, 0 if has_block else words, has_block
        self.stub_only, self.rom_only = stub_only, rom_only


_SECURITY_INFO = 0x14
_COMMANDS = {
    0x02: _Entry(Loader._begin, 4),  # FLASH_BEGIN
    0x03: _Entry(Loader._block, has_block=True),  # FLASH_DATA
    0x04: _Entry(Loader._end, 1),  # FLASH_END
    0x05: _Entry(Loader._ram_begin, 4),  # MEM_BEGIN
    0x06: _Entry(Loader._ram_end, 2),  # MEM_END
    0x07: _Entry(Loader._nothing, has_block=True),  # MEM_DATA: only where it goes matters here
    0x08: _Entry(Loader._sync),  # SYNC
    0x09: _Entry(Loader._write_register, 4),  # WRITE_REG
    0x0A: _Entry(Loader._read_register, 1),  # READ_REG
    0x0B: _Entry(Loader._nothing, 6),  # SPI_SET_PARAMS
    0x0D: _Entry(Loader._nothing, 1),  # SPI_ATTACH
    0x0E: _Entry(Loader._read_slow, 2, rom_only=True),  # READ_FLASH_SLOW
    0x0F: _Entry(Loader._nothing, 2),  # CHANGE_BAUDRATE: a PTY has none
    0x10: _Entry(Loader._begin, 4),  # FLASH_DEFL_BEGIN
    0x11: _Entry(Loader._block, has_block=True),  # FLASH_DEFL_DATA
    0x12: _Entry(Loader._end, 1),  # FLASH_DEFL_END
    0x13: _Entry(Loader._md5, 4),  # SPI_FLASH_MD5
    _SECURITY_INFO: _Entry(Loader._security_info),
    0xD0: _Entry(Loader._erase_chip, stub_only=True),  # ERASE_FLASH
    0xD1: _Entry(Loader._erase_region, 2, stub_only=True),  # ERASE_REGION
    0xD2: _Entry(Loader._read_begin, 4, stub_only=True),  # READ_FLASH
}


def _xor(data: bytes) -> int:
    checksum = _CHECKSUM_SEED
    for octet in data:
        checksum ^= octet
    return checksum

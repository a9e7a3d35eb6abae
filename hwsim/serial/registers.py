"""Registers by which esptool tells one chip from another: eFuses, a word of the ROM, the flash's controller.

Sources: ESP32 Technical Reference Manual v5.2 (6 SPI, 20 eFuse) and ESP32-S3 Technical Reference Manual v1.7 (5 eFuse,
30 SPI); names of the fields of BLOCK1: ESP-IDF's esp_efuse_table.csv of each chip. All other registers read zero.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from hwsim.chips import Family

_RATED_40_MHZ = 800 << 7  # RTC_CALICFG1: cycles of the crystal in a period of the slow clock; with CK8M_FREQ of 128


class _Spi(NamedTuple):
    """Addresses of the flash controller's registers: SPI_CMD, SPI_USER2, SPI_W0."""

    command: int
    user2: int
    data: int


class Chip(NamedTuple):
    """A chip: its family, its base address (six octets), and the RAM in its package or module."""

    family: Family
    mac: bytes
    psram_mb: int = 0

    @property
    def spi(self) -> _Spi:
        return _SPI[self.family.name]

    @property
    def security_info(self) -> bytes | None:
        """The answer to GET_SECURITY_INFO: no flag, nothing encrypted, no key, the chip's id, its version. None for the
        ESP32, which does not know the command."""
        return struct.pack("<IB7sII", 0, 0, bytes(7), self.family.image_id, 0) if self.family.image_id else None

    def registers(self) -> dict[int, int]:
        return _REGISTERS[self.family.name](self)


_SPI = {
    "ESP32": _Spi(0x3FF42000, 0x3FF42024, 0x3FF42080),
    "ESP32-S3": _Spi(0x60002000, 0x60002020, 0x60002058),
}


def _esp32(chip: Chip) -> dict[int, int]:
    """Return the registers of an ESP32-D0WD-V3, revision 3.0. Its PSRAM is a separate chip, of which they say
    nothing."""
    efuse, mac = 0x3FF5A000, chip.mac
    return {
        0x40001000: 0x00F01D83,  # a word of the ROM by which esptool knows an ESP32
        0x3FF40014: 347,  # UART_CLKDIV_REG: 40 MHz / 115200
        0x3FF5F06C: _RATED_40_MHZ,
        0x3FF6607C: 1 << 31,  # APB_CTRL_DATE_REG, revision bit 2
        efuse + 0x04: int.from_bytes(mac[2:], "big"),
        efuse + 0x08: _crc8(mac) << 16 | int.from_bytes(mac[:2], "big"),
        efuse + 0x0C: 1 << 9 | 1 << 13 | 1 << 15,  # package D0WDQ5, rated 240 MHz, revision bit 0
        efuse + 0x10: 128,  # CK8M_FREQ
        efuse + 0x14: 1 << 20,  # revision bit 1
    }


_PSRAM_CAP = {0: 0, 8: 1, 2: 2, 16: 3, 4: 4}  # PSRAM_CAP by megabytes; its highest bit is elsewhere
_AP_3V3 = 1  # PSRAM_VENDOR


def _esp32s3(chip: Chip) -> dict[int, int]:
    """Return the registers of an ESP32-S3 in a QFN56, revision 0.2, its flash outside and its PSRAM inside of the
    package."""
    block1, cap = 0x60007044, _PSRAM_CAP[chip.psram_mb]
    return {
        block1: int.from_bytes(chip.mac[2:], "big"),
        block1 + 4: int.from_bytes(chip.mac[:2], "big"),
        block1 + 12: 2 << 18,  # WAFER_VERSION_MINOR_LO
        block1 + 16: (cap & 3) << 3 | (_AP_3V3 if cap else 0) << 7,
        block1 + 20: (cap >> 2) << 19,
    }


_REGISTERS: dict[str, Callable[[Chip], dict[int, int]]] = {"ESP32": _esp32, "ESP32-S3": _esp32s3}


def _crc8(data: bytes) -> int:
    """Compute the check of the address in eFuse: polynomial 0x31, least significant bit first (ESP-IDF,
    esp_rom_crc8)."""
    crc = 0
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc

"""The pages of an NVS partition: items in a log, pages turned over, and everything put right at mounting (see nvs.py).

They follow nvs_page.cpp and nvs_pagemanager.cpp of ESP-IDF, write by write, so that the supply can fail between any
two.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hwsim.world.nor import ERASE_US, PAGE_US, SECTOR, SupplyLost, programmed

SIZE = 0x6000  # MicroPython, ports/esp32/partitions-4MiB.csv
PAGES = SIZE // SECTOR
ENTRY = 32
ENTRIES = 126  # of a page; two more are its header and its table of states
CHUNK_MAX = (ENTRIES - 1) * ENTRY
NAME_MAX = 15  # characters of a key or namespace, NVS_KEY_NAME_MAX_SIZE - 1

U8, I32, BLOB_DATA, BLOB_INDEX = 0x01, 0x14, 0x42, 0x48  # ItemType
ANY_CHUNK = 0xFF
VERSIONS = (0x00, 0x80)  # first chunk numbers of a blob and of the one that replaces it
_EMPTY, _WRITTEN, _ERASED = 3, 2, 0  # states of an entry
_NEW, _ACTIVE, _FULL, _FREEING = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFC, 0xFFFFFFF8  # states of a page
_CORRUPT = 0xFFFFFFF0
_FORMAT = 0xFE
_FIRST_BITS = int.from_bytes(b"\x55" * ENTRY, "little")  # the lower one of each entry's two bits

NOT_ENOUGH_SPACE = (0x1105, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")  # nvs.h


class NvsError(Exception):
    def __init__(self, error: tuple[int, str]) -> None:
        super().__init__(error[1])
        self.error = error


class _PageFull(Exception):
    pass


@dataclass(frozen=True)
class Item:
    page: int
    index: int
    space: int
    kind: int
    span: int
    chunk: int
    key: str
    data: bytes


def crc(data: bytes | bytearray) -> int:
    return zlib.crc32(data, 0xFFFFFFFF)


class Pages:
    """The pages of a partition, which is the file at `path` or the part of a file that `place` names.
    `before(old, address, data)` is told of each operation (no data: an erase), and returns the cells as they are left
    when the supply fails there, else None."""

    def __init__(self, path: Path, before: Callable[[bytes, int, bytes | None], bytes | None]) -> None:
        self.path = path
        self.erases = [0] * PAGES
        self.programs = [0] * PAGES
        self._offset = 0
        self._pages = PAGES
        self._before = before
        self._image: bytearray | None = None
        self._order: list[int] = []  # pages in use, oldest first
        self._numbers: dict[int, int] = {}  # their sequence numbers
        self._free: list[int] = []
        self._states: dict[int, int] = {}
        self._us = 0
        self._mounted = False

    @property
    def image(self) -> bytes:
        """The octets of the partition, as a reader of the chip finds them."""
        return bytes(self._cells())

    @property
    def operations(self) -> int:
        return sum(self.erases) + sum(self.programs)

    def unmount(self) -> None:
        """Forget the partition after a reset, since a loader may write to the chip meanwhile."""
        self._mounted = False
        self._image = None

    def place(self, path: Path, offset: int, size: int) -> None:
        """Put the partition into a part of this file. Less than three pages make no partition (ESP-IDF: it needs
        12 KB)."""
        self.path, self._offset, self._pages = path, offset, size // SECTOR if size >= 3 * SECTOR else 0
        more = [0] * (self._pages - len(self.erases))
        self.erases += more
        self.programs += more
        self.unmount()

    # -- items

    def _items(self, pages: list[int] | None = None) -> Iterator[Item]:
        for page in self._order if pages is None else pages:
            index = 0
            while index < ENTRIES and self._states[page] != _NEW:
                item = self._item(page, index) if self._state(page, index) == _WRITTEN else None
                if item:
                    yield item
                index += max(item.span, 1) if item else 1

    def _item(self, page: int, index: int) -> Item | None:
        """Return the item that begins at this entry, or None when its checksum is wrong."""
        at = self._address(page, index)
        raw = self._cells()[at : at + ENTRY]
        space, kind, span, chunk, check = struct.unpack_from("<BBBBI", raw)
        if check != crc(raw[:4] + raw[8:]):
            return None
        data = bytes(raw[24:])
        if kind == BLOB_DATA:
            size, _, check = struct.unpack("<HHI", data)
            data = bytes(self._cells()[at + ENTRY : at + ENTRY + size])
            if crc(data) != check:
                data = b""
        return Item(page, index, space, kind, span, chunk, raw[8:24].rstrip(b"\0").decode(errors="replace"), data)

    def _find(self, space: int, kind: int, key: str, chunk: int = ANY_CHUNK) -> Item | None:
        name = key.encode().ljust(16, b"\0")
        for page in self._order:
            begin, end = self._address(page, 0), (page + 1) * SECTOR
            at = self._cells().find(name, begin, end)
            while at >= 0:
                index, rest = divmod(at - 8 - begin, ENTRY)
                if rest == 0 and self._state(page, index) == _WRITTEN:
                    item = self._item(page, index)
                    if item and (item.space, item.kind, item.chunk) == (space, kind, chunk):
                        return item
                at = self._cells().find(name, at + 1, end)
        return None

    def _erase_first(self, space: int, kind: int, key: str, chunk: int = ANY_CHUNK) -> None:
        item = self._find(space, kind, key, chunk)
        if item:
            self._erase_item(item)

    def _erase_item(self, item: Item) -> None:
        self._mark(item.page, item.index, item.index + item.span, _ERASED)

    def _write(self, space: int, kind: int, key: str, data: bytes) -> None:
        try:
            self._append(space, kind, key, data)
        except _PageFull:
            self._new_page()
            try:
                self._append(space, kind, key, data)
            except _PageFull:
                raise NvsError(NOT_ENOUGH_SPACE) from None

    def _append(self, space: int, kind: int, key: str, data: bytes, chunk: int = ANY_CHUNK) -> None:
        page = self._order[-1]
        if self._states[page] == _NEW:
            self._begin(page)
        span = 1 + (len(data) + ENTRY - 1) // ENTRY if kind == BLOB_DATA else 1
        index = self._next(page)
        if self._states[page] == _FULL or index + span > ENTRIES:
            raise _PageFull
        head = struct.pack("<BBBB", space, kind, span, chunk)
        tail = key.encode().ljust(16, b"\0")
        tail += struct.pack("<HHI", len(data), 0xFFFF, crc(data)) if kind == BLOB_DATA else data.ljust(8, b"\xff")
        self._put(page, index, head + struct.pack("<I", crc(head + tail)) + tail)
        if kind == BLOB_DATA:
            whole = len(data) // ENTRY
            if whole:
                self._program(self._address(page, index + 1), data[: whole * ENTRY])
                self._mark(page, index + 1, index + 1 + whole, _WRITTEN)
            if len(data) % ENTRY:
                self._put(page, index + 1 + whole, data[whole * ENTRY :].ljust(ENTRY, b"\xff"))

    def _put(self, page: int, index: int, entry: bytes) -> None:
        self._program(self._address(page, index), entry)
        self._mark(page, index, index + 1, _WRITTEN)

    # -- pages

    def _address(self, page: int, index: int) -> int:
        return page * SECTOR + (2 + index) * ENTRY

    def _state(self, page: int, index: int) -> int:
        return self._cells()[page * SECTOR + ENTRY + index // 4] >> index % 4 * 2 & 3

    def _mark(self, page: int, begin: int, end: int, state: int) -> None:
        """Set states of entries, word by word from the last, as alterEntryRangeState does."""
        for word in range((end - 1) // 16, begin // 16 - 1, -1):
            at = page * SECTOR + ENTRY + word * 4
            value = int.from_bytes(self._cells()[at : at + 4], "little")
            for index in range(max(begin, word * 16), min(end, word * 16 + 16)):
                value &= ~((3 ^ state) << index % 16 * 2)
            self._program(at, value.to_bytes(4, "little"))

    def _next(self, page: int) -> int:
        """Return the first entry that is empty: both bits of its state are ones."""
        at = page * SECTOR + ENTRY
        table = int.from_bytes(self._cells()[at : at + ENTRY], "little")
        empty = table & table >> 1 & _FIRST_BITS
        return min((empty & -empty).bit_length() // 2, ENTRIES) if empty else ENTRIES

    def _room(self) -> int:
        """Return the octets of blob data that the current page takes."""
        page = self._order[-1]
        if self._states[page] == _FULL:
            return 0
        return max(ENTRIES - self._next(page) - 1, 0) * ENTRY

    def _used(self, page: int) -> int:
        return sum(self._state(page, index) == _WRITTEN for index in range(ENTRIES))

    def _begin(self, page: int) -> None:
        body = struct.pack("<IB", self._numbers[page], _FORMAT) + b"\xff" * 19
        self._program(page * SECTOR, struct.pack("<I", _ACTIVE) + body + struct.pack("<I", crc(body)))
        self._states[page] = _ACTIVE

    def _turn(self, page: int, state: int) -> None:
        self._program(page * SECTOR, struct.pack("<I", state))
        self._states[page] = state

    def _activate(self) -> None:
        if not self._free:
            raise NvsError(NOT_ENOUGH_SPACE)
        page = self._free.pop(0)
        if self._states[page] == _CORRUPT:
            self._erase(page)
        self._numbers[page] = max(self._numbers.values(), default=-1) + 1
        self._order.append(page)

    def _new_page(self) -> None:
        """Begin another page. The last free page takes over the live items of the page with most room to gain."""
        if self._states[self._order[-1]] == _ACTIVE:
            self._turn(self._order[-1], _FULL)
        if len(self._free) >= 2:
            self._activate()
            return
        gain, oldest = max((ENTRIES - self._used(page), -place) for place, page in enumerate(self._order))
        if not gain:
            raise NvsError(NOT_ENOUGH_SPACE)
        victim = self._order[-oldest]
        self._turn(victim, _FREEING)
        self._activate()
        self._move(victim)

    def _move(self, victim: int) -> None:
        page = self._order[-1]
        if self._states[page] == _NEW and self._used(victim):
            self._begin(page)
        for item in list(self._items([victim])):
            for index in range(item.index, item.index + item.span):
                at = self._address(victim, index)
                self._put(page, self._next(page), bytes(self._cells()[at : at + ENTRY]))
        self._erase(victim)
        self._order.remove(victim)
        self._free.append(victim)
        del self._numbers[victim]

    # -- mounting: puts right whatever a lost supply left

    def _mount(self) -> None:
        self._order, self._free, self._numbers, self._states = [], [], {}, {}
        for page in range(self._pages):
            self._load(page)
        self._order.sort(key=lambda page: self._numbers[page])
        if not self._order:
            self._activate()
        last = list(self._items(self._order[-1:]))
        if last:  # the newest item was written, but the item that it replaces may not be erased yet
            newest = last[-1]
            for item in self._items(self._order[:-1]):
                same = (item.space, item.kind, item.key, item.chunk)
                stays = self._states[item.page] == _FREEING  # its move is begun anew below
                if same == (newest.space, newest.kind, newest.key, newest.chunk) and not stays:
                    self._erase_item(item)
                    break
        for page in self._order:
            if self._states[page] == _FREEING:
                self._finish_move(page)
                break
        if not self._free:  # MicroPython, ports/esp32/main.c: erased and begun anew
            for page in range(self._pages):
                self._erase(page)
            self._mount()
            return
        self._mounted = True

    def _load(self, page: int) -> None:
        head = bytes(self._cells()[page * SECTOR : page * SECTOR + ENTRY])
        state, number = struct.unpack_from("<II", head)
        if state == _NEW:
            blank = not self._cells()[page * SECTOR : (page + 1) * SECTOR].strip(b"\xff")
            self._states[page] = _NEW if blank else _CORRUPT
        elif state in (_ACTIVE, _FULL, _FREEING) and crc(head[4:28]) == int.from_bytes(head[28:], "little"):
            self._states[page] = state
        else:
            self._states[page] = _CORRUPT
        if self._states[page] in (_NEW, _CORRUPT):
            self._free.append(page)
            return
        self._order.append(page)
        self._numbers[page] = number
        self._repair(page)

    def _repair(self, page: int) -> None:
        """Erase entries that were being written when the supply failed, and in the active page replaced values."""
        if self._states[page] == _ACTIVE:
            index = self._next(page)
            while index < ENTRIES and self._cells()[self._address(page, index) :][:4] != b"\xff" * 4:
                self._mark(page, index, index + 1, _ERASED)
                index += 1
        seen: dict[tuple[int, int, str, int], Item] = {}
        index = 0
        while index < ENTRIES:
            item = self._item(page, index) if self._state(page, index) == _WRITTEN else None
            span = max(item.span, 1) if item else 1
            if self._state(page, index) == _WRITTEN and item is None:
                self._mark(page, index, index + 1, _ERASED)
            elif item and any(self._state(page, i) != _WRITTEN for i in range(index, min(index + span, ENTRIES))):
                self._erase_item(item)
            elif item and self._states[page] == _ACTIVE:
                before = seen.get((item.space, item.kind, item.key, item.chunk))
                if before:
                    self._erase_item(before)
                seen[item.space, item.kind, item.key, item.chunk] = item
            index += span

    def _finish_move(self, victim: int) -> None:
        newest = self._order[-1]
        if self._states[newest] == _ACTIVE:
            self._erase(newest)
            self._order.remove(newest)
            self._free.append(newest)
            del self._numbers[newest]
        self._activate()
        self._move(victim)

    # -- cells

    def _cells(self) -> bytearray:
        if self._image is None:
            self._image = bytearray(b"\xff" * self._pages * SECTOR)
            if self.path.exists():
                with self.path.open("rb") as file:
                    file.seek(self._offset)
                    file.readinto(self._image)
        return self._image

    def _program(self, address: int, data: bytes) -> None:
        old = bytes(self._cells()[address : address + len(data)])
        left = self._before(old, address, data)
        self._store(address, programmed(old, data) if left is None else left, left is not None)
        self.programs[address // SECTOR] += 1
        self._us += PAGE_US

    def _erase(self, page: int) -> None:
        old = bytes(self._cells()[page * SECTOR : (page + 1) * SECTOR])
        left = self._before(old, page * SECTOR, None)
        self._store(page * SECTOR, b"\xff" * SECTOR if left is None else left, left is not None)
        self._states[page] = _NEW
        self.erases[page] += 1
        self._us += ERASE_US

    def _store(self, address: int, cells: bytes, lost: bool) -> None:
        self._cells()[address : address + len(cells)] = cells
        if self.path.exists():
            with self.path.open("r+b") as file:
                file.seek(self._offset + address)
                file.write(cells)
        else:
            self.path.write_bytes(self._cells())
        if lost:
            self._mounted = False
            raise SupplyLost

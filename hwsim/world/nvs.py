"""ESP-IDF's non-volatile storage (NVS), as far as MicroPython's `esp32.NVS` reaches it.

Format and order of writes follow ESP-IDF ("Non-Volatile Storage Library", and components/nvs_flash/src): pages of 4096
octets with a header, a table of entry states and 126 entries of 32 octets; a log in which a new value is written before
the old one is marked erased; one page kept free to move items into. So:
- A value is on flash when `set` returns; `commit` writes nothing (nvs_handle_simple.cpp: there is no cache).
- One key changes whole or not at all, whatever the moment the supply fails; there is no transaction over keys.
- Values that were replaced or erased stay readable until their page is erased, which may take very long.
Not modelled: the values that the radio's own driver keeps here, encryption, wear-out.
"""

from __future__ import annotations

import struct
from typing import Any

from hwsim.world.nvs_pages import (
    BLOB_DATA,
    BLOB_INDEX,
    CHUNK_MAX,
    ENTRY,
    I32,
    NAME_MAX,
    NOT_ENOUGH_SPACE,
    U8,
    VERSIONS,
    Item,
    NvsError,
    Pages,
)

# esp_err_t, nvs.h
NOT_INITIALIZED = (0x1101, "ESP_ERR_NVS_NOT_INITIALIZED")
NOT_FOUND = (0x1102, "ESP_ERR_NVS_NOT_FOUND")
INVALID_HANDLE = (0x1107, "ESP_ERR_NVS_INVALID_HANDLE")
KEY_TOO_LONG = (0x1109, "ESP_ERR_NVS_KEY_TOO_LONG")
INVALID_LENGTH = (0x110C, "ESP_ERR_NVS_INVALID_LENGTH")
VALUE_TOO_LONG = (0x110E, "ESP_ERR_NVS_VALUE_TOO_LONG")


class Nvs(Pages):
    def call(self, function: str, args: list[Any]) -> tuple[tuple[int, str] | None, Any, int]:
        """Do one of the shim's calls and return (error, value, microseconds). Raises SupplyLost when the supply fails
        meanwhile."""
        self._us = 0
        if not self._pages:  # ports/esp32/main.c goes on when there is no such partition
            return NOT_INITIALIZED, None, 0
        if not self._mounted:
            self._mount()
            self._drop_torn_blobs()
        try:
            return None, getattr(self, f"_do_{function}")(*args), self._us
        except NvsError as error:
            return error.error, None, self._us

    def values(self) -> dict[tuple[str, str], int | bytes]:
        """Return the stored values of a mounted partition, by namespace and key. Nothing is written for that."""
        names = {item.data[0]: item.key for item in self._items() if item.space == 0}
        found: dict[tuple[str, str], int | bytes] = {}
        for item in self._items():
            if item.kind == I32:
                found[names[item.space], item.key] = struct.unpack("<i", item.data[:4])[0]
            elif item.kind == BLOB_INDEX:
                found[names[item.space], item.key] = self._blob(item)
        return found

    # -- the calls

    def _do_open(self, name: str) -> int:
        if len(name) > NAME_MAX:
            raise NvsError(KEY_TOO_LONG)
        spaces = {item.key: item.data[0] for item in self._items() if item.space == 0}
        if name not in spaces:
            spaces[name] = next((n for n in range(1, 255) if n not in spaces.values()), 0)
            if not spaces[name]:
                raise NvsError(NOT_ENOUGH_SPACE)
            self._write(0, U8, name, bytes((spaces[name],)))
        return spaces[name]

    def _do_get_i32(self, space: int, key: str) -> int:
        value: int = struct.unpack("<i", self._need(space, I32, key).data[:4])[0]
        return value

    def _do_set_i32(self, space: int, key: str, value: int) -> None:
        self._check(key)
        data = struct.pack("<i", value)
        old = self._find(space, I32, key)
        if old and old.data[:4] == data:
            return  # nvs_storage.cpp: the same value isn't written again
        self._write(space, I32, key, data)
        if old:
            self._erase_first(space, I32, key)

    def _do_get_blob(self, space: int, key: str, room: int) -> str:
        index = self._need(space, BLOB_INDEX, key)
        if struct.unpack("<I", index.data[:4])[0] > room:
            raise NvsError(INVALID_LENGTH)
        return self._blob(index).hex()

    def _do_set_blob(self, space: int, key: str, value: str) -> None:
        self._check(key)
        data = bytes.fromhex(value)
        if len(data) > (self._pages - 1) * CHUNK_MAX:
            raise NvsError(VALUE_TOO_LONG)
        old = self._find(space, BLOB_INDEX, key)
        if old and self._blob(old) == data:
            return
        version = VERSIONS[1] if old and old.data[5] == VERSIONS[0] else VERSIONS[0]
        self._write_chunks(space, key, data, version)
        if old:
            self._erase_blob(space, key, old.data[5])

    def _do_erase_key(self, space: int, key: str) -> None:
        self._check(key)
        if self._find(space, I32, key):
            self._erase_first(space, I32, key)
        else:
            self._erase_blob(space, key, self._need(space, BLOB_INDEX, key).data[5])

    def _do_commit(self, space: int) -> None:
        if not 1 <= space <= 254:
            raise NvsError(INVALID_HANDLE)

    def _check(self, key: str) -> None:
        if len(key) > NAME_MAX:
            raise NvsError(KEY_TOO_LONG)

    def _need(self, space: int, kind: int, key: str) -> Item:
        self._check(key)
        item = self._find(space, kind, key)
        if item is None:
            raise NvsError(NOT_FOUND)
        return item

    # -- blobs: chunks, and last an index that makes them a value

    def _write_chunks(self, space: int, key: str, data: bytes, version: int) -> None:
        count = done = 0
        if self._room() < min(len(data), CHUNK_MAX // 10):
            self._new_page()
        try:
            while True:
                room = self._room()
                part = data[done : done + room]
                if not room:
                    raise NvsError(NOT_ENOUGH_SPACE)
                self._append(space, BLOB_DATA, key, part, version + count)
                count, done = count + 1, done + len(part)
                if done < len(data) or self._room() - ENTRY < 0:
                    self._new_page()
                if done == len(data):
                    break
        except NvsError:
            for chunk in range(version, version + count):
                self._erase_first(space, BLOB_DATA, key, chunk)
            raise
        self._write(space, BLOB_INDEX, key, struct.pack("<IBBH", len(data), count, version, 0xFFFF))

    def _erase_blob(self, space: int, key: str, version: int) -> None:
        for item in self._items():
            if (item.space, item.kind, item.key) == (space, BLOB_INDEX, key) and item.data[5] == version:
                self._erase_item(item)
                for chunk in range(version, version + item.data[4]):
                    self._erase_first(space, BLOB_DATA, key, chunk)
                return

    def _blob(self, index: Item) -> bytes:
        chunks = range(index.data[5], index.data[5] + index.data[4])
        found = [self._find(index.space, BLOB_DATA, index.key, chunk) for chunk in chunks]
        return b"".join(item.data for item in found if item)

    def _drop_torn_blobs(self) -> None:
        """Erase indexes without all of their chunks, and chunks without an index."""
        whole: set[tuple[int, str, int]] = set()
        for item in list(self._items()):
            if item.kind == BLOB_INDEX:
                if len(self._blob(item)) == struct.unpack("<I", item.data[:4])[0]:
                    whole.update((item.space, item.key, item.data[5] + n) for n in range(item.data[4]))
                else:
                    self._erase_item(item)
        for item in list(self._items()):
            if item.kind == BLOB_DATA and (item.space, item.key, item.chunk) not in whole:
                self._erase_item(item)

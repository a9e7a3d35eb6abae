"""`esp32`: non-volatile storage, wake sources and the IDF heap. The world keeps each bracelet's NVS, like its flash,
and models its pages, limits and errors (world/nvs.py).
Partitions are those of the world's chip.
Not modelled: ULP, RMT, over-the-air updates, the temperature sensor.
"""

from binascii import hexlify, unhexlify

import _flash
import _hw

WAKEUP_ALL_LOW = 0
WAKEUP_ANY_HIGH = 1
HEAP_DATA = 4
HEAP_EXEC = 1


def _nvs(function, *args):
    error, value, us, ask = _hw.call("nvs", function, *args)
    _hw.charge(us)
    _flash.chip.ask = ask
    if error:
        raise OSError(-error[0], error[1])
    return value


class NVS:
    def __init__(self, namespace):
        self._space = _nvs("open", namespace)

    def get_i32(self, key):
        return _nvs("get_i32", self._space, key)

    def set_i32(self, key, value):
        if not -(1 << 31) <= value < 1 << 31:
            raise OverflowError
        _nvs("set_i32", self._space, key, value)

    def get_blob(self, key, buf):
        data = unhexlify(_nvs("get_blob", self._space, key, len(buf)))
        buf[: len(data)] = data
        return len(data)

    def set_blob(self, key, value):
        _nvs("set_blob", self._space, key, hexlify(bytes(value)).decode())

    def erase_key(self, key):
        _nvs("erase_key", self._space, key)

    def commit(self):
        _nvs("commit", self._space)


class Partition:
    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, info, flash):
        self._info = info
        self.readblocks = flash.readblocks
        self.writeblocks = flash.writeblocks
        self.ioctl = flash.ioctl

    @staticmethod
    def find(type=TYPE_APP, subtype=0xFF, label=None, block_size=4096):
        found = []
        for info, flash in _flash.partitions:
            if info[0] == type and subtype in (0xFF, info[1]) and label in (None, info[4]):
                found.append(Partition(info, flash))
        return found

    def info(self):
        return self._info


def idf_heap_info(capabilities):
    # For each piece: octets, free ones, the longest stretch of these, the fewest that were ever free.
    return [tuple(piece) for piece in _hw.call("memory", "info")]


def _rtc_pin(pin):
    if not _hw.cfg["wake_pins"] >> pin._id & 1:  # only pins that reach the RTC wake the chip
        raise ValueError("invalid pin")
    return pin._id


def wake_on_ext0(pin=None, level=0):
    _hw.post("wake", "ext0", None if pin is None else _rtc_pin(pin), int(level))


def wake_on_ext1(pins=None, level=0):
    _hw.post("wake", "ext1", None if pins is None else [_rtc_pin(pin) for pin in pins], int(level))


def gpio_deep_sleep_hold(enable):
    _hw.post("hold", bool(enable))

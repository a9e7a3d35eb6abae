"""`esp32`: non-volatile storage, wake sources and the IDF heap. NVS is kept by the world, per bracelet, like flash.
Not modelled: NVS wear and capacity, ULP, RMT, partitions, the temperature sensor.
"""

from binascii import hexlify, unhexlify

import _hw

WAKEUP_ALL_LOW = 0
WAKEUP_ANY_HIGH = 1
HEAP_DATA = 4
HEAP_EXEC = 1

_NOT_FOUND = -4354  # ESP_ERR_NVS_NOT_FOUND


class NVS:
    def __init__(self, namespace):
        if len(namespace) > 15:
            raise OSError(-4361)
        self._space = namespace
        self._stored = _hw.call("nvs", "open", namespace)
        self._changes = {}

    def _set(self, key, value):
        if len(key) > 15:
            raise OSError(-4361)  # ESP_ERR_NVS_KEY_TOO_LONG
        self._changes[key] = value

    def _get(self, key, kind):
        value = self._changes.get(key, self._stored.get(key))
        if value is None or not isinstance(value, kind):
            raise OSError(_NOT_FOUND)
        return value

    def get_i32(self, key):
        return self._get(key, int)

    def set_i32(self, key, value):
        if not -(1 << 31) <= value < 1 << 31:
            raise OverflowError
        self._set(key, value)

    def get_blob(self, key, buf):
        data = unhexlify(self._get(key, str))
        if len(data) > len(buf):
            raise OSError(-4364)  # ESP_ERR_NVS_INVALID_LENGTH
        buf[: len(data)] = data
        return len(data)

    def set_blob(self, key, value):
        self._set(key, hexlify(bytes(value)).decode())

    def erase_key(self, key):
        if self._changes.get(key, self._stored.get(key)) is None:
            raise OSError(_NOT_FOUND)
        self._changes[key] = None

    def commit(self):
        self._stored.update(self._changes)
        _hw.call("nvs", "commit", self._space, self._changes)
        self._changes = {}


def idf_heap_info(capabilities):
    return [(166000, 110000, 65536, 90000)]


def wake_on_ext0(pin=None, level=0):
    _hw.post("wake", "ext0", None if pin is None else pin._id, int(level))


def gpio_deep_sleep_hold(enable):
    pass

"""What differs from bracelet to bracelet: /board.json (wiring, written when it is flashed) and /settings.json (where
the relay is and how to reach it, written by provisioning). Every value is checked, and what is missing or absurd gets
its default: a mistake in a file must not keep a bracelet from arming.
"""

import json
import os

BOARD = "/board.json"
SETTINGS = "/settings.json"
CA = "/ca.der"
_SIZE_MAX = 8192


def load(path):
    """The JSON object in a file, or {}."""
    try:
        value = json.loads(read(path) or b"")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def read(path, size_max=_SIZE_MAX):
    """A file's octets, or None."""
    try:
        size = os.stat(path)[6]  # read(size_max) would want so much heap in one piece, which a used heap may not have
        with open(path, "rb") as file:
            return file.read(min(size, size_max))
    except OSError:
        return None


def _number(value, low, high, default):
    return value if isinstance(value, int) and low <= value <= high else default


def _text(value):
    return value if isinstance(value, str) and 0 < len(value) <= 255 else None


class Settings:
    def __init__(self, values):
        mqtt = values.get("mqtt")
        mqtt = mqtt if isinstance(mqtt, dict) else {}
        self.host = _text(mqtt.get("host"))
        self.port = _number(mqtt.get("port"), 1, 65535, 8883)
        self.user = _text(mqtt.get("user"))
        self.password = _text(mqtt.get("password"))
        self.sms = _text(values.get("sms"))
        self.wifi = []
        wifi = values.get("wifi")
        for network in wifi if isinstance(wifi, list) else []:
            if isinstance(network, list) and len(network) == 2 and _text(network[0]):
                self.wifi.append((network[0], _text(network[1])))
        self.hold_ms = _number(values.get("hold_ms"), 1000, 10000, 3000)
        self.heartbeat_s = _number(values.get("heartbeat_s"), 60, 86400, 900)

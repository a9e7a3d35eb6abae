"""Read the settings that differ from bracelet to bracelet: where the relay is and how to reach it (/settings.json;
provisioning writes it twice). Every value is checked, and a missing or absurd one gets its default: a mistake in a file
must not keep a bracelet from arming. The wiring is in board.py.
"""

import json
import os

from tocsin import log

SETTINGS = "/settings.json"
CA = "/ca.der"
OFFER = "/offer.json"  # of the relay to a blank bracelet, and what it answers: provision.py
ANSWER = "/answer.json"
COPY = ".2"  # behind the path of a file that is written twice
VERSION = 1  # of /settings.json; without one it is from before there were versions, and means the same
_SIZE_MAX = 8192


def offered():
    """Tell whether an offer waits to be taken."""
    return read(OFFER, 1) is not None


def forget_offer():
    """Remove it: it holds a password and the Wi-Fi keys that settings.json now has."""
    try:
        os.remove(OFFER)
    except OSError:
        pass


def load(path):
    """Read the JSON object in a file, or {}."""
    return parse(read(path) or b"")


def load_settings():
    """Read the settings from the file, or from its copy where the file names no way to the relay."""
    for path in (SETTINGS, SETTINGS + COPY):
        found = Settings(load(path))
        if found.host or found.sms:
            break
        log.event("refused", what="settings", reason="copy" if path.endswith(COPY) else "file")
    return found


def parse(octets):
    """Return the JSON object in these octets, or {}."""
    try:
        value = json.loads(octets)
    except (ValueError, MemoryError, RuntimeError):  # not JSON, or nested deeper than there is room
        return {}
    return value if isinstance(value, dict) else {}


def read(path, size_max=_SIZE_MAX):
    """Read a file's octets, or None."""
    try:
        size = os.stat(path)[6]  # read(size_max) would want so much heap in one piece, which a used heap may not have
        with open(path, "rb") as file:
            return file.read(min(size, size_max))
    except OSError:
        return None


def _number(value, low, high, default):
    good = isinstance(value, int) and not isinstance(value, bool)  # true is an int to Python
    return value if good and low <= value <= high else default


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
        apn = values.get("apn")
        apn = apn if isinstance(apn, dict) else {}
        name = _text(apn.get("name"))
        self.apn = None  # (name, user, password, may it be used abroad)
        if name and not [c for c in name if not (c.isalpha() or c.isdigit() or c in ".-")]:  # it goes into a command
            self.apn = name, _text(apn.get("user")), _text(apn.get("password")), apn.get("roaming") is True
        self.hold_ms = _number(values.get("hold_ms"), 1000, 10000, 3000)
        self.heartbeat_s = _number(values.get("heartbeat_s"), 60, 86400, 900)

"""`os` as on an ESP32: the interpreter's own, except that randomness follows the world's seed in virtual time, so that
the same seed gives the same trace. In real time randomness is the machine's own: keys made there are real keys.
"""

import _hw
import uhashlib
import uos as _host
from uos import *  # noqa: F403

_count = 0
_OURS = (".sim",)  # where the simulator's own folder is mounted


def urandom(n):
    global _count
    if _hw.realtime:
        return _host.urandom(n)
    out = b""
    while len(out) < n:
        _count += 1
        out += uhashlib.sha256("%s/%d" % (_hw.cfg["seed"], _count)).digest()
    return out[:n]


def ilistdir(*path):
    return (entry for entry in _host.ilistdir(*path) if entry[0] not in _OURS)


def listdir(*path):
    return [entry[0] for entry in ilistdir(*path)]


def uname():
    return ("esp32", "esp32", "1.25.0", "simulated by hwsim", "Generic ESP32 module with ESP32")


def sync():
    pass

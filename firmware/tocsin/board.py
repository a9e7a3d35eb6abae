"""Read the wiring from /board.json, and damaged sections of it from a second copy in NVS.

Without knowing its pins a bracelet can do nothing, and no pin can be guessed: on another board it may be an output that
fights another, or drive the flash chip. So the wiring that a bracelet has lived with is kept a second time, in another
partition, out of reach of a damaged file system. It holds nothing private. Without both the bracelet goes to the bench.
"""

import json

from tocsin import log, settings

FILE = "/board.json"
PIN_MAX = 48  # of an ESP32-S3; an ESP32 has 39
_KEPT = "board"  # in NVS
_KEPT_MAX = 1900  # octets: within what NVS keeps in one piece
_NEEDS = {  # what a section must have; those in _PINS are pins
    "button": ("pin",),
    "strap": ("pin",),
    "led": ("pin",),
    "haptic": ("pin",),
    "battery": ("pin", "table"),
    "gnss": (),
    "modem": ("uart", "tx", "rx"),
}
_NUMBERS = ("uart", "baud", "frequency_hz", "divider_num", "divider_den", "power_key_ms", "power_off_ms", "reset_ms")
_PINS = ("pin", "tx", "rx", "rts", "cts", "power", "power_key", "reset", "status")
_PIN_LISTS = ("held_high", "held_low", "hold")
_COMMANDS = ("init", "time", "on", "off")  # lists of text


def usable(name, section):
    """Tell whether a section has what its driver can't do without, and all its values are of the right kind."""
    if not isinstance(section, dict):
        return False
    needs = _NEEDS[name]
    if name == "gnss" and "on" not in section:  # the receiver is not in the modem
        needs = _NEEDS["modem"]
    for key in needs:
        if key not in section:
            return False
    for key in section:
        value = section[key]
        if key == "table":
            if not _is_table(value):
                return False
        elif key in _PIN_LISTS:
            if not isinstance(value, list) or not all(_is_pin(item) for item in value):
                return False
        elif key in _COMMANDS:
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                return False
        elif key == "registration":
            if not isinstance(value, str):
                return False
        elif key in _PINS:
            if not _is_pin(value):
                return False
        elif key in _NUMBERS:
            if not _is_int(value) or value < 0:
                return False
        elif not isinstance(value, bool):
            return False
    return True


def _is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_pin(value):
    return _is_int(value) and 0 <= value <= PIN_MAX


def _is_table(value):
    """Tell whether these are rising pairs [millivolt, percent]."""
    if not isinstance(value, list) or len(value) < 2:
        return False
    before = (-1, -1)
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            return False
        for n in (0, 1):
            if not _is_int(pair[n]) or pair[n] <= before[n]:
                return False
        before = pair
    return before[1] <= 100


def choose(written, kept):
    """Return {section: its keys}, each from the file if it is usable there, else from the copy; and these names."""
    found, missed = {}, []
    for name in _NEEDS:
        if usable(name, written.get(name)):
            found[name] = written[name]
        elif usable(name, kept.get(name)):
            found[name] = kept[name]
            missed.append(name)
    return found, missed


def load():
    """Return {section: its keys} of all that is known."""
    found, missed = choose(settings.load(FILE), _kept())
    for name in missed:
        log.event("refused", what="board", reason=name)
    return found


def keep(found, lived):
    """Store a second copy: when there is none yet, and when the bracelet has `lived` with a wiring that differs."""
    try:
        kept = _kept()
        if found == kept or (kept and not lived):
            return
        octets = json.dumps(found).encode()
        if len(octets) <= _KEPT_MAX:
            nvs = _nvs()
            nvs.set_blob(_KEPT, octets)
            nvs.commit()
    except (OSError, MemoryError):  # NVS is full or damaged, or the heap in pieces; the file is there
        pass


def _nvs():
    import esp32  # not at the top: the decisions here run in CPython too

    return esp32.NVS("tocsin")


def _kept():
    buffer = bytearray(_KEPT_MAX)
    try:
        size = _nvs().get_blob(_KEPT, buffer)
    except OSError:
        return {}
    return settings.parse(bytes(buffer[:size]))

"""Build the parts that a bracelet can do without to raise an alarm: each is imported and built by itself, so that one
whose module, wiring or hardware is damaged keeps no other from working.

This is not for the button and the journal: without those there is nothing to be armed.
"""

from tocsin import log


class Absent:
    """A stand-in for a part that is missing: it has nothing to say, and does nothing that it is asked to do."""

    up = registered = sms_up = ending = on = False
    resting = True
    count = stat = operator = start_ms = 0
    felt = None  # the last pattern that it was to play
    percent = 101  # battery.UNKNOWN
    stretch = 1
    signal = 255
    cell = commands = found = None

    def __getattr__(self, name):
        return _nothing

    async def close(self):
        pass

    def play(self, name):
        if not name.startswith("tick"):
            self.felt = name


class Parts:
    """The parts that there are; until a part is begun, and while it is left out, it is Absent."""

    def __init__(self):
        self.battery = self.gnss = self.modem = self.wifi = self.ppp = self.mqtt = None
        for name in ("battery", "gnss", "modem", "wifi", "ppp", "mqtt"):
            setattr(self, name, Absent())


def _nothing(*arguments, **named):
    return None


def _led():
    from tocsin.drivers.led import Led

    return Led


def _haptic():
    from tocsin.drivers.haptic import Haptic

    return Haptic


def _battery():
    from tocsin.drivers.battery import Battery

    return Battery


def _gnss():
    from tocsin.drivers.gnss import Gnss

    return Gnss


def _modem():
    from tocsin.drivers.modem import Modem

    return Modem


def _wifi():
    from tocsin.links.wifi import Wifi

    return Wifi


def _ppp():
    from tocsin.links.ppp import Ppp

    return Ppp


def _strap():
    from tocsin.drivers.strap import Contact

    return Contact


def _mqtt():
    from tocsin.links.mqtt import Mqtt

    return Mqtt


_CLASSES = {
    "led": _led,
    "haptic": _haptic,
    "battery": _battery,
    "gnss": _gnss,
    "modem": _modem,
    "wifi": _wifi,
    "mqtt": _mqtt,
    "strap": _strap,
    "ppp": _ppp,
}


def build(name, *arguments):
    """Return the part, or an Absent when it can't be built, whatever the reason."""
    try:
        return _CLASSES[name]()(*arguments)
    except Exception as error:
        log.event("missing", part=name, reason=log.reason(error))
        return Absent()


def present(part):
    return not isinstance(part, Absent)

"""`network`: a Wi-Fi station, and PPP (`_ppp.py`). The access point, its key and its reach belong to the world.
status() answers as in ports/esp32/network_wlan.c: the reason of the last disconnect stands until there is an address,
also after a connect() and an active().
Not modelled: access point mode, IPv6, power saving.
"""

import gc

import _hw

STA_IF = 0
AP_IF = 1

STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
STAT_BEACON_TIMEOUT = 200
STAT_ASSOC_FAIL = 203
STAT_HANDSHAKE_TIMEOUT = 204

_ASSOC_LEAVE = 8

_hostname = "mpy-esp32"


def hostname(name=None):
    global _hostname
    if name is None:
        return _hostname
    _hostname = name


def country(code=None):
    return "XX"


def __getattr__(name):
    if name != "PPP":
        raise AttributeError(name)
    from _ppp import PPP  # only firmware that wants it pays for it with heap

    return PPP


def _need(what, allocated=0):
    # Take memory of the chip, or raise as the port does when there is none (network_common.c, ESP_ERR_NO_MEM).
    if _hw.call("memory", what, what, allocated):
        raise OSError("WiFi Out of Memory")


class WLAN:
    IF_STA = STA_IF
    IF_AP = AP_IF
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    _station = None

    def __new__(cls, interface=STA_IF):
        _hw.driver("WLAN")
        if interface != STA_IF:
            raise OSError("only the station interface is simulated")
        if cls._station is None:
            _need("wifi", gc.mem_alloc())  # esp_wifi_init
            cls._station = super().__new__(cls)
            cls._station._active = False
            cls._station._connected = cls._station._requested = False
            cls._station._reason = 0
            cls._station._ssid = ""
            cls._station._addresses = ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")
            _hw.on("wifi", cls._station._event)
        return cls._station

    def __init__(self, interface=STA_IF):
        pass

    def _event(self, event):
        self._connected = event[1] == STAT_GOT_IP
        self._reason = 0 if self._connected else event[1]
        # The driver may also come back by itself.
        _hw.post("memory", "join" if self._connected else "give", "join")
        self._addresses = tuple(event[2])

    def active(self, on=None):
        _hw.tick()
        if on is None:
            return self._active
        if bool(on) != self._active:
            if on:
                _hw.driver("WLAN.active")
                _need("station")
            else:
                _hw.post("memory", "give", "station")
                _hw.post("memory", "give", "join")
            self._active = bool(on)
            _hw.post("wifi", "active", self._active)
        return self._active

    def connect(self, ssid=None, key=None, *, bssid=None):
        if not self._active:
            raise OSError("STA must be active")
        _hw.driver("WLAN.connect")
        _need("join")
        self._ssid = ssid or self._ssid
        if not _hw.call("wifi", "connect", self._ssid, key):
            raise OSError("Wifi Internal Error")
        self._requested = True

    def disconnect(self):
        if not self._active:
            raise OSError("Wifi Not Started")
        self._requested = False
        _hw.post("memory", "give", "join")
        _hw.post("wifi", "disconnect")

    def isconnected(self):
        _hw.tick()
        return self._connected

    def status(self, what=None):
        if what == "rssi":
            return _hw.call("wifi", "rssi")
        _hw.tick()
        if self._connected:
            return STAT_GOT_IP
        if self._reason in (STAT_NO_AP_FOUND, STAT_WRONG_PASSWORD):
            return self._reason
        if self._reason == _ASSOC_LEAVE:
            return STAT_IDLE
        return STAT_CONNECTING if self._requested else self._reason or STAT_IDLE

    def scan(self):
        return [
            (ssid.encode(), b"\x02\x00\x00\x00\x00\x01", 6, rssi, 3, False) for ssid, rssi in _hw.call("wifi", "scan")
        ]

    def ifconfig(self, addresses=None):
        _hw.tick()
        return self._addresses

    def config(self, *args, **settings):
        if not args:
            return None  # reconnects, pm, txpower: accepted, without effect here
        if args[0] == "mac":
            from machine import unique_id

            return unique_id()
        if args[0] in ("ssid", "essid"):
            return self._ssid
        if args[0] in ("hostname", "dhcp_hostname"):
            return _hostname
        raise ValueError("unknown config param")

"""`network.PPP` on a UART, as MicroPython has it on the ESP32 since 1.26 (ports/esp32/network_ppp.c).

A session that ends otherwise than by active(False) in its midst keeps its state for some seconds, in which connect()
raises EALREADY: 6 s after the peer's Terminate-Request, 12 s when it is closed and the peer doesn't answer (lwIP,
netif/ppp/fsm.c: fsm_rtermreq and terminate_layer; ppp_opts.h: FSM_DEFTIMEOUT 6, FSM_DEFMAXTERMREQS 2; seen on a chip
in espressif/esp-idf#1666). Only a carrier lost in the running phase ends it at once (ppp.c: ppp_close).

Not modelled: PPP's own frames (some plain ones pass in their place, see world/modem_data.py); lwIP's one name server
for both interfaces, the one told last.
"""

from binascii import hexlify

import _hw
import uerrno
from micropython import const

_INACTIVE = const(0)
_ACTIVE = const(1)
_ERROR = const(2)
_CONNECTING = const(3)
_CONNECTED = const(4)
_PEER_GONE = const(6)  # PPPERR_CONNECT of lwIP's ppp.h
_AUTH_FAILED = const(7)  # PPPERR_AUTHFAIL
_TERMINATED_US = const(6000000)  # from the peer's Terminate-Request to the end
_UNANSWERED_US = const(12000000)  # from our own, without an answer


class PPP:
    SEC_NONE = 0
    SEC_PAP = 1
    SEC_CHAP = 2

    def __init__(self, stream):
        _hw.driver("PPP")
        self._check(stream)
        self._stream = stream
        self._state = _INACTIVE
        self._error = 0
        self._addresses = None
        self._in = b""
        self._ends = None  # (time, the state that follows) while the session is being terminated

    @staticmethod
    def _check(stream):
        if stream is not None and not (hasattr(stream, "read") and hasattr(stream, "write")):
            raise OSError("stream operation not supported")

    def _listen(self, on):
        if self._stream is not None:
            if on:
                self._stream.irq(self.poll, self._stream.IRQ_RXIDLE)
            else:
                self._stream.irq(None)

    def active(self, on=None):
        self._tick()
        if on is None:
            return self._state >= _ACTIVE
        if on and self._state < _ACTIVE:
            self._state = _ACTIVE
            self._listen(True)
        elif not on and self._state >= _ACTIVE:
            self._listen(False)
            self._close(self._state != _CONNECTING)
        return self._state >= _ACTIVE

    def _close(self, at_once):
        if self._ends:
            self._ends = (self._ends[0], _INACTIVE)  # the end is under way already
        elif at_once:
            self._end(_INACTIVE)
        else:
            self._ends = (_hw.clock() + _UNANSWERED_US, _INACTIVE)

    def _tick(self):
        _hw.tick()
        if self._ends and _hw.clock() >= self._ends[0]:
            self._end(self._ends[1])

    def _end(self, state):
        self._state = state
        self._addresses = None
        self._in = b""
        self._ends = None
        _hw.post("ppp", "down")
        if state == _INACTIVE:
            _hw.post("memory", "give", "ppp")

    def connect(self, *, security=SEC_NONE, user=None, key=None):
        _hw.driver("PPP.connect")
        if self._state < _ACTIVE and _hw.call("memory", "ppp", "ppp", 0):
            raise OSError("pppos_create failed")
        self.active(True)
        if self._state in (_CONNECTING, _CONNECTED):
            raise OSError(uerrno.EALREADY)
        if security not in (PPP.SEC_NONE, PPP.SEC_PAP, PPP.SEC_CHAP):
            raise ValueError("invalid auth")
        self._login = b""
        if security != PPP.SEC_NONE:
            if not (isinstance(user, str) and isinstance(key, str)):
                raise TypeError("can't convert to str implicitly")
            self._login = b" " + hexlify(user.encode()) + b" " + hexlify(key.encode())
        _hw.post("ppp", "connect")
        self._state = _CONNECTING
        self.poll()

    def disconnect(self):
        self._tick()
        if self._state in (_CONNECTING, _CONNECTED):
            if self._stream is not None and not self._ends:
                self._stream.write(b"~bye~")
            self._close(False)

    def poll(self, source=None):
        if self._state <= _ERROR:
            return -uerrno.EPERM
        total = 0
        while self._state > _ERROR and self._stream is not None:
            data = self._stream.read(256)
            if not data:
                break
            total += len(data)
            self._take(data)
        return total

    def _take(self, data):
        frames = (self._in + data).split(b"~")
        self._in = frames.pop()[-256:]
        for frame in frames:
            if frame == b"req" and self._stream is not None:
                self._stream.write(b"~conf" + self._login + b"~")
            elif frame.startswith(b"ack ") and self._state == _CONNECTING:
                self._addresses = frame.decode().split(" ")[1:]
                self._state = _CONNECTED
                _hw.post("ppp", "up")
            elif frame == b"nak":
                self._end(_ERROR)
                self._error = _AUTH_FAILED
            elif frame == b"gone" and self._ends:
                self._listen(False)
                self._end(self._ends[1])
            elif frame == b"term" and not self._ends:
                self._error = _PEER_GONE
                self._ends = (_hw.clock() + _TERMINATED_US, _ERROR)
                self._addresses = None
                _hw.post("ppp", "down")

    def isconnected(self):
        self._tick()
        return self._state == _CONNECTED

    def status(self):
        self._tick()
        return -self._error if self._state == _ERROR else self._state

    def config(self, *args, **settings):
        if args and settings:
            raise TypeError("either pos or kw args are allowed")
        if settings:
            if "stream" in settings:
                self._check(settings["stream"])
                if self._state >= _ACTIVE:
                    self._listen(False)
                self._stream = settings["stream"]
                if self._state >= _ACTIVE:
                    self._listen(True)
            return None
        if len(args) != 1:
            raise TypeError("can query only one param")
        if args[0] == "stream":
            return self._stream
        if args[0] == "ifname":
            return "pp1" if self._state >= _ACTIVE else None
        raise ValueError("unknown config param")

    def ifconfig(self, addresses=None):
        self._tick()
        if self._state < _ACTIVE:
            return (None,) * 4
        address, peer, name_server = self._addresses or ("0.0.0.0",) * 3
        return address, peer, "255.255.255.255" if self._addresses else "0.0.0.0", name_server

    def ipconfig(self, param=None, **settings):
        if settings:
            raise TypeError("setting properties not supported")
        if self._state < _ACTIVE:
            raise ValueError("PPP not active")
        address, peer, mask, _ = self.ifconfig()
        if param == "addr4":
            return address, mask
        if param == "gw4":
            return peer
        raise ValueError("unexpected key")

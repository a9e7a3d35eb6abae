"""`machine` as on an ESP32: pins, serial ports, converters, watchdog, RTC and resets, wired to the world's models.

Not modelled: I2C, SPI, Timer, touch, DAC, RMT; drive strengths; a UART's break and interrupts.
"""

import io
from binascii import hexlify, unhexlify
from time import gmtime, mktime

import _hw
from _analog import ADC, PWM  # noqa: F401

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

PIN_WAKE = EXT0_WAKE = 2
EXT1_WAKE = 3
TIMER_WAKE = 4


def reset_cause():
    return _hw.cfg["reset_cause"]


def wake_reason():
    return _hw.cfg["wake_reason"]


def reset():
    _hw.leave("reset", HARD_RESET)


def soft_reset():
    _hw.leave("reset", SOFT_RESET)


def deepsleep(time_ms=None):
    # ESP-IDF waits for every UART's FIFO to be empty, without an end (sleep_uart.c; espressif/esp-idf#3620).
    for uart in UART._opened.values():
        uart._wait_sent()
    _hw.leave("deepsleep", time_ms)


def lightsleep(time_ms=None):
    # Pins keep no record of changes during the sleep: afterwards they have their levels, and no interrupt comes.
    _hw.asleep = True
    _hw.cfg["wake_reason"] = _hw.call("processor", "lightsleep", time_ms)
    _hw.asleep = False
    for pin in Pin._made.values():
        if pin._mode == Pin.IN:
            pin._level = _hw.call(pin._device, "input", -1, None)


sleep = lightsleep


def idle():
    _hw.tick()


def freq(hz=None):
    return 160000000


def unique_id():
    return unhexlify(_hw.cfg["unique_id"])


def disable_irq():
    return 0


def enable_irq(state):
    pass


class Pin:
    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2
    IRQ_RISING = 1
    IRQ_FALLING = 2
    WAKE_LOW = 4
    WAKE_HIGH = 5
    DRIVE_0 = 0
    DRIVE_1 = 1
    DRIVE_2 = 2
    DRIVE_3 = 3

    _made = {}

    def __new__(cls, id, *args, **kw):
        if isinstance(id, Pin):
            id = id._id
        if not isinstance(id, int) or id < 0 or not _hw.cfg["pins"] >> id & 1:
            raise ValueError("invalid pin")
        pin = cls._made.get(id)
        if pin is None:
            pin = cls._made[id] = super().__new__(cls)
            pin._id = id
            pin._device = "pin%d" % id
            pin._mode = None
            pin._level = 0
            pin._handler = None
            pin._trigger = 0
        return pin

    def __init__(self, id, mode=-1, pull=-1, *, value=None, drive=None, hold=None):
        self.init(mode, pull, value=value, hold=hold)

    def init(self, mode=-1, pull=-1, *, value=None, drive=None, hold=None):
        # Mode, pull (-1) and hold stay when not given; pull=None switches both pulls off (ports/esp32/machine_pin.c).
        if mode in (Pin.OUT, Pin.OPEN_DRAIN) and _hw.cfg["input_only"] >> self._id & 1:
            raise ValueError("pin can only be input")
        if hold is not None:
            hold = bool(hold)
        if mode in (-1, None):
            if value is not None:
                self.value(value)
            if hold is not None:
                _hw.post(self._device, "hold", hold)
            return
        _hw.driver(self._device)
        self._mode = mode
        pull = 0 if pull is None else pull
        if mode == Pin.IN:
            _hw.on(self._device, self._changed)
            self._level = _hw.call(self._device, "input", pull, hold)
        else:
            _hw.forget(self._device)
            self._level = self._level if value is None else int(bool(value))
            _hw.driver("%s=%d" % (self._device, self._level))
            _hw.post(self._device, "output", self._level, pull, hold)

    def _changed(self, event):
        before = self._level
        self._level = level = event[1]
        if self._handler and level != before and self._trigger & (Pin.IRQ_RISING if level else Pin.IRQ_FALLING):
            self._handler(self)

    def irq(self, handler=None, trigger=IRQ_FALLING | IRQ_RISING, priority=1, wake=None, hard=False):
        self._handler = handler
        self._trigger = trigger

    def value(self, level=None):
        if level is None:
            _hw.tick()
            return self._level
        self._level = level = int(bool(level))
        if _hw._watched:
            _hw.driver("%s=%d" % (self._device, level))
        _hw.post(self._device, "output", level)

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def toggle(self):
        self.value(not self._level)

    def __repr__(self):
        return "Pin(%d)" % self._id


class Signal:
    def __init__(self, pin, invert=False):
        self._pin = pin
        self._invert = invert

    def value(self, level=None):
        if level is None:
            return self._pin.value() ^ self._invert
        self._pin.value(bool(level) ^ self._invert)

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)


class UART(io.IOBase):
    RTS = 1
    CTS = 2
    INV_TX = 16
    INV_RX = 32
    IRQ_RX = 1
    IRQ_BREAK = 2
    IRQ_RXIDLE = 4096

    _PINS = {0: (1, 3), 1: (33, 32), 2: (17, 16)}  # (tx, rx) by default
    _FIFO = 128  # octets
    _opened = {}

    def __init__(self, id, baudrate=115200, bits=8, parity=None, stop=1, **options):
        if id not in UART._PINS:
            raise ValueError("UART(%d) does not exist" % id)
        self._device = "uart%d" % id
        _hw.driver(self._device)
        self._tx, self._rx = UART._PINS[id]
        self._rxbuf = 256
        self._timeout = 0
        self._in = b""
        self._count = 0  # octets in _in, which is allocated at once: on the chip it is no part of the heap
        self._busy_until = 0
        self._handler = None
        self._held = False  # True: the other end holds CTS off, and this one heeds it
        self._cts = False
        self._unsent = b""
        self._txbuf = 256
        UART._opened[id] = self
        self.init(baudrate, bits, parity, stop, **options)

    def init(
        self,
        baudrate=115200,
        bits=8,
        parity=None,
        stop=1,
        *,
        tx=None,
        rx=None,
        rts=-1,
        cts=-1,
        txbuf=256,
        rxbuf=None,
        timeout=None,
        timeout_char=None,
        invert=0,
        flow=0,
    ):
        self._baud = baudrate
        if tx is not None:
            self._tx = Pin(tx)._id
        if rx is not None:
            self._rx = Pin(rx)._id
        if _hw.cfg["input_only"] >> self._tx & 1:
            raise ValueError("pin can only be input")
        if rxbuf is not None:
            self._rxbuf = max(rxbuf, 129)
        if timeout is not None:
            self._timeout = timeout
        if len(self._in) != self._rxbuf:
            self._in = bytearray(self._rxbuf)
            self._count = 0
        self._txbuf = txbuf
        self._cts = bool(flow & UART.CTS) and cts >= 0
        _hw.on(self._device, self._received)
        self._clear_to_send(not _hw.call(self._device, "open", baudrate, self._tx, self._rx))

    def _clear_to_send(self, clear):
        self._held = self._cts and not clear
        if self._unsent and not self._held:
            unsent, self._unsent = self._unsent, b""
            self._transmit(unsent)

    def _wait_sent(self):
        while self._unsent:
            _hw.wait(_hw.FOREVER)

    def _received(self, event):
        if event[2] > 1:
            self._clear_to_send(event[2] == 3)
            return
        # Octets that don't fit the buffer are lost, as on the chip.
        data = event[1].encode() if event[2] else unhexlify(event[1])
        lost = self._count + len(data) - self._rxbuf
        if lost > 0:
            data = data[:-lost]
            _hw.post(self._device, "lost", lost)
        self._in[self._count : self._count + len(data)] = data
        self._count += len(data)
        if self._handler:
            self._handler(self)

    def irq(self, handler=None, trigger=0, hard=False):
        # IRQ_RX and IRQ_RXIDLE are alike here: octets come in chunks, with a pause after each.
        if trigger & ~(UART.IRQ_RX | UART.IRQ_RXIDLE | UART.IRQ_BREAK):
            raise ValueError("trigger 0x%04x unsupported" % trigger)
        self._handler = handler if trigger & (UART.IRQ_RX | UART.IRQ_RXIDLE) else None

    def deinit(self):
        self._unsent = b""
        _hw.forget(self._device)
        _hw.call(self._device, "close")

    def _sim_ready(self, mask):
        return mask & ((1 if self._count else 0) | 4)

    def ioctl(self, request, argument):
        return self._sim_ready(argument) if request == 3 else 0

    def any(self):
        _hw.tick()
        return self._count

    def _wait(self, n):
        end = _hw.clock() + self._timeout * 1000
        while self._count < n and self._timeout and not _hw.wait(end):
            pass

    def read(self, n=-1):
        _hw.tick()
        if self._timeout:
            self._wait(max(n, 1))
        if not self._count:
            return None
        taken = self._count if n is None or n < 0 else min(n, self._count)
        octets = memoryview(self._in)
        data = bytes(octets[:taken])
        rest = self._count - taken
        octets[:rest] = octets[taken : self._count]  # forward copies may overlap
        self._count = rest
        return data

    def readinto(self, buf, n=-1):
        data = self.read(len(buf) if n < 0 else min(n, len(buf)))
        if data is None:
            return None
        buf[: len(data)] = data
        return len(data)

    def readline(self):
        _hw.tick()
        end = _hw.clock() + self._timeout * 1000
        while self._line() == self._count and self._timeout and not _hw.wait(end):
            pass
        return self.read(self._line())

    def _line(self):
        # Count the octets up to the first end of a line, or all.
        for at in range(self._count):
            if self._in[at] == 10:
                return at + 1
        return self._count

    def write(self, data):
        # A write that finds no room in the buffer blocks, without an end (uart_write_bytes; espressif/esp-idf#6695).
        data = data.encode() if isinstance(data, str) else bytes(data)
        size = len(data)
        while self._held:
            room = self._txbuf + UART._FIFO - len(self._unsent)
            self._unsent += data[:room]
            data = data[room:]
            if not data:
                return size
            _hw.wait(_hw.FOREVER)
        if data:
            self._transmit(data)
        return size

    def _transmit(self, data):
        self._busy_until = max(_hw.clock(), self._busy_until) + len(data) * 10000000 // self._baud
        _hw.post(self._device, "tx", hexlify(data).decode())

    def txdone(self):
        _hw.tick()
        return not self._unsent and _hw.now >= self._busy_until

    def flush(self):
        self._wait_sent()
        _hw.sleep_until(self._busy_until)


class WDT:
    def __init__(self, id=0, timeout=5000):
        if id != 0 or timeout <= 0:
            raise ValueError
        self._timeout = timeout
        self.feed()

    def feed(self):
        _hw.feed(self._timeout)


class RTC:
    def __init__(self, id=0):
        pass

    def datetime(self, fields=None):
        if fields is None:
            seconds, us = divmod(_hw.rtc(), 1000000)
            y, mo, d, h, mi, s, wd = gmtime(seconds)[:7]
            return (y, mo, d, wd, h, mi, s, us)
        y, mo, d, _, h, mi, s, us = fields
        seconds = mktime((y, mo, d, h, mi, s))
        _hw.set_rtc(seconds * 1000000 + us)

    def init(self, fields):
        y, mo, d, h, mi, s, us = fields[:7]
        self.datetime((y, mo, d, 0, h, mi, s, us))

    def memory(self, data=None):
        if data is None:
            return unhexlify(_hw.cfg["rtc_memory"])
        if len(data) > 2048:
            raise ValueError("buffer too long")
        _hw.cfg["rtc_memory"] = text = hexlify(bytes(data)).decode()
        _hw.post("rtc", "memory", text)

"""The bracelet's end of the lock-step link. It runs inside the MicroPython interpreter, under the shims.

Every frame is a 32-bit little-endian length and a JSON array:
  W->D  {...}                                        hello, once a boot
  D->W  ["i", now, until, outputs]                   idle until `until`
  D->W  ["c", now, outputs, device, function, args]  ask a model something
  W->D  [now, horizon, events(, value)]              the answer to both; nothing else happens before `horizon`
  D->W  ["o", now, outputs]                          outputs that don't change what happens before the horizon
  D->W  ["deepsleep" | "reset" | "exit", now, outputs, argument]     like "o", it gets no answer

An event is [device, ...] for now or [time, device, ...] for later: octets that are on a line already arrive whatever
the world does, unless the firmware closes the port or the supply fails. [device, null, time] cancels the events of a
device after that time. It comes before that time: the world changes its mind at an event of its own, and the horizon
lies before that, or at an output of the device, and after an output the device goes no further alone.

Times are microseconds since the world began. Between two exchanges the device advances its own clock: every access
to a peripheral costs COST, a sleep that ends before the horizon is a jump. In real time the same protocol runs
against the wall clock, and the horizon is so close that outputs and inputs are never late.
"""

import gc
import sys

import uerrno
import ujson
import utime
from micropython import const

COST = const(10)  # us of virtual time for one access to a peripheral
LOOKAHEAD = const(100)  # us that an output may stay unreported
FOREVER = const(1 << 60)
_TICKS_MASK = const((1 << 30) - 1)  # ticks wrap at 2**30, as small integers on the ESP32 make it

cfg = {}  # the hello
now = 0
boot_us = 0
horizon = 0  # the clock may run on alone up to here: the earlier of the world's horizon and the next of _later
realtime = False
rtc_us = 0  # the RTC's time in us since 2000, minus now, without the error of its crystal since _rtc_set
asleep = False  # in light sleep: octets that come on a line now are lost
changes = 0  # counts events that may make a stream ready: while it stands still, no stream becomes ready

RESERVE = 10240  # octets: for a frame with two segments of TCP, as a flood brings them, and for taking it apart
FRAME = 16384  # octets; taken at boot, because later the heap of the firmware may have no such stretch

_link = None
_frame = bytearray(FRAME)
_reserve = bytearray(RESERVE)
_out = []
_queue = []
_later = []  # events with a time to come, in the order of time
_horizon = 0  # the world's
_handlers = {}
_delivering = False
_watched = ()  # driver calls that may end this start: world/driver_calls.py
_rtc_ppm = 0
_rtc_set = 0
_wall = 0
_base = 0


def connect(fd):
    global _link, now, boot_us, horizon, realtime, rtc_us, _wall, _base, _horizon, _rtc_ppm, _rtc_set, _watched
    _link = open(fd, "r+b")  # noqa: SIM115
    cfg.update(_receive())
    if cfg["simulator"]:
        _die_with(cfg["simulator"])
    now = horizon = _horizon = _base = cfg["t"]
    boot_us = now - cfg.get("ticks_us", 0)
    realtime = cfg.get("realtime", False)
    rtc_us = cfg.get("rtc_us", 0)
    _rtc_ppm = cfg.get("rtc_ppm", 0)
    _rtc_set = now
    _wall = utime.ticks_us()
    _watched = cfg.get("driver_calls", ())
    on("driver", _watch)


def link():
    return _link


def _die_with(parent):
    # A killed simulator must not leave an interpreter spinning in a busy loop.
    try:
        import ffi

        libc = ffi.open(None)
        libc.func("i", "prctl", "iLLLL")(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL
        if libc.func("i", "getppid", "")() != parent:
            sys.exit()  # the simulator was killed before the kernel knew
    except (ImportError, OSError):
        pass  # an interpreter without ffi notices at its next exchange


def _body(message):
    return ujson.dumps(message).encode()


def _send(message):
    try:
        body = _body(message)
    except MemoryError:
        body = _with_reserve(_body, message)  # the chip has no such frame: its firmware must not fail for it
    n = len(body)
    _link.write(bytes((n & 255, n >> 8 & 255, n >> 16 & 255, n >> 24)))
    _link.write(body)


def _receive():
    head = _link.read(4)
    if not head or len(head) < 4:
        raise SystemExit
    size = head[0] | head[1] << 8 | head[2] << 16 | head[3] << 24
    try:
        if size > FRAME:
            return ujson.loads(_link.read(size))
        _link.readinto(memoryview(_frame)[:size])
        try:
            return ujson.loads(memoryview(_frame)[:size])
        except MemoryError:
            return _with_reserve(ujson.loads, memoryview(_frame)[:size])
    except MemoryError:
        # A firmware might catch this and go on, but the world thinks that the firmware has the frame.
        sys.stdout.write("hwsim: no memory for a frame of %d octets: use a larger heap\n" % size)
        _link.close()
        raise SystemExit


def _with_reserve(do, what):
    # The heap of the firmware has no stretch for the texts of a frame, so take the one that the shims have kept.
    global _reserve
    _reserve = None
    gc.collect()
    try:
        return do(what)
    finally:
        gc.collect()
        try:
            _reserve = bytearray(RESERVE)
        except MemoryError:
            pass  # the next frame may find room elsewhere


def on(device, handler):
    forget(device)
    _handlers[device] = handler


def forget(device):
    # Events still on their way to the device are lost.
    global _later
    _handlers.pop(device, None)
    if _later:
        _later = [event for event in _later if event[1] != device]


def clock():
    global now
    if realtime:
        now = max(now, _base + utime.ticks_diff(utime.ticks_us(), _wall))
    return now


def rtc():
    # Return the RTC's time in us since 2000.
    clock()
    return now + rtc_us + (now - _rtc_set) * _rtc_ppm // 1000000


def set_rtc(us):
    global rtc_us, _rtc_set
    clock()
    rtc_us = us - now
    _rtc_set = now
    post("rtc", "set", rtc_us)


def charge(us):
    # Let time pass in which the loop can do nothing else (a flash erase).
    global now
    if not realtime:
        now += us


def _deliver(events):
    # An interrupt handler may itself access a peripheral and so receive events. These wait for their turn.
    global _delivering, changes
    changes += 1
    _queue.extend(events)
    if _delivering:
        return
    _delivering = True
    try:
        while _queue:
            event = _queue.pop(0)
            handler = _handlers.get(event[0])
            if handler:
                handler(event)
    finally:
        _delivering = False


def _answer():
    global now, horizon, _horizon, _later, _wall, _base
    answer = _receive()
    now = max(now, answer[0])
    horizon = _horizon = answer[1]
    if realtime:
        _wall = utime.ticks_us()
        _base = now
    events = answer[2]
    if events:
        events = _postpone(events)
        if events:
            _deliver(events)
    if _later:
        if asleep:
            _later = [event for event in _later if event[0] > now]
        _due()
    return answer


def _postpone(events):
    # Keep those with a time to come, and return the others.
    global _later
    at_once = []
    for event in events:
        if type(event[0]) is int:
            place = len(_later)
            while place and _later[place - 1][0] > event[0]:
                place -= 1
            _later.insert(place, event)
        elif len(event) == 3 and event[1] is None:
            _later = [other for other in _later if other[1] != event[0] or other[0] <= event[2]]
        else:
            at_once.append(event)
    return at_once


def _due():
    # Deliver the events that are due by now, and set how far the clock may run on.
    global horizon
    while _later and _later[0][0] <= now:
        _deliver((_later.pop(0)[1:],))
    horizon = min(_horizon, _later[0][0]) if _later else _horizon


def _take_outputs():
    global _out
    out = _out
    _out = []
    return out


def sync(until):
    clock()
    _send(("i", now, until, _take_outputs()))
    _answer()


def call(device, function, *args):
    clock()
    _send(("c", now, _take_outputs(), device, function, args))
    value = _answer()[3]
    if isinstance(value, dict) and "oserror" in value:
        code = value["oserror"]
        raise OSError(getattr(uerrno, code) if isinstance(code, str) else code)
    return value


def _watch(event):
    global _watched
    _watched = event[1]


def driver(name):
    # The firmware reaches a driver's call. The world may end this start in the call, or let the call fail.
    if name in _watched and call("driver", name):
        raise RuntimeError("Wifi Unknown Error 0x0102")  # ESP_ERR_INVALID_ARG


def post(device, *payload):
    # The console goes out at once, since the interpreter may hang or die after it; the rest with the next exchange.
    global horizon, _horizon
    clock()
    _out.append((now, device) + payload)
    if realtime or device == "console":
        sync(now)
    elif now + LOOKAHEAD < _horizon:
        _horizon = now + LOOKAHEAD
        if _horizon < horizon:
            horizon = _horizon


def feed(timeout):
    # Put the watchdog's feed on record at once, for a firmware that hangs after it. It needs no answer: a feed only
    # puts off the watchdog's bite.
    global horizon, _horizon
    clock()
    _out.append((now, "wdt", timeout))
    if realtime:
        return sync(now)
    _send(("o", now, _take_outputs()))
    _horizon = min(_horizon, now + timeout * 1000)
    horizon = min(horizon, _horizon)


def _reach():
    # The clock has come to the horizon.
    if now >= _horizon or realtime:
        sync(now)
    else:
        _due()


def tick():
    global now
    if realtime:
        clock()
    else:
        now += COST
    if now >= horizon:
        _reach()


def ticks_ms():
    tick()
    return (now - boot_us) // 1000 & _TICKS_MASK


def wait(until):
    # Sleep; return early when an event was delivered. Return True when the time is reached.
    global now
    if not realtime:
        if until < horizon:
            if until > now:
                now = until
            return True
        if _later and _later[0][0] <= until:
            if _later[0][0] < _horizon:
                now = max(now, _later[0][0])
                _due()
                return now >= until
            until = _later[0][0]
            sync(until)
            return False
    sync(until)
    return now >= until


def sleep_until(until):
    while not wait(until):
        pass


def leave(kind, argument=None):
    clock()
    _send((kind, now, _take_outputs(), argument))
    _receive()  # the world closes the link
    sys.exit()

"""The bracelet's end of the lock-step link. It runs inside the MicroPython interpreter, under the shims.

Every frame is a 32-bit little-endian length and a JSON array:
  W->D  {...}                                        hello, once a boot
  D->W  ["i", now, until, outputs]                   idle until `until`
  D->W  ["c", now, outputs, device, function, args]  ask a model something
  W->D  [now, horizon, events(, value)]              the answer to both; nothing happens before `horizon`
  D->W  ["deepsleep" | "reset" | "exit" | "powercut", now, outputs, argument]     never answered

Times are microseconds since the world began. Between two exchanges the device advances its own clock: every access
to a peripheral costs COST, a sleep that ends before the horizon is a jump. In real time the same protocol runs
against the wall clock, and the horizon is so close that outputs and inputs are never late.
"""

import sys

import uerrno
import ujson
import utime

COST = 10  # us of virtual time that one access to a peripheral takes
LOOKAHEAD = 100  # us that an output may stay unreported
FOREVER = 1 << 60

cfg = {}  # the hello
now = 0
boot_us = 0
horizon = 0
realtime = False
rtc_us = 0  # what the RTC shows, in us since 2000, minus now

_link = None
_out = []
_queue = []
_handlers = {}
_delivering = False
_wall = 0
_base = 0


def connect(fd):
    global _link, now, boot_us, horizon, realtime, rtc_us, _wall, _base
    _link = open(fd, "r+b")  # noqa: SIM115
    cfg.update(_receive())
    if cfg["simulator"]:
        _die_with(cfg["simulator"])
    now = boot_us = horizon = _base = cfg["t"]
    realtime = cfg.get("realtime", False)
    rtc_us = cfg.get("rtc_us", 0)
    _wall = utime.ticks_us()


def link():
    return _link


def _die_with(parent):
    # A simulator that was killed must not leave an interpreter spinning in a busy loop.
    try:
        import ffi

        libc = ffi.open(None)
        libc.func("i", "prctl", "iLLLL")(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL
        if libc.func("i", "getppid", "")() != parent:
            sys.exit()  # it was killed before the kernel knew
    except (ImportError, OSError):
        pass  # an interpreter without ffi notices at its next exchange


def _send(message):
    body = ujson.dumps(message).encode()
    n = len(body)
    _link.write(bytes((n & 255, n >> 8 & 255, n >> 16 & 255, n >> 24)) + body)


def _receive():
    head = _link.read(4)
    if not head or len(head) < 4:
        raise SystemExit
    return ujson.loads(_link.read(head[0] | head[1] << 8 | head[2] << 16 | head[3] << 24))


def on(device, handler):
    _handlers[device] = handler


def forget(device):
    _handlers.pop(device, None)


def clock():
    global now
    if realtime:
        now = max(now, _base + utime.ticks_diff(utime.ticks_us(), _wall))
    return now


def charge(us):
    # Time that passes without the loop being able to do anything else (a flash erase).
    global now
    if not realtime:
        now += us


def _deliver(events):
    # An interrupt handler may itself access a peripheral and so receive events: they wait for their turn.
    global _delivering
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
    global now, horizon, _wall, _base
    answer = _receive()
    now = max(now, answer[0])
    horizon = answer[1]
    if realtime:
        _wall = utime.ticks_us()
        _base = now
    if answer[2]:
        _deliver(answer[2])
    return answer


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


def post(device, *payload):
    # What a hung or dead interpreter must have said before goes out at once; the rest with the next exchange.
    global horizon
    clock()
    _out.append((now, device) + payload)
    if realtime or device in ("console", "wdt"):
        sync(now)
    elif now + LOOKAHEAD < horizon:
        horizon = now + LOOKAHEAD


def tick():
    global now
    if realtime:
        clock()
    else:
        now += COST
    if now >= horizon:
        sync(now)


def wait(until):
    # Sleep; returns early when an event was delivered. True when the time is reached.
    global now
    if not realtime and until < horizon:
        if until > now:
            now = until
        return True
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

"""`select.poll` over the simulated streams, in virtual time. An object takes part through `_sim_ready(mask)` when it
has one (UART, socket, TLS socket), else through its own `ioctl` (asyncio.ThreadSafeFlag).
"""

import _hw
from micropython import const

POLLIN = 1
POLLOUT = 4
POLLERR = 8
POLLHUP = 16

_POLL = const(3)  # the stream request


class poll:
    def __init__(self):
        self._entries = {}  # by id, because objects need not be hashable; the lists keep the order
        self._own = []  # entries of objects that answer for themselves and may be ready at any time
        self._sim = []  # entries of the others: only an event or the firmware itself makes them ready
        self._idle_at = -1  # _hw.changes when none of _sim was ready

    def register(self, obj, mask=POLLIN | POLLOUT):
        ready = getattr(obj, "_sim_ready", None)
        if ready is None and not hasattr(obj, "ioctl"):
            raise OSError(22)
        self.unregister(obj)
        entry = self._entries[id(obj)] = [obj, mask, ready]
        (self._sim if ready else self._own).append(entry)
        self._idle_at = -1

    def modify(self, obj, mask):
        if id(obj) not in self._entries:
            raise OSError(2)
        self._entries[id(obj)][1] = mask
        self._idle_at = -1

    def unregister(self, obj):
        entry = self._entries.pop(id(obj), None)
        if entry:
            (self._sim if entry[2] else self._own).remove(entry)
            self._idle_at = -1

    def _scan(self):
        found = []
        if self._idle_at != _hw.changes:
            for obj, mask, ready in self._sim:
                state = ready(mask)
                if state:
                    found.append((obj, state))
            if not found:
                self._idle_at = _hw.changes
        for obj, mask, _ in self._own:
            state = obj.ioctl(_POLL, mask)
            if state:
                found.append((obj, state))
        return found

    def poll(self, timeout=-1):
        found = self._scan()
        if found or not timeout:
            return found
        end = _hw.clock() + timeout * 1000 if timeout > 0 else _hw.FOREVER
        while True:
            done = _hw.wait(end)
            found = self._scan()
            if found or done:
                return found

    def ipoll(self, timeout=-1, flags=0):
        # asyncio calls this, mostly to sleep until the next task is due: then it does poll() in one step.
        if self._idle_at == _hw.changes and not _hw.realtime and timeout >= 0:
            for obj, mask, _ in self._own:
                if obj.ioctl(_POLL, mask):
                    break
            else:
                end = _hw.now + timeout * 1000
                if not timeout or end < _hw.horizon:
                    _hw.now = end
                    return iter(())
        return iter(self.poll(timeout))

"""`select.poll` over the simulated streams, in virtual time. An object takes part through `_sim_ready(mask)` when it
has one (UART, socket, TLS socket), else through its own `ioctl` (asyncio.ThreadSafeFlag).
"""

import _hw
from ucollections import OrderedDict

POLLIN = 1
POLLOUT = 4
POLLERR = 8
POLLHUP = 16

_POLL = 3  # the stream request


class poll:
    def __init__(self):
        # Keyed by id because objects need not be hashable; ordered because addresses differ from run to run.
        self._entries = OrderedDict()

    def register(self, obj, mask=POLLIN | POLLOUT):
        ready = getattr(obj, "_sim_ready", None)
        if ready is None and not hasattr(obj, "ioctl"):
            raise OSError(22)
        self._entries[id(obj)] = [obj, mask, ready]

    def modify(self, obj, mask):
        if id(obj) not in self._entries:
            raise OSError(2)
        self._entries[id(obj)][1] = mask

    def unregister(self, obj):
        self._entries.pop(id(obj), None)

    def _scan(self):
        found = []
        for obj, mask, ready in self._entries.values():
            state = ready(mask) if ready else obj.ioctl(_POLL, mask)
            if state:
                found.append((obj, state))
        return found

    def poll(self, timeout=-1):
        found = self._scan()
        if found or timeout == 0:
            return found
        end = _hw.clock() + timeout * 1000 if timeout > 0 else _hw.FOREVER
        while True:
            done = _hw.wait(end)
            found = self._scan()
            if found or done:
                return found

    def ipoll(self, timeout=-1, flags=0):
        return iter(self.poll(timeout))

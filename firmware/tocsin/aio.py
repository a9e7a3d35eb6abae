"""Small helps over asyncio: waiting with a time-out, and tasks that are restarted, watched and never lost.

The watchdog is fed here and only here: when every vital task has said lately that it is alive.
"""

import asyncio

from tocsin import log

FEED_MS = 5000  # an eighth of the watchdog's patience
SILENT_MS = 20000  # a vital task silent for so long is taken for stuck
RESTART_MS = 1000
RESTART_MAX_MS = 60000


async def wait(event, ms):
    """Wait for an asyncio.Event or ThreadSafeFlag at most `ms` milliseconds (None: for ever). True when it was set."""
    if ms is None:
        await event.wait()
        return True
    if ms <= 0:
        await asyncio.sleep_ms(0)
    try:
        await asyncio.wait_for_ms(event.wait(), max(ms, 1))
        return True
    except asyncio.TimeoutError:
        return False


class Supervisor:
    def __init__(self, clock, on_crash=None):
        """`on_crash(error)`: a task has raised it, and will be restarted."""
        self._clock = clock
        self._on_crash = on_crash
        self._tasks = []  # references: a task nobody holds may be collected
        self._vital = {}  # name -> ms of its last report

    def start(self, name, run, vital=False):
        """Run the coroutine function `run` for ever: it is restarted, later and later, when it raises or ends."""
        if vital:
            self._vital[name] = self._clock.ms()
        self._tasks.append(asyncio.create_task(self._keep(name, run)))

    def report(self, name):
        """A vital task says that it is alive."""
        self._vital[name] = self._clock.ms()

    async def _keep(self, name, run):
        pause = RESTART_MS
        while True:
            started = self._clock.ms()
            try:
                await run()
                why = "ended"
            except asyncio.CancelledError:
                raise
            except Exception as error:
                why = log.reason(error)
                if self._on_crash:
                    self._on_crash(error)
            if self._clock.ms() - started > RESTART_MAX_MS:
                pause = RESTART_MS
            log.event("restarted", task=name, reason=why)
            await asyncio.sleep_ms(pause)
            if name not in self._vital:  # a vital one must be back before the watchdog's patience ends
                pause = min(pause * 2, RESTART_MAX_MS)

    async def watch(self, watchdog):
        """Feed the watchdog for as long as every vital task reports."""
        while True:
            now = self._clock.ms()
            late = [name for name in self._vital if now - self._vital[name] > SILENT_MS]
            if not late:
                watchdog.feed()
            else:
                log.event("stuck", task=late[0])
            await asyncio.sleep_ms(FEED_MS)

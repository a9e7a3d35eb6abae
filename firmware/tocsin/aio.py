"""Helpers over asyncio: waiting with a time-out, and tasks that are restarted, watched and never lost.

The watchdog is fed here and only here: when every vital task has said lately that it is alive.
"""

import asyncio
from asyncio import core

from tocsin import log

FEED_MS = 5000  # an eighth of the watchdog's patience
SILENT_MS = 20000  # a vital task silent for so long is taken for stuck
RESTART_MS = 1000
RESTART_MAX_MS = 60000
_FOREVER_MS = 1 << 28  # three days: a sleeping task must be due within half of the clock's round


class Event:
    """An asyncio.Event for one waiter. Its time-out takes no task of its own, unlike asyncio.wait_for_ms: a dozen such
    waits go on at any time, and each task would take half a kilobyte."""

    def __init__(self):
        self._is_set = False
        self._waiter = None

    def is_set(self):
        return self._is_set

    def clear(self):
        self._is_set = False

    def set(self):
        self._is_set = True
        task, self._waiter = self._waiter, None
        if task is not None and task.data is None:  # else it was cancelled, and runs next anyway
            core._task_queue.remove(task)  # it sleeps: it is due now, as after Task.cancel() of extmod/asyncio/task.py
            core._task_queue.push(task)

    async def wait(self, ms=None):
        """Wait until it is set, at most `ms` milliseconds (None: for ever). True when it was set."""
        if ms is not None and ms <= 0:
            await asyncio.sleep_ms(0)
        while not self._is_set:
            self._waiter = core.cur_task
            try:
                await asyncio.sleep_ms(_FOREVER_MS if ms is None else max(ms, 1))
            finally:
                self._waiter = None
            if ms is not None:
                break
        return self._is_set


async def flagged(flag, ms):
    """Wait for an asyncio.ThreadSafeFlag, which an interrupt sets, at most `ms` milliseconds. True when it was set."""
    try:
        await asyncio.wait_for_ms(flag.wait(), max(ms, 1))
        return True
    except asyncio.TimeoutError:
        return False


class Supervisor:
    def __init__(self, clock, on_crash=None):
        """Supervise tasks. `on_crash(error)` is called when a task has raised this error, and will be restarted."""
        self._clock = clock
        self._on_crash = on_crash
        self._tasks = []  # a task without a reference may be collected
        self._vital = {}  # name -> ms of its last report

    def start(self, name, run, vital=False):
        """Run the coroutine function `run` for ever: it is restarted, later and later, when it raises or ends."""
        if vital:
            self._vital[name] = self._clock.ms()
        self._tasks.append(asyncio.create_task(self._keep(name, run)))

    def report(self, name):
        """Note that a vital task is alive."""
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

"""Task queue and Task for asyncio. The interpreter's own `_asyncio` is C and reads the C clock, so it is no use in
virtual time; this one takes its time from the shim. Tasks that are due at the same millisecond run in the order in
which they were queued.
"""

from time import ticks_diff, ticks_ms

from micropython import const

_HALF = const(1 << 29)
_MASK = const((1 << 30) - 1)


def _core():
    global _core
    from asyncio import core

    def _core():
        return core

    return core


class TaskQueue:
    def __init__(self):
        self._tasks = []

    def peek(self):
        return self._tasks[0] if self._tasks else None

    def push(self, task, key=None):
        # Put it behind all tasks due by then. ticks_diff is written out here: a sleeping bracelet does this most.
        if key is None:
            key = ticks_ms()
        task.data = None
        task.ph_key = key
        tasks = self._tasks
        place = 0
        end = len(tasks)
        while place < end:
            middle = (place + end) >> 1
            if (tasks[middle].ph_key - key + _HALF) & _MASK > _HALF:
                end = middle
            else:
                place = middle + 1
        tasks.insert(place, task)

    def pop(self):
        return self._tasks.pop(0)

    def remove(self, task):
        for place, other in enumerate(self._tasks):
            if other is task:
                del self._tasks[place]
                return


class Task:
    def __init__(self, coro, globals=None):
        self.coro = coro
        self.data = None  # the queue or task that it waits for; the exception to throw into it; its result
        self.state = True  # True running, TaskQueue when awaited, None finished, False finished and seen, or a callback
        self.ph_key = 0

    def __iter__(self):
        if not self.state:
            self.state = False
        elif self.state is True:
            self.state = TaskQueue()
        elif type(self.state) is not TaskQueue:
            raise RuntimeError("can't wait")
        return self

    def __next__(self):
        if not self.state:
            raise self.data
        current = _core().cur_task
        self.state.push(current)
        current.data = self

    def done(self):
        return not self.state

    def cancel(self):
        core = _core()
        if not self.state:
            return False
        if self is core.cur_task:
            raise RuntimeError("can't cancel self")
        task = self
        while isinstance(task.data, Task):  # a task that this one awaits gets the cancellation
            task = task.data
        if hasattr(task.data, "remove"):
            task.data.remove(task)
            core._task_queue.push(task)
        elif ticks_diff(task.ph_key, ticks_ms()) > 0:
            core._task_queue.remove(task)
            core._task_queue.push(task)
        task.data = core.CancelledError
        return True

"""Processes that work through a list of tasks, each one task at a time; results come as they are ready.

They are for work that takes seconds and shares nothing. A process that dies loses only its task, and that task yields
None. A caller that leaves the loop early (after an interrupt, say) ends the processes, and their own clean-up runs.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
_PR_SET_PDEATHSIG = 1  # prctl(2)
_END_S = 10.0  # for a process to clean up after it was told to end


def work(call: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Iterator[tuple[int, Result | None]]:
    """Yield (place of the task, result) for every task. `call` must be a function of a module."""
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of the caller's threads
    workers: dict[Connection, Any] = {}
    busy: dict[Connection, int] = {}
    left = iter(range(len(tasks)))

    def start() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, call), daemon=True)
        # The process inherits the blocked signal: an interrupt from the terminal must not reach it before it has left
        # the terminal's group.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        workers[ours] = process

    def feed(connection: Connection) -> None:
        place = next(left, None)
        if place is None:
            workers.pop(connection).join(0)
            connection.close()
        else:
            busy[connection] = place
            connection.send(tasks[place])

    try:
        for _ in range(min(jobs, len(tasks))):
            start()
        for connection in list(workers):
            feed(connection)
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                place = busy.pop(ready)
                try:
                    result = ready.recv()
                except (EOFError, ConnectionResetError):
                    workers.pop(ready).join(0)
                    ready.close()
                    yield place, None
                    start()
                    feed(next(connection for connection in workers if connection not in busy))
                    continue
                feed(ready)
                yield place, result
    finally:
        for process in workers.values():
            process.terminate()
        for connection, process in workers.items():
            process.join(_END_S)
            if process.is_alive():
                process.kill()
            connection.close()


def _serve(connection: Connection, call: Callable[[Any], Any]) -> None:
    os.setsid()  # an interrupt from the terminal is for the process that started us
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # drops one that came before
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    sys.unraisablehook = _end_all_the_same
    if sys.platform == "linux":  # the process that started us may be killed, and would leave us at work for minutes
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        connection.send(call(task))


def _end_all_the_same(raised: sys.UnraisableHookArgs) -> None:
    """End the process when SIGTERM came in code whose exceptions Python drops, such as a callback of its collector."""
    if isinstance(raised.exc_value, SystemExit):
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGTERM)).start()  # after that code
    else:
        sys.__unraisablehook__(raised)

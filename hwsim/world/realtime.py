"""Real time: the wall clock drives the same event heap, and file descriptors of real peers take part.

A single thread owns everything; others hand it functions. No other module of the world reads the wall clock.
"""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from hwsim.world.clock import FOREVER, Clock

T = TypeVar("T")
_POLL_S = 0.01  # between two looks of a waiting thread at its condition


class Loop:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._base = time.monotonic_ns() // 1000 - clock.now_us
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, (self._drain, None))
        self._calls: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._error: BaseException | None = None

    # -- file descriptors

    def watch(self, fd: int, readable: Callable[[], None] | None, writable: Callable[[], None] | None) -> None:
        mask = (selectors.EVENT_READ if readable else 0) | (selectors.EVENT_WRITE if writable else 0)
        if fd in self._selector.get_map():
            if not mask:
                self._selector.unregister(fd)
            else:
                self._selector.modify(fd, mask, (readable, writable))
        elif mask:
            self._selector.register(fd, mask, (readable, writable))

    def unwatch(self, fd: int) -> None:
        self.watch(fd, None, None)

    def _drain(self) -> None:
        os.read(self._wake_read, 4096)

    # -- running

    def _set_clock(self) -> None:
        self._clock.now_us = max(self._clock.now_us, time.monotonic_ns() // 1000 - self._base)

    def _turn(self, longest_s: float) -> None:
        """Let everything happen that is due, or wait for the next thing, at most so long. A turn does not do both, so
        that a caller that waits for a condition can look first."""
        self._set_clock()
        happened = self._clock.happened
        due = self._clock.now_us  # events that these schedule for now wait for the next turn
        while self._clock.next_us() <= due:
            self._clock.step()
            self._set_clock()
        with self._lock:
            calls, self._calls = self._calls, []
        for call in calls:
            call()
        next_us = self._clock.next_us()
        if calls or self._clock.happened != happened:
            longest_s = 0.0
        elif next_us < FOREVER:
            self._set_clock()
            longest_s = min(longest_s, max(0.0, (next_us - self._clock.now_us) / 1e6))
        for key, mask in self._selector.select(longest_s):
            registered = self._selector.get_map().get(key.fd)
            if registered is None or registered.data != key.data:
                continue  # a call before this one has let go of it, or has other plans with it
            readable, writable = key.data
            self._set_clock()
            if mask & selectors.EVENT_READ and readable:
                readable()
            if mask & selectors.EVENT_WRITE and writable and key.fd in self._selector.get_map():
                writable()

    def run_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        end = time.monotonic() + timeout
        if self._thread is not None:
            if threading.current_thread() is self._thread:
                raise RuntimeError("the world's own thread can't wait for the world")
            while not self.call(condition):
                left = end - time.monotonic()
                if left <= 0:
                    return False
                time.sleep(min(left, _POLL_S))
            return True
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._turn(left)
        return True

    # -- thread

    def start_thread(self) -> None:
        if self._thread is not None:
            raise RuntimeError("the world's thread is already running")
        self._stopping = False
        self._thread = threading.Thread(target=self._run_thread, name="hwsim world", daemon=True)
        self._thread.start()

    def _run_thread(self) -> None:
        try:
            while not self._stopping:
                self._turn(1.0)
        except BaseException as error:  # the next caller gets it
            self._error = error
        finally:
            with self._lock:
                self._stopping = True
                calls, self._calls = self._calls, []
            for call in calls:
                call()

    def call(self, function: Callable[[], T]) -> T:
        thread = self._thread
        if thread is None or threading.current_thread() is thread:
            self._set_clock()
            return function()
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(function())
            except BaseException as error:  # the error belongs to the caller
                result.set_exception(error)

        with self._lock:
            if self._stopping:
                raise RuntimeError("the world's thread has ended") from self._error
            self._calls.append(run)
        self._wake()
        return result.result()

    def _wake(self) -> None:
        os.write(self._wake_write, b"!")

    def stop(self) -> None:
        """End the thread; raise the error of which it died."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping = True
            self._wake()
            thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

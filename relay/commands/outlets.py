"""The outlets by which `relay subscribe` hands documents on: a broker of the subscriber's own, or a command.

An outlet takes a document and says later, in `finished`, that it is done with it: then the relay's broker may forget
it. A document that is not done when the program ends comes again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from relay.subscribers.reader import Heard

T = TypeVar("T")

MOST = 200  # documents on their way at once
COMMANDS = 4  # at once
COMMAND_S = 30.0
AGAIN_S = (2.0, 10.0)  # seconds after a command that failed
GOODBYE_S = 5.0  # for documents under way when somebody ends this


class Outlet(Protocol):
    """A place to which genuine documents are handed on."""

    patience_s: float  # it may take so long with the last documents

    @property
    def busy(self) -> int:
        """The number of documents with which it is not done."""

    def take(self, heard: Heard) -> None: ...

    def finished(self) -> Sequence[Heard]:
        """List the documents done since the last call."""

    def close(self) -> None: ...


class Display:
    """An outlet that hands nothing on: a document that was shown is done."""

    busy, patience_s = 0, 0.0

    def __init__(self) -> None:
        self._done: list[Heard] = []

    def take(self, heard: Heard) -> None:
        self._done.append(heard)

    def finished(self) -> Sequence[Heard]:
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        pass


class LocalBroker:
    """An outlet that publishes in clear, on `r/<kid>/alarm` and `r/<kid>/case`. A document is done when the broker has
    it. When the broker can't be reached, or refuses, `tell` says so, once until the broker is there."""

    patience_s = GOODBYE_S

    def __init__(self, host: str, port: int, account: tuple[str, str] | None, tell: Callable[[str], None]) -> None:
        self._place = f"{host}:{port}"
        self._tell = tell
        self._told = self._closing = False
        self._waiting: dict[int, Heard] = {}
        self._confirmed: SimpleQueue[int] = SimpleQueue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        if account is not None:
            self._client.username_pw_set(*account)
        self._client.on_publish = lambda _c, _u, mid, *_: self._confirmed.put(mid)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = lambda *_: self._is_away("can't be reached")
        self._client.on_disconnect = lambda *_: self._is_away("has closed the connection")
        self._client.reconnect_delay_set(1, 10)
        self._client.connect_async(host, port)
        self._client.loop_start()

    def _on_connect(self, _client: object, _userdata: object, _flags: object, reason: ReasonCode, *_: object) -> None:
        if reason.is_failure:
            self._is_away(f"lets nobody in ({reason}); see --mqtt-account")
        elif self._told:
            self._told = False
            self._tell(f"the broker at {self._place} is there; what waited goes there now")

    def _is_away(self, how: str) -> None:
        """Tell once that the broker is away (in paho's thread)."""
        if not (self._told or self._closing):
            self._told = True
            self._tell(f"the broker at {self._place} {how}: documents wait until it is there")

    @property
    def busy(self) -> int:
        return len(self._waiting)

    def take(self, heard: Heard) -> None:
        assert heard.document is not None
        sent = self._client.publish(f"r/{heard.document['kid']}/{heard.kind}", heard.octets, qos=1)
        self._waiting[sent.mid] = heard

    def finished(self) -> Sequence[Heard]:
        return [heard for mid in _drain(self._confirmed) if (heard := self._waiting.pop(mid, None))]

    def close(self) -> None:
        self._closing = True
        self._client.disconnect()
        self._client.loop_stop()


class Command:
    """An outlet that runs a command for each document, with `line(heard)` on its standard input and no shell. When the
    command fails or takes too long, `tell` says so, and the command is run again a few times."""

    def __init__(
        self,
        command: Sequence[str],
        line: Callable[[Heard], str],
        tell: Callable[[str], None],
        *,
        timeout: float = COMMAND_S,
        again: Sequence[float] = AGAIN_S,
    ) -> None:
        self._command = tuple(command)
        self._line = line
        self._tell = tell
        self._timeout = timeout
        self._again = again
        self._done: SimpleQueue[Heard] = SimpleQueue()
        self._pool = ThreadPoolExecutor(COMMANDS, "command")
        self._running: set[subprocess.Popen[str]] = set()
        self._closing = threading.Event()
        self.busy = 0
        self.patience_s = timeout * (len(again) + 1) + sum(again) + GOODBYE_S

    def take(self, heard: Heard) -> None:
        self.busy += 1
        self._pool.submit(self._run, heard)

    def finished(self) -> Sequence[Heard]:
        done = _drain(self._done)
        self.busy -= len(done)
        return done

    def close(self) -> None:
        """Start no command any more, and end those that don't end soon by themselves: their documents come again."""
        self._closing.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + GOODBYE_S
        while self._running and time.monotonic() < deadline:
            time.sleep(0.02)
        for child in list(self._running):
            _kill(child)
        self._pool.shutdown(wait=True)

    def _run(self, heard: Heard) -> None:
        for pause in (*self._again, None):
            failure = self._attempt(heard)
            if failure is None:
                break
            assert heard.document is not None
            if self._closing.is_set():
                self._tell(f"the command {failure} for {heard.document['alarm']}: it comes again")
                return
            then = "given up" if pause is None else f"again in {pause:g} s"
            self._tell(f"the command {failure} for {heard.document['alarm']}: {then}")
            if pause is not None and self._closing.wait(pause):
                return
        self._done.put(heard)

    def _attempt(self, heard: Heard) -> str | None:
        """Run the command once; say what went wrong, None when nothing did."""
        try:
            child = subprocess.Popen(self._command, stdin=subprocess.PIPE, start_new_session=True, text=True)
        except OSError as error:
            return f"could not be started ({error.strerror})"
        self._running.add(child)
        try:
            child.communicate(self._line(heard) + "\n", timeout=self._timeout)
        except subprocess.TimeoutExpired:
            _kill(child)
            child.communicate()
            return f"took longer than {self._timeout:g} s"
        finally:
            self._running.discard(child)
        return None if child.returncode == 0 else f"ended with status {child.returncode}"


def _kill(child: subprocess.Popen[str]) -> None:
    """End a command and the processes that it started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _drain(queue: SimpleQueue[T]) -> list[T]:
    found = []
    try:
        while True:
            found.append(queue.get_nowait())
    except Empty:
        return found

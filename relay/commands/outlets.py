"""Where `relay subscribe` hands documents on: a broker of the subscriber's own, or a command.

An outlet takes a document and says later, in `finished`, that it is done with it: then the relay's broker may forget
it. What is not done when the program ends comes again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from relay.subscribers.reader import Heard

T = TypeVar("T")

MOST = 200  # documents on their way at once
COMMANDS = 4  # at once
COMMAND_S = 30.0
AGAIN_S = (2.0, 10.0)  # after a command that failed


class Outlet(Protocol):
    """Takes genuine documents."""

    @property
    def busy(self) -> int:
        """How many it is not done with."""

    def take(self, heard: Heard) -> None: ...

    def finished(self) -> Sequence[Heard]:
        """What it is done with since the last call."""

    def close(self) -> None: ...


class Display:
    """Hands nothing on: what was shown is done."""

    busy = 0

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
    """Publishes in clear, on `r/<kid>/alarm` and `r/<kid>/case`; done with a document when the broker has it. A broker
    that can't be reached or refuses is told by `tell`, once, and that it takes documents again."""

    def __init__(
        self, host: str, port: int, account: tuple[str, str] | None, tell: Callable[[str], None]
    ) -> None:
        self._name = f"{host}:{port}"
        self._tell = tell
        self._trouble = ""
        self._waiting: dict[int, Heard] = {}
        self._confirmed: SimpleQueue[int] = SimpleQueue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        if account is not None:
            self._client.username_pw_set(*account)
        self._client.on_publish = lambda _c, _u, mid, *_: self._confirmed.put(mid)
        self._client.on_connect = lambda _c, _u, _f, reason, _p: self._note(
            f"refuses this client ({reason}): see --mqtt-account and --mqtt-password." if reason.is_failure else ""
        )
        self._client.on_connect_fail = lambda *_: self._note("can't be reached: is it running?")
        self._client.reconnect_delay_set(1, 10)
        self._client.connect_async(host, port)
        self._client.loop_start()

    @property
    def connected(self) -> bool:
        return self._client.is_connected()

    @property
    def busy(self) -> int:
        return len(self._waiting)

    def take(self, heard: Heard) -> None:
        assert heard.document is not None
        sent = self._client.publish(f"r/{heard.document['kid']}/{heard.kind}", heard.octets, qos=1)
        self._waiting[sent.mid] = heard

    def finished(self) -> Sequence[Heard]:
        return [heard for mid in _drain(self._confirmed) if (heard := self._waiting.pop(mid, None))]

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            said = f"{trouble} Alarms wait for it, and this tries again." if trouble else "takes documents again"
            self._tell(f"your broker {self._name} {said}")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Command:
    """Runs a command for each document, with `line(heard)` on its standard input and no shell. One that fails or takes
    too long is told by `tell` and run again a few times."""

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
        self.busy = 0

    def take(self, heard: Heard) -> None:
        self.busy += 1
        self._pool.submit(self._run, heard)

    def finished(self) -> Sequence[Heard]:
        done = _drain(self._done)
        self.busy -= len(done)
        return done

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, heard: Heard) -> None:
        for pause in (*self._again, None):
            failure = self._attempt(heard)
            if failure is None:
                break
            assert heard.document is not None
            then = "given up" if pause is None else f"again in {pause:g} s"
            self._tell(f"the command {failure} for {heard.document['alarm']}: {then}")
            if pause is not None:
                time.sleep(pause)
        self._done.put(heard)

    def _attempt(self, heard: Heard) -> str | None:
        """What went wrong, None when nothing did."""
        try:
            child = subprocess.Popen(self._command, stdin=subprocess.PIPE, start_new_session=True, text=True)
        except OSError as error:
            return f"could not be started ({error.strerror})"
        try:
            child.communicate(self._line(heard) + "\n", timeout=self._timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # what it started, too
            child.communicate()
            return f"took longer than {self._timeout:g} s"
        return None if child.returncode == 0 else f"ended with status {child.returncode}"


def _drain(queue: SimpleQueue[T]) -> list[T]:
    found = []
    try:
        while True:
            found.append(queue.get_nowait())
    except Empty:
        return found

"""A hand, eyes and a wrist for a bracelet on a serial port, as an engineer at the bench uses them.

A UNIX socket takes one JSON object a line and answers each by one: {"ok": true, ...}, or {"ok": false, "error": "why"}.

    {"do": "press", "for_s": 3.2}      an action, now, with its arguments; a long one goes on after the answer
    {"do": "state"}                    answers "state": supply, cable, strap, LED, charge
    {"do": "wait", "who": "wearer", "what": "felt", "detail": {"pattern": "heard"}, "within": 60}
                                       answers with the "event" as soon as it has happened since the last action
    {"do": "watch"}                    from now on each event is a line, {"event": {...}}

Actions are those of scenarios (scenario/actions.py) that need no relay, and the few in `BENCH` that only a bench has.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hwsim.rig import SmsFaults
from hwsim.scenario import actions, felt
from hwsim.world.trace import TraceEvent

if TYPE_CHECKING:
    from hwsim.rig import Rig
    from hwsim.serial.usb import UsbBracelet
    from hwsim.world.world import World

# Families of the actions allowed here: there is no rig's relay or broker, and only the workshop writes files.
ABOUT = frozenset({"wearer", "power", "data", "sms", "modem", "clock", "gnss", "jam"})
_LOOK_US = 50_000
_LINE_MAX = 4096
_UNREAD_MAX = 1 << 20
_PATIENCE_S = 10.0  # for an answer to a request


class HandError(Exception):
    """An action that can't be done, or an event that didn't happen; the text says why."""


# -- what can be done


@dataclass
class _Bench:
    """The part of a rig that these actions need."""

    world: World
    bracelet: UsbBracelet

    def __post_init__(self) -> None:
        self.sms = SmsFaults(self.world)
        self._noise = self.world.random("garbage")

    def garbage(self, octets: int) -> bytes:
        return bytes(self._noise.getrandbits(8) for _ in range(octets))


def _switch_on(bracelet: UsbBracelet) -> None:
    if bracelet.state == "off":
        bracelet.boot()


BENCH: dict[str, tuple[str, Callable[[UsbBracelet], None]]] = {
    "unplug": ("the cable is pulled: the port vanishes, the bracelet goes on", lambda b: b.unplug()),
    "plug": ("the cable is put in: a port appears, perhaps another one", lambda b: b.plug()),
    "switch_off": ("the supply is taken away: cell out, or no switch on", lambda b: b.power_cut()),
    "switch_on": ("the supply is there", _switch_on),
    "boot_press": ("the boot button is held: a reset leads into the ROM loader", lambda b: b.hold_strap(True)),
    "boot_release": ("the boot button is let go", lambda b: b.hold_strap(False)),
}


def known() -> dict[str, str]:
    """Return every action with its help."""
    table = {name: action.help for name, action in actions.ACTIONS.items() if action.family in ABOUT}
    return table | {name: about for name, (about, _) in BENCH.items()}


def arguments(name: str, words: Iterable[str]) -> dict[str, Any]:
    """Turn the words of a command line into an action's values: in the arguments' order, or as name=value. Raises
    HandError."""
    parameters = actions.ACTIONS[name].parameters if name in actions.ACTIONS else {}
    free, values = list(parameters), {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            if not free:
                raise HandError(f"{name} takes no more than {len(parameters)} values")
            key, text = free[0], word
        if key not in free:
            raise HandError(f'{name} has no argument "{key}" (arguments: {", ".join(parameters) or "none"})')
        free.remove(key)
        try:
            kind = parameters[key].kind
            values[key] = {"true": True, "false": False}[text] if kind is bool else kind(text)
        except (KeyError, ValueError):
            raise HandError(f"{name}: {key} is {parameters[key].help}, not {text}") from None
    return values


# -- the bracelet's side


@dataclass
class _Wait:
    who: str
    what: str
    detail: dict[str, str]
    until_us: int

    def matches(self, event: TraceEvent) -> bool:
        return event.matches(self.who, self.what, {}) and all(
            str(event.detail.get(key)) == value for key, value in self.detail.items()
        )


@dataclass
class _Peer:
    """A connection."""

    line: socket.socket
    unread: bytes = b""
    unsent: bytes = b""
    waits: list[_Wait] = field(default_factory=list)
    shown: int | None = None  # events of the trace, while it watches


class Hand:
    """A server for hands at `path`, until the world ends. Raises OSError when it can't listen there."""

    def __init__(self, world: World, bracelet: UsbBracelet, path: Path) -> None:
        self._world, self._bracelet, self._path = world, bracelet, path
        self._bench = _Bench(world, bracelet)
        self._peers: list[_Peer] = []
        self._since = 0  # events of the trace when something was last done
        self._felt = 0  # pulses of the motor
        self._ticking = False
        self._server = socket.socket(socket.AF_UNIX)
        self._server.setblocking(False)
        self._bind(path)
        path.chmod(0o600)
        self._server.listen()
        world.watch(self._server.fileno(), self._accept)
        world.at_close(self._close)
        world.after(_LOOK_US, self._look)

    def _bind(self, path: Path) -> None:
        """Bind to the path, over what a killed process has left there. Raises OSError when the path is in use."""
        if path.is_socket():
            with socket.socket(socket.AF_UNIX) as other:
                try:
                    other.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()
                else:
                    raise OSError(f"{path} is in use by another hwsim usb")
        elif path.exists():
            raise OSError(f"{path} is there already, and no socket: name another one with --control")
        self._server.bind(str(path))

    def _close(self) -> None:
        for peer in self._peers[:]:
            self._drop(peer)
        self._world.unwatch(self._server.fileno())
        self._server.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            line, _ = self._server.accept()
            line.setblocking(False)
            peer = _Peer(line)
            self._peers.append(peer)
            self._watch(peer)

    def _watch(self, peer: _Peer) -> None:
        self._world.watch(
            peer.line.fileno(), lambda: self._readable(peer), (lambda: self._flush(peer)) if peer.unsent else None
        )

    def _drop(self, peer: _Peer) -> None:
        if peer in self._peers:
            self._peers.remove(peer)
            self._world.unwatch(peer.line.fileno())
            peer.line.close()

    def _readable(self, peer: _Peer) -> None:
        try:
            data = peer.line.recv(_LINE_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(peer)
            return
        *lines, peer.unread = (peer.unread + data).split(b"\n")
        for line in lines:
            self._asked(peer, line)
        if len(peer.unread) > _LINE_MAX:
            self._drop(peer)

    def _flush(self, peer: _Peer) -> None:
        try:
            peer.unsent = peer.unsent[peer.line.send(peer.unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(peer)
            return
        self._watch(peer)

    def _say(self, peer: _Peer, **answer: Any) -> None:
        if peer in self._peers and len(peer.unsent) < _UNREAD_MAX:
            peer.unsent += json.dumps(answer).encode() + b"\n"
            self._flush(peer)

    # -- requests

    def _asked(self, peer: _Peer, line: bytes) -> None:
        try:
            request = json.loads(line)
            answer = self._do(peer, dict(request))
        except (HandError, actions.ActionError) as error:
            self._say(peer, ok=False, error=str(error))
        except (ValueError, TypeError, RecursionError):
            self._say(peer, ok=False, error='a request is one JSON object: {"do": NAME, ...}')
        else:
            if answer is not None:
                self._say(peer, ok=True, **answer)

    def _do(self, peer: _Peer, request: dict[str, Any]) -> dict[str, Any] | None:
        name = request.pop("do", None)
        if name == "state":
            return {"state": self._state()}
        if name == "watch":
            peer.shown = len(self._world.trace)
            return {}
        if name == "wait":
            detail = {str(key): str(value) for key, value in dict(request.get("detail", {})).items()}
            until_us = self._world.now_us + round(float(request.get("within", 0)) * 1e6)
            peer.waits.append(_Wait(str(request.get("who")), str(request.get("what")), detail, until_us))
            self._tell(peer)
            return None
        if name in BENCH:
            self._since = len(self._world.trace)
            self._world.note("scene", name)
            BENCH[name][1](self._bracelet)
            return {}
        if name not in known():
            raise HandError(f"nothing that a hand can do: {name}; there are {', '.join(known())}")
        self._since = len(self._world.trace)
        actions.do(cast("Rig", self._bench), name, **request)  # these actions use no more of a rig than a _Bench has
        return {}

    def _state(self) -> dict[str, Any]:
        bracelet = self._bracelet
        return {
            "processor": bracelet.state,
            "port": bracelet.port.path,
            "led": bracelet.led.on,
            "strap": None if bracelet.strap is None else bracelet.strap.closed,
            "battery": bracelet.battery.percent,
        }

    # -- what is noticed

    def _look(self) -> None:
        self._world.after(_LOOK_US, self._look)
        self._feel()
        for peer in self._peers[:]:
            self._tell(peer)

    def _feel(self) -> None:
        """Take the motor's pulses as patterns when no other pulse has followed for a while."""
        pulses = self._bracelet.haptic.pulses[self._felt :]
        if not pulses or not pulses[-1].length_us:
            return
        if self._world.now_us - pulses[-1].at_us - pulses[-1].length_us > felt.APART_US:
            self._felt += len(pulses)
            for pattern in felt.read(pulses):
                if pattern.name != "ticks" or not self._ticking:  # a row of them is felt as one
                    self._world.note("wearer", "felt", pattern=pattern.name)
                self._ticking = pattern.name == "ticks"

    def _tell(self, peer: _Peer) -> None:
        events = self._world.trace.events
        for wait in peer.waits[:]:
            found = next((event for event in events[self._since :] if wait.matches(event)), None)
            if found:
                self._say(peer, ok=True, event=plain(found))
            elif self._world.now_us >= wait.until_us:
                self._say(peer, ok=False, error=f"{wait.who} {wait.what}: it did not happen")
            else:
                continue
            peer.waits.remove(wait)
        if peer.shown is not None:
            fresh, peer.shown = events[peer.shown :], len(events)
            for event in fresh:
                self._say(peer, event=plain(event))


def plain(event: TraceEvent) -> dict[str, Any]:
    return {"t": event.t_us / 1e6, "who": event.who, "what": event.what, **event.detail}


# -- the hand's side


class Line:
    """A connection to a `Hand`. Raises HandError when nobody listens there."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(os.fspath(path))
        except OSError as error:
            self._socket.close()
            raise HandError(f"{path}: no hwsim usb --control listens there ({error.strerror})") from None
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, do: str, patience_s: float = _PATIENCE_S, **more: Any) -> dict[str, Any]:
        """Send a request and return its answer. Raises HandError when the request is refused."""
        self._socket.settimeout(patience_s)
        try:
            self._socket.sendall(json.dumps({"do": do, **more}).encode() + b"\n")
        except OSError:
            raise HandError("hwsim usb has ended") from None
        answer = self.next()
        if not answer.get("ok"):
            raise HandError(str(answer.get("error")))
        return answer

    def next(self, patience_s: float | None = None) -> dict[str, Any]:
        """Return the next line. Raises TimeoutError when none comes, HandError at the end."""
        if patience_s is not None:
            self._socket.settimeout(patience_s)
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise
        except OSError:
            line = b""
        if not line:
            raise HandError("hwsim usb has ended")
        return dict(json.loads(line))


def do(control: Path, name: str, /, **more: Any) -> dict[str, Any]:
    """Do one action at the bracelet behind this socket, or ask for its "state". Raises HandError."""
    with Line(control) as line:
        return line.ask(name, **more)


def wait(control: Path, who: str, what: str, within: float, /, **detail: Any) -> dict[str, Any]:
    """Wait for an event since the last action and return it. Raises HandError when it has not come in `within`
    seconds."""
    with Line(control) as line:
        answer = line.ask("wait", within + _PATIENCE_S, who=who, what=what, within=within, detail=detail)
        return dict(answer["event"])


def pairs(words: Sequence[str]) -> dict[str, str]:
    """Read the name=value words of a command line. Raises HandError."""
    for word in words:
        if "=" not in word:
            raise HandError(f"{word}: a detail is NAME=VALUE")
    return dict(word.split("=", 1) for word in words)

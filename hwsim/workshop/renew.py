"""`flash.sh --update`: copy a signed bundle by cable to a bracelet in use, which keeps its identity and its journal.

The workshop copies a file and listens. The bracelet itself installs, tries and keeps the new program, or goes back to
the former one (firmware/updates.md). The proof is a drill of its own, to the relay that it belongs to, so no
relay is needed here.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nacl.signing import VerifyKey

from hwsim import bundle
from hwsim.board import Board
from hwsim.workshop import build
from hwsim.workshop.people import Person
from hwsim.workshop.tools import Cable
from hwsim.workshop.transcript import Life, event
from hwsim.workshop.trouble import Trouble

STEPS = {
    "copy": "copy the bundle",
    "install": "the bracelet checks and installs it",
    "trial": "it tries it: a drill of its own must be answered by its relay (up to 20 minutes)",
}
# The chips of ours that have a processor. A bundle for a desktop is for the simulator: the interpreter will say so.
_CHIPS = {"xtensawin": ("esp32", "esp32s3"), "rv32imc": ()}
_NEW, _BUNDLE = "update.new", "update.bin"
_ASK_S, _COPY_S, _INSTALL_S, _TRIAL_S, _LOOK_S = 60, 400, 300, 1500, 10
# The watchdog goes on when the firmware stops. It gets longer, so that it doesn't end the copying, and still brings the
# bracelet back to life when the cable is pulled. And the count of starts is cleared (boots.py): each look at the cable
# is a start, and after four short ones the bracelet would be in safe mode, which takes no updates.
_WATCHDOG = (
    f"import machine, esp32; machine.WDT(timeout={(_COPY_S + 60) * 1000}); machine.RTC().memory(b''); "
    "nvs = esp32.NVS('tocsin'); nvs.set_i32('starts', 0); nvs.commit()"
)

_ANEW = "make it anew with --from-start and --update-key"
_REFUSED = {
    "signature": "the bundle is not signed by the maker whose key it has: take one of that maker's, or " + _ANEW,
    "key": "it has no maker's key, so it takes no update: " + _ANEW,
    "version": "it runs this version or a higher one already, or has run it: an older one is never installed",
    "processor": "the bundle is for another processor or MicroPython: make one for it (hwsim bundle make --march)",
    "size": "the bundle was cut short or does not fit its slot: make it anew, and run this again",
    "digest": "what it read back is not what was signed: run this again; if it stays so, its flash is worn",
    "header": "what arrived is no bundle: run this again",
    "format": "the bundle's format is newer than its program: an update in between is needed, or " + _ANEW,
    "nvs": "it can't note what to start, its NVS is worn or damaged: make it anew with --from-start",
    "room": "its file system has no room for it: make it anew with --from-start",
    "OSError:28": "its file system has no room for it: make it anew with --from-start",
    "MemoryError": "it had too little memory at this moment: run this again",
    "IndexError": "its program knows no place for a second one: make it anew with --from-start",
    "AttributeError": "its MicroPython has no place for a second program: make it anew with --from-start",
}


class Course:
    """The course of an update to `version`, by the console: pure, so that every course can be tried without a board."""

    def __init__(self, version: int) -> None:
        self.installed = self.kept = False
        self.waits = False  # for an alarm or something undelivered
        self._version = str(version)
        self._life = Life()
        self._error = ""

    def hear(self, line: str) -> None:
        """Follow a line of the console. Raises Trouble when the update will not succeed."""
        found = event(line)
        if found is None:
            return
        name, values = found
        if name == "firmware":
            self._firmware(values)
        elif name == "refused" and values.get("what") == "update":
            reason = values.get("reason", "?")
            text = _REFUSED.get(reason, "nothing was changed; see firmware/updates.md, and run this again")
            raise Trouble(f"the bracelet refuses the update ({reason}): {text}")
        elif name == "blank":
            raise Trouble("this bracelet has no keys yet: make it first (flash.sh --relay), an update is for later")
        elif name == "boot" and values.get("mode") == "safe":
            raise Trouble(
                "the bracelet is in safe mode, which takes no updates, because it was started again and again: leave "
                "it alone for an hour, and run this again. If it stays so its program fails: make it anew"
            )
        elif name == "crashed":
            raise Trouble(f"its program can't start ({values.get('reason')}): make it anew with --from-start")
        elif name in ("published", "raised") or (name == "update" and "by" in values):  # of an alarm or a drill
            self.waits = not self.installed
        elif name in ("restarted", "stuck"):
            self._error = f"; its task {values.get('task')} ended ({values.get('reason', name)})"
        elif name in ("link", "sim", "failed"):
            self._life.hear(line)

    def _firmware(self, values: dict[str, str]) -> None:
        state, ours = values.get("state"), values.get("version") == self._version
        if state == "given_up" and self.installed:  # before that, the line is about an update that was on trial already
            raise Trouble(
                "the new program did not prove itself, and the former one is back: no receipt for its drill came "
                f"from the relay, the button was pressed, or it failed ({self.hints()}). Nothing is lost; run this "
                "again where it reaches its relay"
            )
        self.installed |= ours and state in ("installed", "trial")
        self.kept |= ours and state == "kept"

    def hints(self) -> str:
        return self._life.hints() + self._error


def read(file: Path, key: bytes | None, board: Board) -> tuple[bytes, bundle.Bundle]:
    """Read a bundle; return it and its content. Raises Trouble when it is none, not of this maker, or not for this
    board."""
    try:
        octets = file.read_bytes()
        found = bundle.check(octets, None if key is None else VerifyKey(key))
    except OSError as error:
        raise Trouble(f"{file}: can't be read ({error.strerror}); see --update") from None
    except bundle.BundleError as error:
        raise Trouble(f"{file}: {error}; nothing was touched") from None
    family = board["chip"]["family"]
    if found.march in _CHIPS and family not in _CHIPS[found.march]:
        raise Trouble(
            f"{file}: is for {found.march}, and {board.name} has an {family}; nothing was touched. Make one for it "
            "(hwsim bundle make --march)"
        )
    return octets, found


def run(cable: Cable, octets: bytes, found: bundle.Bundle, person: Person) -> dict[str, Any]:
    """Copy the bundle, and follow the bracelet until it keeps the new program. Raises Trouble when it doesn't."""
    course = Course(found.version)
    with _step(person, "copy"):
        try:
            _copy(cable, octets, found)
        except BaseException:
            # Somebody wears the bracelet: its program is to run again now, and not only when the watchdog ends.
            with contextlib.suppress(Trouble, OSError), cable.console() as console:
                console.reset()
            raise
    with cable.console() as console:
        with _step(person, "install"):
            console.reset()
            if not console.until(course.hear, lambda: course.waits or course.installed, _INSTALL_S):
                raise Trouble(f"the bracelet at {cable.port} has not installed it in {_INSTALL_S} s: {course.hints()}")
            if not course.installed:
                person.tell("an alarm or a drill is open, or something is not delivered yet: that goes first, it waits")
            if not console.until(course.hear, lambda: course.installed, _INSTALL_S):
                raise Trouble(
                    f"the bracelet at {cable.port} still has an alarm or a drill, or something undelivered. The update "
                    "waits there, and is installed by itself when all is over: run this again then, to see it kept"
                )
        with _step(person, "trial"):
            if not console.until(course.hear, lambda: course.kept, _TRIAL_S):
                raise Trouble(f"the bracelet at {cable.port} has not kept it in {_TRIAL_S} s: {course.hints()}")
    return {"version": found.version}


def _copy(cable: Cable, octets: bytes, found: bundle.Bundle) -> None:
    there = build.found(cable.mpremote("exec", f"{_WATCHDOG}\n{build.WHO}", within=_ASK_S), cable.port)
    if found.march not in (None, there.march):
        raise Trouble(
            f"the bundle is for {found.march}, and MicroPython at {cable.port} for {there.march or 'another one'}: "
            "nothing was changed. Make one for it (hwsim bundle make --march)"
        )
    with tempfile.NamedTemporaryFile(prefix="tocsin-") as file:
        file.write(octets)
        file.flush()
        # The file gets its own name only when it is whole: half a file is never taken for a bundle.
        rename = f"import os; os.rename('/{_NEW}', '/{_BUNDLE}')"
        words = "exec", _WATCHDOG, "+", "fs", "cp", "-f", file.name, f":{_NEW}", "+", "exec", rename
        try:
            cable.mpremote(*words, within=_COPY_S)
        except Trouble:
            with contextlib.suppress(Trouble):
                cable.mpremote("fs", "rm", f":{_NEW}", within=_LOOK_S)
            raise


@contextlib.contextmanager
def _step(person: Person, name: str) -> Iterator[None]:
    person.step(name, list(STEPS).index(name) + 1, len(STEPS), STEPS[name])
    begin, good = time.monotonic(), False
    try:
        yield
        good = True
    finally:
        person.verdict(name, good, time.monotonic() - begin)

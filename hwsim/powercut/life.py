"""The life of an alarm, the same each time: provisioned, armed, raised, sent, receipted, told anew, raised again
without any network, reset, called back, delivered, cleared. The supply fails at one flash operation of this life; then
the supply comes back, and the wearer holds the button once more.

The wearer and the world act by the clock and never ask the firmware anything. judge.py has the rules that must hold.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwsim.powercut import release
from hwsim.powercut.secrets import Secrets, chip_seeds
from hwsim.rig import Rig
from hwsim.world import Track, World
from hwsim.world.chip import CLEAN, TORN

LIVES = {
    "mqtt": "by MQTT over Wi-Fi",
    "sms": "by SMS, without Wi-Fi",
    "worn": "by MQTT, with a journal whose flash is worn out, so that NVS has to do",
    "update": "a new version is installed, tried and kept, then an alarm by MQTT",
    "files": "the same with the firmware in bundles, on a stock image of MicroPython",
}
# An invented walk through Tiergarten: the receiver's position never stands still for long.
TRACK = Track([(0, 52.5145731, 13.3500937, 34), (900, 52.5162743, 13.3771925, 36)])

_SLICE_S = 0.5
_ARMED_S = 5.0
_HOLD_S = 3.4
_SETTLED_S = 240.0  # an SMS that was lost on the way out comes again after a minute


@dataclass(frozen=True)
class Cut:
    """A failure of the supply: `at` counts the flash operations of the life, from 1; `how` is "clean" or "torn"."""

    at: int
    how: str = TORN


@dataclass
class Chip:
    """The flash chip at one moment, as somebody who reads it finds it."""

    flash: bytes
    nvs: bytes
    files: dict[str, bytes]
    kept: bytes  # the part of it that the firmware would find: files, the journal, NVS values; nothing erased
    sent: list[tuple[str, bytes]]  # (chain, octets) that had left the bracelet by then, each once


@dataclass
class Course:
    """The course of a life."""

    rig: Rig
    operations: int = 0  # of the chip, until the cut
    nvs_operations: int = 0
    stage: str = ""  # where in the life the cut fell
    cut: bool = False
    armed: bool = True  # False: the bracelet did not arm after one of its starts
    secrets: Secrets | None = None
    chips: list[tuple[str, Chip]] = field(default_factory=list)  # at the cut, and when all was over


class _SupplyGone(Exception):
    pass


class Life:
    def __init__(self, kind: str, cut: Cut | None, *, seed: int = 1, firmware: str | None = None) -> None:
        self._kind = kind
        self._cut = cut
        self._folder = tempfile.TemporaryDirectory(prefix="hwsim-powercut-")
        self.world = World(seed=seed)
        options: dict[str, Any] = {"track": TRACK, "firmware": firmware, "loaded": kind == "files"}
        self._renews = kind in ("update", "files")
        self.rig = Rig(self.world, Path(self._folder.name), wifi=kind != "sms", **options)
        self._bracelet = self.rig.bracelet
        self._used = 0  # operations of the starts before
        self.course = Course(self.rig)

    def __enter__(self) -> Life:
        return self

    def __exit__(self, *error: object) -> None:
        self.rig.close()
        self.world.close()
        self._folder.cleanup()

    def live(self) -> Course:
        course = self.course
        try:
            self._workshop()
            if self._renews:
                self._renewed()
            else:
                self._street()
        except _SupplyGone:
            course.cut = True
            course.operations = self._used + (self._bracelet.flash_operations or 0)
            course.chips.append(("at the cut", self._look()))
            self.world.note("powercut", "looked", stage=course.stage)
            self._afterwards()
        course.nvs_operations = self._bracelet.flash.nvs.operations
        self._off()
        course.chips.append(("at the end", self._look()))
        return course

    # -- the life

    def _workshop(self) -> None:
        """Provision the bracelet by the relay's offer, and carry the answer back."""
        self._stage("provisioning")
        self._bracelet.files.put("/offer.json", json.dumps(self.rig.offer).encode())
        self._on()
        self._go(2)
        self._off()
        self._carry_answer()

    def _carry_answer(self) -> None:
        answer = json.loads(self._bracelet.files.get("/answer.json"))
        self.rig.registry.complete(answer, now=self.world.unix_time)
        self.course.secrets = Secrets.of(self.rig.offer, answer, chip_seeds(self._bracelet))
        self._bracelet.flash.journal_worn = self._kind == "worn"

    def _street(self) -> None:
        rig = self.rig
        self._stage("arming")
        self._on()
        self._go(18)
        self._stage("alarm")
        self._hold(_HOLD_S)
        self._go(35)
        self._stage("no network")
        self._network(False)
        self._hold(_HOLD_S)
        self._go(6)
        self._stage("reset")
        self._bracelet.reset()
        self._go(8)
        self._stage("called back")
        for seconds in (0.1, 0.1, _HOLD_S):
            self._hold(seconds)
            self._go(0.2)
        self._go(3)
        self._stage("delivery")
        self._network(True)
        self._go(70)
        self._stage("cleared")
        rig.answers = True
        self._go(30)
        self.course.operations = self._used + self._bracelet.flash.operations

    def _renewed(self) -> None:
        """Start with a bundle in the file system, let it be installed and tried, which takes some 20 s, then alarm."""
        self._bracelet.files.put("/update.key", bytes(release.KEY.verify_key))
        self._bracelet.files.put("/update.bin", release.bundle(self._bracelet.firmware))
        self._stage("update")
        self._on()
        self._go(25)
        self._stage("alarm")
        self._hold(_HOLD_S)
        self._go(10)
        self.course.operations = self._used + self._bracelet.flash.operations

    def _afterwards(self) -> None:
        """Bring back supply and network, and let the wearer raise one more alarm, with no further cut."""
        self._bracelet.button.release()
        self._network(True)
        self._stage("afterwards")
        self.world.run(1)
        self._start()
        if self.course.secrets is None:
            self.world.run(1)
            self._off()
            self._carry_answer()
            self._start()
        self._settle()
        self.world.run(31)  # a hold within 30 s would be an Update
        # A wearer who presses during a trial waits for the long pulse of the former program.
        self._bracelet.button.hold(2 * _HOLD_S if self._renews else _HOLD_S)
        self._settle()
        self.world.run(20)

    # -- steps

    def _stage(self, name: str) -> None:
        if not self.course.cut:
            self.course.stage = name
        self.world.note("powercut", "stage", name=name)

    def _network(self, up: bool) -> None:
        self.rig.set_broker(up)
        self._bracelet.modem.service = up

    def _on(self) -> None:
        if self._cut:
            self._bracelet.flash.cut_how = self._cut.how
            self._bracelet.power_cut_at_flash_operation = self._cut.at - self._used
        self._bracelet.boot()

    def _off(self) -> None:
        if self._bracelet.state != "off":
            self._used += self._bracelet.flash.operations
            self._bracelet.power_cut()

    def _start(self) -> None:
        """Start the bracelet without a further cut, and note when it does not arm."""
        before = len(self.world.trace)
        self._bracelet.power_cut_at_flash_operation = None
        self._bracelet.boot()
        self.world.run(_ARMED_S)
        if self.world.trace.find(before, self._bracelet.firmware_name, "armed", {}) is None:
            self.course.armed = False

    def _go(self, seconds: float) -> None:
        """Let time pass, in slices, until the supply is gone."""
        end_us = self.world.now_us + round(seconds * 1e6)
        while self.world.now_us < end_us:
            self.world.run(min(_SLICE_S, (end_us - self.world.now_us) / 1e6))
            if self._bracelet.state == "off":
                raise _SupplyGone

    def _hold(self, seconds: float) -> None:
        self._bracelet.button.press()
        self._go(seconds)
        self._bracelet.button.release()

    def _settle(self) -> None:
        """Let time pass until every promised message has come through, or for as long as that may take at most."""
        end_us = self.world.now_us + round(_SETTLED_S * 1e6)
        while self.world.now_us < end_us:
            self.world.run(5)
            if promised(self.rig, self._kind).keys() <= delivered(self.rig) & set(self.rig.accepted()):
                return

    # -- the chip

    def _look(self) -> Chip:
        flash, files = self._bracelet.flash, self._bracelet.files.everything()
        values = [value for value in flash.nvs.values().values() if isinstance(value, bytes)]
        return Chip(
            self._bracelet.flash_path.read_bytes(),
            flash.nvs.image,
            files,
            b"\0".join([*files.values(), flash.journal, *values]),
            list(dict.fromkeys(sent(self.rig))),
        )


def promised(rig: Rig, life: str) -> dict[int, str]:
    """Return, by counter, the kind of each message that the bracelet sealed and must deliver in the end.

    By firmware/delivery.md these are all Alerts; Cancels wherever the journal can be written; and Updates by MQTT,
    while of those by SMS only the newest goes out now and then."""
    found: dict[int, str] = {}
    last = None
    for event in rig.world.trace:
        if event.who != rig.bracelet.firmware_name:
            continue
        if event.what == "raised" and event.detail["by"] != "trial":
            found[event.detail["counter"]] = "alert"
        elif event.what == "update":
            last = event.detail["counter"]
            if life == "mqtt":
                found[last] = "update"
        elif event.what == "cancelled" and last is not None and life != "worn":
            found[last] = "cancel"
    return found


def delivered(rig: Rig) -> set[int]:
    """Return the counters of the alarm messages whose receipt the bracelet has taken."""
    ours = [event for event in rig.world.trace if event.who == rig.bracelet.firmware_name]
    return {event.detail["counter"] for event in ours if event.what == "delivered"}


def sent(rig: Rig) -> list[tuple[str, bytes]]:
    """List every message that left the bracelet, as (chain, octets), in their order on each path."""
    out = []
    for message in rig.broker.published:
        kind = message.topic.rsplit("/", 1)[1]
        if kind != "ack":
            out.append(("heartbeat" if kind == "hb" else "alarm", message.payload))
    return out + [("alarm", sms.data) for sms in rig.world.sms.submitted if sms.sender == rig.bracelet.phone]


__all__ = ["CLEAN", "LIVES", "TORN", "TRACK", "Chip", "Course", "Cut", "Life", "delivered", "promised", "sent"]

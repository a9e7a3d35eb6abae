"""Take one board over the bench, step by step. Each step can be done twice; one that fails says why in a sentence."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwsim import bundle
from hwsim.board import Board
from hwsim.toolchain import ToolchainError
from hwsim.workshop import asked, build, images, partitions, plan, record, selftest_host, smsdrill_host
from hwsim.workshop.desk import Desk
from hwsim.workshop.people import BY_ENGINEER, Person
from hwsim.workshop.tools import FAST, MAC, Cable, Console
from hwsim.workshop.transcript import Life
from hwsim.workshop.trouble import Trouble
from hwsim.world.bracelet import FIRMWARE

_CHIP = re.compile(r"Chip type:\s+(ESP32(?:-[A-Z]\d+)?)")
_FLASH = re.compile(r"Detected flash size: (\d+)MB")
_LOOK_S, _ERASE_S, _WRITE_S, _START_S, _COPY_S = 60, 180, 600, 60, 300
_ARMED_S, _PATH_S, _HAND_S, _LATE_S = 90, 120, 180, 15


@dataclass(frozen=True)
class Options:
    image: Path | None
    state: Path  # folder of what is half done
    records: Path
    patience: float  # seconds until a receipt, and until an acceptance
    from_start: bool = False
    update_key: bytes | None = None  # public half of the maker's
    baud: int = FAST  # while images are written


@dataclass(frozen=True)
class Chip:
    family: str
    flash_mb: int
    mac: str


def look(cable: Cable) -> Chip:
    """Return the chip that is at the port."""
    said = cable.esptool("flash-id", within=_LOOK_S)
    chip, mac, flash = _CHIP.search(said), MAC.search(said), _FLASH.search(said)
    if not chip or not mac or not flash:
        raise Trouble(f"esptool found no chip that it knows with a flash at {cable.port}: is it an ESP32?")
    # "ESP32-D0WD-V3" and "ESP32-PICO-D4" are packages of the first one; "ESP32-S3" is another family.
    family = "".join(chip[1].lower().split("-")) if re.fullmatch(r"ESP32-[CHPS]\d+", chip[1]) else "esp32"
    return Chip(family, int(flash[1]), mac[1].replace(":", ""))


def refuse_wrong(chip: Chip, board: Board, port: str) -> None:
    """Raise Trouble when this can't be the board that was named."""
    wanted = board["chip"]
    if chip.family != wanted["family"]:
        raise Trouble(
            f"wrong board at {port}: its chip is an {chip.family}, and {board.name} has an {wanted['family']}. Nothing "
            "was written; name the right --board"
        )
    if chip.flash_mb < wanted["flash_mb"]:
        raise Trouble(
            f"wrong board at {port}: its flash has {chip.flash_mb} MB, and {board.name} has {wanted['flash_mb']}. "
            "Nothing was written; name the right --board"
        )


def key_id(key: bytes | None) -> str | None:
    """Return the name of the maker's key in the record: the begin of its SHA-256."""
    return None if key is None else hashlib.sha256(key).hexdigest()[:8]


class Bench:
    """The course of one board over the bench. `progress` says where the board stands."""

    def __init__(
        self,
        board: Board,
        chip: Chip,
        cable: Cable,
        desk: Desk,
        person: Person,
        options: Options,
    ) -> None:
        self._board, self._chip, self._cable = board, chip, cable
        self._desk, self._person, self._options = desk, person, options
        self._state = options.state / f"{chip.mac}.json"
        self._offer = options.state / f"{chip.mac}.offer.json"
        self._answer = options.state / f"{chip.mac}.answer.json"
        self._content: tuple[bytes, str, str] | None = None
        self.progress = plan.load(self._state, board.name)
        self._given_up, self._was_finished = None, ""
        if options.from_start:
            self._given_up, self._was_finished = self.progress.facts.get("kid"), self.progress.finished
            self.progress = plan.Progress(board.name)

    def run(self) -> dict[str, Any] | None:
        """Do all that is left to do. Return the record, or None when the board was finished before. Raises Trouble at
        the step that fails."""
        progress, person = self.progress, self._person
        if progress.finished:
            person.tell(f"this board was finished on {progress.finished}: --from-start erases it and begins anew")
            return None
        if self._given_up:
            kid = self._given_up
            person.tell(f"this board was {kid} until now; end that at the relay: relay bracelet revoke {kid} --now")
        if self._was_finished:
            person.tell(
                f"this board was a bracelet until now, finished on {self._was_finished}. Its key id is not kept with "
                f"its state: see the label on its box, or the records of {self._board.name} of that day in "
                f"{self._options.records}; end that at the relay: relay bracelet revoke KEY_ID --now"
            )
        if "install" in progress.done and progress.facts.get("update_key") != key_id(self._options.update_key):
            self._renew_key()
        if "install" in progress.done and "provision" not in progress.done and self._changed():
            progress.again_from("install")  # the self-test speaks to today's firmware only
        self._heed_changes()
        if progress.done:
            person.tell(f"goes on at: {plan.STEPS[progress.next() or 'record']}", resumed=progress.next())
        made: dict[str, Any] | None = None
        while (step := progress.next()) is not None:
            number = list(plan.STEPS).index(step) + 1
            person.step(step, number, len(plan.STEPS), plan.STEPS[step])
            begin = time.monotonic()
            try:
                with self._in_words(step):
                    facts = getattr(self, f"_do_{step}")()
            except BaseException:
                person.verdict(step, False, time.monotonic() - begin)
                progress.stopped(step)
                plan.save(self._state, progress)
                raise
            person.verdict(step, True, time.monotonic() - begin)
            if step == "record":
                made = facts
                facts = {}
            progress.did(step, facts)
            plan.save(self._state, progress)
        progress.finish(time.strftime("%Y-%m-%d"))
        plan.save(self._state, progress)
        return made

    def _heed_changes(self) -> None:
        """Go back to do what is asked for now, or refuse it: the board never gets what an earlier run was told."""
        progress, image = self.progress, self._options.image
        given = "provision" in progress.done
        differs = []
        if "write" in progress.done and image is not None and not self._is_written(image):
            differs.append("--image")
            if not given:
                progress.again_from("image")
        if "asked" in progress.facts and (changed := asked.changed(self._desk.asked(), progress.facts["asked"])):
            differs += changed
            if not given:
                self._withdraw_offer()
        if differs and given:
            raise Trouble(
                f"{', '.join(differs)}: not as in the run before, and this board has what that run was told. Run this "
                "with the same options, or make it anew with --from-start"
            )
        if differs:
            self._person.tell(f"{', '.join(differs)}: not as in the run before; what is asked for now is done")

    def _is_written(self, image: Path) -> bool:
        try:
            digest = hashlib.sha256(image.read_bytes()).hexdigest()
        except OSError as error:
            raise Trouble(f"{image}: the image can't be read ({error.strerror}); see --image") from None
        return bool(digest == self.progress.facts["image"]["sha256"])

    def _withdraw_offer(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError):  # it had none yet
            self._desk.withdraw(json.loads(self._offer.read_bytes())["kid"])
        self._offer.unlink(missing_ok=True)
        if "offer" in self.progress.done:
            self.progress.again_from("offer")

    def _changed(self) -> bool:
        """Tell whether the firmware on the board is another than ours is now."""
        facts = self.progress.facts
        return bool(facts["firmware"]["sha256"] != build.digest(build.compiled(facts["march"])))

    def _renew_key(self) -> None:
        key = self._options.update_key
        put = f"with open('/{build.KEY}', 'wb') as file: file.write({key!r})"
        self._cable.mpremote("exec", build.NO_KEY if key is None else put, within=_START_S)
        self._note(update_key=key_id(self._options.update_key))

    @contextlib.contextmanager
    def _in_words(self, step: str) -> Iterator[None]:
        try:
            yield
        except ToolchainError as error:
            raise Trouble(str(error)) from None
        except OSError as error:
            raise Trouble(f"{step}: {error.filename or 'this computer'}: {error.strerror or error}") from None

    # -- MicroPython

    def _image(self) -> tuple[bytes, str, str]:
        """Return the image as its maker made it, its SHA-256, and who vouches for that."""
        if self._content is None:
            section = self._board.sections.get("image")
            if section is None:
                raise Trouble(f"{self._board.name}: its file has no [image]; see board_configs/README.md")
            notes = self._options.state / "images.json"
            self._content = images.get(section, self._options.image, lambda text: self._person.ask("hash", text), notes)
        return self._content

    def _table(self) -> list[partitions.Partition]:
        content, offset = self._image()[0], self._board["image"]["offset"]
        table, flash = partitions.table_of(content, offset), self._chip.flash_mb << 20
        wanted = self._board.sections.get("partitions")
        if wanted is None:
            raise Trouble(f"{self._board.name}: its file has no [partitions]; see board_configs/README.md")
        return partitions.with_journal(table, wanted["vfs_offset"], wanted["journal_offset"], flash)

    @contextlib.contextmanager
    def _file(self) -> Iterator[tuple[str, str]]:
        """Yield the address and name of a file with the content for the flash."""
        offset = self._board["image"]["offset"]
        file = self._options.state / f"{self._chip.mac}.bin"
        file.write_bytes(partitions.replaced(self._image()[0], offset, self._table()))
        try:
            yield hex(offset), str(file)
        finally:
            file.unlink()

    def _do_image(self) -> dict[str, Any]:
        rom = partitions.romfs(self._table())
        if rom is None and not self._board["chip"].get("psram_mb", 0):
            raise Trouble(
                f"this image has no romfs partition, and {self._board.name} no PSRAM: loaded from a file the firmware "
                "has no room in its heap. Build firmware/image/TOCSIN_ESP32, and name it with --image FILE; nothing "
                "was written to the board"
            )
        _, digest, by = self._image()
        image = {"micropython": self._board["image"]["micropython"], "sha256": digest, "sha256_by": by}
        return {"image": image, "romfs": None if rom is None else [rom.offset, rom.size]}

    def _do_erase(self) -> dict[str, Any]:
        self._offer.unlink(missing_ok=True)
        self._answer.unlink(missing_ok=True)
        self._cable.esptool("erase-flash", within=_ERASE_S)
        return {}

    def _do_write(self) -> dict[str, Any]:
        with self._file() as (address, file):
            self._cable.esptool("write-flash", address, file, within=_WRITE_S, progress=self._person.progress)
        return {}

    def _do_verify(self) -> dict[str, Any]:
        with self._file() as (address, file):
            said = self._cable.esptool("verify-flash", address, file, within=_WRITE_S)
        if "Verification successful" not in said:
            raise Trouble(f"the flash at {self._cable.port} does not hold what was written: run this with --from-start")
        return {}

    def _do_start(self) -> dict[str, Any]:
        there = build.found(self._cable.mpremote("exec", build.WHO, within=_START_S), self._cable.port)
        if self.progress.facts["romfs"] is None:
            build.refuse_small(there.heap, self._cable.port)
        return {"march": there.march, "interpreter": there.version}

    # -- the firmware

    def _do_install(self) -> dict[str, Any]:
        made = build.compiled(self.progress.facts["march"])
        rom = self.progress.facts["romfs"]
        if rom is not None:
            offset, size = rom
            image = build.rom(made, self._options.state / f"{self._chip.mac}.romfs", size)
            try:
                words = "write-flash", hex(offset), str(image)
                self._cable.esptool(*words, within=_WRITE_S, progress=self._person.progress)
            finally:
                image.unlink(missing_ok=True)
        program = build.bundled(made, self.progress.facts["march"]) if rom is None else {}
        files = build.files(self._board, self._options.update_key, program)
        stage = self._options.state / f"{self._chip.mac}.files"
        build.install(self._cable, files, stage, _COPY_S, on_rom=rom is not None)
        firmware = {"version": bundle.version_of(FIRMWARE), "sha256": build.digest(made), "rom": rom is not None}
        return {"firmware": firmware, "update_key": key_id(self._options.update_key)}

    def _do_selftest(self) -> dict[str, Any]:
        made = build.compiled(self.progress.facts["march"])
        return {"selftest": selftest_host.run(self._cable, made, self._board, self._person)}

    # -- keys

    def _do_offer(self) -> dict[str, Any]:
        if not self._offer.exists():
            self._desk.check()
            self._note(asked=asked.noted(self._desk.asked()))
            self._desk.offer(self._offer)
        offer = json.loads(self._offer.read_bytes())
        return {"kid": offer["kid"], "relay_id": offer["relay_id"], "texts": bool(offer.get("sms"))}

    def _do_provision(self) -> dict[str, Any]:
        made = build.compiled(self.progress.facts["march"])
        offer, last = (str(self._offer), ":offer.json"), (str(made / "main.py"), ":main.py")
        self._cable.mpremote("fs", "cp", *offer, "+", "fs", "cp", *last, within=_COPY_S)
        with self._cable.console() as console:
            console.reset()
            life = Life()
            if not console.until(life.hear, lambda: life.armed, _ARMED_S):
                raise Trouble(f"the bracelet at {self._cable.port} was not armed within {_ARMED_S} s: {life.hints()}")
        return {}

    def _do_answer(self) -> dict[str, Any]:
        self._cable.mpremote("fs", "cp", ":answer.json", str(self._answer), within=_LOOK_S)
        try:
            kid = json.loads(self._answer.read_bytes())["kid"]
        except (ValueError, TypeError, KeyError):
            raise Trouble(f"the answer of the bracelet at {self._cable.port} is damaged; run this again") from None
        if kid != self.progress.facts["kid"]:
            raise Trouble("the bracelet answers another offer than it was given: run this with --from-start")
        self._desk.answer(self._answer)
        self._offer.unlink(missing_ok=True)
        self._answer.unlink(missing_ok=True)
        return {}

    # -- the drill

    def _note(self, **facts: Any) -> None:
        """Note these facts at once, so that the run after an interruption goes on and doesn't repeat."""
        self.progress.facts |= facts
        plan.save(self._state, self.progress)

    def _do_drill(self) -> dict[str, Any]:
        facts = self.progress.facts
        if "drill" not in facts:
            self._desk.await_relay(self._person)
            with self._cable.console() as console:
                self._note(drill=self._drilled(console))
                self._desk.close(f"{facts['kid']}-{facts['raised']}")
        else:
            self._person.tell("its drill was accepted before")
            with contextlib.suppress(Trouble):  # it is closed already
                self._desk.close(f"{facts['kid']}-{facts['raised']}")
        for noted in ("receipt", "answered"):
            facts.pop(noted, None)
        return {"drill": facts["drill"]}

    def _drilled(self, console: Console) -> dict[str, Any]:
        """Go on from the engineer's gesture, or from where the last run was interrupted, until the bracelet has the
        acceptance."""
        facts, person, patience = self.progress.facts, self._person, self._options.patience
        life = Life(facts.get("raised"))
        console.reset()
        if not console.until(life.hear, lambda: life.armed, _ARMED_S):
            raise Trouble(f"the bracelet at {self._cable.port} was not armed within {_ARMED_S} s: {life.hints()}")
        if not console.until(life.hear, lambda: bool(life.paths & {"mqtt", "sms"}), _PATH_S):
            raise Trouble(f"the bracelet found no way to the relay in {_PATH_S} s: {life.hints()}")
        if "answered" in facts and not console.until(life.hear, lambda: life.accepted, _LATE_S):
            person.tell("the drill of the last run was accepted, and nobody saw whether that came: another is needed")
            with contextlib.suppress(Trouble):  # it is closed already
                self._desk.close(f"{facts['kid']}-{facts['raised']}")
            console.until(life.hear, lambda: life.closed, _LATE_S)
            for noted in ("raised", "receipt", "answered"):
                facts.pop(noted, None)
            life.forget()
        if life.raised is not None and "receipt" not in facts:
            person.tell("a drill was raised before: waits for its receipt")
            if console.until(life.hear, lambda: life.delivered, _LATE_S):
                self._note(receipt=[life.path, None])
        if "receipt" not in facts:
            receipt_s = self._drill(console, life)
            self._note(receipt=[life.path, receipt_s])
        if "answered" not in facts:
            alarm = f"{facts['kid']}-{life.raised}"
            answer = person.ask("accept", f"The relay has drill {alarm}. Have you seen it there, and accept it?")
            if answer.yes:
                try:
                    self._desk.accept(alarm)
                except Trouble:  # somebody there was quicker?
                    if not console.until(life.hear, lambda: life.accepted, _LATE_S):
                        raise
                self._note(answered=answer.by)
            if not console.until(life.hear, lambda: life.accepted, patience):
                raise Trouble(f"nobody's acceptance reached the bracelet within {patience:g} s (relay accept {alarm})")
        path, receipt_s = facts["receipt"]
        return {
            "counter": life.raised,
            "path": path,
            "receipt_s": receipt_s,
            "receipt": True,
            "accepted": True,
            "accepted_by": facts.get("answered", BY_ENGINEER),
        }

    def _drill(self, console: Console, life: Life) -> float:
        """Wait for the engineer's gesture and for its receipt; return the seconds that the receipt took."""
        person, patience = self._person, self._options.patience
        person.do(
            "drill",
            "Raise a drill: hold the button and let go after the SECOND tick; tap 4 times; when two ticks were "
            "felt, hold until the long pulse (3 s)",
        )
        if not console.until(life.hear, lambda: life.sent is not None, _HAND_S):
            word = "announced, but not held in time" if life.armed_drill else "not announced"
            raise Trouble(f"no drill was raised in {_HAND_S} s ({word}): run this again")
        begin = time.monotonic()
        self._note(raised=life.raised)  # it goes on being sent: the next run must not raise another
        if not console.until(life.hear, lambda: life.delivered, patience):
            raise Trouble(
                f"the drill was raised, and no receipt of the relay came within {patience:g} s: does it run, can "
                f"the bracelet reach it? ({life.hints()})"
            )
        return round(time.monotonic() - begin, 1)

    # -- and one by SMS

    def _do_sms(self) -> dict[str, Any]:
        facts, desk = self.progress.facts, self._desk
        if not facts.get("texts", True):
            return {"sms": smsdrill_host.NOT_CONFIGURED}
        if self._changed():
            raise Trouble(
                "the firmware on the board is another than the one here, which the drill by SMS speaks to: use the "
                f"version that it was made with ({facts['firmware']['version']}), or run this with --from-start"
            )
        desk.check()
        texted: list[int] = facts.setdefault("texted", [])  # its drills, those of interrupted runs, too

        def note(counter: int) -> None:
            texted.append(counter)
            plan.save(self._state, self.progress)

        made, patience, way = build.compiled(facts["march"]), self._options.patience, facts["drill"]["path"]
        try:
            return {"sms": smsdrill_host.run(self._cable, made, self._person, patience, way, note)}
        finally:
            for counter in texted:
                with contextlib.suppress(Trouble):  # it has not arrived, or is closed already
                    desk.close(f"{facts['kid']}-{counter}")

    def _do_record(self) -> dict[str, Any]:
        facts = dict(self.progress.facts)
        for ours in ("raised", "texts", "texted", "asked"):
            facts.pop(ours, None)
        made: dict[str, Any] = {
            "tocsin_record": 1,
            "kid": facts.pop("kid"),
            "board": self._board.name,
            "date": time.strftime("%Y-%m-%d"),
            "chip": {"family": self._chip.family, "flash_mb": self._chip.flash_mb},
            **facts,
            "unverified": self._board.unverified,
        }
        made["not_asked"] = sorted(
            [part for part, result in made["selftest"].items() if result["by"] == "not asked"]
            + (["accepted"] if made["drill"]["accepted_by"] == "not asked" else [])
            + (["image"] if made["image"]["sha256_by"] == "not asked" else [])
        )
        file, label, code = record.write(self._options.records, made)
        self._person.record(made, file, label, code)
        return made

"""flash.sh against simulated boards, with the stock esptool and mpremote and a real relay."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from nacl.signing import SigningKey

from hwsim.board import CONFIGS, load
from hwsim.workshop import bench as workshop
from hwsim.workshop import plan, rehearse, tools
from hwsim.workshop.__main__ import main
from hwsim.workshop.desk import choose
from hwsim.workshop.people import BY_ENGINEER, Answer, Person
from hwsim.workshop.rehearse import Relay, SimBoard, flash

pytestmark = pytest.mark.xdist_group("flash")
KINDS = ("lilygo-t-a7670", "lilygo-t-sim7670g-s3", "devkit")  # esp32 and esp32s3 from files, esp32 from a ROMFS
KEY = bytes(SigningKey(bytes(range(32))).verify_key)
PARTS = ("button", "strap", "battery", "led", "haptic", "modem", "sim", "network", "gnss")


@pytest.fixture(scope="module")
def reached_by_sms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Relay, SimBoard]]:
    """A running relay, and the board that its modem is in one world with."""
    folder = tmp_path_factory.mktemp("bench")
    relay = Relay(folder / "relay", folder / "modem")
    board = SimBoard(folder, "ttyUSB0", KINDS[1], 2, relay.port, folder / "modem")
    try:
        relay.start()
        yield relay, board
    finally:
        relay.stop()
        board.close()


@pytest.fixture(scope="module")
def relay(reached_by_sms: tuple[Relay, SimBoard]) -> Relay:
    return reached_by_sms[0]


class Interrupted(Person):
    """An engineer with a simulated board, who presses Ctrl-C once in every step: when all of it is done and nothing
    noted, so that it is done twice; or, where that takes long, when it has just been noted. And when asked whether the
    drill is accepted. And who did not feel the motor the first time."""

    LONG = ("selftest",)

    def __init__(self, board: SimBoard) -> None:
        super().__init__(True)
        self._board = board
        self._last = ""
        self.stopped: list[str] = []
        self.drills = 0
        self.asked: list[str] = []

    def ask(self, question: str, wording: str) -> Answer:
        if question == "accept":
            self._stop(question)
        self.asked.append(question)
        answer = self._board.answer(question)
        return Answer(answer and (question, self.asked.count(question)) != ("felt", 1), BY_ENGINEER)

    def do(self, what: str, wording: str) -> None:
        self.drills += what == "drill"
        self._board.do(what)

    def _stop(self, name: str) -> None:
        if name and name not in self.stopped:
            self.stopped.append(name)
            raise KeyboardInterrupt

    def step(self, name: str, number: int, of: int, wording: str) -> None:
        if self._last in self.LONG:
            self._stop(self._last)
        self._last = name

    def verdict(self, name: str, good: bool, seconds: float) -> None:
        if not good:
            assert (name, self.stopped[-1]) == ("drill", "accept")
            return
        if name not in self.LONG:
            self._stop(name)


def wrong(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of all that was said, what a failure is about."""
    return [told for told in said if told.keys() & {"trouble", "stderr", "verdict"}]


def in_one_go(board: SimBoard, folder: Path, kind: str, number: int, relay: Relay) -> dict[str, Any]:
    """With a drill by SMS, in the middle of which the cable is pulled."""
    options = rehearse.options(folder, relay.folder, rehearse.stand_in(folder / "image.bin", kind))
    options = ["--board", kind, "--port", str(board.name), *options, "--sms", rehearse.NUMBER, "--assume", "seen"]

    def pull(told: dict[str, Any]) -> bool:
        if "raised" in told:
            board.unplug()
        return False

    status, said = flash(board, *options, hear=pull)
    assert status == 1, said
    assert next(told["trouble"] for told in said if "trouble" in told).startswith("the board is gone from")
    board.plug()
    status, said = flash(board, *options)
    assert status == 0, wrong(said)
    assert [told["step"] for told in said if "verdict" in told] == ["sms", "record"]
    (made,) = [told["record"] for told in said if "record" in told]
    happened = board.world.call(lambda: list(board.world.trace))
    first, second = (event.detail["counter"] for event in happened if event.detail.get("by") == "trial")
    assert made["sms"]["counter"] == second and made["sms"]["receipt_s"] > 0
    for counter in (made["drill"]["counter"], second):  # the relay has them, and they are over
        with pytest.raises(subprocess.CalledProcessError) as closed:
            relay.command("close", f"{made['kid']}-{counter}", "--data", str(relay.folder))
        assert "closed" in closed.value.stderr
    assert len({made["drill"]["counter"], first, second}) == 3
    return dict(made)


def interrupted(folder: Path, kind: str, number: int, relay: Relay) -> dict[str, Any]:
    """A new Bench after each interruption, as a new run has it; from a certain point on with a maker's key."""
    picture = rehearse.stand_in(folder / "image.bin", kind)
    board = SimBoard(folder, "ttyUSB0", kind, number, relay.port)
    person = Interrupted(board)
    options = workshop.Options(picture, folder / "state", folder / "records", 120.0)
    options.state.mkdir()
    desk = choose(relay.folder, "interrupted", ["--wifi", f"{rehearse.SSID}:{rehearse.WIFI_KEY}"])
    try:
        cable = tools.Cable(str(board.name), folder / "log")
        chip = workshop.look(cable)
        while True:
            known = plan.load(options.state / f"{chip.mac}.json", kind)
            assert known.done == list(plan.STEPS)[: len(known.done)]
            if "provision" in known.done:
                options = dataclasses.replace(options, update_key=KEY)
            with contextlib.suppress(KeyboardInterrupt):
                workshop.Bench(load(kind), chip, cable, desk, person, options).run()
                break
        assert board.bracelet.files.get("/update.key") == KEY
        assert [each for each in person.stopped if each != "accept"] == list(plan.STEPS)
        assert person.asked.count("felt") == 2
        assert ("accept" in person.stopped, person.drills) == (True, 1)  # what came before that needs no second one
        assert plan.load(options.state / f"{chip.mac}.json", kind).finished
        left = {file.name for file in options.state.iterdir()}
        assert left == {f"{chip.mac}.json", "images.json"}  # no offer lies about
        (record,) = (folder / "records").glob("*.json")
        made: dict[str, Any] = json.loads(record.read_text())
        return made
    finally:
        board.close()


def in_a_batch(folder: Path, kind: str, number: int, relay: Relay) -> dict[str, Any]:
    """Two of them, with an image that has a ROMFS, and a maker's key; the last one's record."""
    (folder / "maker.pub").write_bytes(KEY)
    update_key = "--update-key", str(folder / "maker.pub")
    status, said = rehearse.many(folder, kind, 2, relay, lambda text: None, *update_key, seed=number)
    assert status == 0, wrong(said)
    (table,) = [told["table"] for told in said if "table" in told]
    records = [told["record"] for told in said if "record" in told]
    assert [row["kid"] for row in table] == [made["kid"] for made in records]
    assert [Path(row["port"]).name for row in table] == ["ttyUSB1", "ttyUSB2"]
    assert all(row["good"] and row["receipt_s"] is not None for row in table)
    assert len({made["kid"] for made in records}) == 2
    return records[-1]


@pytest.mark.long
@pytest.mark.timeout(600)  # whole lives in real time, on a machine that has much else to do
def test_three_kinds_of_board_from_start_to_receipt(reached_by_sms, tmp_path):
    """One of them interrupted in every step, one an ESP32-S3 with a drill by SMS, one a batch."""
    relay, texting = reached_by_sms
    courses = (interrupted, functools.partial(in_one_go, texting), in_a_batch)
    with ThreadPoolExecutor(3) as pool:
        lives = []
        for number, (kind, course) in enumerate(zip(KINDS, courses, strict=True), 1):
            folder = tmp_path / kind
            folder.mkdir()
            lives.append(pool.submit(course, folder, kind, number, relay))
        records = [life.result() for life in lives]
    entries = json.loads(relay.command("bracelet", "list", "--data", str(relay.folder), "--json"))
    assert [each["state"] for each in entries] == ["active"] * 4  # interruptions cost no offer
    assert {made["kid"] for made in records} < {each["kid"] for each in entries}
    for made, kind in zip(records, KINDS, strict=True):
        text = (tmp_path / kind / "records" / f"{made['kid']}.json").read_text()
        assert json.loads(text) == made
        assert (tmp_path / kind / "records" / f"{made['kid']}.png").read_bytes().startswith(b"\x89PNG")
        assert (made["board"], made["chip"]["family"]) == (kind, load(kind)["chip"]["family"])
        assert (made["drill"]["receipt"], made["drill"]["accepted"], made["drill"]["path"]) == (True, True, "mqtt")
        assert made["sms"]["result"] == ("good" if kind == KINDS[1] else "not configured")
        fitted = dict.fromkeys(PARTS, "good") | ({} if "strap" in load(kind).sections else {"strap": "not fitted"})
        if load(kind)["power"].get("usb_replaces_cell"):
            fitted["battery"] = "not measured"
        if kind == KINDS[1]:  # where nobody was asked about the light, the record doesn't say that it was seen
            fitted["led"] = "not asked"
        assert {part: result["result"] for part, result in made["selftest"].items()} == fitted
        assert made["not_asked"] == [part for part in PARTS if fitted[part] == "not asked"]
        assert made["firmware"]["rom"] == (kind == KINDS[2])  # run from a ROMFS where the image has one
        assert "asked" not in made, "what the offer was made with is the bench's own"
        assert made["update_key"] == (None if kind == KINDS[1] else workshop.key_id(KEY))
        for private in (rehearse.WIFI_KEY, rehearse.NAME, "+1000", "interrupted", "bench"):
            assert private not in text


# -- what goes wrong


def said_in_a_sentence(*arguments: str) -> str:
    """flash.sh in this process, to its failure."""
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert done.exit_code == 1, done.output
    told = [json.loads(line) for line in done.stdout.splitlines()]
    (trouble,) = [line["trouble"] for line in told if "trouble" in line]
    assert "\n" not in trouble
    return str(trouble)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    return rehearse.stand_in(tmp_path_factory.mktemp("image") / "built.bin", "devkit")


@pytest.fixture(scope="module")
def erased(relay, tmp_path_factory):
    """A board that nothing is written to."""
    board = SimBoard(tmp_path_factory.mktemp("erased"), "ttyUSB0", "devkit", 9, relay.port)
    yield board
    assert set(board.bracelet.flash_path.read_bytes()) == {0xFF}
    board.close()


def test_a_wrong_board_is_refused(relay, picture, erased, tmp_path):
    options = rehearse.options(tmp_path, relay.folder, picture)
    said = said_in_a_sentence("--board", "walter", "--port", str(erased.name), *options)
    assert said == (
        f"wrong board at {erased.name}: its chip is an esp32, and walter has an esp32s3. Nothing was written; name the "
        "right --board"
    )
    larger = tmp_path / "devkit.toml"
    larger.write_text((CONFIGS / "devkit.toml").read_text().replace("flash_mb = 4", "flash_mb = 16"))
    said = said_in_a_sentence("--board", str(larger), "--port", str(erased.name), *options)
    assert "its flash has 4 MB, and devkit has 16" in said


def test_a_bad_image_is_refused(relay, picture, erased, tmp_path):
    known = tmp_path / "devkit.toml"
    text = (CONFIGS / "devkit.toml").read_text()
    known.write_text(text.replace('sha256 = ""', f'sha256 = "{"0" * 64}"'))
    own = tmp_path / load("devkit")["image"]["file"]
    own.write_bytes(picture.read_bytes())
    options = rehearse.options(tmp_path, relay.folder, own)
    said = said_in_a_sentence("--board", str(known), "--port", str(erased.name), *options)
    assert "bad image, its SHA-256 is" in said and "nothing was written" in said
    own.write_bytes(b"not an image")
    options = rehearse.options(tmp_path, relay.folder, own)
    said = said_in_a_sentence("--board", "devkit", "--port", str(erased.name), *options, "--assume", "hash")
    assert "no partition table" in said


def test_an_image_for_which_the_board_has_too_little_memory_is_refused(relay, erased, tmp_path):
    stock = rehearse.stand_in(tmp_path / "stock.bin", "devkit", stock=True)
    options = [*rehearse.options(tmp_path, relay.folder, stock), "--assume", "hash"]
    said = said_in_a_sentence("--board", "devkit", "--port", str(erased.name), *options)
    assert "no romfs partition, and devkit no PSRAM" in said and "Build firmware/image/TOCSIN_ESP32" in said
    finished = plan.Progress("devkit")
    finished.finish("2026-01-02")
    plan.save(tmp_path / "state" / f"{erased.bracelet.unique_id}.json", finished)
    words = ["--board", "devkit", "--port", str(erased.name), *options, "--from-start"]
    said = CliRunner().invoke(main, words).output
    assert "was a bracelet until now, finished on 2026-01-02" in said and f"devkit of that day in {tmp_path}" in said


def test_what_is_no_key_is_refused_before_anything_is_touched(tmp_path):
    (tmp_path / "maker").write_text(bytes(32).hex())
    (tmp_path / "zero.pub").write_bytes(bytes(32))  # a point of order 4
    (tmp_path / "one.pub").write_bytes(b"\x01" + bytes(31))  # the neutral one
    for file in ("maker", "none.pub", "zero.pub", "one.pub"):
        done = CliRunner().invoke(main, ["--board", "devkit", "--dry-run", "--update-key", str(tmp_path / file)])
        assert done.exit_code == 2 and f"{file} is no public key" in done.output
    (tmp_path / "maker.pub").write_bytes(KEY)
    done = CliRunner().invoke(main, ["--board", "devkit", "--dry-run", "--update-key", str(tmp_path / "maker.pub")])
    assert f"update key {workshop.key_id(KEY)}" in done.output


def test_without_a_relay_nothing_is_begun(relay, picture, erased, tmp_path):
    folder = tmp_path / "relay"
    options = rehearse.options(tmp_path, folder, picture)
    folder.mkdir()
    assert "run `relay init" in said_in_a_sentence("--board", "devkit", "--port", str(erased.name), *options)
    Relay.command("init", str(tmp_path / "other"))
    options[1] = str(tmp_path / "other")
    said = said_in_a_sentence("--board", "devkit", "--port", str(erased.name), *options)
    assert "no relay is running on" in said and "relay run --data" in said
    (tmp_path / "file").write_text("{}")
    options = ["--relay", str(tmp_path / "file")]
    assert "is no file of `relay bracelet export`" in said_in_a_sentence("--board", "devkit", *options)
    assert CliRunner().invoke(main, ["--board", "devkit"]).exit_code == 2


def test_no_port(relay, picture, tmp_path):
    options = rehearse.options(tmp_path, relay.folder, picture)
    said = said_in_a_sentence("--board", "devkit", "--port", str(tmp_path / "ttyUSB7"), *options)
    assert "no such port" in said


# All but 40 KB.
FILL = """
import os
with open('/full', 'wb') as file:
    block = bytes(4096)
    for _ in range(os.statvfs('/')[3] - 10):
        file.write(block)
"""


@pytest.mark.long
@pytest.mark.timeout(600)  # whole lives in real time, on a machine that has much else to do
def test_no_sim_a_full_file_system_and_an_unplugged_cable(relay, tmp_path):
    kind = KINDS[0]  # whose firmware is in files
    picture = rehearse.stand_in(tmp_path / "stock.bin", kind)
    board = SimBoard(tmp_path, "ttyUSB0", kind, 8, relay.port)
    bracelet, world = board.bracelet, board.world
    options = ["--board", kind, "--port", str(board.name), *rehearse.options(tmp_path, relay.folder, picture)]

    def trouble_at(step: str, happens: Callable[[], object], *more: str) -> str:
        def hear(told: dict[str, Any]) -> bool:
            if told.get("step") == step and "verdict" not in told:
                happens()
            return False

        status, said = flash(board, *options, *more, hear=hear)
        assert status == 1 and not any("stderr" in told for told in said), said
        assert [told["step"] for told in said if told.get("verdict") == "failed"] == [step]
        (trouble,) = [told["trouble"] for told in said if "trouble" in told]
        return str(trouble)

    try:
        said = trouble_at("selftest", lambda: world.call(lambda: setattr(bracelet.modem, "sim", False)))
        assert "no SIM: the modem finds no card" in said
        ended = lambda told: told.get("step") == "start" and "verdict" in told  # noqa: E731
        status, said = flash(board, *options, "--from-start", hear=ended)
        assert (status, said[-1]["tell"]) == (1, "\nflash.sh: interrupted; run this again, and it goes on here"), said
        tools.Cable(str(board.name), tmp_path / "log").mpremote("exec", FILL, within=90)
        said = trouble_at("install", lambda: None)
        assert "the file system of the board at" in said and "is full" in said
        said = trouble_at("install", board.unplug)
        assert said.startswith(f"the board is gone from {board.name}: cable unplugged")
    finally:
        board.close()

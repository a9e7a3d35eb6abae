"""A run that goes on with a board does what is asked for now, or refuses it: an option is never ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hwsim.board import load
from hwsim.workshop import asked, build, plan
from hwsim.workshop.bench import Bench, Chip, Options, key_id
from hwsim.workshop.desk import choose
from hwsim.workshop.people import Person
from hwsim.workshop.tools import Cable
from hwsim.workshop.trouble import Trouble
from relay.assembly import Relay
from relay.cli import main as relay_main
from relay.datadir import DataDir

BOARD, MAC, MARCH = "devkit", "a0b1c2d3e4f5", "xtensawin"
WIFI = ["--wifi", "home:12345678"]


def test_only_what_differs_is_named() -> None:
    before = asked.noted({"--wifi": "home:12345678", "--host": "a"})
    assert asked.changed({"--wifi": "home:12345678", "--host": "a"}, before) == []
    assert asked.changed({"--wifi": "home:12345679", "--host": "a"}, before) == ["--wifi"]
    assert asked.changed({"--host": "b", "--apn": "x"}, before) == ["--apn", "--host", "--wifi"]


def test_no_secret_is_kept() -> None:
    kept = json.dumps(asked.noted({"--wifi": "home:12345678"}))
    assert "home" not in kept
    assert "12345678" not in kept
    assert asked.noted({"--host": "a"}) != asked.noted({"--host": "a"}), "salted"


class AtTheBench:
    """A board that has come to a step in a run before, with the offer that it got then."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "state"
        self.data = folder / "relay"
        assert CliRunner().invoke(relay_main, ["init", str(self.data)]).exit_code == 0
        self.state.mkdir()
        self.offer = self.state / f"{MAC}.offer.json"
        desk = choose(self.data, "bench", WIFI)
        desk.offer(self.offer)
        self.kid = json.loads(self.offer.read_text())["kid"]
        digest = build.digest(build.compiled(MARCH))
        self.facts: dict[str, Any] = {
            "asked": asked.noted(desk.asked()),
            "kid": self.kid,
            "march": MARCH,
            "update_key": key_id(None),
            "firmware": {"sha256": digest},
            "image": {"sha256": "00" * 32},
        }

    def run(self, last: str, *network: str, name: str = "bench", image: Path | None = None) -> str:
        """Why a run does not end that goes on after this step: none of its own steps can."""
        done = list(plan.STEPS)[: list(plan.STEPS).index(last) + 1]
        plan.save(self.state / f"{MAC}.json", plan.Progress(BOARD, done, dict(self.facts)))
        cable = Cable(str(self.folder / "no-port"), self.folder / "log")
        options = Options(image, self.state, self.folder / "records", 1.0)
        desk = choose(self.data, name, network)
        bench = Bench(load(BOARD), Chip("esp32", 4, MAC), cable, desk, Person(as_json=True), options)
        with pytest.raises(Trouble) as trouble:
            bench.run()
        return str(trouble.value)

    def now(self) -> plan.Progress:
        return plan.load(self.state / f"{MAC}.json", BOARD)

    def states(self) -> dict[str, str]:
        relay = Relay(DataDir(self.data).require())
        try:
            return {entry.kid: entry.state for entry in relay.registry.list()}
        finally:
            relay.store.close()


@pytest.fixture
def at_the_bench(tmp_path: Path) -> AtTheBench:
    return AtTheBench(tmp_path)


@pytest.mark.parametrize("network", [["--wifi", "home:87654321"], [], [*WIFI, "--host", "relay.example"]], ids=str)
def test_before_the_bracelet_has_it_a_new_offer_is_made(
    at_the_bench: AtTheBench, network: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no relay is running" in at_the_bench.run("offer", *network), "it is at the offer again"
    assert at_the_bench.now().next() == "offer"
    assert not at_the_bench.offer.exists()
    assert at_the_bench.states() == {at_the_bench.kid: "revoked"}
    assert "not as in the run before; what is asked for now is done" in capsys.readouterr().out


def test_a_changed_code_name_is_taken(at_the_bench: AtTheBench) -> None:
    at_the_bench.run("offer", *WIFI, name="another")
    assert at_the_bench.now().next() == "offer"


def test_the_same_options_go_on(at_the_bench: AtTheBench) -> None:
    at_the_bench.run("offer", *WIFI)
    assert at_the_bench.now().next() == "provision"
    assert at_the_bench.states() == {at_the_bench.kid: "offered"}


def test_after_the_bracelet_has_it_a_change_is_refused_by_name(at_the_bench: AtTheBench) -> None:
    said = at_the_bench.run("provision", "--wifi", "home:87654321", "--apn", "a.b")
    assert said.startswith("--apn, --wifi: not as in the run before")
    assert "--from-start" in said
    assert at_the_bench.now().next() == "answer"
    assert at_the_bench.states() == {at_the_bench.kid: "offered"}


def test_another_image_is_written_or_refused(at_the_bench: AtTheBench, tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(b"another")
    at_the_bench.run("write", *WIFI, image=image)
    assert at_the_bench.now().next() == "image"
    assert at_the_bench.run("provision", *WIFI, image=image).startswith("--image: not as in the run before")

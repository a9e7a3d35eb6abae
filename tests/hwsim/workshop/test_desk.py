"""The way to the relay by files, against a real registry; the questions that a machine may not answer."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nacl.bindings import crypto_sign_seed_keypair

from hwsim.workshop.__main__ import main
from hwsim.workshop.desk import Carried, Here, choose
from hwsim.workshop.people import BY_ENGINEER, NOT_ASKED, Person
from hwsim.workshop.trouble import Trouble
from relay.cli import main as relay_main
from relay.commands.common import literally


def relay(*arguments: str | Path) -> str:
    done = CliRunner().invoke(relay_main, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    relay("init", tmp_path / "relay")
    return tmp_path / "relay"


@pytest.fixture
def offers(folder: Path, tmp_path: Path) -> Path:
    relay("bracelet", "export", tmp_path / "offers.json", "box", "--count", "2", "--data", folder)
    return tmp_path / "offers.json"


def answer_to(offer: Path, number: int) -> Path:
    """As a bracelet makes it."""
    public, _ = crypto_sign_seed_keypair(bytes([number] * 32))
    x25519 = X25519PrivateKey.generate().public_key().public_bytes_raw()
    kid = json.loads(offer.read_text())["kid"]
    file = offer.with_name(f"answer{number}.json")
    file.write_text(json.dumps({"tocsin": 1, "kid": kid, "ed25519": public.hex(), "x25519": x25519.hex()}))
    return file


def test_a_name_and_a_network_that_begin_as_a_file_would(folder, tmp_path):
    """Read out of a file by the bench, they are no files for the relay's command."""
    file = tmp_path / "offer.json"
    Here(folder, "@bench", ["--wifi", literally("@cafe:12345678")]).offer(file)
    assert json.loads(file.read_text())["wifi"] == [["@cafe", "12345678"]]
    assert "@bench 20" in relay("bracelet", "list", "--data", folder)


def test_files_carried_both_ways(folder, offers, tmp_path):
    desk = choose(offers, "unused", [])
    assert isinstance(desk, Carried)
    desk.check()
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    for number, file in enumerate((first, second)):
        desk.offer(file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        answer = answer_to(file, number)
        desk.answer(answer)
        desk.answer(answer)  # the second time it does nothing
    assert json.loads(first.read_text())["kid"] != json.loads(second.read_text())["kid"]
    assert json.loads(offers.read_text())["offers"] == []
    with pytest.raises(Trouble, match="no offer is left"):
        desk.offer(tmp_path / "c.json")
    assert len(json.loads(desk.answers.read_text())["answers"]) == 2
    assert "2 of 2 active" in relay("bracelet", "import", desk.answers, "--data", folder)


def test_the_drill_waits_until_the_answers_are_there(offers, monkeypatch):
    desk = choose(offers, "unused", [])
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    with pytest.raises(Trouble, match=r"carry .*offers.answers.json there \(relay bracelet import\)"):
        desk.await_relay(Person(True))


def test_a_relay_on_this_machine(folder, tmp_path):
    desk = choose(folder, "bench", ["--sms", "+10000000009"])
    assert isinstance(desk, Here)
    desk.offer(tmp_path / "offer.json")
    assert json.loads((tmp_path / "offer.json").read_text())["sms"] == "+10000000009"
    answer = answer_to(tmp_path / "offer.json", 1)
    desk.answer(answer)
    desk.answer(answer)  # as after a power cut between the relay's note and ours
    with pytest.raises(Trouble, match="says: "):
        desk.accept("00000000-1")
    with pytest.raises(Trouble, match="no relay is running"):
        desk.check()


def test_networks_belong_to_who_makes_the_offer(offers):
    with pytest.raises(Trouble, match="belong to relay bracelet export"):
        choose(offers, "unused", ["--apn", "data.example"])


def test_who_said_so(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("perhaps\ny\nN\n"))
    person = Person(True, ["seen"])
    assert person.ask("seen", "?") == (True, NOT_ASKED)
    assert person.ask("felt", "?") == (True, BY_ENGINEER)
    assert person.ask("felt", "?") == (False, BY_ENGINEER)
    with pytest.raises(Trouble, match="nobody answered"):
        person.ask("felt", "?")


def test_a_dry_run_touches_nothing(tmp_path):
    done = CliRunner().invoke(main, ["--board", "walter", "--dry-run", "--state", str(tmp_path / "state")])
    assert done.exit_code == 0
    assert "unverified image.sha256" in done.stdout
    assert " 1  image " in done.stdout and "13  record " in done.stdout
    assert not (tmp_path / "state").exists()
    done = CliRunner().invoke(main, ["--board", "none", "--dry-run"])
    assert done.exit_code == 2 and "no such board" in done.output


# -- by what it will reach the relay


def exported(folder: Path, file: Path, *options: str) -> Path:
    relay("bracelet", "export", file, "box", *options, "--data", folder)
    return file


def flash(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["--board", "walter", *(str(word) for word in words)])
    assert isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_a_bracelet_without_any_way_is_refused_before_the_first_step(folder, tmp_path):
    status, said = flash("--relay", exported(folder, tmp_path / "offers.json"), "--port", tmp_path / "ttyUSB7")
    assert status == 1
    assert "would find no way to the relay: name a Wi-Fi network" in said
    assert "ttyUSB7" not in said


def test_what_is_missing_is_said_before_the_first_step(folder, tmp_path):
    texts = exported(folder, tmp_path / "texts.json", "--sms", "+10000000009")
    status, said = flash("--relay", texts, "--port", tmp_path / "ttyUSB7")
    assert status == 1
    assert said.index("no --wifi: this bracelet will reach the relay by SMS alone") < said.index("no such port")
    both = exported(folder, tmp_path / "both.json", "--sms", "+10000000009", "--apn", "a.b")
    assert "by mobile data and SMS alone" in flash("--relay", both, "--port", tmp_path / "ttyUSB7")[1]
    wifi = exported(folder, tmp_path / "wifi.json", "--wifi", "home:12345678")
    assert "alone" not in flash("--relay", wifi, "--port", tmp_path / "ttyUSB7")[1]


def test_a_relay_on_this_machine_knows_its_own_number(folder, tmp_path):
    assert choose(folder, "bench", []).ways() == (False, False, False)
    assert choose(folder, "bench", ["--wifi", "a:12345678", "--apn", "a.b", "--sms", "+1"]).ways() == (True, True, True)
    file = folder / "relay.toml"
    file.write_text(file.read_text().replace("[sms]", '[sms]\nnumber = "+10000000009"'))
    assert choose(folder, "bench", []).ways() == (False, False, True)


@pytest.mark.parametrize("words", [("--wifi", "home"), ("--wifi", "home:short"), ("--apn", "a b"), ("--apn-user", "x")])
def test_a_mistyped_network_is_refused_before_the_first_step(folder, words):
    assert flash("--relay", folder, *words)[0] == 2


def test_networks_come_from_files(folder, tmp_path):
    file = tmp_path / "wifi"
    file.write_text("home:12345678\nwork:short\n")
    status, said = flash("--relay", folder, "--wifi", f"@{file}")
    assert (status, "the key has 8 to 63 characters" in said) == (2, True)
    file.write_text("home:12345678\nwork:87654321\n")
    assert "no relay is running" in flash("--relay", folder, "--wifi", f"@{file}")[1]
    assert flash("--relay", folder, "--wifi", f"@{file}.missing")[0] == 2

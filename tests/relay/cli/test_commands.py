"""The command line, as somebody types it: what it prints, its exit status, and its errors in words."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import sqlite3
import stat
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nacl.bindings import crypto_sign_seed_keypair
from nacl.signing import SigningKey
from sqlalchemy.exc import OperationalError

from hwsim.bundle import sign
from relay.assembly import Relay
from relay.cli import COMMANDS, main
from relay.commands.bracelet import bracelet
from relay.commands.common import errors_in_words
from relay.datadir import DataDir
from relay.pipeline import Pipeline
from relay.store import database
from tests.relay import support


def relay(*arguments: str | Path, input: str | None = None, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], input=input, env=env, prog_name="relay")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    assert relay("init", path).exit_code == 0
    return path


def modes(path: Path) -> dict[str, int]:
    return {str(p.relative_to(path)): stat.S_IMODE(p.stat().st_mode) for p in path.rglob("*")}


def test_every_command_is_listed_and_has_help() -> None:
    text = relay("--help").stdout
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", text, re.MULTILINE)
        assert relay(name, "--help").exit_code == 0


def test_init_keeps_secrets_from_others(folder: Path) -> None:
    found = modes(folder)
    for name, mode in found.items():
        public = name in ("tls/ca.pem", "tls/server.pem", "keys/relay-signing.pub")
        assert mode & 0o077 == (0o044 if public else 0), name
    assert {"keys/relay-signing.key", "keys/store.key", "secrets/mqtt-relay", "relay.toml"} <= set(found)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_init_prints_what_to_publish(tmp_path: Path) -> None:
    done = relay("init", tmp_path / "new", "--json")
    made = json.loads(done.stdout)
    assert (tmp_path / "new" / "keys" / "relay-signing.pub").read_text().strip() == made["relay_key"]
    assert len(made["relay_id"]) == 16


def test_init_overwrites_nothing(folder: Path) -> None:
    key = DataDir(folder).signing_seed()
    done = relay("init", folder)
    assert done.exit_code == 1
    assert "there is a relay here already" in done.stderr
    assert DataDir(folder).signing_seed() == key


@pytest.mark.parametrize("arguments", [("bracelet", "list"), ("run",), ("watch",)])
def test_a_folder_without_a_relay(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = relay(*arguments, "--data", tmp_path / "nothing")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"relay: {tmp_path}/nothing: no relay data here")
    assert "run `relay init" in done.stderr


def test_the_folder_can_come_from_the_environment(folder: Path) -> None:
    done = relay("bracelet", "list", "--json", env={"TOCSIN_DATA": str(folder)})
    assert json.loads(done.stdout) == []


def test_a_bracelet_from_offer_to_revocation(folder: Path, tmp_path: Path) -> None:
    offer_file, answer_file = tmp_path / "offer.json", tmp_path / "answer.json"
    wifi = ("--wifi", "home:12345678", "--wifi", "open:", "--apn", "data.example", "--apn-user", "me:secret")
    options = ("--host", "relay.example", "--port", "8884", "--sms", "+10000000009", "--json", "--data", folder)
    done = relay("bracelet", "add", "eins", "--offer", offer_file, *wifi, *options)
    assert json.loads(done.stdout)["state"] == "offered"
    assert stat.S_IMODE(offer_file.stat().st_mode) == 0o600
    offer = json.loads(offer_file.read_text())
    assert offer["mqtt"]["host"] == "relay.example"
    assert offer["mqtt"]["port"] == 8884
    assert offer["sms"] == "+10000000009"
    assert offer["wifi"] == [["home", "12345678"], ["open", ""]]
    assert offer["apn"] == {"name": "data.example", "roaming": False, "user": "me", "password": "secret"}

    public, _ = crypto_sign_seed_keypair(bytes(range(32)))
    x25519 = X25519PrivateKey.generate().public_key().public_bytes_raw()
    answer = {"tocsin": 1, "kid": offer["kid"], "ed25519": public.hex(), "x25519": x25519.hex()}
    answer_file.write_text(json.dumps(answer))
    done = relay("bracelet", "add", "--answer", answer_file, "--data", folder)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{offer['kid']}: active.")
    assert "No relay is running" in done.stdout

    (entry,) = json.loads(relay("bracelet", "list", "--json", "--data", folder).stdout)
    assert (entry["kid"], entry["code_name"], entry["state"]) == (offer["kid"], "eins", "active")
    assert relay("bracelet", "revoke", offer["kid"], "--data", folder, input="n\n").exit_code == 1
    done = relay("bracelet", "revoke", offer["kid"], "--data", folder, input="y\n")
    assert done.exit_code == 0
    assert "is told to wipe itself" in done.stdout
    assert "revoking" in relay("bracelet", "list", "--data", folder).stdout
    assert relay("bracelet", "revoke", offer["kid"], "--data", folder, "--yes").exit_code == 1
    assert relay("bracelet", "revoke", offer["kid"], "--data", folder, "--yes", "--now").exit_code == 0
    assert "revoked" in relay("bracelet", "list", "--data", folder).stdout
    again = relay("bracelet", "add", "--answer", answer_file, "--data", folder)
    assert again.exit_code == 1
    assert "answered or revoked before" in again.stderr


def test_an_alarm_is_accepted_and_closed_and_a_setting_changed_without_a_running_relay(folder: Path) -> None:
    data = Relay(DataDir(folder))
    document, bracelet = support.answer(
        data.registry.offer("eins", now=support.NOW, host="relay.example", port=8883, ca_der=b"der")
    )
    data.registry.complete(document, now=support.NOW)
    octets = bracelet.alarm()
    (item,) = Pipeline(data.store, data.keys).process([bracelet.by_mqtt(octets)], support.NOW).items
    assert item.receipt is not None
    alarm = f"{bracelet.kid}-0"
    done = relay("accept", alarm, "--data", folder)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{alarm}: accepted.")
    assert "No relay is running" in done.stdout
    assert relay("accept", alarm, "--data", folder).exit_code == 1
    done = relay("close", alarm, "--data", folder, "--json")
    assert json.loads(done.stdout) == {"alarm": alarm, "state": "closed", "relay_running": False}
    done = relay("accept", alarm, "--data", folder)
    assert done.exit_code == 1
    assert "was closed already" in done.stderr
    done = relay("close", "nonsense", "--data", folder)
    assert done.exit_code == 1
    assert "KEY_ID-COUNTER" in done.stderr
    options = ("--heartbeat", "600", "--check-in", "0", "--json", "--data", folder)
    done = relay("bracelet", "configure", bracelet.kid, *options)
    assert json.loads(done.stdout)["settings"] == {"heartbeat_s": 600, "check_in_min": 0}
    data.store.close()


def test_an_offer_is_never_overwritten(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "offer.json"
    file.write_text("precious")
    done = relay("bracelet", "add", "eins", "--offer", file, "--data", folder)
    assert done.exit_code == 1
    assert "exists already" in done.stderr
    assert file.read_text() == "precious"
    assert json.loads(relay("bracelet", "list", "--json", "--data", folder).stdout) == []


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("add",), 2, "give CODE_NAME with --offer FILE"),
        (("add", "eins", "--offer", "o", "--wifi", "home"), 2, "is SSID:KEY"),
        (("add", "eins", "--offer", "o", "--sms", "0123"), 2, "a number is +"),
        (("add", "eins", "--offer", "o", "--apn", 'a"b'), 2, "letters, digits, hyphens and dots"),
        (("add", "eins", "--offer", "o", "--apn", "a.b", "--apn-user", "me"), 2, "is USER:PASSWORD"),
        (("add", "eins", "--offer", "o", "--apn-roaming"), 2, "belong to --apn NAME"),
        (("revoke", "nonsense", "--yes"), 1, "8 lower-case hexadecimal digits"),
        (("revoke", "00000001", "--yes"), 1, "there is no bracelet"),
        (("configure", "00000001"), 2, "name at least one of"),
        (("configure", "00000001", "--hold", "2000"), 1, "there is no bracelet"),
        (("configure", "00000001", "--hold", "10"), 2, "is not in the range"),
    ],
)
def test_mistakes_are_named(folder: Path, arguments: tuple[str, ...], status: int, words: str) -> None:
    done = relay("bracelet", *arguments, "--data", folder)
    assert done.exit_code == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr


NETWORK = {"host": "relay.example", "port": "8884", "apn": "a.b", "apn_user": "x:y", "sms": "+10000000009"}
VALUES = {"code_name": "eins", "offer_file": "o", "wifi": "open:", "apn_roaming": "", **NETWORK}


@pytest.mark.parametrize("empty", [False, True])
def test_an_answer_goes_with_no_option_of_an_offer(folder: Path, tmp_path: Path, empty: bool) -> None:
    (tmp_path / "a").write_text("{}")
    params = {each.name: each for each in bracelet.commands["add"].params if each.name is not None}
    assert set(params) == VALUES.keys() | {"answer_file", "data", "as_json"}
    for name, value in VALUES.items():
        option = params[name].opts[0] if params[name].param_type_name == "option" else None
        words = [word for word in (option, value and ("" if empty and name != "port" else value)) if word is not None]
        words = words[:1] if name == "apn_roaming" else words
        done = relay("bracelet", "add", "--answer", tmp_path / "a", *words, "--data", folder)
        assert (done.exit_code, "--answer stands alone" in done.stderr) == (2, True), name


@pytest.mark.parametrize("name", NETWORK)
def test_an_offer_ignores_no_option(folder: Path, tmp_path: Path, name: str) -> None:
    file, option = tmp_path / "o", f"--{name.replace('_', '-')}"
    apn = ("--apn", "a.b") if name == "apn_user" else ()
    assert relay("bracelet", "add", "eins", "--offer", file, *apn, option, "", "--data", folder).exit_code == 2
    done = relay("bracelet", "add", "eins", "--offer", file, *apn, option, NETWORK[name], "--data", folder)
    assert done.exit_code == 0, done.stderr
    assert all(each in file.read_text() for each in NETWORK[name].split(":"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"tocsin": 1}', "\xff"])
def test_an_answer_that_is_none(folder: Path, tmp_path: Path, content: str) -> None:
    file = tmp_path / "answer.json"
    file.write_bytes(content.encode("latin-1"))
    done = relay("bracelet", "add", "--answer", file, "--data", folder)
    assert done.exit_code == 1
    assert done.stderr.startswith("relay: ")


def test_a_wrong_store_key_is_explained(folder: Path, tmp_path: Path) -> None:
    relay("bracelet", "add", "eins", "--offer", tmp_path / "o.json", "--data", folder)
    (folder / "keys" / "store.key").write_text("00" * 32)
    done = relay("bracelet", "list", "--data", folder)
    assert done.exit_code == 1
    assert "keys/store.key" in done.stderr


def test_verify_names_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "alarm.json"
    file.write_text("{}")
    done = relay("verify", file)
    assert done.exit_code == 1
    assert done.stdout.startswith("NOT GENUINE")
    done = relay("verify", "-", "--json", input="not JSON")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert not report["genuine"]
    assert report["findings"]
    assert relay("verify", tmp_path / "missing").exit_code == 2
    assert relay("verify", file, "--relay-key", "short").exit_code == 2


@pytest.mark.parametrize("name", ["bad name!", "ümlaut.example", "", "-x.example"])
def test_init_refuses_a_name_that_no_certificate_can_have(tmp_path: Path, name: str) -> None:
    done = relay("init", tmp_path / "new", "--name", name)
    assert done.exit_code == 2
    assert f"{name!r} is neither a host name nor an IP address" in done.stderr
    assert not (tmp_path / "new").exists()


def test_an_init_that_was_cut_short_says_so(folder: Path) -> None:
    (folder / "relay.toml").unlink()
    done = relay("init", folder)
    assert done.exit_code == 1
    assert "did not finish here" in done.stderr


def test_an_offer_for_a_name_that_the_certificate_lacks_comes_with_a_warning(folder: Path, tmp_path: Path) -> None:
    done = relay("bracelet", "add", "X", "--offer", tmp_path / "o", "--host", "far.example", "--data", folder)
    assert "the broker's certificate does not have the name far.example" in done.stderr
    done = relay("bracelet", "add", "Y", "--offer", tmp_path / "p", "--data", folder)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("url", "says"),
    [("nonsense", "is not a database URL"), ("sqlite:////nonexistent/x/db", "No such file"), (None, "not a database")],
)
def test_a_database_that_can_not_be_used_is_said_in_words(folder: Path, url: str | None, says: str) -> None:
    if url is None:
        for file in folder.glob("relay.sqlite3*"):
            file.write_bytes(b"this is something else" * 1000)
    else:
        config = folder / "relay.toml"
        config.write_text(config.read_text().replace("[store]", f'[store]\nurl = "{url}"'))
    done = relay("bracelet", "list", "--data", folder)
    assert done.exit_code == 1, done.stderr
    assert says in done.stderr
    assert isinstance(done.exception, SystemExit)


@pytest.mark.parametrize("how", ["nothing listens", "silent"])
def test_an_unreachable_postgresql_is_one_sentence_soon(
    folder: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setitem(database._PATIENCE, "connect_timeout", 2)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if how == "silent":
            server.listen()
        url = f"postgresql://tocsin:hunter2@127.0.0.1:{server.getsockname()[1]}/tocsin"
        monkeypatch.setenv("TOCSIN_STORE__URL", url)
        done = relay("run", "--data", folder)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("relay: PostgreSQL can't be used: ")
    assert "hunter2" not in done.stderr
    assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, ())  # it would reach no child any more


def test_a_program_needs_a_bundle_and_a_broker(folder: Path, tmp_path: Path) -> None:
    offer = json.loads(relay("bracelet", "add", "eins", "--offer", tmp_path / "o", "--data", folder, "--json").stdout)
    file = tmp_path / "file"
    file.write_bytes(b"no bundle")
    done = relay("bracelet", "update", offer["kid"], file, "--data", folder)
    assert (done.exit_code, "is no bundle" in done.stderr) == (1, True)
    file.write_bytes(sign(2, 6, bytes(2000), SigningKey(bytes(32))))
    done = relay("bracelet", "update", "c0ffee01", file, "--data", folder)
    assert done.exit_code == 1
    done = relay("bracelet", "update", offer["kid"], file, "--data", folder)
    assert (done.exit_code, "is the relay running?" in done.stderr) == (1, True)
    done = relay("bracelet", "withdraw", file, "--data", folder)
    assert (done.exit_code, "may still be there" in done.stderr) == (1, True)


def test_init_on_a_full_disk_names_nothing_that_is_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = sqlite3.OperationalError("database or disk is full")

    def fails(*_: object, **__: object) -> None:
        raise OperationalError("INSERT", {}, full)

    monkeypatch.setattr("relay.store.open", fails)
    done = CliRunner().invoke(main, ["init", str(tmp_path / "data"), "--recovery-key", str(tmp_path / "key")])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "disk is full; make room or choose another disk, delete the folder and repeat" in done.output
    assert "store.url" not in done.output
    assert not (tmp_path / "key").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_one_sentence_wherever_it_is_met(number: int) -> None:
    @click.command()
    @errors_in_words
    def writes() -> None:
        raise OSError(number, os.strerror(number))

    done = CliRunner().invoke(writes)
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "where the data folder is" in done.output

"""`relay subscriber` and `relay subscribe`: what they write, refuse and say, without a broker."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, update

from relay.assembly import Relay
from relay.cli import main
from relay.datadir import DataDir
from relay.store import schema
from relay.subscribers import file


def relay(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="relay")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "data"
    assert relay("init", path, "--name", "relay.example", "--port", "8884").exit_code == 0
    monkeypatch.setenv("TOCSIN_DATA", str(path))
    monkeypatch.chdir(tmp_path)
    return path


def test_init_makes_this_machines_own_subscriber(folder: Path) -> None:
    (only,) = json.loads(relay("subscriber", "list", "--json").stdout)
    assert (only["name"], only["only"], only["coarse_km"]) == ("watch", None, None)
    own = file.read(DataDir(folder).watch)
    assert (own.account, own.host, own.port) == (only["account"], "relay.example", 8884)
    (folder / "secrets/watch.json").unlink()
    made = Relay(DataDir(folder)).local_subscriber()
    assert made.private is not None, "who deleted it gets another"
    assert made == Relay(DataDir(folder)).local_subscriber()
    assert (made.account, made.password != own.password) == (own.account, True)


def test_a_damaged_subscriber_is_shown_as_such_and_can_be_removed(folder: Path) -> None:
    account = json.loads(relay("subscriber", "add", "partner", "--coarse", "20", "--json").stdout)["account"]
    store = Relay(DataDir(folder)).store
    with store.write() as connection:
        number = int(account.removeprefix("sub-"), 16)
        mine = schema.subscriber.c.id == number
        audience = connection.execute(select(schema.subscriber.c.audience).where(mine)).scalar_one()
        connection.execute(update(schema.subscriber).where(mine).values(profile_sealed=bytes(60)))
        broken = update(schema.audience).where(schema.audience.c.id == audience)
        connection.execute(broken.values(permission_sealed=bytes(60)))
    store.close()
    (line,) = [line for line in relay("subscriber", "list").stdout.splitlines() if account in line]
    assert "nothing: its row is damaged" in line and "all bracelets" not in line
    (said,) = [each for each in json.loads(relay("subscriber", "list", "--json").stdout) if each["account"] == account]
    assert (said["damaged"], said["only"]) == (True, [])
    assert relay("subscriber", "remove", account).exit_code == 0


def test_add_writes_a_private_file_and_says_no_secret(folder: Path) -> None:
    done = relay("subscriber", "add", "Amnesty", "--coarse", "20", "--json")
    said = json.loads(done.stdout)
    path = Path(said["file"])
    assert path.name == f"{said['account']}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = file.read(path)
    assert found.private is not None
    assert (found.name, found.account, found.audience) == ("Amnesty", said["account"], said["audience"])
    assert found.ca.startswith("-----BEGIN CERTIFICATE-----")
    assert found.relay_key.hex() == (folder / "keys/relay-signing.pub").read_text().strip()
    assert said["relay_running"] is False
    plain = relay("subscriber", "add", "other", "--file", "other.json").output
    for subscriber in (found, file.read(Path("other.json"))):
        assert subscriber.password not in done.output + plain
        assert subscriber.private is not None
        assert subscriber.private.hex() not in done.output + plain
    assert "all bracelets" in plain and "hand it over safely" in plain and "No relay is running" in plain
    listed = relay("subscriber", "list").output
    assert "Amnesty" in listed and "to a square of 20 km" in listed
    account = json.loads(relay("subscriber", "list", "--json").stdout)[-1]["account"]
    assert account in {user.name for user in Relay(DataDir(folder)).users()}


def test_a_key_of_the_subscribers_own_never_leaves_it(folder: Path) -> None:
    made = relay("subscribe", "--new-key", "key")
    public = made.stdout.strip()
    assert stat.S_IMODE(Path("key").stat().st_mode) == 0o600
    assert Path("key").read_text().strip() not in made.output
    assert relay("subscriber", "add", "partner", "--public-key", public, "--file", "p.json").exit_code == 0
    assert "private_key" not in json.loads(Path("p.json").read_text())
    assert file.public_of(file.read_key(Path("key"))).hex() == public
    refused = relay("subscribe", "p.json")
    assert refused.exit_code == 1 and "--key" in refused.output
    again = relay("subscribe", "--new-key", "key")
    assert again.exit_code == 1 and "exists already" in again.output


@pytest.mark.parametrize(
    "arguments", [["subscribe", "--new-key", "no/dir/key"], ["broker", "accounts", "--out", "no/x"]]
)
def test_no_folder_is_made_for_a_secret_whose_name_was_mistyped(folder: Path, arguments: list[str]) -> None:
    assert relay(*arguments).exit_code == 1
    assert not Path("no").exists()


@pytest.mark.parametrize("port", [-1, 0, 65536, 70000, True, "x", "8883", None, 8883.0])
def test_a_port_that_is_none_is_a_damaged_file(folder: Path, port: Any) -> None:
    relay("subscriber", "add", "partner", "--file", "one.json")
    content = json.loads(Path("one.json").read_text())
    Path("one.json").write_text(json.dumps(content | {"port": port}))
    done = relay("subscribe", "one.json", "--temporary")
    assert (done.exit_code, "is damaged" in done.output) == (1, True), done.output


def test_a_key_file_that_is_not_there_is_no_matter_of_backups(folder: Path) -> None:
    relay("subscriber", "add", "partner", "--public-key", "09" + 31 * "00", "--file", "p.json")
    done = relay("subscribe", "p.json", "--key", "none")
    assert (done.exit_code, "no such file; name the one that `relay subscribe --new-key` made" in done.output) == (
        1,
        True,
    )


def test_remove_and_rotate(folder: Path) -> None:
    relay("subscriber", "add", "partner", "--file", "one.json")
    one = file.read(Path("one.json"))
    assert relay("subscriber", "rotate", "partner", "--file", "one.json").exit_code == 2, "it never overwrites"
    assert relay("subscriber", "rotate", "partner", "--file", "two.json").exit_code == 0
    two = file.read(Path("two.json"))
    assert two.account == one.account
    assert two.password != one.password and two.private != one.private
    assert relay("subscriber", "rotate", "watch", "--json").exit_code == 0
    assert Relay(DataDir(folder)).local_subscriber() == file.read(DataDir(folder).watch)
    assert json.loads(relay("subscriber", "rotate", "--json").stdout)["epochs"] == 1
    gone = json.loads(relay("subscriber", "remove", "partner", "--json").stdout)
    assert gone["account"] == one.account
    assert one.account not in {user.name for user in Relay(DataDir(folder)).users()}
    assert [each["name"] for each in json.loads(relay("subscriber", "list", "--json").stdout)] == ["watch"]


def test_nobody_is_told_to_delete_this_machines_own_file(folder: Path) -> None:
    done = relay("subscriber", "rotate", "watch")
    assert done.exit_code == 0
    assert "Leave" in done.output and "start it again" in done.output
    assert "then delete" not in done.output and "hand it over" not in done.output


def test_an_account_stays_as_it_was_when_its_file_cannot_be_written(folder: Path) -> None:
    relay("subscriber", "add", "partner", "--file", "one.json")
    users = Relay(DataDir(folder)).users()
    for arguments in (["add", "other"], ["rotate", "partner"]):
        done = relay("subscriber", *arguments, "--file", "missing/new.json")
        assert done.exit_code == 2 and "no such folder" in " ".join(done.output.split())
    assert not Path("missing").exists()
    assert Relay(DataDir(folder)).users() == users


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["subscriber", "remove", "nobody"], 1, "no such subscriber"),
        (["subscriber", "rotate", "nobody"], 1, "no such subscriber"),
        (["subscriber", "remove", "watch"], 1, "rotate it instead"),
        (["subscriber", "rotate", "watch", "--file", "x"], 2, "leave --public-key and --file out"),
        (["subscriber", "rotate", "--file", "x"], 2, "NAME"),
        (["subscriber", "add", "watch"], 1, "of this name"),
        (["subscriber", "add", "x", "--only", "0A1B2C3D"], 2, "lower-case"),
        (["subscriber", "add", "x", "--only", "0a1b2c3d"], 1, "no such bracelet"),
        (["subscriber", "add", "x", "--coarse", "0"], 2, "range"),
        (["subscriber", "add", "x", "--coarse", "0.5"], 2, "integer"),
        (["subscriber", "add", "x", "--public-key", "00"], 2, "64 hexadecimal digits"),
        (["subscriber", "add", "x", "--public-key", "00" * 32], 1, "no public key"),
        (["subscriber", "add", "x\ny"], 1, "printable"),
        (["subscribe"], 2, "name the subscriber file"),
        (["subscribe", "none.json"], 1, "no such file; name the one that the relay's operator made"),
        (
            ["subscribe", "x.json", "--mqtt", "localhost:1", "--mqtt-account", "x", "--mqtt-password", "@no"],
            1,
            "no such",
        ),
        (["subscribe", "x.json", "--new-key", "k"], 2, "stands alone"),
        (["subscribe", "x.json", "--mqtt", "192.0.2.1:1883"], 1, "not on this machine"),
        (["subscribe", "x.json", "--mqtt", "partner.example:1883"], 1, "--anyway"),
        (["subscribe", "x.json", "--mqtt", "localhost"], 2, "HOST:PORT"),
        (["subscribe", "x.json", "--mqtt", "localhost:0"], 2, "HOST:PORT"),
        (["subscribe", "x.json", "--mqtt", "localhost:1883", "--exec", "x"], 2, "one or the other"),
        (["subscribe", "x.json", "--anyway"], 2, "--mqtt"),
        (["subscribe", "x.json", "--mqtt", "localhost:1883", "--mqtt-account", "x"], 2, "--mqtt-password @FILE"),
        (["subscribe", "x.json", "--exec", "'x"], 2, "quotation"),
        (["subscribe", "x.json", "--exec", " "], 2, "name a program"),
        (["subscribe", "x.json", "--exec", "no-such-program x"], 2, "no-such-program: no such program"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(folder: Path, arguments: list[str], status: int, words: str) -> None:
    done = relay(*arguments)
    assert (done.exit_code, done.exception is None or isinstance(done.exception, SystemExit)) == (status, True)
    assert words in " ".join(done.output.split())


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"tocsin_subscriber": 2}', '{"tocsin_subscriber": 1, "name": "x"}']
)
def test_a_damaged_file_is_said_so(folder: Path, content: str) -> None:
    Path("x.json").write_text(content)
    Path("x.json").chmod(0o600)
    done = relay("subscribe", "x.json")
    assert done.exit_code == 1
    assert "x.json" in done.output and ("no subscriber file" in done.output or "damaged" in done.output)


def test_a_file_that_others_can_read_is_refused(folder: Path) -> None:
    relay("subscriber", "add", "partner", "--file", "p.json")
    Path("p.json").chmod(0o644)
    done = relay("subscribe", "p.json")
    assert done.exit_code == 1 and "other users can read it" in done.output


def test_a_file_that_cant_be_written_makes_nobody_a_subscriber(folder: Path) -> None:
    Path("plain").touch()
    assert relay("subscriber", "add", "partner", "--file", "plain/p.json").exit_code == 2
    long = f"{250 * 'p'}.json"  # the folder is right, and the file still can't be made
    done = relay("subscriber", "add", "partner", "--file", long)
    assert done.exit_code == 1 and "nobody was added" in done.output
    assert relay("subscriber", "add", "partner", "--file", "p.json").exit_code == 0
    assert relay("subscriber", "rotate", "partner", "--file", "plain/q.json").exit_code == 2
    done = relay("subscriber", "rotate", "partner", "--file", long)
    assert done.exit_code == 1 and "repeat this with --file" in done.output
    assert relay("subscriber", "rotate", "partner", "--file", "q.json").exit_code == 0


def test_a_certificate_that_was_damaged_by_an_editor_is_said_so(folder: Path) -> None:
    relay("subscriber", "add", "partner", "--file", "p.json")
    content = json.loads(Path("p.json").read_text())
    Path("p.json").write_text(json.dumps({**content, "ca": content["ca"].replace("-", "\u2013")}))
    done = relay("subscribe", "p.json")
    assert done.exit_code == 1 and "certificate is damaged" in done.output

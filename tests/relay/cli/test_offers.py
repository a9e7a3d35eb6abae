"""`relay bracelet export|import`: offers out and answers back, by files."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nacl.bindings import crypto_sign_seed_keypair

from relay.cli import main


def relay(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="relay")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    assert relay("init", path).exit_code == 0
    return path


def answer(kid: str, number: int) -> dict[str, object]:
    public, _ = crypto_sign_seed_keypair(bytes([number] * 32))
    x25519 = X25519PrivateKey.generate().public_key().public_bytes_raw()
    return {"tocsin": 1, "kid": kid, "ed25519": public.hex(), "x25519": x25519.hex()}


def states(folder: Path) -> dict[str, str]:
    entries = json.loads(relay("bracelet", "list", "--json", "--data", folder).stdout)
    return {each["code_name"]: each["state"] for each in entries}


def test_there_and_back(folder: Path, tmp_path: Path) -> None:
    file, back = tmp_path / "offers.json", tmp_path / "offers.answers.json"
    options = ("--wifi", "home:12345678", "--host", "localhost", "--sms", "+10000000009", "--data", folder)
    done = relay("bracelet", "export", file, "bench", "--count", "3", *options)
    assert done.exit_code == 0 and "3 offers" in done.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    batch = json.loads(file.read_text())
    assert batch["tocsin_batch"] == 1
    assert "bench" not in file.read_text()  # code names stay at the relay
    kids = [offer["kid"] for offer in batch["offers"]]
    assert len(set(kids)) == 3
    assert all(offer["wifi"] == [["home", "12345678"]] and offer["sms"] == "+10000000009" for offer in batch["offers"])
    assert len({offer["relay_x25519"] for offer in batch["offers"]}) == 3
    assert states(folder) == {f"bench {n}": "offered" for n in (1, 2, 3)}

    answers = [answer(kid, number) for number, kid in enumerate(kids)]
    back.write_text(json.dumps({"tocsin_batch": 1, "answers": answers[:2]}))
    assert relay("bracelet", "import", back, "--data", folder).exit_code == 0
    assert states(folder) == {"bench 1": "active", "bench 2": "active", "bench 3": "offered"}
    back.write_text(json.dumps({"tocsin_batch": 1, "answers": answers}))
    done = relay("bracelet", "import", back, "--data", folder, "--json")
    assert done.exit_code == 0
    assert [row["state"] for row in json.loads(done.stdout)["answers"]] == ["active before", "active before", "active"]


def test_one_bad_answer_keeps_no_other_out(folder: Path, tmp_path: Path) -> None:
    file, back = tmp_path / "offers.json", tmp_path / "answers.json"
    relay("bracelet", "export", file, "a", "b", "--data", folder)
    kids = [offer["kid"] for offer in json.loads(file.read_text())["offers"]]
    content = [answer("00000000", 1), "nothing", answer(kids[1], 2)]
    back.write_text(json.dumps({"tocsin_batch": 1, "answers": content}))
    done = relay("bracelet", "import", back, "--data", folder)
    assert done.exit_code == 1
    assert "00000000: refused: no offer was made" in done.stdout
    assert "1 of 3 active" in done.stdout
    assert states(folder) == {"a": "offered", "b": "active"}


NONE = ("", "[" * 100_000, "[]", "{}", '{"tocsin_batch": 2, "answers": []}', '{"tocsin_batch": 1, "answers": 1}')


@pytest.mark.parametrize("content", NONE)
def test_a_file_that_is_none(folder: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    done = relay("bracelet", "import", tmp_path / "x.json", "--data", folder)
    assert done.exit_code == 1
    assert "x.json: is not" in done.stderr


def test_all_or_none(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "offers.json"
    assert relay("bracelet", "export", file, "good", "x" * 65, "--data", folder).exit_code == 1
    assert not file.exists()
    assert states(folder) == {"good": "revoked"}
    file.write_text("mine")
    done = relay("bracelet", "export", file, "a", "--data", folder)
    assert done.exit_code == 1 and "exists already" in done.stderr and file.read_text() == "mine"
    assert relay("bracelet", "export", file / "o.json", "a", "--data", folder).exit_code == 1
    assert states(folder)["a"] == "revoked"
    done = relay("bracelet", "export", tmp_path / "mistyped" / "o.json", "b", "--data", folder)
    assert done.exit_code == 1 and "nothing was added" in done.stderr
    assert states(folder)["b"] == "revoked" and not (tmp_path / "mistyped").exists()


def test_names_and_number_must_fit(folder: Path, tmp_path: Path) -> None:
    assert relay("bracelet", "export", tmp_path / "o.json", "--data", folder).exit_code == 2
    assert relay("bracelet", "export", tmp_path / "o.json", "a", "b", "--count", "2", "--data", folder).exit_code == 2


def test_what_is_secret_comes_from_files(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "offers.json"
    wifi, login, names = tmp_path / "wifi", tmp_path / "login", tmp_path / "names"
    wifi.write_text("home:12345678\r\n\nwork place: with spaces \n@cafe:12345678\n")
    login.write_text("\ufeffme:secret\n")  # as some editors begin a text
    names.write_text("sparrow\nheron\n")
    words = ("--wifi", f"@{wifi}", "--wifi", "open:", "--wifi", "@@home:", "--apn", "a.b", "--apn-user", f"@{login}")
    done = relay("bracelet", "export", file, f"@{names}", *words, "--data", folder)
    assert done.exit_code == 0, done.output
    assert set(states(folder)) == {"sparrow", "heron"}
    for offer in json.loads(file.read_text())["offers"]:
        in_file = [["home", "12345678"], ["work place", " with spaces "], ["@cafe", "12345678"]]
        assert offer["wifi"] == [*in_file, ["open", ""], ["@home", ""]]
        assert (offer["apn"]["user"], offer["apn"]["password"]) == ("me", "secret")


def test_what_is_secret_comes_from_standard_input(folder: Path, tmp_path: Path) -> None:
    words = ["bracelet", "add", "@-", "--offer", str(tmp_path / "o"), "--data", str(folder)]
    assert CliRunner().invoke(main, words, input="kestrel\n").exit_code == 0
    words = ["bracelet", "add", "robin", "--offer", str(tmp_path / "p"), "--wifi", "@-", "--data", str(folder)]
    assert CliRunner().invoke(main, words, input="home:12345678\n").exit_code == 0
    assert json.loads((tmp_path / "p").read_text())["wifi"] == [["home", "12345678"]]
    assert set(states(folder)) == {"kestrel", "robin"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        *((None, "can't be read"), (b"\n", "nothing in it"), (b"\xef\xbb\xbf\n", "nothing in it")),
        *((b"\xff", "not a text in UTF-8"), (b"a\nb\n", "has 2 lines"), (b"a" * 65_537, "longer than")),
    ],
)
def test_a_file_that_says_nothing_useful(folder: Path, tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "name"
    if content is not None:
        file.write_bytes(content)
    done = relay("bracelet", "add", f"@{file}", "--offer", tmp_path / "o", "--data", folder)
    assert (done.exit_code, says in done.stderr) == (2, True), done.stderr

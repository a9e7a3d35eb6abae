"""`relay alarms`, and answering what it lists, as somebody types it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from relay.assembly import Relay
from relay.cases import reading
from relay.cli import main
from relay.commands.watch import Display
from relay.datadir import DataDir
from relay.pipeline import Pipeline
from relay.rebroadcast import iso
from relay.store import schema
from relay.subscribers.reader import Heard
from tests.relay import support


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    assert CliRunner().invoke(main, ["init", str(path)]).exit_code == 0
    return path


def relay(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, [*arguments, "--data", str(folder)], env=env)


def raised(folder: Path, code_name: str = "sparrow") -> str:
    """An alarm in this folder's store."""
    own = Relay(DataDir(folder).require())
    now = time.time()
    document, bracelet = support.answer(own.registry.offer(code_name, now=now, host="h", port=1, ca_der=b""))
    own.registry.complete(document, now=now)
    Pipeline(own.store, own.keys).process([bracelet.by_mqtt(bracelet.alarm(time=int(now)))], now)
    own.store.close()
    return f"{bracelet.kid}-0"


def test_nothing_open(folder: Path) -> None:
    done = relay(folder, "alarms")
    assert (done.exit_code, done.stdout) == (0, "No alarm is open.\n")
    assert json.loads(relay(folder, "alarms", "--json").stdout)["alarms"] == []


def test_an_alarm_is_listed_answered_and_gone(folder: Path) -> None:
    alarm = raised(folder)
    assert f"{alarm}  sparrow  NOBODY HAS ANSWERED" in relay(folder, "alarms").stdout
    assert relay(folder, "accept", alarm, "--by", "Ada").exit_code == 0
    assert "by Ada, 20" in relay(folder, "alarms", "--open").stdout
    again = relay(folder, "accept", alarm)
    assert (again.exit_code, "accepted already, by Ada, at 20" in again.stderr) == (1, True)
    assert relay(folder, "close", alarm, env={"TOCSIN_OPERATOR": "Grace"}).exit_code == 0
    assert relay(folder, "alarms", "--open").stdout == "No alarm is open.\n"
    (entry,) = json.loads(relay(folder, "alarms", "--json").stdout)["alarms"]
    assert (entry["alarm"], entry["accepted"]["by"], entry["closed"]["by"]) == (alarm, "Ada", "Grace")


def test_damaged_rows_hide_no_alarm(folder: Path) -> None:
    names, answers = raised(folder), raised(folder, "heron")
    assert relay(folder, "accept", answers, "--by", "Ada").exit_code == 0
    own = Relay(DataDir(folder))
    with own.store.write() as connection:
        kid = int(names.partition("-")[0], 16)
        connection.execute(update(schema.bracelet).where(schema.bracelet.c.kid == kid).values(profile_sealed=b"?"))
        connection.execute(update(schema.alarm_case).values(accepted_by_sealed=bytes(40)))
    own.store.close()
    listed = relay(folder, "alarms").stdout
    assert f"{names}  (damaged: can't be read)  NOBODY HAS ANSWERED" in listed
    assert f"{answers}  heron  accepted" in listed
    assert "by (damaged: can't be read), 20" in listed
    bracelets = relay(folder, "bracelet", "list")
    assert bracelets.exit_code == 0
    assert "heron" in bracelets.stdout


def test_who_says_nothing_answers_by_the_account_of_this_machine(folder: Path) -> None:
    alarm = raised(folder)
    relay(folder, "accept", alarm, env={"LOGNAME": "ada"})
    (entry,) = json.loads(relay(folder, "alarms", "--json").stdout)["alarms"]
    assert entry["accepted"]["by"] == "ada"


@pytest.mark.parametrize("now", [(), ("--now",)])
def test_the_alarm_of_a_revoked_bracelet_is_listed_accepted_and_closed(folder: Path, now: tuple[str, ...]) -> None:
    alarm = raised(folder)
    kid = alarm.partition("-")[0]
    assert relay(folder, "bracelet", "revoke", kid, "--yes", *now).exit_code == 0
    listed = relay(folder, "alarms", "--open").stdout
    assert alarm in listed
    assert f"{'revoked' if now else 'revoking'}: it can't be told anything" in listed
    done = relay(folder, "accept", alarm)
    assert (done.exit_code, "the bracelet is not" in done.stdout) == (0, True)
    assert json.loads(relay(folder, "close", alarm, "--json").stdout)["state"] == "closed"
    assert relay(folder, "alarms", "--open").stdout == "No alarm is open.\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("alarms", "--open", "--all"), "one or the other"),
        (("accept", "c0ffee01-0", "--by", " "), "1 to 64 printable characters"),
        (("accept", "c0ffee01-0", "--by", "a\nb"), "1 to 64 printable characters"),
    ],
)
def test_mistypes(folder: Path, arguments: tuple[str, ...], says: str) -> None:
    done = relay(folder, *arguments)
    assert (done.exit_code, says in done.stderr) == (2, True)


def test_watch_says_what_changed_while_it_was_cut_off(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    display, own = Display(as_json=False, count=None), Relay(DataDir(folder))
    first = raised(folder)

    def looked(*, only_new: bool = True) -> str:
        now = time.time()
        display.show_open(reading.known(own.store, int(now * 1000)), now, only_new=only_new)
        return capsys.readouterr().out

    assert looked(only_new=False).startswith("Open, as of")
    assert looked() == ""
    relay(folder, "accept", first, "--by", "Ada")
    second = raised(folder, "heron")
    text = looked()
    assert text.index("Opened meanwhile") < text.index(second) < text.index("Changed meanwhile") < text.index(first)
    assert "accepted   by Ada" in text
    assert looked() == ""
    relay(folder, "close", first)
    assert f"{first}  sparrow  closed" in looked()
    said = {"alarm": second, "kid": second[:8], "state": "accepted", "at": iso(0)}
    display.show(Heard("s/x/y/case", "case", b"", said, (), None))
    relay(folder, "accept", second)
    capsys.readouterr()
    assert looked() == "", "that it was told"
    own.store.close()

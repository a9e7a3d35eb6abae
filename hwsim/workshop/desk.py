"""The way to the relay: its command on this machine, or files that are carried both ways."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import click

from hwsim.workshop.people import Person
from hwsim.workshop.plan import write_private
from hwsim.workshop.trouble import Trouble
from relay import cli as relay
from relay import config
from relay.commands.common import literally, running_relay
from relay.datadir import DataDir, DataDirError
from relay.registry import BATCH


class Ways(NamedTuple):
    """The ways by which bracelets with an offer from here will reach the relay."""

    wifi: bool
    data: bool
    texts: bool


class Desk(Protocol):
    def check(self) -> None:
        """Raise Trouble when the way to the relay can't be used: before anything is done to a board."""

    def ways(self) -> Ways:
        """Return the ways in the next offer."""

    def asked(self) -> dict[str, str]:
        """Return the options that decide what an offer is, and their values."""

    def withdraw(self, kid: str) -> None:
        """Withdraw an offer that no bracelet will answer."""

    def offer(self, file: Path) -> None:
        """Put an offer for one bracelet there, readable for its owner only."""

    def answer(self, file: Path) -> None:
        """Take the bracelet's answer to the relay. A second time it does nothing."""

    def await_relay(self, person: Person) -> None:
        """Wait until the relay can know the bracelet. Raises Trouble when it can't yet."""

    def accept(self, alarm: str) -> None:
        """Tell the relay that a person has accepted this drill."""

    def close(self, alarm: str) -> None:
        """Tell the relay that this drill is over."""


class Here:
    """A relay's data folder on this machine. `network`: options of `relay bracelet add` for what goes into offers."""

    def __init__(self, folder: Path, name: str, network: Sequence[str]) -> None:
        self._folder = folder
        self._name = name
        self._network = network

    def _relay(self, *arguments: str) -> Any:
        """Run one of the relay's commands in this process: a Wi-Fi key is then in no list of processes."""
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                relay.main([*arguments, "--data", str(self._folder), "--json"], "relay", standalone_mode=False)
        except click.ClickException as error:
            raise Trouble(f"the relay in {self._folder} says: {error.format_message()}") from None
        return json.loads(said.getvalue())

    def check(self) -> None:
        self._relay("bracelet", "list")
        if running_relay(DataDir(self._folder)) is None:
            raise Trouble(
                f"no relay is running on {self._folder}, so no drill could be answered: start it (relay run --data "
                f"{self._folder}), and run this again"
            )

    def ways(self) -> Ways:
        try:
            number = config.load(DataDir(self._folder)).sms.number
        except (config.ConfigError, DataDirError) as error:
            raise Trouble(str(error)) from None
        return Ways("--wifi" in self._network, "--apn" in self._network, "--sms" in self._network or bool(number))

    def asked(self) -> dict[str, str]:
        found = {"--relay": str(self._folder.resolve()), "--code-name": self._name}
        words = iter(self._network)
        for option in words:
            value = "yes" if option == "--apn-roaming" else next(words)
            option = "--broker-port" if option == "--port" else option  # as flash.sh calls it
            found[option] = "\n".join(each for each in (found.get(option), value) if each is not None)
        return found

    def withdraw(self, kid: str) -> None:
        with contextlib.suppress(Trouble):  # it was before
            self._relay("bracelet", "revoke", kid, "--yes", "--now")

    def offer(self, file: Path) -> None:
        name = literally(f"{self._name} {time.strftime('%Y-%m-%d %H:%M:%S')}")
        self._relay("bracelet", "add", name, "--offer", str(file), *self._network)

    def answer(self, file: Path) -> None:
        kid = json.loads(file.read_bytes())["kid"]
        state = next((entry["state"] for entry in self._relay("bracelet", "list") if entry["kid"] == kid), None)
        if state != "active":  # else it was taken before, and only not noted here; the drill shows whether it fits
            self._relay("bracelet", "add", "--answer", str(file))

    def await_relay(self, person: Person) -> None:
        self.check()

    def accept(self, alarm: str) -> None:
        self._relay("accept", alarm)

    def close(self, alarm: str) -> None:
        self._relay("close", alarm)


class Carried:
    """A file of `relay bracelet export`; the answers go into one beside it, for `relay bracelet import`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.answers = file.with_name(f"{file.stem}.answers.json")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock the file, so that no two benches on one machine take the same offer."""
        with self._file.open("rb") as locked:
            fcntl.flock(locked, fcntl.LOCK_EX)
            yield

    def _offers(self) -> list[dict[str, Any]]:
        return _entries(self._file, "offers")

    def check(self) -> None:
        self._offers()

    def ways(self) -> Ways:
        offers = self._offers()
        if not offers:  # this board has its offer already, and nothing says that it lacks a way
            return Ways(True, True, True)
        return Ways(bool(offers[0].get("wifi")), bool(offers[0].get("apn")), bool(offers[0].get("sms")))

    def asked(self) -> dict[str, str]:
        return {"--relay": str(self._file.resolve())}

    def withdraw(self, kid: str) -> None:
        """Do nothing: only the relay can withdraw it."""

    def offer(self, file: Path) -> None:
        with self._alone():
            offers = self._offers()
            if not offers:
                raise Trouble(
                    f"{self._file}: no offer is left; make more at the relay (relay bracelet export), one a bracelet"
                )
            write_private(file, json.dumps(offers[0], indent=1).encode() + b"\n")
            # If power is lost between the two, another bracelet gets the same offer. The relay takes the first answer
            # only, so the other bracelet's drill is never answered, and it is not finished.
            self._write(self._file, "offers", offers[1:])

    def answer(self, file: Path) -> None:
        answer = json.loads(file.read_bytes())
        with self._alone():
            known = _entries(self.answers, "answers") if self.answers.exists() else []
            if answer not in known:
                self._write(self.answers, "answers", [*known, answer])

    def _write(self, file: Path, what: str, entries: list[dict[str, Any]]) -> None:
        # In place, where the lock is: another name for the file would be another lock.
        content = json.dumps({BATCH: 1, what: entries}, indent=1).encode() + b"\n"
        if file == self._file:
            with file.open("r+b") as out:
                out.write(content)
                out.truncate()
        else:
            write_private(file, content)

    def await_relay(self, person: Person) -> None:
        if not person.ask("imported", f"Has the relay imported {self.answers.name} (relay bracelet import)?").yes:
            raise Trouble(
                f"the drill must wait: carry {self.answers} there (relay bracelet import), and run this again"
            )

    def accept(self, alarm: str) -> None:
        """Do nothing: somebody accepts it at the relay."""

    def close(self, alarm: str) -> None:
        """Do nothing: somebody closes it at the relay."""


def _entries(file: Path, what: str) -> list[dict[str, Any]]:
    try:
        content = json.loads(file.read_bytes())
        entries: list[dict[str, Any]] = content[what]
        if content[BATCH] != 1 or any("kid" not in entry for entry in entries):
            raise ValueError
    except OSError as error:
        raise Trouble(f"{file}: can't be read ({error.strerror}); see --relay") from None
    except (ValueError, TypeError, KeyError):
        raise Trouble(f"{file}: is no file of `relay bracelet export`, and no relay's folder; see --relay") from None
    return entries


def choose(place: Path, name: str, network: Sequence[str]) -> Desk:
    """Choose the way to the relay: a folder is a relay on this machine, a file is carried."""
    if place.is_dir():
        return Here(place, name, network)
    if network:
        raise Trouble("the networks are in the offers: --wifi, --apn and their like belong to relay bracelet export")
    return Carried(place)

"""What the documentation tells people to type exists, and the links in it lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hwsim.cli import main as hwsim_command
from relay.cli import main as relay_command

from . import ROOT
from .readme import commands
from .test_repository import texts

FOLDERS = ("firmware", "relay", "hwsim", "board_configs")
READMES = [*sorted(page for folder in FOLDERS for page in ROOT.glob(f"{folder}/**/*.md")), ROOT / "README.md"]
PROGRAMS: dict[str, click.Command] = {"relay": relay_command, "hwsim": hwsim_command}
# At the start of a code span or line, after && or as bin/relay; up to a remark, a pipe or another command.
CALL = re.compile(r"(?:^|&& |bin/|\$ )((?:relay|hwsim) [a-z][a-z-]*(?: [^\n`#;&>]*)?)", re.MULTILINE)
CODE = re.compile(r"```(?:sh|console|text)?\n(.*?)```|```\w+\n.*?```|`([^`\n]+)`", re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)")
PAGE = re.compile(r"\b(?:" + "|".join(FOLDERS) + r")/[\w/.-]*?[\w-]+\.md\b")  # as code and comments name one


def calls(text: str) -> list[str]:
    """Every `relay ...` and `hwsim ...` that stands as code in a text."""
    code = "\n".join(block or inline for block, inline in CODE.findall(text))
    return [call.strip() for call in CALL.findall(code)]


def resolve(words: list[str]) -> str | None:
    """What is wrong with a command line, or None: its commands and options must exist."""
    program, *arguments = words
    command = PROGRAMS[program]
    context = click.Context(command)
    for argument in arguments:
        word = argument.partition("=")[0]
        if word.startswith("--"):
            known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
            if word not in known | {"--help"}:
                return f"no option {word} in {command.name}"
        elif isinstance(command, click.Group):
            found = command.get_command(context, word)
            if found is None:
                return f"no command {word} in {command.name}"
            command = found
    return None


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_it_exist(readme: Path) -> None:
    wrong = {}
    for call in calls(readme.read_text()):
        words = shlex.split(re.sub(r"[\[\]|\\]", " ", call))  # without the brackets of what may be left out
        problem = resolve(words)
        if problem:
            wrong[call] = problem
    assert wrong == {}


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_it_lead_somewhere(readme: Path) -> None:
    targets = [target for target in LINK.findall(readme.read_text()) if "://" not in target]
    assert [target for target in targets if not (readme.parent / target).exists()] == []


def test_pages_that_the_code_names_are_there() -> None:
    named = {page for _, text in texts() for page in PAGE.findall(text)}
    assert "firmware/wire.md" in named
    assert sorted(page for page in named if not (ROOT / page).is_file()) == []


def test_the_firmware_readme_leads_to_each_of_its_pages() -> None:
    readme = ROOT / "firmware/README.md"
    pages = {str(page.relative_to(readme.parent)) for page in readme.parent.glob("**/*.md")} - {"README.md"}
    assert pages - set(LINK.findall(readme.read_text())) == set()


def test_the_readme_has_two_commands_that_do_everything() -> None:
    first, second = commands((ROOT / "README.md").read_text())
    assert first.endswith("relay demo")
    assert "pytest" in second


def names(command: click.Command, prefix: list[str]) -> list[list[str]]:
    """Every command and command group below one, as arguments."""
    if not isinstance(command, click.Group):
        return [prefix]
    context = click.Context(command)
    below = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [prefix, *(path for name, each in below if each for path in names(each, [*prefix, name]))]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_explains_itself(program: str) -> None:
    for path in names(PROGRAMS[program], []):
        result = CliRunner().invoke(PROGRAMS[program], [*path, "--help"])
        assert result.exit_code == 0, f"{program} {' '.join(path)} --help: {result.output}"
        assert result.output.startswith("Usage: ")


def test_a_command_that_does_not_exist_is_seen() -> None:
    text = "`relay nonsense` and\n```sh\n.venv/bin/relay run --nonsense  # remark\n```\n`relay/` `relay id` of relay x"
    assert calls(text) == ["relay nonsense", "relay run --nonsense", "relay id"]
    assert [resolve(call.split()) for call in ("relay nonsense", "relay run --nonsense", "hwsim x")] == [
        "no command nonsense in main",
        "no option --nonsense in run",
        "no command x in main",
    ]
    assert resolve(["relay", "run", "--help"]) is None

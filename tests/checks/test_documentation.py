"""What the documentation tells people to type exists, and the links in it lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from relay.cli import main as relay_command

from . import ROOT
from .readme import commands

READMES = [*sorted(ROOT.glob("*/README.md")), ROOT / "README.md"]
# At the start of a code span or line, after && or as bin/relay; up to a remark, a pipe or another command.
RELAY = re.compile(r"(?:^|&& |bin/|\$ )relay ([a-z][a-z-]*(?: [^\n`#;&>]*)?)", re.MULTILINE)
CODE = re.compile(r"```(?:sh|console|text)?\n(.*?)```|`([^`\n]+)`", re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)")


def relay_calls(text: str) -> list[str]:
    """The arguments of every `relay ...` that stands as code in a text."""
    code = "\n".join(block or inline for block, inline in CODE.findall(text))
    return [call.strip() for call in RELAY.findall(code)]


def resolve(arguments: list[str]) -> str | None:
    """What is wrong with a command line, or None: its commands and options must exist."""
    command: click.Command = relay_command
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
    for call in relay_calls(readme.read_text()):
        words = shlex.split(re.sub(r"[\[\]|\\]", " ", call))  # without the brackets of what may be left out
        problem = resolve(words)
        if problem:
            wrong[call] = problem
    assert wrong == {}


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_it_lead_somewhere(readme: Path) -> None:
    targets = [target for target in LINK.findall(readme.read_text()) if "://" not in target]
    assert [target for target in targets if not (readme.parent / target).exists()] == []


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


def test_every_command_explains_itself() -> None:
    for path in names(relay_command, []):
        result = CliRunner().invoke(relay_command, [*path, "--help"])
        assert result.exit_code == 0, f"relay {' '.join(path)} --help: {result.output}"
        assert result.output.startswith("Usage: ")

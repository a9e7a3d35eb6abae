"""`hwsim run`, as a person and as a script call it."""

import json

import pytest
from click.testing import CliRunner

from hwsim.cli import main
from hwsim.scenario import file

SHORT = """\
title = "A short press"
story = "Somebody leans on the button and lets go at once."
seconds = 20

[[track]]
t = 0
lat = 48.1234567
lon = 11.7654321

[[event]]
at = 10
do = "press"
for_s = 1

[[expect]]
alarms = {alarms}
"""


@pytest.fixture
def story(tmp_path):
    def write(alarms):
        path = tmp_path / "short.toml"
        path.write_text(SHORT.replace("{alarms}", str(alarms)))
        return str(path)

    return write


def run(*arguments):
    return CliRunner().invoke(main, ["run", *arguments])


def test_a_story_that_holds(story):
    result = run(story(0))
    assert result.exit_code == 0
    assert "A short press" in result.output
    assert "person      * press (for_s = 1" in result.output
    assert "held    0 alarms raised: 0" in result.output
    assert "48.1" not in result.output


def test_a_story_that_fails_says_why(story):
    result = run("--quiet", story(1))
    assert result.exit_code == 1
    assert "FAILED  1 alarms raised: 0" in result.output
    assert "button down" in result.output  # of a failure the story is told all the same


def test_json(story):
    result = run("--json", "--seed", "5", story(1))
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (told["scenario"], told["seed"], told["held"], told["alarms"]) == ("short", 5, False, [])
    assert told["expectations"][0] == {"wanted": "1 alarms raised", "held": False, "found": "0"}
    assert json.loads(run("--json", "--seed", "5", story(1)).stdout)["digest"] == told["digest"]


def test_several_are_summed_up(story):
    result = run("--quiet", story(0), story(0))
    assert result.exit_code == 0
    assert "2 scenarios, 0 failed" in result.output


def test_the_trace(story):
    assert "firmware     armed" in run("--trace", story(0)).output


def test_the_list():
    result = run("--list")
    assert result.exit_code == 0
    assert all(name in result.output for name in file.names())
    assert set(json.loads(run("--list", "--json").stdout)) == set(file.names())


@pytest.mark.parametrize("arguments", [[], ["nothing_of_that_name"]])
def test_usage(arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "--list" in result.output

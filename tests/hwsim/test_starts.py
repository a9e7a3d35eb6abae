"""`hwsim starts`: its cases, what it calls a failure, its report."""

import json
import shutil

import pytest
from click.testing import CliRunner

from hwsim import cli, starts
from hwsim.starts import Case, Result
from hwsim.world.bracelet import FIRMWARE

CASE = Case("wifi_on", "hangs", "as it is switched on")


def run(*words):
    return CliRunner(catch_exceptions=False).invoke(cli.main, ["starts", *words])


def test_every_call_of_a_board_fails_in_every_way_at_every_moment():
    found = starts.cases("reference")
    assert len(found) == len(set(found)) == 15 * 3 * 4
    assert {case.call for case in starts.cases("reference", "tls")} == {"tls"}


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (Result(3.5, 20.0, "sms"), None),
        (Result(None, None, None), "not raised within 4 s"),
        (Result(9.0, 20.0, "sms"), "not raised within 4 s"),
        (Result(3.5, None, None), "not sent within 60 s"),
        (Result(3.5, 61.0, "sms"), "not sent within 60 s"),
        (Result(None, None, None, "no interpreter"), "no interpreter"),
    ],
)
def test_what_is_a_failure(result, why):
    assert result.failure(CASE) == why


def test_a_firmware_that_begins_its_parts_before_a_press_is_sealed_fails(tmp_path):
    shutil.copytree(FIRMWARE, tmp_path / "firmware")
    firmware = tmp_path / "firmware"
    module = firmware / "tocsin/starting.py"
    assert "PRESS_MS = 6000" in module.read_text()
    module.write_text(module.read_text().replace("PRESS_MS = 6000", "PRESS_MS = 0"))
    case = Case("haptic", "hangs", "as it is switched on")
    assert starts.play(case, firmware=str(firmware)).failure(case) == "not raised within 4 s"


@pytest.mark.parametrize("fault", starts.FAULTS)
def test_the_call_that_joins_a_network_is_known_at_once_as_what_ended_a_start(fault):
    """On a board whose modem needs long to start, a second start in vain would be one too many."""
    case = Case("wifi_join", fault, "as it is switched on")
    assert starts.play(case, "lilygo-t-sim7600").failure(case) is None


@pytest.mark.long
@pytest.mark.parametrize("board", ["lilygo-t-sim7600", "makerfabs-s3-sim7670g"])
def test_whatever_ends_its_start_a_board_with_a_slow_modem_calls_for_help(board):
    """`hwsim starts --all` plays every call on every board."""
    done = run("--board", board, "--call", "wifi_join", "--jobs", "2")
    assert done.exit_code == 0, done.output


def test_the_report():
    done = run("--call", "battery", "--jobs", "2", "--json")
    (report,) = json.loads(done.stdout)["boards"]
    assert (done.exit_code, report["board"], report["cases"], report["failures"]) == (0, "reference", 12, [])
    assert report["raised_s"]["worst"] <= 17
    assert report["sent_s"]["worst"] <= 60


def test_what_there_is_not():
    assert "there are wifi, wifi_on" in run("--call", "radio").output
    assert run("--board", "nowhere").exit_code == 2

"""The picture of a scenario: well-formed, inside its frame, and showing what happened."""

import re
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from hwsim.cli import main
from hwsim.scenario import file, plot
from hwsim.scenario.judge import judge
from hwsim.scenario.play import play

SVG = "{http://www.w3.org/2000/svg}"


def picture(name):
    played = play(file.load(file.find(name)))
    return played, ElementTree.fromstring(plot.draw(played, judge(played)))


def words(root):
    return [element.text or "" for element in root.iter(f"{SVG}text")]


DRAWN = ["abducted_in_car_through_tunnel", "border_crossing_roaming_no_data", "wet_cell_battery_sags_and_browns_out"]


@pytest.mark.parametrize("name", DRAWN)
def test_everything_is_inside_the_frame_and_named(name):
    played, root = picture(name)
    width, height = (float(root.get(key)) for key in ("width", "height"))
    for element in root.iter(f"{SVG}text"):
        assert 0 <= float(element.get("x")) <= width
        assert 0 <= float(element.get("y")) <= height
    for element in root.iter(f"{SVG}circle"):
        assert 0 < float(element.get("cx")) < width
        assert 0 < float(element.get("cy")) < height
    text = words(root)
    assert played.scenario.title in text
    for alarm in played.alarms:
        assert any(line.startswith(f"Alert {alarm.counter} {alarm.relay_path}") for line in text)
    for event in played.scenario.events:
        assert event.do.replace("_", " ") in text


def test_without_satellites_there_is_no_map():
    _, root = picture("border_crossing_roaming_no_data")
    assert any("no place to draw" in line for line in words(root))
    assert root.find(f"{SVG}polyline") is None


def test_the_supply_lane_shows_the_brownouts():
    played, root = picture("wet_cell_battery_sags_and_browns_out")
    lane = next(float(t.get("y")) for t in root.iter(f"{SVG}text") if t.text == "supply on")
    bars = [r for r in root.iter(f"{SVG}rect") if abs(float(r.get("y", "-99").rstrip("%")) - (lane - 8)) < 1]
    assert len(bars) == played.boots == 4


def test_the_command_writes_it(tmp_path):
    path = tmp_path / "story.svg"
    arguments = ["run", "--quiet", "--plot", str(path), "let_go_before_the_long_pulse"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert re.match(r"<svg [^>]*viewBox", path.read_text())
    assert CliRunner().invoke(main, [*arguments, "grabbed_on_the_street"]).exit_code == 2

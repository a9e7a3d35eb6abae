"""Scenario files: what is refused, and that the text says where."""

import pytest

from hwsim.scenario import file
from hwsim.scenario.track import TrackError, Waypoint, from_gpx, from_waypoints, metres

GOOD = """\
title = "A title"
story = "Somebody walks down a street and is grabbed."
seconds = 100

[[track]]
t = 0
lat = 48.0
lon = 11.0

[[track]]
kmh = 36
lat = 48.01
lon = 11.0

[[event]]
at = 60
do = "press"

[[expect]]
delivered = 1
within = 5
"""


def load(tmp_path, text):
    path = tmp_path / "story.toml"
    path.write_text(text)
    return file.load(path)


def test_a_good_one(tmp_path):
    scenario = load(tmp_path, GOOD)
    assert scenario.name == "story"
    assert scenario.events == (file.Event(60.0, "press", {"for_s": 3.3}),)
    assert scenario.expectations == (file.Delivered(delivered=1, within=5),)
    assert scenario.way[1][0] == pytest.approx(111.3, abs=0.1)  # 1113 m at 10 m/s


@pytest.mark.parametrize(
    ("old", "new", "line", "why"),
    [
        ('title = "A title"', 'titel = "A title"', 1, "title Field required"),
        ("seconds = 100", "seconds = 100\ncolour = 3", 4, "colour is not known here"),
        ("seconds = 100", 'seconds = "long"', 3, "seconds Input should be a valid number"),
        ("at = 60", "at = 600", 16, "event 1: at is after the end"),
        ("at = 60", "at = -1", 16, "event 1: at must be given"),
        ('do = "press"', 'do = "fly"', 17, 'no action "fly"; there are '),
        ('do = "press"', 'do = "press"\nfor = 3', 18, 'press has no argument "for" (arguments: for_s)'),
        ('do = "press"', 'do = "press"\nfor_s = 300', 18, "for_s is 0.02 to 60 s, not 300"),
        ('do = "press"', 'do = "net_loss"\npercent = 1.5', 18, "percent is a whole number, not 1.5"),
        ('do = "press"', 'do = "captive_wifi"\non = 1', 18, "on is true or false, not 1"),
        ('at = 60\ndo = "press"', 'at = 0\ndo = "brownout"', 16, "at is 0, before it is switched on"),
        ("delivered = 1\nwithin = 5", "within = 5", 19, "expect 1: needs exactly one of delivered, place, felt"),
        ("delivered = 1", "delivered = 1\nfelt = []", 19, "needs exactly one of"),
        ("within = 5", "within = 5\nby = 7", 22, "by is not known here (known: delivered, within, not_before, path)"),
        ("within = 5", 'within = 5\npath = "pigeon"', 22, "path Input should be 'mqtt' or 'sms'"),
        ("[[expect]]\ndelivered = 1\nwithin = 5\n", "", None, "nothing is expected"),
        ("kmh = 36\n", "t = 0\n", 10, "is at 0 s, not after the one before"),
        ("kmh = 36\n", "", 10, "needs either t (when) or kmh"),
        ("lat = 48.01", "lat = 148.01", 12, "track 2: lat"),
        ("[[track]]\nt = 0", "[track]\nt = 0", None, "not TOML"),
        ("[[expect]]", "[expect]", 19, "is written as [[expect]]"),
        ("[[track]]\nt = 0", 'gpx = "a.gpx"\n[[track]]\nt = 0', 5, "exclude each other"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, old, new, line, why):
    assert GOOD.count(old) == 1
    with pytest.raises(file.ScenarioError) as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert why in str(caught.value)
    if line is not None:
        assert f"story.toml:{line}: " in str(caught.value)


def test_a_place_needs_a_way(tmp_path):
    text = GOOD[: GOOD.index("[[track]]")] + GOOD[GOOD.index("[[event]]") :]
    assert load(tmp_path, text).way == []
    with pytest.raises(file.ScenarioError, match="neither"):
        load(tmp_path, text + '\n[[expect]]\nplace = "last"\n')


def test_neither_ours_nor_a_file():
    with pytest.raises(file.ScenarioError, match="--list"):
        file.find("no_such_story")


GPX = """<?xml version="1.0"?>
<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>
<trkpt lat="48.0" lon="11.0"><ele>500.4</ele><time>2026-01-01T10:00:00Z</time></trkpt>
<trkpt lat="48.001" lon="11.0"><ele>501</ele><time>2026-01-01T10:01:30Z</time></trkpt>
</trkseg></trk></gpx>
"""


def test_gpx_with_times(tmp_path):
    (tmp_path / "a.gpx").write_text(GPX)
    assert from_gpx(tmp_path / "a.gpx") == [(0.0, 48.0, 11.0, 500), (90.0, 48.001, 11.0, 501)]
    text = GOOD[: GOOD.index("[[track]]")] + 'gpx = "a.gpx"\n' + GOOD[GOOD.index("[[event]]") :]
    assert load(tmp_path, text).way[1][0] == 90


def test_gpx_without_times_is_walked(tmp_path):
    (tmp_path / "a.gpx").write_text(
        '<gpx><rte><rtept lat="48.0" lon="11.0"/><rtept lat="48.001" lon="11.0"/></rte></gpx>'
    )
    assert from_gpx(tmp_path / "a.gpx")[1][0] == pytest.approx(80.1, abs=0.1)  # 111 m at 5 km/h


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("<gpx>", "not XML"),
        ("<gpx/>", "no track or route point"),
        ('<gpx><rtept lat="48"/></gpx>', "point 1"),
        ('<gpx><rtept lat="north" lon="1"/></gpx>', "point 1"),
        ('<gpx><rtept lat="95" lon="1"/></gpx>', "point 1"),
    ],
)
def test_gpx_that_makes_no_sense(tmp_path, content, why):
    (tmp_path / "a.gpx").write_text(content)
    with pytest.raises(TrackError, match=why):
        from_gpx(tmp_path / "a.gpx")


def test_gpx_that_is_not_there(tmp_path):
    with pytest.raises(TrackError, match="No such file"):
        from_gpx(tmp_path / "a.gpx")


def test_the_first_point_has_a_time():
    with pytest.raises(TrackError, match="nowhere to come from"):
        from_waypoints([Waypoint(lat=1.0, lon=1.0, kmh=5.0)])


def test_metres():
    assert metres(48.0, 11.0, 48.0, 11.001) == pytest.approx(74.5, abs=0.5)

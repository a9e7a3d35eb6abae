"""Receivers as they talk, on a whole bracelet: none is taken for silent, none is doubted, each place is told."""

import pytest

from hwsim.scenario.actions import do
from hwsim.world import Track

HERE = (48.0, 11.0)
TALKS = {
    "two talkers": [("gnss_talkers", {"number": 1})],
    "two talkers, five times a second": [("gnss_talkers", {"number": 2}), ("gnss_rate", {"hz": 5})],
    "ten times a second": [("gnss_rate", {"hz": 10})],
    "QZSS": [("gnss_talkers", {"number": 9})],
    "NavIC": [("gnss_talkers", {"number": 10})],
    "GGA first": [("gnss_sentences", {"number": 1})],
    "only GGA": [("gnss_sentences", {"number": 2})],
    "only GNS, by two": [("gnss_sentences", {"number": 3}), ("gnss_talkers", {"number": 1})],
    "only RMC": [("gnss_sentences", {"number": 4})],
    "RMC and GNS": [("gnss_sentences", {"number": 5})],
    "00 satellites": [("gnss_uncounted", {"on": True})],
    "00 satellites, and GNS": [("gnss_uncounted", {"on": True}), ("gnss_sentences", {"number": 6})],
    "no fix by the first constellation": [("gnss_shared", {"without": 1})],
    "no fix by the second constellation": [("gnss_shared", {"without": 2}), ("gnss_sentences", {"number": 1})],
    "CR CR LF": [("gnss_extra_cr", {"on": True})],
    "zeros at first": [("gnss_zeros", {"for_s": 40.0})],
    "1980 at first": [("gnss_first_date", {"year": 1980})],
    "2007 at first": [("gnss_first_date", {"year": 2007})],
    "2013 at first": [("gnss_first_date", {"year": 2013})],
}


IN_A_MODEM = ("two talkers", "only GGA", "no fix by the first constellation", "CR CR LF", "1980 at first")
CASES = [*((talk, "reference") for talk in TALKS), *((talk, "lilygo-t-sim7000g") for talk in IN_A_MODEM)]


@pytest.mark.parametrize(("talk", "board"), CASES)
def test_however_it_talks(make_bench, world, talk, board):
    bench = make_bench(board=board, track=Track.still(*HERE))
    for name, arguments in TALKS[talk]:
        do(bench, name, **arguments)
    bench.boot()
    world.run(45)
    bench.press()
    world.expect("firmware", "receipt", within=20)
    world.run(250)
    documents = [document for _, document in sorted(bench.documents().items())]
    assert len(documents) >= 3
    for document in documents:
        assert not document["flags"]["doubtful"]
        place = document["position"]
        if place is not None:
            assert (place["lat_e7"], place["lon_e7"]) == (480000000, 110000000)
            assert place["age_s"] <= 4
    assert documents[-1]["position"] is not None
    bare = "times a second" in talk or talk == "only RMC"  # so often, 9600 baud take nothing but RMC
    assert (documents[-1]["position"]["accuracy_m"] < 100) != bare
    assert documents[-1]["time_quality"] == ("gnss" if not talk.startswith("only G") else "network")
    assert documents[-1]["sent_unix"] == pytest.approx(
        world.start + [e for e in world.trace if e.who == "firmware" and e.what == "update"][-1].t_us / 1e6, abs=2
    )
    assert not [
        event for event in world.trace if event.who == "firmware" and event.what == "gnss" and "silent" in event.detail
    ]


def test_single_zeros_on_the_way_are_no_jump(make_bench, world):
    bench = make_bench(track=Track.still(*HERE))
    bench.boot(settle=45)
    bench.press()
    world.expect("firmware", "receipt", within=20)
    for _ in range(8):
        do(bench, "gnss_zeros", for_s=1.0)
        world.run(25)
    for document in bench.documents().values():
        assert not document["flags"]["doubtful"]
        assert document["position"]["lat_e7"] == 480000000

"""What is over is gone: from the journal, NVS and the clock's memory, over resets and sleeps, and soon."""

import cbor2
import pytest

from hwsim.scenario import wearer
from hwsim.world import Track

HOUR = 3600
SOON_S = 60  # after the end, or after the last receipt


@pytest.fixture(params=["mqtt", pytest.param("sms", marks=pytest.mark.long)])
def settled(request, make_bench, world):
    bench = make_bench(wifi=request.param == "mqtt", track=Track.still(48.0, 11.0))
    bench.boot(settle=60)
    return bench


def record(bench):
    """The one record in the journal, as a list (firmware/tocsin/journal.py)."""
    journal = bench.bracelet.flash.journal
    assert journal.count(b"TCJ1") == 1
    at = journal.index(b"TCJ1")
    return cbor2.loads(journal[at + 12 : at + 12 + int.from_bytes(journal[at + 8 : at + 12], "big")])


def dump(bench):
    """All that an alarm could be in, without the file system, which nothing writes to."""
    return bench.bracelet.flash.journal + bench.bracelet.flash.nvs.image + bytes.fromhex(bench.bracelet.rtc.memory)


def marks(bench):
    """What tells of the alarms so far: when each was raised, as the journal would have it, and every message."""
    written = record(bench)[6]  # the time of this record's writing, which may be the second of an alarm's end
    times = [document["sent_unix"] for document in bench.documents().values() if not document["seq"]]
    times = [time.to_bytes(4, "big") for time in times if time != written]
    sealed = [message.payload for message in bench.broker.published if message.topic.endswith("/alarm")]
    sealed += [sms.data for sms in bench.world.sms.submitted if sms.sender == bench.bracelet.phone]
    return times + [octets[20:60] for octets in sealed]


def alarm(bench):
    return record(bench)[4]


def gone(bench):
    octets = dump(bench)
    return alarm(bench) == [] and record(bench)[5] == [] and not any(mark in octets for mark in marks(bench))


def raise_and_end(bench, world, how):
    """Returns when it has ended, or an hour after it was raised at the latest."""
    if how.startswith("drill"):
        wearer.drill(bench)
        world.expect("firmware", "raised", within=15)
    else:
        bench.press()
    world.expect("firmware", "delivered", within=60)
    assert alarm(bench)[1] == bench.documents()[alarm(bench)[0]]["sent_unix"]  # what is to go is there
    start = world.now_us
    if how.endswith("closed"):
        bench.accept()
        world.run(5)
        bench.close_alarm()
        world.expect("firmware", "close", within=30)
    elif how.endswith("called back"):
        world.run(2)  # until she has let go
        wearer.call_back(bench)
        world.expect("firmware", "cancelled", within=8)
        if how == "called back":
            world.run(HOUR - 60 - (world.now_us - start) / 1e6)
            assert not gone(bench)
            assert world.now_us - start < HOUR * 1e6
            world.run(60)
    else:
        world.run(HOUR)


HOW = ["closed", "called back", "drill, closed", "drill, called back", "drill"]


@pytest.mark.parametrize("how", HOW)
def test_what_is_over_is_gone(settled, world, how):
    raise_and_end(settled, world, how)
    assert world.run_until(lambda: gone(settled), SOON_S), (record(settled)[4:6], how)
    world.run(HOUR)
    assert gone(settled)
    start = len(world.trace)
    settled.press()
    assert world.expect("firmware", "delivered", within=60)
    assert settled.documents()[settled.accepted()[-1]]["msg_type"] == "Alert"
    assert not [event for event in world.trace[start:] if event.what == "refused"]


@pytest.mark.parametrize("ends", [pytest.param("reset", marks=pytest.mark.long), "power_cut"])
def test_also_when_it_does_not_live_to_see_the_end(settled, world, ends):
    """The chip resets again and again, or has no supply for a while: every time it goes on where it was."""
    settled.press()
    world.expect("firmware", "delivered", within=60)
    start = world.now_us
    world.run(3)
    wearer.call_back(settled)
    for _ in range(4):
        world.run(500)
        settled.bracelet.reset() if ends == "reset" else settled.bracelet.power_cut(restart_after=10)
    world.run(HOUR - 40 - (world.now_us - start) / 1e6)
    assert alarm(settled) != []
    # A reset costs the time since the journal was last written, 10 minutes at most, if nobody knows the time.
    assert world.run_until(lambda: gone(settled), 40 + SOON_S + (0 if ends == "reset" else 4 * 20))


@pytest.mark.long
@pytest.mark.parametrize("slept", [True, False])
def test_what_nobody_could_be_told_of_is_not_over(settled, world, slept):
    """An alarm that was called back waits in the journal for a network, however long; then it goes."""
    settled.bracelet.wifi.up = settled.bracelet.modem.service = False
    settled.press()
    world.run(3)  # until she has let go
    wearer.call_back(settled)
    world.expect("firmware", "cancelled", within=8)
    world.run(HOUR * 2)
    if not slept:
        settled.bracelet.reset()
        world.run(20)
    assert alarm(settled) != []
    assert record(settled)[5] != []
    settled.bracelet.wifi.up = settled.bracelet.modem.service = True
    assert world.run_until(lambda: gone(settled), 900)  # it wakes for what waits; of its Updates only the newest goes
    assert [settled.documents()[counter]["msg_type"] for counter in sorted(settled.accepted())][:2] == [
        "Alert",
        "Cancel",
    ]


def test_nothing_comes_back_from_where_an_alert_is_kept_while_the_journal_fails(settled, world):
    """NVS has an Alert that is older than the journal's record: it is not taken for one that still waits."""
    settled.press()
    world.expect("firmware", "delivered", within=60)
    world.run(5)  # the record says when it was written, to the second
    settled.close_alarm()
    assert world.run_until(lambda: gone(settled), 60)
    bracelet = settled.bracelet
    bracelet.power_cut()
    held = cbor2.dumps([[16, 0, 0, 0, 0, 0, 0], [16, 16, 0, b"sealed"]])
    nvs = bracelet.flash.nvs
    space = nvs.call("open", ["tocsin"])[1]
    nvs.call("set_blob", [space, settled.kid + "a", held.hex()])
    settled.boot(settle=30)
    assert gone(settled)

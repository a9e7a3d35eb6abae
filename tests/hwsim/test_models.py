"""Models without a firmware: the receiver's sentences and tracks, the traces, the clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.world import Track
from hwsim.world.clock import FOREVER, Clock
from hwsim.world.gnss import Gnss
from hwsim.world.gnss_talk import degrees as worded
from hwsim.world.gnss_talk import sentence
from hwsim.world.trace import Trace, TraceEvent, parse_line

WIRING = {"tx": 27, "rx": 26, "baud": 9600}


def receiver(world, basic, track):
    """A receiver whose sentences are caught before the serial line."""
    bracelet = world.bracelet(firmware=basic)
    said = []
    gnss = Gnss(bracelet, "gnss under test", WIRING, track)
    gnss.line.announce = lambda us, data: said.append(data)
    return gnss, said


def degrees(text, width):
    return int(text[:width]) + float(text[width:]) / 60


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_positions_survive_their_sentences(lat, lon):
    north, ns = worded(round(lat * 1e7), 2, "N", "S").split(",")
    east, ew = worded(round(lon * 1e7), 3, "E", "W").split(",")
    assert len(north) == 10
    assert len(east) == 11
    assert degrees(north, 2) * (1 if ns == "N" else -1) == pytest.approx(lat, abs=2e-7)
    assert degrees(east, 3) * (1 if ew == "E" else -1) == pytest.approx(lon, abs=2e-7)


def test_a_cold_start_gives_the_time_before_the_position(world, basic):
    gnss, said = receiver(world, basic, Track.still(10.5, -20.25, 123))
    gnss.power(True)
    world.run(60)
    minimum = b"".join(said).split(b"\r\n")
    assert minimum[0] == sentence("GPRMC,,V,,,,,,,,,,N").strip()
    rmc = [line.split(b",") for line in minimum if b"RMC" in line]
    first_time = next(i for i, fields in enumerate(rmc) if fields[1])
    first_fix = next(i for i, fields in enumerate(rmc) if fields[2] == b"A")
    assert 0 < first_time < first_fix
    assert rmc[first_fix][3:7] == [b"1030.00000", b"N", b"02015.00000", b"W"]
    assert rmc[first_fix][9] == b"010126"
    gga = [line.split(b",") for line in minimum if b"GGA" in line]
    assert gga[-1][6:10] == [b"1", b"09", b"0.90", b"123.0"]
    assert int(rmc[first_fix + 5][1][:6]) == int(rmc[first_fix][1][:6]) + 5


def test_jumps_loss_and_noise(world, basic):
    gnss, said = receiver(world, basic, Track.still(10, 20))
    gnss.cold_start_s = 1
    gnss.power(True)
    world.run(5)
    gnss.jump_e7 = (10_000_000, 0)
    said.clear()
    world.run(1)
    assert b",1100.00000,N," in said[0]
    gnss.sky = False
    said.clear()
    world.run(1)
    assert b",V," in said[0]
    gnss.inject(b"\xff\x00$GPRMC,")
    assert said[-1] == b"\xff\x00$GPRMC,"
    gnss.power(False)
    said.clear()
    world.run(5)
    assert said == []


def test_a_receiver_guesses_hangs_and_sees_little(world, basic):
    gnss, said = receiver(world, basic, Track([(0, 10.0, 20.0, 100), (100, 11.0, 20.0, 100)]))
    gnss.cold_start_s = 1

    def second():
        said.clear()
        world.run(1)
        return said[0].decode()

    gnss.power(True)
    world.run(4)
    gnss.clock_offset_s = 3600
    assert "GPRMC,010004.00,A" in second()
    gnss.clock_offset_s = 0
    gnss.poor = True
    poor = second()
    assert ",1,03,12.00," in poor
    assert "GPGSA,A,2,01,02,03,,,,,,,,,,2.00,12.00," in poor
    gnss.poor = False
    gnss.estimates = True
    gnss.sky = False
    first, later = second(), second()
    assert all(",,,E*" in guess and ",6," in guess for guess in (first, later))
    assert first.split(",")[3] == later.split(",")[3]
    assert first.split(",")[1] != later.split(",")[1]
    assert not gnss.fix
    gnss.sky, gnss.reacquire_s = True, 0.0
    world.run(10)
    gnss.frozen = True
    assert second() == second()
    gnss.sky = False
    assert ",A," in second()
    gnss.power(False)
    gnss.power(True)
    world.run(3)
    assert not gnss.frozen
    assert ",V," in second()


def test_a_track_is_walked_between_its_points():
    track = Track([(10, 0.0, 0.0, 100), (20, 0.001, 0.0, 200), (30, 0.001, 0.001, 200)])
    assert track.at(0).lat_e7 == 0
    assert track.at(0).speed_mps == 0
    middle = track.at(15_000_000)
    assert (middle.lat_e7, middle.lon_e7, middle.altitude_m) == (5000, 0, 150)
    assert middle.speed_mps == pytest.approx(11.13, abs=0.01)
    assert middle.heading == pytest.approx(0)
    assert track.at(25_000_000).heading == pytest.approx(90)
    assert track.at(99_000_000).lon_e7 == 10_000
    with pytest.raises(ValueError, match="point"):
        Track([])


def test_the_clock_keeps_the_order():
    clock, said = Clock(), []
    clock.after(20, lambda: said.append("c"))
    clock.after(10, lambda: (said.append("a"), clock.after(0, lambda: said.append("b"))))
    clock.after(10, lambda: said.append("a2"))
    dead = clock.after(5, lambda: said.append("never"))
    dead.cancel()
    while clock.next_us() < FOREVER:
        clock.step()
    assert said == ["a", "a2", "b", "c"]
    assert clock.now_us == 20
    clock.step()
    assert clock.at(3, lambda: None).at_us == 20  # the past is now


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=40))
def test_the_clock_tells_the_next_event_but_for_one(events):
    clock, timers = Clock(), []
    for at_us, cancelled in events:
        timers.append(clock.at(at_us, lambda: None))
        if cancelled:
            timers[-1].cancel()
    for but in timers:
        others = [timer.at_us for timer in timers if timer.pending and timer is not but]
        assert clock.next_us(but) == min(others, default=FOREVER)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("@raised counter=7 octets=126", ("raised", {"counter": 7, "octets": 126})),
        ("@link path=wifi up=1", ("link", {"path": "wifi", "up": 1})),
        ("@armed", ("armed", {})),
        ("@offset s=-3", ("offset", {"s": -3})),
        ("armed", None),
        ("@this is prose", None),
        ("@", None),
        ("", None),
    ],
)
def test_structured_lines(line, event):
    assert parse_line(line) == event


def test_the_trace_reads_and_digests():
    trace = Trace()
    trace.add(TraceEvent(3_723_000_004, "button", "pressed"))
    trace.add(TraceEvent(3_724_000_000, "haptic", "pulse", {"ms": 80}))
    assert trace.format() == (
        "01:02:03.000004  button       pressed\n01:02:04.000000  haptic       pulse          ms=80"
    )
    assert trace.format(1).startswith("01:02:04")
    same = Trace()
    for event in trace:
        same.add(event)
    assert same.digest() == trace.digest()
    same.add(TraceEvent(3_724_000_001, "haptic", "pulse", {"ms": 81}))
    assert same.digest() != trace.digest()


def test_expectations_say_what_happened_instead(world, basic):
    world.bracelet(firmware=basic).boot()
    with pytest.raises(AssertionError, match=r"expected firmware raised counter=1 within 2 s(.|\n)*firmware +boot"):
        world.expect("firmware", "raised", within=2, counter=1)
    with pytest.raises(AssertionError, match="did not expect gnss off"):
        world.after(10, lambda: world.note("gnss", "off"))
        world.expect_nothing("gnss", "off", within=1)
    world.note("firmware", "raised", counter=2)
    assert world.expect("firmware", "raised", counter=lambda n: n > 1).detail == {"counter": 2}
    with pytest.raises(AssertionError):
        world.expect("firmware", "raised")  # that one was expected already


def test_a_press_bounces_if_told_to(world, firmware):
    main = firmware(
        """
        import machine, time
        pin = machine.Pin(33, machine.Pin.IN, machine.Pin.PULL_UP)
        pin.irq(lambda p: print(f"@edge level={p.value()}"))
        time.sleep(100)
        """
    )
    bracelet = world.bracelet(firmware=main)
    bracelet.button.bounce_us = 3000
    bracelet.boot()
    world.run(1)
    bracelet.button.hold(1)
    world.run(1)
    levels = [event.detail["level"] for event in world.trace if event.what == "edge"]
    assert len(levels) > 6
    assert levels[-1] == 1


@pytest.mark.parametrize(("away_s", "found_s"), [(900, 4), (5 * 3600, 34)])
def test_a_receiver_with_a_backup_supply_starts_hot_for_four_hours(world, firmware, away_s, found_s):
    bracelet = world.bracelet(firmware=firmware("import time\ntime.sleep(100000)"), track=Track.still(1, 2))
    bracelet.boot()
    bracelet.gnss.power(True)
    world.run(40)
    assert bracelet.gnss.fix
    bracelet.gnss.power(False)
    world.run(away_s)
    bracelet.gnss.power(True)
    world.run(found_s / 2)
    assert not bracelet.gnss.fix or found_s == 4
    world.run(found_s / 2)
    assert bracelet.gnss.fix


def test_without_any_supply_the_receiver_forgets(world, firmware):
    bracelet = world.bracelet(firmware=firmware("import time\ntime.sleep(100000)"), track=Track.still(1, 2))
    bracelet.boot()
    bracelet.gnss.power(True)
    world.run(40)
    bracelet.power_cut()
    bracelet.boot()
    bracelet.gnss.power(True)
    world.run(20)
    assert not bracelet.gnss.fix


def test_the_strap_tells_its_contact_and_chatters_only_while_closed(world, basic):
    device = world.bracelet(firmware=basic)
    strap, pin = device.strap, device.board["strap"]["pin"]
    assert device.level(pin) == 1  # open: the pull-up
    strap.close()
    assert device.level(pin) == 0
    strap.chatter(5)
    levels = set()
    for _ in range(500):
        world.run(0.01)
        levels.add(device.level(pin))
    assert levels == {0, 1}
    world.run(2)
    assert device.level(pin) == 0
    strap.chatter(5)
    strap.open()
    world.run(7)
    assert device.level(pin) == 1
    assert [event.what for event in world.trace if event.who == "strap"] == ["closed", "open"]

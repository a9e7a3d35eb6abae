"""The receiver's sentences are announced to the chip ahead of their time, and nobody may notice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwsim.world import Track, World
from hwsim.world.uart import SerialLine

# Reads by the second and says how far north it is; at its fifth reading it moves a pin, and does what `act` says.
READER = """
    import machine, time
    from machine import UART, Pin
    Pin(14, Pin.OUT, value=1)
    uart = UART(1, baudrate=9600, tx=27, rx=26, rxbuf=2048)
    hook = Pin(4, Pin.OUT, value=0)
    button = Pin(33, Pin.IN, Pin.PULL_UP)
    time.sleep_ms(500)
    for n in range(12):
        time.sleep(1)
        lines = (uart.read() or b"").split(b"\\r\\n")
        rmc = [line.split(b",") for line in lines if b"RMC" in line]
        gsa = [line for line in lines if b"GSA" in line]
        print("@second n=%d rmc=%d gsa=%d lat=%s" % (n, len(rmc), len(gsa), rmc[-1][3].decode() if rmc else ""))
        if n == 4:
            hook.value(1)
            ACT
"""


class Hook:
    """A part that does something to the world as soon as the firmware moves its pin, which no clock knew of."""

    def __init__(self, act):
        self.act = act

    def reset(self):
        pass

    def output(self, device, args):
        if args == ["output", 1]:
            self.act()

    def call(self, device, function, args):
        return 0


def seconds(world, firmware, hook, act="pass", name="firmware", chunk=None):
    """What the firmware says of each second, as (sentences of RMC, of GSA, latitude)."""
    bracelet = world.bracelet(firmware=firmware(READER.replace("ACT", act), name), track=Track.still(10.0, 20.0))
    bracelet.gnss.cold_start_s = 0.5
    if chunk:
        bracelet.gnss.line.chunk = chunk
    bracelet.wire("pin4", Hook(lambda: hook(bracelet)))
    bracelet.boot()
    world.run(20)
    said = [event.detail for event in world.trace if event.what == "second"]
    return [(detail["rmc"], detail["gsa"], str(detail["lat"])) for detail in said]


def jump(bracelet):
    bracelet.gnss.jump_e7 = (10_000_000, 0)


def move(bracelet):
    bracelet.gnss.track = Track.still(11.0, 20.0)


def lose(bracelet):
    bracelet.gnss.sky = False


@pytest.mark.parametrize(("hook", "after"), [(jump, "1100.00000"), (move, "1100.00000"), (lose, "")])
def test_what_the_firmware_itself_brings_about_counts_from_the_next_second_on(world, firmware, hook, after):
    said = seconds(world, firmware, hook)
    assert [lat for _, _, lat in said[2:5]] == ["1000.00000"] * 3
    assert [lat for _, _, lat in said[5:]] == [after] * 7
    assert all((rmc, gsa) == (1, 1) for rmc, gsa, _ in said[1:])


def test_noise_comes_between_the_sentences_and_takes_none_away(world, firmware):
    said = seconds(world, firmware, lambda bracelet: bracelet.gnss.inject(b"$GPGSA,noise\r\n"))
    assert [gsa for _, gsa, _ in said[1:]] == [1] * 4 + [2] + [1] * 6
    assert all(rmc == 1 for rmc, _, _ in said[1:])


def test_a_receiver_that_is_switched_off_is_silent_at_once(world, firmware):
    said = seconds(world, firmware, lambda bracelet: bracelet.gnss.power(False))
    assert [rmc for rmc, _, _ in said[1:]] == [1] * 4 + [0] * 7


def test_a_port_that_is_opened_anew_hears_the_next_second(world, firmware):
    act = "uart.deinit(); uart = UART(1, baudrate=9600, tx=27, rx=26, rxbuf=2048)"
    said = seconds(world, firmware, lambda bracelet: None, act)
    assert all((rmc, gsa) == (1, 1) for rmc, gsa, _ in said[1:])


def test_light_sleep_hears_nothing_and_what_follows_it_everything(world, firmware):
    said = seconds(world, firmware, lambda bracelet: None, "machine.lightsleep(3000)")
    assert all((rmc, gsa) == (1, 1) for rmc, gsa, _ in said[1:])


def test_an_edge_at_a_pin_takes_no_octets_that_are_on_the_line(world, firmware):
    bracelet = world.bracelet(firmware=firmware(READER.replace("ACT", "pass")), track=Track.still(10.0, 20.0))
    bracelet.boot()
    for n in range(1, 12):  # just after the receiver has begun to speak
        world.at(n * 1_000_000 + 60_100, bracelet.button.press if n % 2 else bracelet.button.release)
    world.run(20)
    said = [event.detail for event in world.trace if event.what == "second"]
    assert [detail["gsa"] for detail in said[1:]] == [1] * 11


@pytest.mark.parametrize("hook", [jump, lose])
def test_the_trace_is_that_of_a_receiver_that_announces_nothing(firmware, hook):
    with World(seed=3) as ahead, World(seed=3) as by_the_octet:
        assert seconds(ahead, firmware, hook) == seconds(by_the_octet, firmware, hook, name="second", chunk=1)
        assert ahead.digest() == by_the_octet.digest()
        assert ahead.events < by_the_octet.events / 10


@pytest.mark.parametrize("hz", [1, 5, 10])
def test_what_is_announced_leaves_the_firmware_its_heap(world, firmware, monkeypatch, hz):
    """Octets ahead of their time lie in the firmware's heap: those of a receiver that talks often left a life none."""
    ahead, worst = [], 0
    announce = SerialLine.announce

    def noted(line, us, data):
        nonlocal ahead, worst
        ahead = [(at_us, octets) for at_us, octets in [*ahead, (us, len(data))] if at_us > world.now_us]
        worst = max(worst, sum(octets for _, octets in ahead))
        announce(line, us, data)

    monkeypatch.setattr(SerialLine, "announce", noted)
    bracelet = world.bracelet(firmware=firmware(READER.replace("ACT", "pass")), track=Track.still(10.0, 20.0))
    bracelet.gnss.talk = replace(bracelet.gnss.talk, hz=hz)
    bracelet.boot()
    world.run(60)
    assert 0 < worst < 5500

"""The meter, its table, and what a day costs."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from hwsim import board, cli, plot_power, power
from hwsim.currents import DEFAULT, ESTIMATES, UAS_PER_MAH
from hwsim.rig import RELAY_NUMBER, Rig
from hwsim.world import Track
from hwsim.world.energy import Meter

STATES = st.lists(st.tuples(st.integers(0, 10**12), st.sampled_from(["off", "on"])), max_size=30)


@given(STATES, st.integers(0, 10**9))
def test_the_times_of_a_part_add_up_to_the_whole(steps, last):
    now = 0
    meter = Meter(lambda: now)
    meter.set("led", "off")
    for us, state in steps:
        now += us
        meter.set("led", state)
    now += last
    times = meter.times()
    assert sum(times.values()) == now
    assert meter.charge_uas({"led": {"off": 0, "on": 1_000_000}}) == times.get(("led", "on"), 0)


def test_an_hour_of_a_milliampere_is_a_milliampere_hour():
    now = 0
    meter = Meter(lambda: now)
    meter.set("processor", "active")
    now = 3_600_000_000
    assert meter.charge_uas({"processor": {"active": 1000}}) == UAS_PER_MAH
    assert power.cost(meter.times(), {"processor": {"active": 1000}}).mah_a_day == pytest.approx(24)


def test_a_state_without_a_current_is_an_error_that_names_it():
    with pytest.raises(KeyError, match="no current is known for led in state broken"):
        power.cost({("led", "broken"): 1}, DEFAULT)


def test_an_estimate_is_marked_until_the_board_has_a_better_figure():
    times = {(part, state): 1_000_000 for part, states in DEFAULT.items() for state in states}
    marked = {(line.part, line.state) for line in power.cost(times, DEFAULT).lines if line.estimate}
    assert marked == ESTIMATES
    own = {**DEFAULT, "led": {"off": 0, "on": 1_234}}
    marked = {(line.part, line.state) for line in power.cost(times, own).lines if line.estimate}
    assert marked == ESTIMATES - {("led", "on")}


def test_each_part_reports_what_it_does(world, firmware):
    main = firmware(
        """
        import asyncio, machine, network
        from machine import PWM, Pin
        Pin(14, Pin.OUT, value=1)  # the receiver's supply
        key = Pin(4, Pin.OUT, value=1)
        wlan = network.WLAN(network.STA_IF)
        wlan.active(True)
        wlan.connect("workshop", "hwsim-key")
        async def main():
            await asyncio.sleep(2)
            key.value(0)
            Pin(13, Pin.OUT, value=1)
            motor = PWM(Pin(25), freq=20000, duty_u16=65535)
            await asyncio.sleep(1)
            motor.duty_u16(0)
            await asyncio.sleep(57)
            machine.lightsleep(10000)
            machine.deepsleep(20000)
        asyncio.run(main())
        """
    )
    bracelet = world.bracelet(firmware=main, track=Track.still(1.0, 2.0))
    bracelet.boot()
    world.run(90.2)
    seconds = {key: round(us / 1e6) for key, us in bracelet.meter.times().items()}
    assert seconds["processor", "light_sleep"] == 10
    assert seconds["processor", "deep_sleep"] == 20
    assert seconds["gnss", "acquisition"] == pytest.approx(bracelet.gnss.cold_start_s, abs=2)
    assert seconds["gnss", "tracking"] > 30
    assert seconds["haptic", "on"] == 1
    assert seconds["modem", "registered"] > 30 and seconds["modem", "searching"] > 3
    assert seconds["wifi", "searching"] in (1, 2) and seconds["wifi", "associated"] > 60
    assert bracelet.meter.charge_uas(bracelet.board.currents) > 0


def test_the_cell_empties_by_what_the_parts_take(world, basic):
    bracelet = world.bracelet(firmware=basic)
    bracelet.battery.capacity_mah = 100
    bracelet.battery.percent = 100
    bracelet.boot()
    world.run(1800)
    half = bracelet.battery.percent
    taken = bracelet.meter.charge_uas(bracelet.board.currents)
    assert half == 100 - taken * 100 // (100 * UAS_PER_MAH)
    assert 50 < half < 70
    world.run(7200)
    assert bracelet.battery.percent == 0


def test_a_message_sent_from_a_weak_cell_browns_out_and_the_alarm_survives(world, tmp_path):
    rig = Rig(world, tmp_path, wifi=False, track=Track.still(1.0, 2.0))
    rig.provision()
    rig.boot(settle=30)
    battery = rig.bracelet.battery
    battery.percent = 3
    battery.sag_mv = 500
    rig.press()
    world.expect("bracelet", "reset", within=20, by="brownout")
    world.expect("firmware", "boot", within=2, cause="power_on")
    battery.sag_mv = 0  # warmed up, or charged
    world.expect("firmware", "receipt", within=600, path="sms")
    rig.close()


@pytest.mark.parametrize("name", ["reference", "devkit"])
def test_boards_say_what_they_draw(name):
    loaded = board.load(name)
    assert loaded.capacity_mah is not None
    for part, states in DEFAULT.items():
        assert loaded.currents[part].keys() == states.keys()
    own = {key: value for key, value in loaded["power"].items() if key.endswith("_ua")}
    for part, states in loaded.currents.items():
        for state, ua in states.items():
            assert ua == own.get(f"{part}_{state}_ua", DEFAULT[part][state])


def test_the_command_costs_a_day_and_draws_it(tmp_path):
    plot = tmp_path / "power.svg"
    done = CliRunner().invoke(cli.main, ["power", "--hours", "0.5", "--json", "--plot", str(plot)])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    idle = report["idle"]
    assert idle["mah_a_day"] == pytest.approx(sum(line["mah_a_day"] for line in idle["lines"]), abs=0.01)
    assert report["days_per_charge"] == pytest.approx(report["capacity_mah"] / idle["mah_a_day"], abs=0.01)
    assert {line["part"] for line in idle["lines"]} == set(DEFAULT)
    drawn = ElementTree.parse(plot).getroot()
    titles = {title.text for title in drawn.iter("{http://www.w3.org/2000/svg}title")}
    assert titles == set(DEFAULT)


def test_a_column_of_the_plot_is_its_average():
    history = [(0, "led", "off"), (150, "led", "on"), (160, "led", "off")]
    found = plot_power.averages(history, {"led": {"off": 0, "on": 1000}}, 0, 400, 4)
    assert found == {"led": [0, 100, 0, 0]}
    history = [(0, "led", "on")]
    assert plot_power.averages(history, {"led": {"on": 7}}, 100, 400, 3) == {"led": [7, 7, 7]}


@pytest.mark.long
def test_the_relay_number_is_no_part_of_the_report(tmp_path):
    done = CliRunner().invoke(cli.main, ["power", "--hours", "0.1"])
    assert done.exit_code == 0, done.output
    assert RELAY_NUMBER not in done.output
    assert "days without an alarm" in done.output
    marks = {tuple(line.split()[:2]) for line in done.output.splitlines() if line.endswith("estimate")}
    assert marks and marks <= ESTIMATES

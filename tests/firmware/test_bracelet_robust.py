"""What may be damaged or missing without keeping a bracelet from raising, and what it tells the relay of its state."""

import json
import shutil

import pytest
import tocsin

from hwsim import crash
from relay.store.chains import LEAP
from relay.verify import parse
from tests.firmware.conftest import FIRMWARE

OPTIONAL = ["led", "haptic", "battery", "gnss", "modem"]


def alarm_arrives(bench, world, **how):
    bench.press()
    world.expect("firmware", "receipt", within=40, **how)


def heard(bench):
    return bench.registry.get(bench.kid).heard


def beat(bench, world, within=70):
    world.expect("relay", "heartbeat", within=within)
    return heard(bench)


# -- parts


def rewired(bench, change):
    """The board file as `change` leaves it; the copy in NVS is what it was."""
    sections = json.loads(bench.bracelet.files.get("/board.json"))
    change(sections)
    bench.bracelet.files.put("/board.json", json.dumps(sections).encode())


@pytest.mark.parametrize("part", OPTIONAL)
def test_a_part_that_was_never_wired_keeps_nothing_else_from_working(world, tmp_path, part):
    from hwsim.rig import Rig

    bench = Rig(world, tmp_path)
    rewired(bench, lambda sections: sections.pop(part))
    bench.provision()
    bench.boot(settle=20)
    assert any(event.what == "missing" and event.detail["part"] == part for event in world.trace)
    alarm_arrives(bench, world, path="mqtt")
    world.run(400)
    assert not any(event.what in ("restarted", "crashed", "stuck") for event in world.trace)
    bench.close()


@pytest.mark.parametrize("part", ["drivers/led", "drivers/haptic", "drivers/battery", "drivers/gnss", "drivers/modem"])
def test_a_part_whose_module_is_damaged(world, tmp_path, part):
    from hwsim.rig import Rig

    firmware = tmp_path / "firmware"
    shutil.copytree(FIRMWARE, firmware)
    (firmware / "tocsin" / f"{part}.py").write_text("damaged\n")
    bench = Rig(world, tmp_path, firmware=firmware)
    bench.provision()
    bench.boot(settle=20)
    alarm_arrives(bench, world, path="mqtt")
    bench.close()


@pytest.mark.parametrize("part", [pytest.param("links/wifi", marks=pytest.mark.long), "links/mqtt"])
def test_without_its_data_link_it_sends_by_sms_at_once(world, tmp_path, part):
    from hwsim.rig import Rig

    firmware = tmp_path / "firmware"
    shutil.copytree(FIRMWARE, firmware)
    (firmware / "tocsin" / f"{part}.py").write_text("raise MemoryError\n")
    bench = Rig(world, tmp_path, firmware=firmware)
    bench.provision()
    bench.boot(settle=20)
    bench.press()
    world.expect("sms centre", "accepted", within=5, sender="modem")
    world.expect("firmware", "receipt", within=20, path="sms")
    world.expect("firmware", "asleep", within=900)
    bench.revoke()
    world.expect("firmware", "blank", within=4000)
    assert not any(event.what == "restarted" for event in world.trace)
    bench.close()


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("gnss", "tx", "x"),
        ("gnss", "uart", None),
        ("modem", "baud", []),
        ("modem", "power_key", -1),
        ("battery", "table", [[1, 2]]),
        ("battery", "table", [[5, 0], [4, 100]]),
        ("led", "pin", 400),
        ("haptic", "pin", True),
        ("button", "pin", "33"),
        ("button", "active_low", "yes"),
    ],
)
def test_a_wrong_value_is_replaced_by_the_one_it_has_worked_with(bench, world, section, key, value):
    rewired(bench, lambda sections: sections[section].update({key: value}))
    bench.boot(settle=20)
    assert any(event.detail == {"what": "board", "reason": section} for event in world.trace)
    assert not any(event.what == "missing" for event in world.trace)
    alarm_arrives(bench, world, path="mqtt")


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 8000, b"null", b'{"button": 7}', bytes(range(256)) * 30])
def test_the_whole_board_file_is_damaged(bench, world, content):
    bench.bracelet.files.put("/board.json", content)
    bench.boot(settle=20)
    alarm_arrives(bench, world, path="mqtt")


def test_another_board_is_kept_when_the_bracelet_has_lived_with_it(bench, world):
    def kept():
        return json.loads(bench.bracelet.flash.nvs.values()["tocsin", "board"])

    rewired(bench, lambda sections: sections["haptic"].update(frequency_hz=12345))
    bench.boot(settle=100)
    assert kept()["haptic"]["frequency_hz"] == 20000
    world.run(30)
    assert kept()["haptic"]["frequency_hz"] == 12345
    writes = bench.bracelet.flash.operations
    bench.bracelet.reset()
    world.run(200)
    assert bench.bracelet.flash.operations - writes < 60, "nothing is written again but the journal"


def test_without_any_wiring_it_says_so_and_keeps_trying(world):
    bracelet = world.bracelet()
    bracelet.files.put("/board.json", b"{}")
    bracelet.boot()
    world.expect("firmware", "blank", within=5)
    assert {event.detail["part"] for event in world.trace if event.what == "missing"} == {"led", "haptic"}


# -- files


@pytest.mark.parametrize("name", ["/settings.json", "/identity"])
@pytest.mark.parametrize("content", [None, b"", b"\xff" * 300, b'{"mqtt": 5, "sms": []}'])
def test_one_of_two_files_is_damaged(bench, world, name, content):
    if content is None:
        bench.bracelet.files.remove(name)
    else:
        bench.bracelet.files.put(name, content)
    bench.boot(settle=20)
    alarm_arrives(bench, world, path="mqtt")


def test_without_any_settings_it_arms_raises_and_delivers_once_it_has_them_again(bench, world):
    good = bench.bracelet.files.get("/settings.json")
    for name in ("/settings.json", "/settings.json.2"):
        bench.bracelet.files.put(name, b"\0" * 40)
    bench.boot(settle=20)
    bench.press()
    world.expect_nothing("firmware", "restarted", within=60)
    bench.bracelet.power_cut()
    bench.bracelet.files.put("/settings.json", good)
    bench.boot()
    world.expect("firmware", "delivered", within=20)


# -- what heartbeats tell


def test_a_heartbeat_tells_network_and_health(bench, world):
    bench.bracelet.modem.signal = 17
    bench.boot()
    told = beat(bench, world)
    assert (told.registration, told.signal, told.operator, told.link) == (1, 113 - 2 * 17, 1001, 1)
    assert (told.reset_cause, told.resets, told.crash, told.mode) == (1, 2, 0, 0), "the workshop's start and this one"
    assert (told.last, told.lost_ms, told.strap, told.program) == (False, None, "open", tocsin.VERSION)
    bench.bracelet.modem.service = False
    world.run(40)
    told = beat(bench, world, within=1000)
    assert (told.registration in (0, 2), told.signal, told.operator, told.resets) == (True, 255, 0, 0)


def test_what_is_expected_on_the_down_chain_is_told(bench, world):
    bench.boot()
    assert beat(bench, world).down == 0
    alarm_arrives(bench, world)
    told = beat(bench, world, within=1000).down
    assert told == 1 + max(parse(octets).counter for octets in bench.capture) > LEAP


def test_a_reset_by_the_watchdog_is_told_once(bench, world):
    bench.boot()
    beat(bench, world)
    world.run(1)  # the PUBACK: what it has not heard of, it tells again
    bench.bracelet.hang()
    world.expect("firmware", "armed", within=60)
    told = beat(bench, world)
    assert (told.reset_cause, told.resets) == (3, 1)
    told = beat(bench, world, within=1000)
    assert told.resets == 0


@pytest.mark.parametrize("supply_lost", [False, True])
def test_a_crash_is_told_by_type_and_place(world, tmp_path, supply_lost):
    from hwsim.rig import Rig

    firmware = tmp_path / "firmware"
    shutil.copytree(FIRMWARE, firmware)
    path = firmware / "tocsin/drivers/battery.py"
    good = path.read_text()
    bad = good.replace("= self.percent, self._measure()\n", "= self.percent, {}['secret 48.1']\n")
    path.write_text(bad)
    bench = Rig(world, tmp_path, firmware=firmware)
    bench.provision()
    bench.bracelet.boot()
    world.expect("firmware", "restarted", within=5, task="battery", reason="KeyError")
    path.write_text(good)
    if supply_lost:
        bench.bracelet.power_cut()
        bench.bracelet.boot()
    else:
        bench.bracelet.reset()
    told = beat(bench, world)
    path.write_text(bad)
    (place,) = crash.find(told.crash, firmware)
    assert (place.type, place.file) == ("KeyError", "tocsin/drivers/battery.py")
    assert place.source.endswith("{}['secret 48.1']")
    path.write_text(good)
    assert beat(bench, world, within=1000).crash == 0
    bench.close()


def test_an_error_that_ends_the_firmware_is_told_once_it_starts_again(world, tmp_path):
    from hwsim.rig import Rig

    firmware = tmp_path / "firmware"
    shutil.copytree(FIRMWARE, firmware)
    bench = Rig(world, tmp_path, firmware=firmware)
    bench.provision()
    path = firmware / "tocsin/wearer.py"
    good = path.read_text()
    bad = good.replace("        self._state = state\n", "        self._state = state.secret\n")
    path.write_text(bad)
    bench.bracelet.boot()
    world.expect("firmware", "crashed", within=5, reason="AttributeError")
    path.write_text(good)
    world.expect("firmware", "armed", within=15)
    told = beat(bench, world)
    path.write_text(bad)
    (place,) = crash.find(told.crash, firmware)
    assert place[:2] == ("AttributeError", "tocsin/wearer.py")
    assert place.source == "self._state = state.secret"
    bench.close()


# -- safe mode


def test_safe_mode_raises_without_receiver_and_with_the_default_settings(bench, world):
    bench.boot()
    beat(bench, world)
    bench.configure(hold_ms=8000)
    world.expect("firmware", "configure", within=5)
    for _ in range(4):
        bench.bracelet.reset()
        world.run(20)
    assert [event.detail.get("mode") for event in world.trace if event.what == "boot"][-2:] == [None, "safe"]
    start = world.now_us
    alarm_arrives(bench, world)  # a hold of three seconds will do
    (document,) = bench.documents().values()
    assert (document["position"], document["cell"] is None) == (None, False)
    told = beat(bench, world, within=1000)
    assert (told.mode, told.reset_cause) == (1, 1)
    assert not any(event.who == "gnss" and event.what == "on" and event.t_us > start for event in world.trace)


def test_safe_mode_ends_after_an_hour_and_not_while_a_message_waits(bench, world):
    bench.boot()
    for _ in range(4):
        bench.bracelet.reset()
        world.run(20)
    world.run(3500)
    bench.answers = False
    bench.press()
    boots = bench.bracelet.boots
    world.run(300)
    assert bench.bracelet.boots == boots
    bench.answers = True
    world.expect("firmware", "delivered", within=400)
    world.run(30)
    assert bench.bracelet.boots == boots + 1
    assert beat(bench, world).mode == 0


# -- last will


def test_a_connection_that_dies_is_told_by_the_broker_and_the_next_heartbeat_ends_that(bench, world):
    bench.boot()
    beat(bench, world)
    bench.bracelet.wifi.up = False
    world.expect("relay", "lost", within=100)
    assert 0 <= world.unix_time * 1000 - heard(bench).lost_ms <= 1000
    bench.bracelet.wifi.up = True
    world.expect("relay", "heartbeat", within=200)
    assert heard(bench).lost_ms is None
    assert not bench.refused()


def test_after_a_reset_the_will_of_the_former_connection_does_not_stay_the_last_word(bench, world):
    bench.boot()
    beat(bench, world)
    bench.bracelet.reset()
    world.expect("relay", "lost", within=20)  # the broker sees the same client again
    assert beat(bench, world).lost_ms is None


def test_wills_are_sealed_heartbeats_each_with_a_counter_of_its_own(bench, world):
    bench.boot()
    for _ in range(20):
        world.net.cut()
        world.run(30)
    world.run(60)
    payloads = [message.payload for message in bench.broker.published if message.topic.endswith("/hb")]
    assert len(payloads) == len(set(payloads)) > 8
    assert not bench.refused()


# -- the battery


def test_the_battery_ends_without_an_alarm(bench, world):
    bench.boot(settle=70)
    bench.bracelet.battery.percent = 1
    world.expect("firmware", "battery", within=130, ending=1)
    told = beat(bench, world, within=5)
    assert (told.last, told.battery <= 2) == (True, True)
    world.expect_nothing("firmware", "battery", within=300)
    bench.bracelet.battery.percent = 60
    world.run(70)
    assert not beat(bench, world, within=1000).last


def test_a_cell_that_is_cut_off_while_usb_is_in_does_not_end(bench, world):
    """So it is on several LilyGO boards: see power.usb_replaces_cell in their files."""
    bench.boot(settle=70)
    bench.bracelet.battery.cut_off = True
    world.expect_nothing("firmware", "battery", within=1000)
    told = heard(bench)
    assert (told.last, told.battery) == (False, None)
    bench.bracelet.battery.cut_off = False
    world.run(1000)
    assert 70 < heard(bench).battery < 90


def test_the_last_update_says_that_it_is(bench, world):
    bench.boot(settle=70)
    alarm_arrives(bench, world)
    world.run(700)
    before = set(bench.documents())
    bench.bracelet.battery.percent = 1
    world.expect("firmware", "battery", within=130, ending=1)
    world.expect("firmware", "update", within=1)
    world.run(3)
    (new,) = set(bench.documents()) - before
    assert bench.flags()[new]["last"]
    assert not any(bench.flags()[counter]["last"] for counter in before)


def test_a_voltage_that_sags_for_a_moment_is_not_the_end(bench, world):
    bench.boot(settle=70)
    bench.bracelet.battery.percent = 1
    world.run(50)  # at most one measurement
    bench.bracelet.battery.percent = 50
    world.expect_nothing("firmware", "battery", within=300)

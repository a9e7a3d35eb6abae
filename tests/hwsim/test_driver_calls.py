"""Driver calls that end a start: the processor hangs in one, or the supply gives way at it; and those that don't.

Sources: hwsim/world/driver_calls.py.
"""

import pytest

from hwsim.world.driver_calls import calls_of

# Reaches every call that starts a part, in turn; "@at call=" before each says how far it has come.
EVERY_CALL = """
    import json, machine, network, socket, ssl, sys, time

    if MEMORY := machine.RTC().memory():
        print("@kept")
    machine.RTC().memory(b"kept")
    watchdog = WATCHDOG
    with open("/board.json") as file:
        board = json.load(file)

    def at(name):
        print("@at call=" + name)
        time.sleep_ms(20)

    at("haptic"); machine.PWM(machine.Pin(board["haptic"]["pin"]), freq=20000, duty_u16=0)
    at("led"); machine.Pin(board["led"]["pin"], machine.Pin.OUT, value=0)
    at("strap"); machine.Pin(board["strap"]["pin"], machine.Pin.IN)
    at("battery"); machine.ADC(machine.Pin(board["battery"]["pin"]))
    at("gnss"); machine.UART(board["gnss"]["uart"], tx=board["gnss"]["tx"], rx=board["gnss"]["rx"])
    pin = machine.Pin(board["gnss"]["power"], machine.Pin.OUT, value=0)
    at("gnss_on"); pin.value(1)
    at("modem"); machine.UART(board["modem"]["uart"], tx=board["modem"]["tx"], rx=board["modem"]["rx"])
    active = 0 if board["modem"].get("power_key_active_low") else 1
    pin = machine.Pin(board["modem"]["power_key"], machine.Pin.OUT, value=1 - active)
    at("modem_key"); pin.value(active)
    at("wifi"); wlan = network.WLAN(network.STA_IF)
    at("wifi_on"); wlan.active(True)
    at("wifi_join"); wlan.connect("a", "b")
    at("ppp"); ppp = network.PPP(None)
    at("ppp_dial"); ppp.connect()
    at("socket"); s = socket.socket()
    s.setblocking(False)
    at("tls")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(s, do_handshake_on_connect=False)
    except (OSError, ValueError):
        pass
    at("end")
    while True:
        time.sleep(1)
        if watchdog:
            watchdog.feed()
"""


@pytest.fixture
def bracelet(world, firmware):
    def make(watchdog="machine.WDT(timeout=7000)"):
        return world.bracelet(firmware=firmware(EVERY_CALL.replace("WATCHDOG", watchdog)))

    return make


def reached(world):
    return [event.detail["call"] for event in world.trace if event.what == "at"]


CALLS = [
    "haptic",
    "led",
    "strap",
    "battery",
    "gnss",
    "gnss_on",
    "modem",
    "modem_key",
    "wifi",
    "wifi_on",
    "wifi_join",
    "ppp",
    "ppp_dial",
    "socket",
    "tls",
]


def test_every_call_of_the_reference_board_is_known_and_none_is_asked_about_without_a_fault(world, bracelet):
    made = bracelet()
    assert set(calls_of(made.board)) == set(CALLS)
    made.boot()
    world.run(3)
    assert reached(world) == [*CALLS, "end"]
    assert not any(event.what == "driver call" for event in world.trace)


@pytest.mark.parametrize("name", CALLS)
def test_a_blocked_call_hangs_there_until_the_watchdog(world, bracelet, name):
    made = bracelet()
    made.driver_calls.block(name, starts=1)
    made.boot()
    world.expect("bracelet", "driver call", within=3, call=name, ends="blocks")
    assert reached(world)[-1] == name
    assert made.state == "stuck"
    watchdog = world.expect("bracelet", "watchdog", within=7)
    # The watchdog is the first thing that the firmware starts, shortly before the first call.
    first = next(event for event in world.trace if event.what == "at")
    assert 0 <= first.t_us + 7_000_000 - watchdog.t_us < 10_000
    world.expect("firmware", "at", within=3, call="end")
    assert made.boots == 2


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("off_s", [None, 4.0])
def test_the_supply_gives_way_at_a_call(world, bracelet, name, off_s):
    made = bracelet()
    made.driver_calls.kill(name, off_s, starts=1)
    made.boot()
    died = world.expect("bracelet", "driver call", within=3, call=name, ends="kills")
    assert reached(world)[-1] == name
    boot = world.expect("bracelet", "boot", within=6, cause="power-on")
    assert boot.t_us - died.t_us == 300_000 + round((off_s or 0) * 1e6)
    world.expect("firmware", "at", within=3, call="end")
    # A brownout keeps the clock's memory, a lost supply does not.
    assert any(event.what == "kept" for event in world.trace) == (off_s is None)


@pytest.mark.parametrize("name", ["wifi", "wifi_on", "wifi_join"])
def test_a_call_of_wifis_driver_refuses_with_an_error_that_has_no_name(world, bracelet, name):
    made = bracelet()
    made.driver_calls.refuse(name)
    made.boot()
    world.expect("bracelet", "driver call", within=3, call=name, ends="refuses")
    world.run(3)
    assert reached(world)[-1] == name
    assert "RuntimeError: Wifi Unknown Error 0x0102" in str([event.detail for event in world.trace])
    assert made.boots == 1


def test_only_wifi_refuses_so(bracelet):
    with pytest.raises(ValueError, match="modem is no call of Wi-Fi's driver"):
        bracelet().driver_calls.refuse("modem")


def test_without_a_watchdog_it_hangs_for_ever(world, bracelet):
    made = bracelet(watchdog="None")
    made.driver_calls.block("wifi_on")
    made.boot()
    world.run(3600)
    assert (made.state, made.boots) == ("stuck", 1)


def test_it_lasts_for_so_many_starts_or_until_it_is_healed_and_may_begin_while_it_runs(world, bracelet):
    made = bracelet()
    made.driver_calls.kill("wifi_on", starts=3)
    made.boot()
    world.run(4)
    assert made.boots == 4
    made.driver_calls.kill("modem_key")
    made.reset()
    world.run(20)
    assert made.boots > 10
    made.driver_calls.heal()
    world.run(2)
    boots = made.boots
    world.run(20)
    assert made.boots == boots
    assert made.state in ("running", "waiting")

"""A bracelet on the bench whose way to the relay is the mobile network's data: it is dialled when it is needed, judged,
and left for an SMS in time."""

import pytest

from hwsim.rig import APN, PHONE


@pytest.fixture
def mobile(make_bench):
    """No Wi-Fi at all, and data over the mobile network."""
    return make_bench(wifi=False, apn=APN)


@pytest.fixture
def both(make_bench):
    """Wi-Fi, and data over the mobile network."""
    return make_bench(apn=APN)


def connect(bench, world):
    """Boot, and wait until the heartbeat has brought a session up."""
    bench.boot()
    world.expect("firmware", "link", within=90, path="ppp", up=1)
    world.expect("firmware", "heartbeat", within=10)


def told(world, what, **detail):
    return [e for e in world.trace if e.what == what and all(e.detail.get(k) == v for k, v in detail.items())]


def sms_out(world):
    return [event.t_us for event in world.trace if event.who == "sms centre" and event.what == "accepted"]


def test_heartbeats_go_over_the_mobile_network_where_there_is_no_wifi(mobile, world):
    connect(mobile, world)
    world.run(1)
    assert [arrival.path for arrival in mobile.arrivals] == ["mqtt"]
    world.run(7200)  # and from deep sleep, with a goodbye each time: the broker has no will to tell
    assert told(world, "asleep")
    assert len(mobile.arrivals) >= 2
    assert not [event for event in world.trace if event.who == "relay" and event.what == "lost"]
    assert mobile.bracelet.state == "asleep" and not mobile.bracelet.modem.on


def test_a_quiet_session_stays(mobile, world):
    connect(mobile, world)
    for _ in range(10):  # whoever touches the button now and then keeps it awake
        world.call(mobile.bracelet.button.press)
        world.run(0.2)
        world.call(mobile.bracelet.button.release)
        world.run(14.8)
    assert len(told(world, "data session")) == 1
    assert not told(world, "data session over")


def test_an_alarm_in_a_session_goes_and_is_answered_by_it(mobile, world):
    connect(mobile, world)
    mobile.press()
    receipt = world.expect("firmware", "receipt", within=2)
    assert receipt.detail["path"] == "mqtt"
    world.run(60)
    assert sms_out(world) == []


def test_where_there_is_no_session_the_sms_goes_at_once_and_data_is_dialled_without_its_receipt(mobile, world):
    mobile.boot(settle=9)
    mobile.sms.drop_percent = 100
    mobile.press()
    pressed = world.now_us
    world.expect("sms centre", "accepted", within=3)
    world.expect("firmware", "link", within=12, path="ppp", up=1)
    assert world.now_us - pressed < 14_000_000
    assert world.expect("firmware", "receipt", within=3).detail["path"] == "mqtt"


def test_a_session_that_is_silently_dead_is_left_for_the_sms(mobile, world):
    connect(mobile, world)
    mobile.bracelet.modem.packet.up = False
    mobile.press()
    pressed = world.now_us
    world.expect("sms centre", "accepted", within=30)
    assert world.now_us - pressed < 25_000_000
    assert world.expect("firmware", "receipt", within=15).detail["path"] == "sms"


def test_where_there_is_nothing_but_data_a_session_that_has_died_is_dialled_again_at_once(mobile, world):
    """The network forgot it without a word, as carriers' gateways do with what was idle."""
    mobile.bracelet.modem.messages.refused = 0
    connect(mobile, world)
    world.run(30)
    mobile.bracelet.modem.packet.forget_session()
    mobile.press()
    pressed = world.now_us
    assert world.expect("firmware", "receipt", within=60).detail["path"] == "mqtt"
    assert world.now_us - pressed <= 30_000_000


def test_it_comes_back_to_data_when_the_sms_is_lost(mobile, world):
    connect(mobile, world)
    mobile.sms.drop_percent = 100
    mobile.bracelet.modem.packet.up = False
    mobile.press()
    world.expect("sms centre", "accepted", within=30)
    mobile.bracelet.modem.packet.up = True
    assert world.expect("firmware", "receipt", within=60).detail["path"] == "mqtt"


@pytest.mark.parametrize("says_goodbye", [False, True])
def test_the_network_ends_the_session_as_the_alarm_is_raised(mobile, world, says_goodbye):
    connect(mobile, world)
    mobile.bracelet.modem.packet.says_goodbye = says_goodbye
    mobile.press()
    world.call(mobile.bracelet.modem.packet.lose)
    world.expect("firmware", "receipt", within=40)
    if says_goodbye:
        assert told(world, "failed", path="ppp")


def test_the_modem_restarts_in_a_session(mobile, world):
    connect(mobile, world)
    modem = mobile.bracelet.modem
    mobile.press()

    def restart():
        modem.power(False)
        modem.power(True)

    world.call(restart)
    world.expect("firmware", "receipt", within=60)
    world.run(60)
    modem_ready = told(world, "modem", ready=1)
    assert len(modem_ready) >= 2  # it was set up anew, or nobody would hear of a message


def test_the_chip_resets_in_a_session_and_takes_the_line_back(mobile, world):
    connect(mobile, world)
    mobile.bracelet.reset()
    world.expect("firmware", "armed", within=3)
    mobile.press()
    assert world.expect("firmware", "receipt", within=30).detail["path"] == "sms"
    assert not told(world, "modem", lost=1)


def test_wifi_comes_while_a_session_is_up(both, world):
    both.bracelet.wifi.up = False
    connect(both, world)
    both.bracelet.wifi.up = True
    world.expect("firmware", "link", within=150, path="net", up=1)
    world.expect("firmware", "link", within=2, path="ppp", up=0)
    world.expect("firmware", "link", within=5, path="mqtt", up=1)
    both.press()
    assert world.expect("firmware", "receipt", within=2).detail["path"] == "mqtt"
    assert not told(world, "published", path="sms")


def test_wifi_goes_while_an_alarm_waits(both, world):
    both.boot(settle=70)
    both.sms.drop_percent = 100
    both.bracelet.wifi.up = False
    both.press()
    world.expect("firmware", "link", within=30, path="ppp", up=1)
    assert world.expect("firmware", "receipt", within=5).detail["path"] == "mqtt"


def test_with_wifi_it_is_never_dialled(both, world):
    both.boot(settle=3600)
    both.press()
    world.expect("firmware", "receipt", within=6)  # it slept: Wi-Fi starts once the alarm is sealed
    assert not told(world, "data session")


@pytest.mark.parametrize(
    "hinder",
    [
        lambda modem: setattr(modem, "data", False),
        lambda modem: setattr(modem.packet, "apn", "another"),
        lambda modem: setattr(modem.packet, "login", ("user", "secret")),
    ],
)
def test_a_sim_without_data(mobile, world, hinder):
    mobile.boot(settle=5)
    hinder(mobile.bracelet.modem)
    world.run(100)
    assert told(world, "failed", path="ppp")
    mobile.press()
    pressed = world.now_us
    assert world.expect("firmware", "receipt", within=25).detail["path"] == "sms"
    assert sms_out(world)[0] - pressed < 20_000_000
    world.run(3600)
    assert len(told(world, "failed", path="ppp")) < 20  # retried, but rarely


@pytest.mark.parametrize("admitted", ["IP", "IPV4V6"])
def test_the_type_of_context_that_the_network_takes_is_found_and_kept(mobile, world, admitted):
    """Also after a session that had no address yet and made room for an SMS: the network took its type."""
    packet = mobile.bracelet.modem.packet
    packet.admits = {admitted}
    packet.gives_addresses = False
    mobile.sms.drop_percent = 100
    mobile.boot()
    world.expect("modem", "data session", within=90)
    assert packet.types[1] == admitted
    mobile.press()
    world.expect("sms centre", "accepted", within=15)
    assert told(world, "data session over") and not told(world, "link", path="ppp", up=1)
    packet.gives_addresses = True
    before = len(told(world, "data session"))
    assert world.run_until(lambda: packet.types[1] != admitted or len(told(world, "data session")) > before, 60)
    assert packet.types[1] == admitted


def test_user_and_password_are_used(make_bench, world):
    bench = make_bench(wifi=False, apn={"name": "private.apn", "user": "user", "password": "secret"})
    bench.bracelet.modem.packet.apn = "private.apn"
    bench.bracelet.modem.packet.login = ("user", "secret")
    connect(bench, world)


@pytest.mark.parametrize("allowed", [False, True])
def test_abroad_only_if_that_is_allowed(make_bench, world, allowed):
    bench = make_bench(wifi=False, apn={**APN, "roaming": allowed})
    bench.bracelet.modem.roaming = True
    bench.boot(settle=120)
    assert bool(told(world, "data session")) == allowed
    bench.press()
    assert world.expect("firmware", "receipt", within=12).detail["path"] == ("mqtt" if allowed else "sms")


def test_a_message_that_came_in_data_mode_is_taken_after_it(mobile, world):
    """It tells nobody that it is there while the line is PPP's, and the session looks good."""
    connect(mobile, world)
    mobile.answers = False
    mobile.press()
    world.run(2)
    receipt = mobile.items[-1].receipt
    mobile.phone.send(PHONE, receipt)
    assert world.expect("firmware", "receipt", within=30).detail["path"] == "sms"


def test_a_full_alarm_without_wifi_goes_on_over_data(mobile, world):
    """Updates follow the alarm by the session, an SMS only while there is none."""
    mobile.boot(settle=9)
    mobile.press()
    world.expect("firmware", "receipt", within=12)
    world.run(120)
    paths = [arrival.path for arrival in mobile.arrivals if arrival.item.counter is not None]
    assert paths[0] == "sms"
    assert "mqtt" in paths
    assert not mobile.refused()


@pytest.mark.parametrize(("fault", "state"), [("sim", "missing"), ("locked", "locked")])
def test_a_sim_that_fails_is_told_and_keeps_nothing_from_wifi(both, world, fault, state):
    setattr(both.bracelet.modem, fault, fault == "locked")
    both.boot()
    world.expect("firmware", "sim", within=30, state=state)
    world.run(120)
    assert len(told(world, "sim")) == 1
    both.press()
    assert world.expect("firmware", "receipt", within=2).detail["path"] == "mqtt"


def test_where_the_broker_was_found_outlives_a_sleep(mobile, world):
    """For a network that names no server of names."""
    connect(mobile, world)
    world.run(400)
    assert mobile.bracelet.state == "asleep"
    modem = mobile.bracelet.modem
    modem.packet.name_server = "0.0.0.0"
    modem.messages.refused = 0
    world.call(mobile.bracelet.button.press)
    world.expect("firmware", "raised", within=6)
    world.call(mobile.bracelet.button.release)
    world.expect("firmware", "receipt", within=90, path="mqtt")

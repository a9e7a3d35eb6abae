"""A bracelet on the bench whose modem behaves as parts do: late, forgetful, refusing, restarting at the worst moment.

How each modem behaves by default is its model's (hwsim/modems.py, with sources); here it is made worse, one thing at a
time. The limit is the mission's: the first SMS is out 30 s after the press.
"""

import pytest

from hwsim.rig import APN
from hwsim.world import Track, modem_messages
from tests.firmware.conftest import fill_with_advertising

BOARDS = [
    "reference",
    "devkit",
    "lilygo-t-sim7000g",
    "lilygo-t-sim7600",
    "lilygo-t-a7670",
    "lilygo-t-sim7670g-s3",
    "walter",
]
LIMIT_S = 30


def told(world, who, what, **detail):
    return [e for e in world.trace if e.who == who and e.what == what and detail.items() <= e.detail.items()]


def out_within(world, seconds=LIMIT_S):
    """The SMS is out in time, counted from now."""
    start = world.now_us
    world.expect("sms centre", "accepted", within=200, recipient="relay")
    assert (world.now_us - start) / 1e6 <= seconds


@pytest.fixture
def alone(make_bench):
    """Builds a bench whose only way is SMS."""

    def make(board="reference", **options):
        return make_bench(wifi=False, board=board, **options)

    return make


@pytest.mark.parametrize("board", BOARDS)
def test_from_deep_sleep_with_messages_ready_late(alone, world, board):
    bench = alone(board)
    bench.bracelet.modem.habits.sms_s = max(15.0, bench.bracelet.modem.habits.boot_s)
    bench.boot(settle=400)
    assert bench.bracelet.state == "asleep"
    world.call(bench.bracelet.button.press)
    start = world.now_us
    world.expect("firmware", "raised", within=6)
    world.call(bench.bracelet.button.release)
    world.expect("sms centre", "accepted", within=200, recipient="relay")
    assert (world.now_us - start) / 1e6 <= LIMIT_S


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("when", [0.2, 1, 5])
@pytest.mark.parametrize("board", ["reference", "lilygo-t-sim7600", "devkit"])
def test_a_restart_as_she_presses(alone, world, board, when, silent):
    bench = alone(board)
    bench.sms.drop_percent = 100
    bench.boot(settle=25)
    bench.press()
    start = world.now_us
    world.run(when)
    before = len(world.sms.submitted)
    world.call(lambda: bench.bracelet.modem.restart(silent=silent))
    if before == 0:
        world.expect("sms centre", "accepted", within=200, recipient="relay")
        assert (world.now_us - start) / 1e6 <= LIMIT_S
    bench.sms.drop_percent = 0
    world.expect("firmware", "receipt", within=100, path="sms")


@pytest.mark.parametrize(
    "habits",
    [
        {"text_mode": True},
        {"cnmi": (0, 0)},
        {"cnmi": (2, 1)},
        {"cnmi": (1, 2)},
        {"memories": ("SM", "ME", "MT", "SR"), "cpms": ("SM", "SM", "ME")},
        {"memories": ("SM", "ME", "MT"), "cpms": ("MT", "MT", "MT"), "first_index": 0},
        {"memories": ("ME",), "cpms": ("ME", "ME", "ME"), "first_index": 0},
        {"cmti": "no index"},
        {"cmti": "bare"},
        {"cmti": "minus"},
        {"prompt": ">"},
        {"prompt": "\r\n>\r\n"},
        {"registration": ("CREG",)},
        {"registration": ("CEREG",)},
    ],
    ids=str,
)
def test_each_default_after_a_silent_restart(alone, world, habits):
    """Sent in time, and the answer is read from where it is."""
    bench = alone()
    modem = bench.bracelet.modem
    modem.announces = False
    for name, value in habits.items():
        setattr(modem.habits, name, value)
    bench.boot(settle=25)
    world.call(lambda: modem.restart(silent=True))
    world.run(2)
    bench.press()
    out_within(world)
    world.expect("firmware", "receipt", within=40, path="sms")
    assert modem.storage == {}


def test_a_rate_that_fell_back(alone, world):
    bench = alone()
    bench.bracelet.modem.baud_at_start = 9600
    bench.boot(settle=25)
    bench.press()
    out_within(world)
    world.expect("firmware", "receipt", within=20, path="sms")


@pytest.mark.parametrize("rate", [9600, 19200, 38400, 57600])
@pytest.mark.parametrize("board", ["lilygo-t-sim7600", "walter"])
def test_a_rate_that_falls_back_while_a_message_goes(alone, world, board, rate):
    """The message's minute is not waited out: the modem is asked at other rates meanwhile."""
    bench = alone(board)
    bench.boot(settle=25)
    bench.press()
    start = world.now_us
    world.run(1)
    bench.bracelet.modem.baud_at_start = rate
    world.call(lambda: bench.bracelet.modem.restart(silent=True))
    assert world.sms.submitted == []
    world.expect("sms centre", "accepted", within=200, recipient="relay")
    assert (world.now_us - start) / 1e6 <= LIMIT_S
    assert not told(world, "firmware", "modem", lost=1)


@pytest.mark.parametrize("seconds", [15, 28, 45])
def test_a_network_that_takes_long_for_a_message_gets_it_once(alone, world, monkeypatch, seconds):
    """The modem says nothing meanwhile; its answer is heard all the same, and the message not repeated."""
    monkeypatch.setattr(modem_messages, "SUBMIT_US", seconds * 1_000_000)
    bench = alone()
    bench.boot(settle=25)
    bench.press()
    world.expect("firmware", "receipt", within=seconds + 30, path="sms")
    assert len([sms for sms in world.sms.submitted if sms.sender == bench.bracelet.modem.number]) == 1


def test_messages_refused_for_ever_cost_data_nothing(make_bench, world):
    """LilyGo-Modem-Series#247: an A7670E without messages in its firmware."""
    bench = make_bench(wifi=False, apn=APN, board="lilygo-t-a7670")
    bench.bracelet.modem.messages.refused = 0
    bench.boot(settle=30)
    bench.press()
    world.expect("firmware", "receipt", within=30, path="mqtt")
    world.run(600)
    assert not told(world, "firmware", "modem", lost=1)
    assert not told(world, "modem", "off")


def test_a_network_that_refuses_messages_is_left_for_data_at_once(make_bench, world):
    bench = make_bench(wifi=False, apn=APN)
    bench.boot(settle=20)
    bench.bracelet.modem.messages.submit_refused = 500
    bench.press()
    world.expect("firmware", "receipt", within=15, path="mqtt")


def test_messages_that_are_allowed_again_go(alone, world):
    bench = alone()
    bench.bracelet.modem.messages.refused = 500
    bench.boot(settle=60)
    bench.press()
    world.run(120)
    assert not told(world, "firmware", "modem", lost=1)
    bench.bracelet.modem.messages.refused = None
    world.expect("firmware", "receipt", within=60, path="sms")


@pytest.mark.parametrize("before_s", [3, 14])
def test_a_modem_that_fell_back_to_another_rate_before_the_press(make_bench, world, before_s):
    """The press asks it, and the SMS that is due 15 s later, for the broker is slow, finds it set up anew."""
    bench = make_bench(board="walter")
    bench.boot(settle=40)
    bench.press()
    world.expect("firmware", "receipt", within=30)
    world.run(50)
    world.net.delay_us = 6_000_000
    world.expect("firmware", "link", within=300, path="mqtt", up=0)
    world.run(45)
    bench.bracelet.modem.baud_at_start = 19200
    bench.bracelet.modem.restart(silent=True)
    world.run(before_s)
    bench.press()
    world.expect("sms centre", "accepted", within=30, sender="modem")


@pytest.mark.parametrize("name", ["CGREG", "CEREG", "CGATT"])
def test_any_one_command_that_says_so_is_enough_for_data(make_bench, world, name):
    """botletics/SIM7000-LTE-Shield#50, #150; TinyGSM PR 467."""
    bench = make_bench(wifi=False, apn=APN)
    modem = bench.bracelet.modem
    modem.messages.refused = 0
    modem.habits.registration = (name,)
    bench.boot(settle=30)
    bench.press()
    world.expect("firmware", "receipt", within=60, path="mqtt")


def test_the_receiver_in_the_modem_works_without_a_sim(make_bench, world):
    bench = make_bench(wifi=False, board="lilygo-t-sim7600", track=Track.still(48.0, 11.0))
    bench.bracelet.modem.sim = False
    bench.boot(settle=120)
    assert told(world, "firmware", "gnss", fix=1)
    assert not told(world, "firmware", "modem", lost=1)


def test_a_clock_that_nobody_set_is_not_believed(make_bench, world):
    """The command of another maker lets it run from its factory's date."""
    bench = make_bench(wifi=False, sends_time=False)
    modem = bench.bracelet.modem
    bench.bracelet.gnss.sky = False
    modem.habits.network_time = "+CNOT"
    bench.boot(settle=60)
    assert not told(world, "firmware", "clock", quality="network")


@pytest.mark.parametrize("form", ["no zone", "neither"])
def test_a_time_without_its_zone_is_not_taken(make_bench, world, form):
    bench = make_bench(wifi=False, sends_time=False)
    bench.bracelet.gnss.sky = False
    bench.bracelet.modem.clock_form = form
    bench.boot(settle=60)
    assert not told(world, "firmware", "clock", quality="network")


def test_a_modem_that_holds_cts_off_blocks_nothing(make_bench, world):
    """espressif/esp-idf#6695: what finds no room in the buffer waits without an end, and the whole loop with it."""
    bench = make_bench()
    bench.boot(settle=20)
    world.call(lambda: bench.bracelet.modem.stall(True))
    bench.press()
    world.expect("firmware", "receipt", within=2, path="mqtt")
    world.expect("modem", "off", within=120)
    world.expect("firmware", "link", within=60, path="sms", up=1)
    assert not told(world, "firmware", "stuck")


def test_a_memory_full_of_advertising_is_emptied(alone, world):
    bench = alone()
    modem = bench.bracelet.modem
    fill_with_advertising(modem, world)
    bench.boot(settle=30)
    assert modem.storage == {}
    bench.press()
    world.expect("firmware", "receipt", within=15, path="sms")


def test_reports_and_headers_do_no_harm(alone, world):
    bench = alone()
    messages = bench.bracelet.modem.messages
    messages.adds_header, messages.behind, messages.reports = True, b"\xff" * 9, "stored"
    bench.boot(settle=25)
    bench.press()
    world.expect("firmware", "receipt", within=15, path="sms")
    world.run(60)
    assert bench.bracelet.modem.storage == {}

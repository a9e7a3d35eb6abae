"""A bracelet on the bench whose modem does what few do: it answers one thing and does another, or has no such command.

The limits are those of test_bracelet_modem.py.
"""

import pytest

from hwsim.world import modem_at
from hwsim.world.modem_network import Registration
from hwsim.world.pdu import Sms, encode_deliver
from hwsim.world.sms import CENTRE_NUMBER
from tests.firmware.conftest import fill_with_advertising
from tests.firmware.test_bracelet_modem import alone, out_within, told

__all__ = ["alone"]


def refuses(monkeypatch, *names):
    def refuse(modem, rest):
        raise modem_at.AtError(None)

    for name in names:
        monkeypatch.setitem(modem_at.COMMANDS._handlers, name, refuse)


@pytest.mark.parametrize("board", ["reference", "lilygo-t-sim7000g"])
@pytest.mark.parametrize("prompt", [">", "\r\n> "])
def test_one_that_says_ok_to_ate0_and_goes_on_echoing(alone, world, monkeypatch, board, prompt):
    """It was taken for one that had started anew, without an end."""
    monkeypatch.setitem(modem_at.COMMANDS._handlers, "E", lambda modem, rest: [])
    bench = alone(board)
    bench.bracelet.modem.habits.prompt = prompt
    bench.boot(settle=30)
    assert not told(world, "firmware", "modem", restarted=1)
    bench.press()
    out_within(world, 15)
    world.expect("firmware", "receipt", within=20, path="sms")


@pytest.mark.parametrize("missing", [("+CPMS",), ("+CNMI",), ("+CPMS", "+CNMI")])
@pytest.mark.parametrize("memories", [("ME",), ("SM", "ME"), ("MT",)])
def test_one_without_the_commands_that_say_where_messages_go(alone, world, monkeypatch, memories, missing):
    refuses(monkeypatch, *missing)
    bench = alone()
    habits = bench.bracelet.modem.habits
    habits.memories, habits.cpms, habits.cnmi = memories, memories[:1] * 3, (2, 1)
    bench.boot(settle=25)
    bench.press()
    world.expect("firmware", "receipt", within=60, path="sms")


@pytest.mark.parametrize("memory", ["SM", "ME", "MT"])
@pytest.mark.parametrize("told_as", [None, "SM", "SR"])
def test_one_whose_memories_are_not_where_it_says(alone, world, monkeypatch, memory, told_as):
    """gammu#550: +CPMS is answered with OK, and messages go where they did."""
    bench = alone()
    modem = bench.bracelet.modem
    modem.habits.memories = ("SM", "ME", "MT", "SR")
    modem.messages.told_memory = told_as
    put = modem.messages.put

    def elsewhere(pdu):
        chosen, modem.messages.chosen[2] = modem.messages.chosen[2], memory
        kept = put(pdu)
        modem.messages.chosen[2] = chosen
        return kept

    monkeypatch.setattr(modem.messages, "put", elsewhere)
    bench.boot(settle=25)
    bench.press()
    world.expect("firmware", "receipt", within=30, path="sms")


@pytest.mark.parametrize("board", ["reference", "walter"])
@pytest.mark.parametrize("names", [("+CPMS", "+CNMI"), ("+CMGS",), ("+CPIN", "+CREG", "+CEREG", "+CGREG")])
def test_one_of_which_some_commands_are_late(alone, world, monkeypatch, board, names):
    """Registered for data, it was asked for the rest in half a minute only."""

    def late(name):
        real = modem_at.COMMANDS._handlers[name]

        def answer(modem, rest):
            if world.now_us < (told(world, "modem", "on")[-1].t_us + 15e6):
                raise modem_at.AtError(None)
            return real(modem, rest)

        return answer

    for name in names:
        monkeypatch.setitem(modem_at.COMMANDS._handlers, name, late(name))
    bench = alone(board)
    bench.boot()
    bench.press()
    out_within(world)


@pytest.mark.parametrize("board", ["reference", "lilygo-t-sim7000g"])
@pytest.mark.parametrize("when", [0, 0.5, 1])
def test_one_that_says_that_it_powers_down(alone, world, board, when):
    """Until it is off, in 2 to 7 s, its key switches nothing on."""
    bench = alone(board)
    bench.boot(settle=40)
    bench.press()
    start = world.now_us
    world.run(when)
    world.call(bench.bracelet.modem.switch_off)
    world.expect("sms centre", "accepted", within=200, recipient="relay")
    assert (world.now_us - start) / 1e6 <= 30


def test_messages_that_the_network_refuses_three_times(alone, world):
    bench = alone()
    bench.boot(settle=40)
    messages = bench.bracelet.modem.messages
    messages.submit_refused = 500
    bench.press()
    start = world.now_us
    for _ in range(3):
        world.expect("firmware", "sms", within=20, ok=0)
    messages.submit_refused = None
    world.expect("sms centre", "accepted", within=20, recipient="relay")
    assert (world.now_us - start) / 1e6 <= 40


def test_two_names_of_one_cell_are_no_news(make_bench, world, monkeypatch):
    """+CEREG has the tracking area, +CREG the location area (3GPP TS 23.003, 4.1 and 19.4.2.3)."""
    text = Registration.registration_text

    def named(modem, name):
        said = text(modem, name)
        return said.replace("1A2B", "5F3A") if name == "CEREG" else said

    monkeypatch.setattr(Registration, "registration_text", named)
    bench = make_bench()
    bench.bracelet.gnss.sky = False
    bench.boot(settle=20)
    bench.press()
    world.run(600)
    cells = [document["cell"] for document in bench.documents().values() if document["cell"]]
    assert {cell["lac"] for cell in cells} == {0x1A2B}
    assert len(cells) <= 5  # they were taken for a way to and fro


def test_a_cell_behind_a_border_has_its_own_country(make_bench, world):
    """The modem goes from network to network without a word of having none."""
    bench = make_bench()
    bench.bracelet.gnss.sky = False
    bench.boot(settle=20)
    bench.press()
    world.run(100)
    modem = bench.bracelet.modem

    def cross():
        modem.cell = (2, 7, 0x2222, 0x1234)
        for name in modem.reporting:
            modem._report(name)

    world.call(cross)
    world.run(300)
    cells = [document["cell"] for document in bench.documents().values() if document["cell"]]
    assert {(cell["mcc"], cell["lac"]) for cell in cells} == {(1, 0x1A2B), (2, 0x2222)}


@pytest.mark.parametrize("number", [3, 20])
def test_one_that_only_says_that_it_has_deleted_them(make_bench, world, monkeypatch, number):
    """They were read again without an end, and nothing else was done."""
    from hwsim.rig import APN

    bench = make_bench(wifi=False, apn=APN)
    modem = bench.bracelet.modem
    for _ in range(number):
        modem.messages.put(encode_deliver(Sms("+10000000077", modem.number, b"buy"), world.unix_time, CENTRE_NUMBER))
    monkeypatch.setitem(modem_at.COMMANDS._handlers, "+CMGD", lambda modem, rest: [])
    bench.boot(settle=25)
    modem.messages.submit_refused = 500
    bench.press()
    world.expect("firmware", "receipt", within=60, path="mqtt")


def test_more_messages_than_one_listing_holds(alone, world):
    bench = alone()
    modem = bench.bracelet.modem
    fill_with_advertising(modem, world)
    bench.boot(settle=15)
    assert modem.storage == {}

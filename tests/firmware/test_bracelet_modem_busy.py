"""Modems that refuse settings at first, send no messages, keep their echo, or lose octets of what they list."""

from __future__ import annotations

import pytest

from hwsim.rig import APN
from hwsim.world.modem import Modem
from hwsim.world.modem_at import COMMANDS, AtError
from hwsim.world.modem_messages import Messages

BOARDS = ["reference", "lilygo-t-sim7600", "lilygo-t-a7670", "lilygo-t-sim7670g-s3"]


def fall_asleep(bench, world) -> None:
    bench.boot()
    for _ in range(100):
        world.run(10)
        last = [event for event in world.trace if event.who == "bracelet"][-1:]
        if last and last[0].what == "deep sleep" and world.now_us - last[0].t_us > 5_000_000:
            return
    raise AssertionError("it does not sleep")


@pytest.mark.parametrize("board", BOARDS[:2])
def test_the_network_is_asked_for_as_a_number_until_the_modem_says_so(make_bench, world, board):
    bench = make_bench(wifi=False, board=board)
    habits = bench.bracelet.modem.habits
    habits.sms_s, habits.settings_late = habits.boot_s + 5, True
    if bench.bracelet.gnss:
        bench.bracelet.gnss.sky = False
    bench.boot(settle=30)
    bench.press()
    world.expect("firmware", "receipt", within=100)
    world.run(200)
    assert any(document["cell"] for document in bench.documents().values())


def test_a_radio_that_starts_switched_off_is_switched_on_though_that_is_refused_at_first(
    make_bench, world, monkeypatch
):
    """A GM02SP starts with +CFUN: 0 (board_configs/walter.toml, modem.init)."""
    forget = Modem._forget

    def start(modem):
        forget(modem)
        modem.functional = 0

    monkeypatch.setattr(Modem, "_forget", start)
    bench = make_bench(wifi=False, board="walter")
    modem = bench.bracelet.modem
    modem.habits.sms_s, modem.habits.settings_late = modem.habits.boot_s + 3, True
    world.call(lambda: (modem.power(False), modem.power(True)))
    bench.boot(settle=20)
    bench.press()
    world.expect("relay", "new", within=60)


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("refused", ["every command", "by the network"])
def test_where_no_message_goes_data_brings_the_answer_within_30_s_out_of_deep_sleep(make_bench, world, board, refused):
    """botletics/SIM7000-LTE-Shield#50 and TinyGSM's pull request 467: data works, messages may not."""
    bench = make_bench(wifi=False, apn=APN, board=board)
    if refused == "every command":
        bench.bracelet.modem.messages.refused = 0
    else:
        bench.bracelet.modem.messages.submit_refused = 38  # network out of order
    fall_asleep(bench, world)
    pressed_us = world.now_us
    world.call(bench.bracelet.button.press)
    world.expect("firmware", "raised", within=4)
    world.call(bench.bracelet.button.release)
    world.expect("firmware", "receipt", within=100)
    assert world.now_us - pressed_us <= 30_000_000


@pytest.mark.parametrize(("board", "limit"), [("reference", 6), ("lilygo-t-sim7600", 6)])
def test_a_prompt_without_its_blank_is_seen_at_once_though_the_modem_echoes(
    make_bench, world, monkeypatch, board, limit
):
    """RIOT's pull request 20016: ">" alone. ATE0 is refused."""

    def refuse(modem, rest):
        raise AtError(None)

    monkeypatch.setitem(COMMANDS._handlers, "E", refuse)
    bench = make_bench(wifi=False, board=board)
    bench.bracelet.modem.habits.prompt = "\r\n>"
    bench.boot(settle=30)
    bench.press()
    pressed_us = world.now_us
    world.expect("sms centre", "accepted", within=100)
    assert world.now_us - pressed_us <= limit * 1_000_000


@pytest.mark.parametrize("board", BOARDS[:2])
def test_the_cell_of_before_is_not_told_when_only_lte_tells_the_new_one(make_bench, world, board):
    """Carried off, the modem goes from 2G to LTE without a moment of "not registered"; +CREG has FFFE from then on."""
    bench = make_bench(wifi=False, board=board)
    modem = bench.bracelet.modem
    modem.tells_instead["CEREG"] = 0
    if bench.bracelet.gnss:
        bench.bracelet.gnss.sky = False
    bench.boot(settle=30)
    bench.press()
    world.expect("firmware", "receipt", within=100)
    area, cell = 0x2222, 0x2222222

    def carry_off():
        del modem.tells_instead["CEREG"]
        modem.registration_form = "lte"
        modem.cell = (*modem.cell[:2], area, cell)

    world.call(carry_off)
    world.run(900)
    *_, last = bench.documents().values()
    assert last["cell"]["lac"] == area


@pytest.mark.parametrize("damage", [lambda pdu: pdu[:-1], lambda pdu: pdu[:-4], lambda pdu: "", lambda pdu: "07" + pdu])
def test_an_answer_that_is_damaged_on_the_line_is_read_once_more(make_bench, world, monkeypatch, damage):
    bench = make_bench(wifi=False)
    shown, damaged = Messages.shown, []

    def show(messages, pdu, read):
        head, _, text = shown(messages, pdu, read).partition("\r\n")
        if not damaged:
            text = damage(text)
            damaged.append(text)
        return f"{head}\r\n{text}"

    monkeypatch.setattr(Messages, "shown", show)
    bench.boot(settle=30)
    bench.press()
    world.expect("firmware", "receipt", within=9)
    assert damaged


def test_what_no_reading_makes_a_message_of_ours_is_deleted(make_bench, world):
    bench = make_bench(wifi=False)
    bench.boot(settle=30)
    advertiser = world.sms.phone("+10000000077")
    for _ in range(3):
        advertiser.send(bench.bracelet.modem.number, b"buy")
    world.run(60)
    store = bench.bracelet.modem.messages.store("SM")
    assert store == {}
    listings = [e for e in world.trace if e.who == "firmware" and e.what == "refused"]
    assert 3 <= len(listings) <= 6

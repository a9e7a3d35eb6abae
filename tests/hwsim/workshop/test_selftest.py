"""The self-test: what runs on the board, with parts that are wrong; and what the workshop makes of what it says."""

from __future__ import annotations

import ast
import json
from unittest.mock import ANY

import pytest

from hwsim.workshop.selftest_host import WANTED, WRONG, Heard, judge
from hwsim.workshop.trouble import Trouble
from hwsim.world import Track
from hwsim.world.bracelet import FIRMWARE

SOURCE = FIRMWARE.parent / "hwsim" / "workshop" / "selftest.py"
STARTS = """
import selftest, time
with open("/part") as file:
    selftest.main(file.read())
while True:
    time.sleep_ms(1000)
"""


@pytest.fixture
def board(world, tmp_path):
    """test(part, **wrong) runs one part's test on a new board, whose wiring the firmware is told wrongly."""
    stage = tmp_path / "firmware"
    stage.mkdir()
    (stage / "tocsin").symlink_to(FIRMWARE / "tocsin")
    (stage / "selftest.py").symlink_to(SOURCE)
    (stage / "main.py").write_text(STARTS)
    bracelet = world.bracelet(firmware=stage)

    def test(part, **wrong):
        wiring = json.loads(bracelet.board.to_json())
        for name, value in wrong.items():
            section, key = name.split("__")
            wiring[section][key] = value
        bracelet.files.put("/board.json", json.dumps(wiring).encode())
        bracelet.files.put("/part", part.encode())
        bracelet.boot()
        return bracelet

    test.wiring = json.loads(bracelet.board.to_json())
    return test


def result(world, part, within=250):
    return world.expect("firmware", "test", within=within, part=part, result=ANY).detail["result"]


def wanted(world, what):
    world.expect("firmware", "test", within=10, wanted=what)


def test_a_good_button(board, world):
    button = board("button").button
    wanted(world, "press")
    world.call(lambda: button.press(0.3))
    assert result(world, "button") == "ok"


def test_a_button_whose_contact_is_bad(board, world):
    button = board("button").button
    wanted(world, "press")
    world.call(lambda: button.press(0.1))
    world.run(0.2)
    world.call(lambda: button.press(0.1))
    assert result(world, "button") == "bounces"


def test_a_button_that_nobody_presses_or_that_is_stuck(board, world):
    button = board("button").button
    assert result(world, "button") == "silent"
    world.call(button.press)
    button._device.reset()
    assert result(world, "button") == "stuck"


def test_a_button_with_the_wrong_level(board, world):
    """The chip then pulls its pad to where the contact does, too: no press changes anything."""
    button = board("button", button__active_low=not board.wiring["button"]["active_low"]).button
    wanted(world, "press")
    world.call(lambda: button.press(0.3))
    assert result(world, "button") == "silent"
    assert "active_low" in WRONG["button", "silent"]


def swapped(board):
    return {"button__pin": board.wiring["strap"]["pin"], "strap__pin": board.wiring["button"]["pin"]}


def test_button_and_strap_on_each_others_pins(board, world):
    bracelet = board("button", **swapped(board))
    wanted(world, "press")
    world.call(lambda: bracelet.button.press(0.3))
    assert result(world, "button") == "swapped"
    bracelet.power_cut()
    bracelet = board("strap", **swapped(board))
    wanted(world, "close")
    world.call(bracelet.strap.close)
    world.run(1)
    world.call(bracelet.strap.open)
    assert result(world, "strap") == "swapped"


@pytest.mark.parametrize("closed_first", [False, True])
def test_a_good_strap(board, world, closed_first):
    bracelet = board("strap")
    if closed_first:
        world.call(bracelet.strap.close)
        wanted(world, "open")
        world.call(bracelet.strap.open)
    wanted(world, "close")
    world.call(bracelet.strap.close)
    world.run(1)
    world.call(bracelet.strap.open)
    assert result(world, "strap") == "ok"


def test_a_strap_with_the_wrong_level_never_passes(board, world):
    """Closed and opened it says the same as a good one that was opened and closed."""
    board("strap", strap__closed_low=not board.wiring["strap"]["closed_low"])
    wanted(world, "open")
    assert result(world, "strap") == "closed"


def test_a_strap_that_stays_as_it_is(board, world):
    bracelet = board("strap")
    wanted(world, "close")
    assert result(world, "strap") == "open"
    bracelet.reset()
    wanted(world, "close")
    world.call(bracelet.strap.close)
    assert result(world, "strap") == "stuck"


@pytest.mark.parametrize(("divider", "said"), [(2, "ok"), (1, "low"), (3, "high")])
def test_the_cell_and_its_divider(board, world, divider, said):
    board("battery", battery__divider_num=divider)
    assert result(world, "battery") == said


def test_a_good_radio_tells_how_far_it_is(board, world):
    bracelet = board("radio")
    bracelet.modem.register_us = 45_000_000
    bracelet.gnss.track = Track.still(52.0, 13.0, 34)
    results = {part: result(world, part) for part in ("gnss", "sky", "sim", "network")}
    assert results == {"gnss": "ok", "sky": "ok", "sim": "ok", "network": "ok"}
    told = [event.detail for event in world.trace if event.what == "test" and "state" in event.detail]
    assert [each["seconds"] for each in told] == [20, 40]
    assert told[1]["state"] == "none"


@pytest.mark.parametrize(
    ("fault", "part", "said"),
    [
        (lambda bracelet: setattr(bracelet.modem, "denied", True), "network", "denied"),
        (lambda bracelet: setattr(bracelet.modem, "service", False), "network", "deaf"),
        (lambda bracelet: setattr(bracelet.modem, "register_us", 400_000_000), "network", "none"),
        (lambda bracelet: setattr(bracelet.modem, "locked", True), "sim", "locked"),
        (lambda bracelet: setattr(bracelet.modem, "sim", False), "sim", "missing"),
        (lambda bracelet: setattr(bracelet.gnss, "sky", False), "sky", "none"),
    ],
)
def test_a_radio_with_a_fault(board, world, fault, part, said):
    fault(board("radio"))
    assert result(world, part) == said


@pytest.mark.parametrize(("noise", "said"), [(b"", "silent"), (bytes(range(128, 192)), "garbled")])
def test_a_receiver_that_is_off_or_not_understood(board, world, noise, said):
    """At another rate octets come that are no sentences; the simulated line is deaf then, so these are put on it."""
    bracelet = board("radio", gnss__power_active_low=not board.wiring["gnss"].get("power_active_low", False))
    world.after(10_000_000, lambda: bracelet.gnss.inject(noise))
    assert result(world, "gnss") == said


# -- what the workshop makes of what it hears


def heard(*lines):
    """Its results, what the engineer was to do, and what was told."""
    done, told = [], []
    heard = Heard(lambda what, text: done.append((what, text)), told.append)
    for line in lines:
        heard.hear(line)
    return heard, done, told


RADIO = (
    "@modem ready=1",
    "@test part=gnss result=ok",
    "@test part=sky result=ok",
    "@test part=sim result=ok",
    "@test part=network result=ok",
)


def test_a_good_radio():
    found, _, _ = heard(*RADIO)
    assert found.radio() == [(part, "ok") for part in ("modem", "sim", "network", "gnss")]
    for part, result in found.radio():
        judge(part, result, "ttyUSB0")


def first_wrong(*lines):
    found, _, _ = heard(*lines)
    return next((part, result) for part, result in found.radio() if result != "ok")


def test_what_comes_first_is_why_the_rest_is_not_good():
    bad = "@test part=sim result=ok", "@test part=network result=deaf", "@test part=gnss result=silent"
    assert first_wrong(*bad) == ("modem", "silent")
    assert first_wrong("@modem ready=1", *bad) == ("network", "deaf")
    assert first_wrong("@modem ready=1", "@test part=sim result=locked", *bad[1:]) == ("sim", "locked")
    assert first_wrong("@modem ready=1", "@modem lost=1", "@modem ready=1", *bad) == ("modem", "lost")
    assert first_wrong("@modem ready=1", "@modem restarted=1", *bad) == ("modem", "lost")
    assert first_wrong("@modem lost=1", "@modem ready=1", *bad) == ("network", "deaf")  # it was off, at first
    assert heard("@modem ready=1", "@modem lost=1", *RADIO)[0].radio()[0] == ("modem", "ok")


def test_the_engineer_is_told_what_to_do_and_how_far_it_is():
    found, done, told = heard(
        "@test part=button wanted=press",
        "@test part=strap wanted=open",
        "@test part=strap wanted=close",
        "@test part=battery percent=99",
        "@test part=network state=deaf seconds=20",
        "@modem ready=1",
        "@test part=gnss result=ok",
        "@test part=network state=denied seconds=40",
        "Traceback",
        "@sim state=ready",
    )
    assert [what for what, _ in done] == ["button_press", "strap_open", "strap_close"]
    assert found.percent == 99
    assert told == [
        "  20 s: no answer of the modem yet; no signal yet; none from the receiver yet",
        "  40 s: the modem answers; refused by a network; sentences come",
    ]


def results_of_the_board():
    """(part, result) of everything that selftest.py can say, read in its source."""
    found = set()
    for function in ast.parse(SOURCE.read_text()).body:
        if isinstance(function, ast.AsyncFunctionDef) and function.name != "_until":
            part = {"_radio": "network"}.get(function.name, function.name[1:])
            for node in ast.walk(function):
                if isinstance(node, ast.Return):
                    # Both ends of "a if b else c", and not what is compared.
                    ends = [node.value]
                    while ends:
                        end = ends.pop()
                        if isinstance(end, ast.IfExp):
                            ends += [end.body, end.orelse]
                        elif isinstance(end, ast.Constant) and isinstance(end.value, str):
                            found.add((part, end.value))
    return found - {(part, "shown") for part in ("led", "haptic")}


# Of the modem's driver (at.sim), of what is not heard at all, and what the engineer answers.
OTHERS = {
    ("sim", "missing"),
    ("sim", "locked"),
    ("sim", "failed"),
    ("gnss", "silent"),
    ("gnss", "garbled"),
    ("modem", "silent"),
    ("modem", "lost"),
    ("led", "not seen"),
    ("haptic", "not felt"),
}


def test_every_result_has_its_sentence_and_every_sentence_its_result():
    said = {(part, result) for part, result in results_of_the_board() if result != "ok"}
    assert said | OTHERS == set(WRONG)
    for (part, result), text in WRONG.items():
        with pytest.raises(Trouble, match=r"^self-test of the board at ttyUSB0: ") as trouble:
            judge(part, result, "ttyUSB0")
        assert text in str(trouble.value)
    assert all(f'wanted="{what}"' in SOURCE.read_text() for _, what in WANTED)

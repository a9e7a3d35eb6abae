"""Lives that are played: good ones, planted failures that are found and shrunk, and what the simulator trips over."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hwsim.soak.command import shrink
from hwsim.soak.draw import draw
from hwsim.soak.life import Life, Step
from hwsim.soak.play import play
from hwsim.world.bracelet import FIRMWARE

TRACK = ((0.0, 48.0, 11.0, 500), (600.0, 48.02, 11.01, 510))


@pytest.fixture
def planted(tmp_path):
    """The firmware with one text in one of its files replaced: planted(file, old, new)."""

    def plant(name: str, old: str, new: str) -> Path:
        folder = Path(shutil.copytree(FIRMWARE, tmp_path / "firmware"))
        text = (folder / name).read_text()
        assert text.count(old) == 1
        (folder / name).write_text(text.replace(old, new))
        return folder

    return plant


def life(*steps, wifi=True, calm_at=300.0):
    return Life(7, tuple(Step(float(at), do, arguments) for at, do, arguments in steps), TRACK, wifi, calm_at)


BAD_EVENING = life(
    (20, "gnss_lost", {}),
    (40, "relay_mute", {}),
    (41, "net_loss", {"percent": 30}),
    (50, "press", {"for_s": 5.0}),
    (60, "modem_garbage", {"octets": 40}),
    (70, "reset", {}),
    (90, "gnss_found", {}),
)


def test_a_bad_evening_ends_well():
    outcome = play(BAD_EVENING)
    assert outcome.failures == []
    assert (outcome.raised, outcome.delivered, outcome.lost, outcome.duplicated) == (1, 1, 0, 0)
    assert outcome.waits[0] > 200  # the relay answered nothing before
    assert sum(outcome.checks.values()) > 30


@pytest.mark.parametrize("board", ["devkit", pytest.param("lilygo-t-sim7000g", marks=pytest.mark.long)])
def test_a_bad_evening_on_another_board(board):
    outcome = play(replace(BAD_EVENING, board=board))
    assert outcome.failures == []
    assert (outcome.raised, outcome.delivered) == (1, 1)


def test_a_link_that_goes_as_the_broker_is_looked_for():
    """Seed 88: nobody could be asked for the broker's address, and the connection's task ended by that."""
    steps = life((1645.467, "data_down", {}), (1645.967, "press", {"for_s": 3.3}), calm_at=1705.967).steps
    outcome = play(Life(88, steps, ((0.0, 30.6738683, 95.618223, 1459),), True, 1705.967, "lilygo-t-pcie", True))
    assert outcome.failures == []


def test_a_part_that_is_begun_as_the_button_is_let_go():
    """Seed 188: the chip hung before the release was taken for one, and the press counted as held."""
    steps = life((30, "modem_blocks", {"step": 0, "starts": 0}), (71.878, "press", {"for_s": 3.3})).steps
    outcome = play(Life(188, steps, ((0.0, 18.5804036, 122.6874867, 1577),), True, 131.878, "lilygo-t-sim7000g"))
    assert outcome.failures == []


def test_a_hold_that_begins_just_after_a_tap_woke_it_counts_from_its_own_start():
    """Seed 275: it was taken for the press that woke the bracelet, and raised a third of a second early."""
    steps = life((120, "call_back", {})).steps
    outcome = play(Life(275, steps, ((0.0, 68.52861, 146.1905518, 579),), True, 180.0, "makerfabs-s3-sim7670g"))
    assert outcome.failures == []


def test_the_same_life_is_the_same_trace():
    first, second = play(BAD_EVENING, keep_trace=True), play(BAD_EVENING, keep_trace=True)
    assert first.trace == second.trace
    assert first.digest == second.digest


@pytest.mark.long
def test_an_alarm_forgotten_in_a_reset_is_found_and_shrunk(planted):
    """A firmware that doesn't take up undelivered messages after a reset loses one only when nothing could take it
    before: three things must come together, and the rest goes."""
    forgetful = planted("tocsin/state.py", "        for message in record.messages:", "        for message in []:")
    bad = life(
        (20, "gnss_lost", {}),
        (40, "jam", {}),
        (50, "press", {"for_s": 3.3}),
        (60, "modem_garbage", {"octets": 40}),
        (70, "reset", {}),
        calm_at=100.0,
    )
    assert play(bad).failures == []
    outcome = play(bad, forgetful)
    assert outcome.lost == 1
    assert outcome.failures[0].rule == "nothing is lost"
    small = shrink(bad, "nothing is lost", forgetful, trials=20)
    assert [step.do for step in small.steps] == ["jam", "press", "reset"]
    assert play(small, forgetful).lost == 1
    assert play(small).failures == []


def test_an_sms_taken_for_delivered_is_found(planted):
    """A firmware that takes the network's word for the relay's."""
    credulous = planted(
        "tocsin/delivery.py",
        "        if message and message.sms.flying:\n            path = message.sms\n",
        "        if message and message.sms.flying and ok:\n            self.queue.remove(message)\n"
        "        elif message and message.sms.flying:\n            path = message.sms\n",
    )
    dropped = life((30, "sms_drop", {"percent": 100}), (50, "press", {"for_s": 3.3}), wifi=False, calm_at=100.0)
    assert play(dropped).failures == []
    assert {failure.rule for failure in play(dropped, credulous).failures} == {"nothing is lost"}


def test_what_the_firmware_raises_is_a_failure_with_its_place(planted):
    broken = planted(
        "tocsin/drivers/battery.py", "async def run(self):", "async def run(self):\n        raise KeyError\n"
    )
    outcome = play(life((50, "press", {"for_s": 3.3})), broken)
    assert outcome.failures[0].rule == "nothing breaks"
    assert "task=battery" in outcome.failures[0].why


def test_what_the_simulator_raises_is_a_failure_too(planted):
    outcome = play(life((1, "press", {"for_s": -1})))
    assert [failure.rule for failure in outcome.failures] == ["simulation"]
    assert "ActionError" in outcome.failures[0].why


@pytest.mark.parametrize("seed", [4, pytest.param(17, marks=pytest.mark.long)])
def test_drawn_lives(seed):
    assert play(draw(seed, 0.5)).failures == []

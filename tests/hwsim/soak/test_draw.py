"""Lives are drawn from seeds alone, from the whole vocabulary, and end in calm."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from hwsim.board import CONFIGS, load
from hwsim.scenario import actions
from hwsim.soak import play
from hwsim.soak.draw import ANY_BOARD, FAULTS, NEEDS, draw, on_stock_image
from hwsim.soak.life import from_toml

LIVES = [draw(seed) for seed in range(400)]


def test_the_same_seed_is_the_same_life_and_another_seed_another():
    assert [draw(seed) for seed in range(400)] == LIVES
    assert len({life.to_toml() for life in LIVES}) == len(LIVES)


# A wiped bracelet delivers nothing, and a changed hold makes something else of every press: no lives to judge.
NEVER = {"revoke", "configure"}


def test_every_action_there_is_happens_in_some_life():
    """A new word of the vocabulary must be drawn, or this says so."""
    drawn = {step.do for life in LIVES for step in life.steps}
    assert drawn == set(actions.ACTIONS) - NEVER


def test_every_step_is_one_that_can_be_done_and_they_are_in_order():
    for life in LIVES:
        for step in life.steps:
            actions.check(step.do, step.arguments)
        times = [step.at for step in life.steps]
        assert times == sorted(times)
        assert 0 <= times[0] and times[-1] < life.calm_at


@pytest.mark.parametrize("board", sorted(file.stem for file in CONFIGS.glob("*.toml")))
def test_on_another_board_it_is_the_same_life_but_for_what_that_one_cannot_do(board):
    sections = load(board).sections
    for life in LIVES[:100]:
        other = draw(life.seed, board=board)
        able = [s for s in life.steps if s.do not in NEEDS or NEEDS[s.do][1] in sections.get(NEEDS[s.do][0], {})]
        assert other == replace(life, board=board, steps=tuple(able))


def test_any_board_is_every_board_and_the_same_one_for_a_seed():
    lives = [draw(seed, board=ANY_BOARD) for seed in range(100)]
    assert {life.board for life in lives} == {file.stem for file in CONFIGS.glob("*.toml")}
    assert [draw(life.seed, board=life.board) for life in lives] == lives
    assert all(from_toml(life.to_toml()) == life for life in lives)


def test_presses_fall_where_faults_are_and_not_in_the_long_quiet():
    """Half of all faults come within ten minutes of a press, although lives last hours."""
    near = far = quiet = 0
    for life in LIVES:
        presses = [step.at for step in life.steps if step.do == "press"]
        for step in life.steps:
            if step.do in FAULTS:
                close = min(abs(step.at - at) for at in presses) <= 600
                near, far = near + close, far + (not close)
        times = [0.0, *(step.at for step in life.steps), life.calm_at]
        quiet += max(after - before for before, after in pairwise(times)) > 3600
    assert near > far
    assert quiet > 20


def test_lives_last_from_minutes_to_days_and_never_longer_than_asked():
    hours = sorted(life.calm_at / 3600 for life in LIVES)
    assert hours[0] < 0.5
    assert 1.2 < hours[200] < 2.5
    assert sum(length >= 24 for length in hours) >= 2
    assert hours[-1] < 50
    assert all(draw(seed, 0.5).calm_at < 0.5 * 3600 + 4500 for seed in range(100))


def test_both_paths_overlapping_outages_and_every_kind_of_reset():
    assert 20 < sum(not life.wifi for life in LIVES) < 120
    counts = Counter(step.do for life in LIVES for step in life.steps)
    for name in ("reset", "power_cut", "flash_cut", "brownout", "hang"):
        assert counts[name] >= 20
    overlapping = 0
    for life in LIVES:
        begun: set[str] = set()
        most = 0
        for step in life.steps:
            ended = {name for name in begun if (actions.ACTIONS[name].undo or "") == step.do}
            begun -= ended
            if not ended and actions.ACTIONS[step.do].undo:
                begun.add(step.do)
            most = max(most, len(begun))
        overlapping += most >= 2
    assert overlapping > 100


def test_whatever_can_be_undone_is_undone_in_the_end():
    for life in LIVES:
        ends = {step.do: step.arguments for step in play.calm(life)}
        for step in life.steps:
            undo = actions.ACTIONS[step.do].undo
            assert undo is None or undo in ends
        for name, arguments in ends.items():
            actions.check(name, arguments)


@pytest.mark.parametrize("seed", range(20))
def test_a_life_written_down_is_the_same_life(seed):
    assert from_toml(draw(seed).to_toml()) == draw(seed)


@pytest.mark.parametrize(
    "text", ["", "seed = 1", "seed = [", "seed = 1\nwifi = true\ncalm_at = 1.0\n[[event]]\nat = 2"]
)
def test_what_is_no_life_is_refused_in_words(text):
    with pytest.raises(ValueError):
        from_toml(text)


def test_half_of_the_boards_with_psram_have_a_stock_image():
    stock = [on_stock_image(draw(seed, 0.1, "lilygo-t-sim7600")) for seed in range(40)]
    assert 8 < stock.count(True) < 32
    assert not any(on_stock_image(draw(seed, 0.1)) for seed in range(40))  # the reference board has no heap for it

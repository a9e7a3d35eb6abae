"""The shrinker, on failures that are known exactly: plain functions of the data."""

from hwsim.soak.command import plainer
from hwsim.soak.draw import draw
from hwsim.soak.life import Life, Step
from hwsim.soak.shrink import Shrinker


def names(life):
    return [step.do for step in life.steps]


def shrink(life, fails, trials=500):
    asked = []

    def ask(candidate):
        asked.append(candidate)
        return fails(candidate)

    return Shrinker(ask, plainer, trials).shrink(life), asked


def reset_after_press(life):
    """A reset at most 30 s after a press of at least 3 s."""
    presses = [step for step in life.steps if step.do == "press" and step.arguments["for_s"] >= 3]
    resets = [step.at for step in life.steps if step.do == "reset"]
    return any(0 < at - press.at <= 30 for press in presses for at in resets)


def noisy(seed):
    """A drawn life with the trouble in it, somewhere."""
    life = draw(seed)
    extra = [Step(500.0, "press", {"for_s": 19.7}), Step(525.0, "reset")]
    return life.with_steps(sorted([*life.steps, *extra], key=lambda step: step.at))


def test_only_what_matters_is_left_close_together_and_plain():
    for seed in range(10):
        life, _ = shrink(noisy(seed), reset_after_press)
        assert names(life) == ["press", "reset"]
        assert life.steps[0].arguments == {"for_s": 3.3}
        assert life.steps[0].at <= 0.5
        assert life.steps[1].at - life.steps[0].at <= 0.5
        assert len(life.track) == 1
        assert life.wifi
        assert life.calm_at <= 120


def test_three_steps_far_apart_that_need_each_other():
    def fails(life):
        return {"jam", "hang", "call_back"} <= set(names(life))

    steps = [Step(float(at), "tap", {"count": 2}) for at in range(0, 3000, 60)]
    for at, name in ((1, "jam"), (1501, "hang"), (2901, "call_back")):
        steps.append(Step(float(at), name))
    life = Life(1, tuple(sorted(steps, key=lambda step: step.at)), ((0.0, 1.0, 2.0, 3),), calm_at=4000.0)
    shrunk, asked = shrink(life, fails)
    assert names(shrunk) == ["jam", "hang", "call_back"]
    assert len(asked) < 300


def test_the_same_life_shrinks_to_the_same_and_no_life_is_asked_twice():
    first, asked = shrink(noisy(3), reset_after_press)
    second, again = shrink(noisy(3), reset_after_press)
    assert first == second
    assert asked == again
    assert len({life.to_toml() for life in asked}) == len(asked)


def test_when_the_trials_are_spent_what_is_left_still_fails():
    for trials in (0, 1, 5, 20):
        life, asked = shrink(noisy(4), reset_after_press, trials)
        assert reset_after_press(life)
        assert len(asked) <= trials


def test_a_failure_that_needs_nothing_leaves_nothing():
    life, _ = shrink(draw(1), lambda life: True)
    assert life.steps == ()

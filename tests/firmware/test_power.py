"""When the bracelet sleeps: the table of transitions, step by step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin import power
from tocsin.power import ALARM, ASLEEP, ATTENTIVE, DUTY, SETTLING, VIGIL, Facts, Power

MINUTE = 60000


def facts(**values):
    found = Facts()
    for name, value in values.items():
        setattr(found, name, value)
    return found


def test_every_mode_has_a_way_to_sleep_and_the_alarm_goes_before_it():
    for mode in (SETTLING, DUTY, ATTENTIVE, ALARM, VIGIL):
        ways = [then for at, _, then in power.TRANSITIONS if at == mode]
        assert ASLEEP in ways
        if mode != ALARM:
            first = next(when for at, when, _ in power.TRANSITIONS if at == mode)
            assert first == "raised"


def test_after_a_reset_it_stays_for_a_minute_and_then_sleeps_when_all_is_found():
    machine = Power(SETTLING, 0)
    assert machine.step(facts(), 30_000) == SETTLING
    assert machine.step(facts(done=True), 59_000) == SETTLING
    assert machine.step(facts(done=True, touched=True), 61_000) == SETTLING
    assert machine.step(facts(done=True), 62_000) == ASLEEP


def test_after_a_reset_without_any_network_it_sleeps_after_four_minutes():
    machine = Power(SETTLING, 0)
    assert machine.step(facts(), 239_000) == SETTLING
    assert machine.step(facts(), 240_000) == ASLEEP


def test_a_duty_ends_when_it_is_done_or_late():
    assert Power(DUTY, 0).step(facts(done=True), 3000) == ASLEEP
    machine = Power(DUTY, 0)
    assert machine.step(facts(), 59_000) == DUTY
    assert machine.step(facts(), 60_000) == ASLEEP


def test_a_touch_makes_it_attentive_and_it_listens_on():
    machine = Power(DUTY, 0)
    assert machine.step(facts(touched=True, done=True), 2000) == ATTENTIVE
    assert machine.step(facts(), 21_000) == ATTENTIVE
    assert machine.step(facts(touched=True), 21_500) == ATTENTIVE
    assert machine.step(facts(done=True), 41_000) == ATTENTIVE
    assert machine.step(facts(done=True), 41_500) == ASLEEP


@pytest.mark.parametrize("mode", [SETTLING, DUTY, ATTENTIVE, VIGIL])
def test_raised_from_any_mode_is_the_alarm_and_there_is_no_sleep_for_a_quarter_of_an_hour(mode):
    machine = Power(mode, 0)
    assert machine.step(facts(raised_ms=0, waiting=True, touched=True), 1000) == ALARM
    assert machine.step(facts(raised_ms=14 * MINUTE), 15 * MINUTE) == ALARM
    assert machine.step(facts(raised_ms=16 * MINUTE), 17 * MINUTE) == ASLEEP


def test_undelivered_messages_keep_it_awake_for_an_hour():
    machine = Power(ALARM, 0)
    assert machine.step(facts(raised_ms=59 * MINUTE, waiting=True), 59 * MINUTE) == ALARM
    assert machine.step(facts(raised_ms=60 * MINUTE, waiting=True), 60 * MINUTE) == ASLEEP


def test_an_alarm_that_was_called_back_sleeps_when_that_is_told():
    machine = Power(ALARM, 0)
    assert machine.step(facts(raised_ms=None, waiting=True, touched=True), 1000) == ALARM
    machine = Power(ALARM, 0)
    assert machine.step(facts(raised_ms=None), 19_000) == ALARM
    assert machine.step(facts(raised_ms=None), 20_000) == ASLEEP


def test_in_a_vigil_it_sleeps_as_soon_as_all_is_told_or_after_a_try():
    machine = Power(VIGIL, 0)
    old = facts(raised_ms=20 * MINUTE, waiting=True)
    assert machine.step(old, 5000) == VIGIL
    assert machine.step(facts(raised_ms=20 * MINUTE, waiting=True, done=True), 6000) == VIGIL
    assert machine.step(facts(raised_ms=20 * MINUTE, done=True), 7000) == ASLEEP
    machine = Power(VIGIL, 0)
    assert machine.step(old, 89_000) == VIGIL
    assert machine.step(old, 90_000) == ASLEEP
    machine = Power(VIGIL, 0)
    assert machine.step(facts(raised_ms=20 * MINUTE, touched=True), 1000) == ALARM


@given(
    st.lists(
        st.tuples(
            st.integers(1, 600_000),
            st.booleans(),
            st.booleans(),
            st.booleans(),
            st.one_of(st.none(), st.integers(0, 7_200_000)),
        )
    ),
    st.sampled_from([SETTLING, DUTY, ATTENTIVE, VIGIL]),
)
def test_never_asleep_while_it_is_touched_or_freshly_raised(steps, mode):
    machine, now = Power(mode, 0), 0
    for ms, touched, waiting, done, raised in steps:
        now += ms
        case = facts(touched=touched, waiting=waiting, done=done, raised_ms=raised)
        if machine.step(case, now) == ASLEEP:
            assert machine.mode == SETTLING or not touched or mode == VIGIL
            assert raised is None or raised >= power.DENSE_MS
            return


@given(st.booleans(), st.booleans(), st.booleans())
def test_how_it_wakes(by_timer, alarm_open, waiting):
    mode = power.woken(by_timer, alarm_open, waiting)
    assert mode == (ATTENTIVE if not by_timer else VIGIL if alarm_open or waiting else DUTY)


def test_it_sleeps_until_the_first_thing_that_is_due():
    assert power.sleep_ms(1000, [None, 901_000, 601_000], waiting=False) == 600_000
    assert power.sleep_ms(1000, [901_000], waiting=True) == power.AGAIN_MS
    assert power.sleep_ms(1000, [], waiting=False) == power.SLEEP_MAX_MS
    assert power.sleep_ms(1000, [900], waiting=False) == power.SLEEP_MIN_MS

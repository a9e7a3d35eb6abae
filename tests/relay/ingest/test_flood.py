"""Allowances of accounts: who is over, who is told of, who is cut off."""

from __future__ import annotations

from relay.ingest.flood import FloodWatch


def watch() -> FloodWatch:
    return FloodWatch(per_s=200, burst=2000, cut_s=600)


def test_an_account_is_over_when_its_burst_is_used_up_and_until_then_not() -> None:
    floods = watch()
    over = [floods.arrived("a", 0.0) for _ in range(2001)]
    assert over == [False] * 2000 + [True]
    assert not floods.arrived("b", 0.0)
    assert [floods.arrived("a", 1.0) for _ in range(201)] == [False] * 200 + [True]


def test_two_hundred_a_second_is_no_flood() -> None:
    floods = watch()
    assert not any(floods.arrived("a", n / 200) for n in range(20_000))
    assert floods.due(100.0) == []


def test_a_backlog_that_comes_at_once_is_told_of_and_not_cut_off() -> None:
    floods = watch()
    for _ in range(9000):
        floods.arrived("a", 0.0)
        floods.judged("a", refused=False)
    (flood,) = floods.due(1.0)
    assert (flood.account, flood.tell, flood.cut_off) == ("a", True, False)
    assert floods.due(2.0) == []
    assert floods.due(30.0) == []
    assert not floods.is_flooding("a")


def test_one_that_stays_over_is_cut_off_once_in_a_while_and_told_of_once_a_minute() -> None:
    floods = watch()
    told, cut = [], []
    for second in range(700):
        for _ in range(1 if second else 2000):
            floods.arrived("a", float(second))
        for _ in range(300):
            floods.arrived("a", float(second))
        for flood in floods.due(second + 0.5):
            told += [second] if flood.tell else []
            cut += [second] if flood.cut_off else []
    assert cut == [10, 610]
    assert told[:3] == [0, 60, 120]


def test_so_many_that_were_let_go_are_enough_to_be_cut_off_and_repetitions_are_not() -> None:
    floods = watch()
    for account, repeated in (("thief", False), ("patient", True)):
        for number in range(8000):
            if floods.arrived(account, 0.0) and number >= 3000:
                floods.let_go(account, repeated=repeated)
    assert {flood.account: flood.cut_off for flood in floods.due(0.5)} == {"thief": True, "patient": False}


def test_repetitions_are_enough_when_no_broker_keeps_so_many_of_a_bracelet() -> None:
    """Else a few messages repeated without pause, with QoS 0 at 90,000 a second, would go on for ten seconds."""
    floods = watch()
    for _ in range(13_000):
        if floods.arrived("a", 0.0):
            floods.let_go("a", repeated=True)
    (flood,) = floods.due(0.5)
    assert flood.cut_off


def test_a_whole_allowance_of_junk_is_enough_to_be_cut_off() -> None:
    floods = watch()
    for _ in range(4500):
        floods.arrived("a", 0.0)
        floods.judged("a", refused=True)
    assert floods.sends_junk("a")
    (flood,) = floods.due(0.5)
    assert flood.cut_off


def test_pauses_that_are_too_short_do_not_end_a_flood() -> None:
    floods = watch()
    cut = []
    for second in range(30):
        for _ in range(0 if second % 4 == 3 else 5000):
            floods.arrived("a", float(second))
        cut += [second for flood in floods.due(second + 0.9) if flood.cut_off]
    assert cut == [10]


def test_of_a_thousand_floods_the_worst_are_told_of_and_all_are_cut_off() -> None:
    floods = watch()
    for number in range(1000):
        for _ in range(2001 + (number == 500)):
            floods.arrived(f"{number:08x}", 0.0)
    told = floods.due(1.0)
    assert len(told) == 20
    assert told[0].account == f"{500:08x}"
    for number in range(1000):
        for _ in range(2500):
            floods.arrived(f"{number:08x}", 9.9)
    assert sum(flood.cut_off for flood in floods.due(10.5)) == 1000


def test_accounts_that_are_quiet_are_forgotten() -> None:
    floods = watch()
    for number in range(1000):
        floods.arrived(f"{number:08x}", 0.0)
    floods.due(0.0)
    floods.due(100.0)
    assert floods._accounts == {}

"""Every rule can fail: what a good life leaves behind, with one thing wrong."""

from dataclasses import replace

import pytest

from hwsim.soak import facts
from hwsim.soak.facts import Facts, Pulse, Span
from hwsim.soak.judge import Evidence, _interrupted, judge
from hwsim.world import Track
from hwsim.world.trace import TraceEvent

START = 1_767_225_600
S = 1_000_000


def message(kind, counter):
    """The shortest thing with a header of this wire format: key id and counter, then a ciphertext."""
    header = bytes.fromhex("a3010a0444c0ffee010641") + bytes([counter])
    return b"\x83" + bytes([0x40 + len(header)]) + header + b"\xa0" + bytes([0x58, 100]) + kind * 100


def pulses(at_s, count, ms):
    """A pattern of strong pulses with pauses as long as they are."""
    starts = [at_s * S + 2 * ms * 1000 * number for number in range(count)]
    return [Pulse(start, start + ms * 1000, ms, 100) for start in starts]


def tapped(end_s, count):
    """Quick taps, the last of them over then."""
    return [Span(end_s * S - n * 500_000 - 100_000, end_s * S - n * 500_000) for n in reversed(range(count))]


def document(counter, seq, at_s, **changes):
    position = {"lat_e7": 480_000_000, "lon_e7": 110_000_000, "accuracy_m": 5, "age_s": 1}
    whole = {
        "counter": counter,
        "seq": seq,
        "msg_type": "Update" if seq else "Alert",
        "sent_unix": START + at_s,
        "time_quality": "gnss",
        "position": position,
        "status": "Actual",
        "cause": "button",
        "flags": {"duress": False, "doubtful": False},
    }
    return whole | changes


DOUBTED = {"duress": False, "doubtful": True}


def good():
    """Pressed at 100 s, raised at 103 s as message 7, updated as message 8, both delivered."""
    happened = Facts(
        holds=[Span(100 * S, 104 * S)],
        armed=[Span(1 * S)],
        raised={7: 103 * S},
        by={7: "hold", 8: "time"},
        updates={8: 123 * S},
        sent={(7, "mqtt"): 103 * S, (8, "mqtt"): 123 * S},
        links={"mqtt": [Span(10 * S)], "sms": [Span(10 * S)]},
        receipts={7: 104 * S, 8: 124 * S},
        delivered=[(104 * S, 7), (124 * S, 8)],
        pulses=[*pulses(103, 1, 700), *pulses(105, 3, 120)],
    )
    return Evidence(
        facts=happened,
        world_start=START,
        track=Track.still(48.0, 11.0),
        documents=[document(7, 0, 103), document(8, 1, 123)],
        copies={("c0ffee01", 7): 1, ("c0ffee01", 8): 1},
        stored=[7, 8],
        refused={},
        alarm_octets=[message(b"a", 7), message(b"b", 8), message(b"b", 8)],
        heartbeat_octets=[message(b"h", 0)],
        files=["identity", "settings.json"],
        kept_on_flash=[],
        trace_text="pressed raised",
        secrets=["480000000"],
        jump_m=0.0,
        gnss_offset_s=0.0,
        clock_offset_s=0.0,
        hangs=0,
        texted={},
        modem_starts=True,
    )


def broken(evidence):
    return {failure.rule for failure in judge(evidence).failures}


def test_a_good_life_breaks_no_rule_and_much_was_checked():
    verdict = judge(good())
    assert verdict.failures == []
    assert verdict.checks.total() > 20


def test_equal_failures_are_told_once_with_how_often():
    many = replace(good(), facts=replace(good().facts, never=[(5 * S, "@crashed"), (9 * S, "@crashed")]))
    (failure,) = judge(many).failures
    assert str(failure) == "nothing breaks at 5.000 s: @crashed (2 times)"


def fact(**changes):
    return lambda evidence: replace(evidence, facts=replace(evidence.facts, **changes))


def evidence(**changes):
    return lambda evidence: replace(evidence, **changes)


WRONG = {
    "lost": (evidence(stored=[8]), "nothing is lost"),
    "gave way although nobody called it back": (
        lambda e: replace(fact(dropped={7: 200 * S})(e), stored=[8]),
        "nothing is lost",
    ),
    "a cancel is lost": (fact(cancels={9: 110 * S}), "nothing is lost"),
    "still waiting": (evidence(kept_on_flash=[(7, 0)]), "nothing waits for ever"),
    "twice": (evidence(copies={("c0ffee01", 7): 2}), "nothing comes twice"),
    "stored twice": (evidence(stored=[7, 7, 8]), "stored once"),
    "stored and not told": (evidence(stored=[6, 7, 8]), "stored and rebroadcast"),
    "counter said twice": (fact(reused=[(130 * S, 7)]), "no counter twice"),
    "other octets": (evidence(alarm_octets=[message(b"a", 7), message(b"c", 7)]), "no counter twice"),
    "other heartbeat": (evidence(heartbeat_octets=[message(b"a", 7), message(b"c", 7)]), "no counter twice"),
    "nonsense": (evidence(alarm_octets=[b"nonsense"]), "well formed"),
    "refused": (evidence(refused={"replay": 1}), "the relay refuses nothing"),
    "wrong alarm": (evidence(documents=[document(7, 0, 103), document(8, 2, 123)]), "sequence"),
    "wrong kind": (evidence(documents=[document(7, 0, 103, msg_type="Update")]), "kind as it was felt"),
    "out of nothing": (evidence(documents=[document(7, 0, 103), document(9, 0, 103)]), "nobody raised it"),
    "without a hold": (fact(holds=[Span(100 * S, 102 * S)]), "nobody raised it"),
    "a drill nobody made": (evidence(documents=[document(7, 0, 103, status="Exercise")]), "a drill is a drill"),
    "a drill that looks real": (fact(by={7: "drill", 8: "time"}), "a drill is a drill"),
    "duress that is not told": (
        lambda e: replace(
            fact(cancels={8: 123 * S}, holds=[*e.facts.holds, *tapped(119, 3), Span(119 * S + 500_000, 124 * S)])(e),
            documents=[document(7, 0, 103), document(8, 1, 123, msg_type="Cancel")],
        ),
        "duress as it was pressed",
    ),
    "forced, and its cancel lost": (  # the Alert alone may give way: the cancel says all
        lambda e: replace(
            fact(
                cancels={8: 123 * S},
                dropped={8: 200 * S},
                holds=[*e.facts.holds, *tapped(119, 3), Span(119 * S + 500_000, 124 * S)],
            )(e),
            stored=[],
        ),
        "nothing is lost",
    ),
    "a strap that was closed": (fact(by={7: "strap", 8: "time"}), "nobody raised it"),
    "a timer that did not run": (fact(by={7: "check_in", 8: "time"}), "nobody raised it"),
    "for nothing": (fact(holds=[Span(100 * S, 104 * S), Span(200 * S, 204 * S)]), "a hold raises"),
    "not at once": (fact(sent={(7, "mqtt"): 105 * S}, receipts={7: 106 * S}), "mqtt in time"),
    "no SMS": (
        lambda e: replace(fact(receipts={7: 134 * S}, sms_path=[Span(0)])(e), texted={7: 120 * S}),
        "sms in time",
    ),
    "no SMS although one could have left": (
        lambda e: replace(fact(receipts={7: 134 * S}, links={}, sms_path=[Span(0)])(e), texted={}),
        "an SMS in 30 s",
    ),
    "an SMS that left late": (
        lambda e: replace(fact(receipts={7: 140 * S}, links={}, sms_path=[Span(0)])(e), texted={7: 134 * S}),
        "an SMS in 30 s",
    ),
    "a late SMS": (
        lambda e: replace(
            fact(receipts={7: 140 * S}, sent={(7, "mqtt"): 103 * S, (7, "sms"): 135 * S}, sms_path=[Span(0)])(e),
            texted={7: 120 * S},
        ),
        "sms in time",
    ),
    "long pulse": (fact(pulses=pulses(300, 1, 700)), "felt: raised"),
    "three pulses": (fact(pulses=pulses(300, 3, 120)), "felt: the relay has it"),
    "six pulses": (fact(pulses=pulses(300, 6, 50)), "felt: fault"),
    "false receipt": (fact(receipts={5: 104 * S}), "receipts for what is stored"),
    "late clock": (evidence(documents=[document(7, 0, 99)]), "true time"),
    "network clock": (evidence(documents=[document(7, 0, 203, time_quality="network")]), "true time"),
    "clock ahead": (evidence(documents=[document(7, 0, 203, time_quality="saved")]), "true time"),
    "no clock": (evidence(documents=[document(7, 0, 103, time_quality="unknown")]), "true time"),
    "doubted without a reason": (evidence(documents=[document(7, 0, 103, flags=DOUBTED)]), "doubt has a reason"),
    "elsewhere": (evidence(track=Track.still(48.001, 11.0)), "true place"),
    "crashed": (fact(never=[(5 * S, "@crashed")]), "nothing breaks"),
    "bitten": (fact(watchdogs=[5 * S]), "watchdog"),
    "stuck": (fact(stuck=[5 * S]), "watchdog"),
    "a new file": (evidence(files=["track.gpx"]), "files"),
    "told": (evidence(trace_text="lat=480000000"), "private"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_thing_wrong_breaks_its_rule(name):
    change, rule = WRONG[name]
    assert rule in broken(change(good()))


@pytest.mark.parametrize(
    ("name", "change"),
    {
        "off the network's time by as much as it was wrong": evidence(
            documents=[document(7, 0, 203, time_quality="network"), document(8, 1, 123)], clock_offset_s=100.0
        ),
        "off the satellites' time by as much as a spoofer shifted it": evidence(
            documents=[document(7, 0, 203, time_quality="gnss"), document(8, 1, 123)], gnss_offset_s=100.0
        ),
        "a spoofer moved it, and it is doubted": evidence(
            documents=[document(7, 0, 103, flags=DOUBTED), document(8, 1, 123)], jump_m=200.0
        ),
        "a spoofer moved it": evidence(track=Track.still(48.001, 11.0), jump_m=200.0),
        "no SMS, as the way began too late": lambda e: replace(
            fact(receipts={7: 134 * S}, links={}, sms_path=[Span(104 * S)])(e), texted={}
        ),
        "an SMS in time": lambda e: replace(
            fact(receipts={7: 134 * S}, links={}, sms_path=[Span(0)])(e), texted={7: 132 * S}
        ),
        "the watchdog after a hang": lambda e: replace(fact(watchdogs=[5 * S], stuck=[4 * S])(e), hangs=1),
        "down as it hung, for nobody knows how long": lambda e: replace(
            fact(
                holds=[Span(89 * S, 90 * S)],
                stuck=[90 * S - 500_000],
                watchdogs=[101 * S],
                armed=[Span(1 * S, 90 * S - 500_000), Span(102 * S)],
                links={},
            )(e),
            hangs=1,
        ),
        "raised at once, as a start ended under the press": fact(
            holds=[Span(101 * S + 500_000, 107 * S)],
            hung_or_died=[101 * S + 600_000],
            armed=[Span(1 * S, 101 * S + 600_000), Span(102 * S + 900_000)],
            links={},
        ),
        "held while it was not armed": fact(holds=[*good().facts.holds, Span(0, S // 2)]),
        "no SMS by a modem that fails with one in it": fact(
            receipts={7: 140 * S}, sent={(7, "mqtt"): 103 * S}, sms_path=[Span(0, 110 * S)]
        ),
        "no SMS without a network": fact(receipts={7: 140 * S}, links={"sms": [Span(10 * S, 110 * S)]}),
        "no SMS from a bracelet that was reset": fact(
            receipts={7: 140 * S}, armed=[Span(1 * S, 110 * S), Span(111 * S)], links={"sms": [Span(10 * S, 110 * S)]}
        ),
        "a pulse cut short by a reset": fact(
            armed=[Span(1 * S, 300 * S + 700_000)], pulses=pulses(300, 1, 700), links={}
        ),
        "the strap raised it": fact(holds=[], by={7: "strap", 8: "time"}, strap_open=[Span(0, 10 * S), Span(102 * S)]),
        "the timer raised it": fact(holds=[], by={7: "check_in", 8: "time"}, check_in=[Span(10 * S, 103 * S)]),
        "forced to call it back, and it says so": lambda e: replace(
            fact(cancels={8: 123 * S}, holds=[*e.facts.holds, *tapped(119, 3), Span(119 * S + 500_000, 124 * S)])(e),
            documents=[document(7, 0, 103), document(8, 1, 123, flags={"duress": True, "doubtful": False})],
        ),
        "a tick that a write to flash made longer": fact(pulses=pulses(300, 1, 120)),
        "an Alert gave way to its own cancel": lambda e: replace(
            e,
            stored=[8],
            copies={("c0ffee01", 8): 1},
            documents=[document(8, 1, 123, msg_type="Cancel")],
            facts=replace(
                e.facts,
                cancels={8: 123 * S},
                dropped={7: 200 * S},
                receipts={8: 124 * S},
                links={},
                delivered=[(104 * S, 8)],
            ),
        ),
    }.items(),
)
def test_what_is_not_wrong(name, change):
    assert broken(change(good())) == set()


def test_facts_are_read_from_the_trace():
    def event(at_s, who, what, **detail):
        return TraceEvent(at_s * S, who, what, detail)

    read = facts.read(
        [
            event(0, "bracelet", "power on"),
            event(1, "firmware", "armed"),
            event(2, "button", "pressed"),
            event(5, "firmware", "raised", by="hold", counter=7, octets=120),
            event(6, "button", "released"),
            event(7, "haptic", "pulse", ms=700, strength=100),
            event(8, "firmware", "update", by="cancel", counter=8, octets=120),
            event(8, "firmware", "cancelled"),
            event(8, "firmware", "link", path="sms", up=1),
            event(8, "firmware", "published", counter=7, path="sms"),
            event(9, "firmware", "published", counter=7, path="sms"),
            event(9, "firmware", "receipt", counter=7, path="sms"),
            event(9, "firmware", "delivered", counter=7),
            event(9, "strap", "closed"),
            event(9, "firmware", "check_in", state="start"),
            event(10, "firmware", "check_in", state="remind"),
            event(10, "firmware", "restarted", task="mqtt", reason="TypeError"),
            event(11, "bracelet", "console", text="Traceback"),
            event(12, "bracelet", "power cut"),
            event(20, "bracelet", "power on"),
            event(21, "firmware", "armed"),
            event(30, "firmware", "raised", by="strap", counter=7, octets=120),
            event(30, "strap", "open"),
            event(35, "firmware", "check_in", state="missed"),
            event(40, "bracelet", "stuck"),
            event(80, "bracelet", "watchdog"),
        ]
    )
    assert read.holds == [Span(2 * S, 6 * S)]
    assert read.armed == [Span(1 * S, 12 * S), Span(21 * S, 40 * S)]
    assert read.updates == {8: 8 * S}
    assert read.by == {7: "strap", 8: "cancel"}
    assert read.strap_open == [Span(0, 9 * S), Span(30 * S)]
    assert read.check_in == [Span(9 * S, 35 * S)]
    assert read.cancels == {8: 8 * S}
    assert read.reused == [(30 * S, 7)]
    assert read.receipts == {7: 9 * S}
    assert read.sent == {(7, "sms"): 8 * S}
    assert read.links == {"sms": [Span(8 * S, 12 * S)]}
    assert read.delivered == [(9 * S, 7)]
    assert read.power_lost == [Span(12 * S, 20 * S)]
    assert [what for _, what in read.never] == ["@restarted task=mqtt reason=TypeError", "on the console: Traceback"]
    assert read.stuck == [40 * S]
    assert read.watchdogs == [80 * S]
    assert read.pulses == [Pulse(7 * S - 700_000, 7 * S, 700, 100)]


def test_a_start_that_died_as_a_part_was_started_is_one_whatever_ended_it():
    """The bracelet can't tell a reset in that moment from a driver that took the supply."""
    trace = [
        TraceEvent(1 * S, "firmware", "armed", {}),
        TraceEvent(2 * S, "bracelet", "reset", {"by": "pin"}),
        TraceEvent(3 * S, "firmware", "boot", {"cause": "power_on", "killed_by": "modem"}),
    ]
    assert facts.read(trace).hung_or_died == [2 * S]
    assert facts.read([*trace[:2], replace(trace[2], detail={"cause": "power_on"})]).hung_or_died == []


def test_a_release_too_short_to_be_seen_is_none():
    def held(gap_ms):
        again = TraceEvent(4 * S + gap_ms * 1000, "button", "pressed", {})
        return facts.read(
            [
                TraceEvent(S, "button", "pressed", {}),
                TraceEvent(4 * S, "button", "released", {}),
                again,
                TraceEvent(8 * S, "button", "released", {}),
            ]
        ).holds

    assert held(13) == [Span(1 * S, 8 * S)]
    assert held(30) == [Span(1 * S, 4 * S), Span(4 * S + 30_000, 8 * S)]


@pytest.mark.parametrize(("ended", "expected"), [(5.05, True), (4.0, False), (9.0, False)])
def test_a_hold_over_a_reset_counts_from_the_start_of_the_work_as_well(ended, expected):
    armed = [Span(-5 * S, S), Span(2 * S, round(ended * S))]
    assert _interrupted(Facts(holds=[Span(-10 * S, 20 * S)], armed=armed)) is expected


def after_a_drill(first_of_last):
    """An alarm (7) that was called back (8), a drill (9) with its cancel (10), and two Updates of the given alarms."""
    facts = Facts(
        raised={7: 103 * S, 9: 300 * S},
        updates={8: 123 * S, 10: 310 * S, 11: 400 * S, 12: 460 * S},
        by={7: "hold", 8: "cancel", 9: "drill", 10: "cancel", 11: "time", 12: "time"},
        cancels={8: 123 * S, 10: 310 * S},
        holds=[Span(100 * S, 104 * S), Span(119 * S, 124 * S), Span(306 * S, 311 * S)],
    )
    last = [document(n, n - first, at) for n, first, at in ((11, first_of_last[0], 400), (12, first_of_last[1], 460))]
    documents = [
        document(7, 0, 103),
        document(8, 1, 123, msg_type="Cancel"),
        document(9, 0, 300, status="Exercise"),
        document(10, 1, 310, status="Exercise", msg_type="Cancel"),
        *last,
    ]
    return replace(good(), facts=facts, documents=documents)


@pytest.mark.parametrize(("first_of_last", "wrong"), [((7, 7), False), ((7, 9), True), ((9, 9), False), ((8, 8), True)])
def test_quiet_updates_go_on_behind_a_drill(first_of_last, wrong):
    assert ("sequence" in broken(after_a_drill(first_of_last))) is wrong


def test_an_alarm_that_nobody_called_back_is_not_gone_back_to():
    life = after_a_drill((7, 7))
    assert "sequence" in broken(replace(life, facts=replace(life.facts, cancels={10: 310 * S})))

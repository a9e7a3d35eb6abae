"""The drill by SMS: what runs on the bracelet, in a life of its own; and what the workshop makes of it."""

from __future__ import annotations

import json

import pytest

from hwsim.rig import Rig
from hwsim.workshop import build
from hwsim.workshop.smsdrill_host import Back, Text
from hwsim.workshop.trouble import Trouble
from hwsim.world.bracelet import FIRMWARE

# In place of mpremote, which starts it and then waits for another command.
STARTS = """
import gc, os, time
gc.threshold(4096)
try:
    os.remove("/drill")
except OSError:
    from tocsin import app
    gc.collect()
    gc.threshold(49152)
    app.main()
import smsdrill
smsdrill.main(90)
while True:
    time.sleep_ms(1000)
"""


@pytest.fixture
def at_the_bench(world, tmp_path):
    stage = tmp_path / "firmware"
    stage.mkdir()
    (stage / "tocsin").symlink_to(FIRMWARE / "tocsin")
    (stage / "smsdrill.py").symlink_to(FIRMWARE.parent / "hwsim" / "workshop" / f"{build.SMSDRILL}.py")
    (stage / "main.py").write_text(STARTS)
    bench = Rig(world, tmp_path, firmware=stage)
    bench.provision()
    yield bench
    bench.close()


def begin(bench):
    bench.bracelet.power_cut()
    bench.bracelet.files.put("/drill", b"")
    bench.bracelet.boot()


def result(world, within=300):
    return world.expect("firmware", "test", within=within, part="sms").detail["result"]


def marks(bench):
    """Of parts that would be blamed for a reset: firmware/tocsin/boots.py and risks.py."""
    return int.from_bytes(bytes.fromhex(bench.bracelet.rtc.memory)[11:13], "little") & 0x1FF


def test_it_goes_by_sms_only_and_leaves_nothing_behind(at_the_bench, world):
    bench = at_the_bench
    begin(bench)
    start = world.now_us
    assert result(world) == "ok"
    (drill,) = bench.documents().values()
    assert drill["flags"]["drill"]
    assert {arrival.path for arrival in bench.arrivals} == {"sms"}
    assert [event.detail["path"] for event in world.trace if event.what == "receipt"] == ["sms"]
    assert not [
        event
        for event in world.trace
        if event.what == "link" and event.detail["path"] in ("net", "mqtt") and event.detail["up"]
    ]
    assert bench.bracelet.haptic.felt_since(start) == []
    world.expect("bracelet", "watchdog", within=45)  # the cable is out: nobody resets it
    back = world.now_us
    world.expect("firmware", "link", within=30, path="mqtt", up=1)
    world.run(60)
    calm = [event.what for event in world.trace if event.t_us > back and event.who == bench.bracelet.firmware_name]
    assert not {"raised", "update", "published", "missing", "crashed"} & set(calm)
    bench.press()
    world.expect("firmware", "delivered", within=10)


def test_what_may_be_real_goes_first(at_the_bench, world):
    bench = at_the_bench
    bench.answers = False
    begin(bench)
    world.expect("firmware", "sms", within=60, ok=1)
    world.call(bench.bracelet.button.press)
    assert result(world) == "pressed"
    world.expect("firmware", "armed", within=60)  # by the watchdog
    world.expect("firmware", "raised", within=10, by="hold")  # it is still held
    world.call(bench.bracelet.button.release)


def test_without_a_receipt_it_is_over_and_the_next_one_is_another(at_the_bench, world):
    bench = at_the_bench
    bench.answers = False
    begin(bench)
    assert result(world) == "late"
    world.expect("bracelet", "watchdog", within=45)
    back = world.now_us
    world.run(60)
    calm = [event.what for event in world.trace if event.t_us > back and event.who == bench.bracelet.firmware_name]
    assert "armed" in calm and not {"raised", "update", "published"} & set(calm)
    bench.answers = True
    begin(bench)
    world.expect("sms centre", "accepted", within=60)
    begin(bench)  # the supply was lost in the middle: the receipt that comes is of a drill that is over
    assert result(world) == "ok"
    drills = [alarm.counter for alarm in bench.alarms()]
    alerts = [counter for counter, document in bench.documents().items() if document["msg_type"] == "Alert"]
    assert alerts == drills and len(set(drills)) == 3
    assert [story.receipt_us is not None for story in bench.alarms()] == [False, True, True]


@pytest.mark.parametrize("reason", ["denied", "network"])
def test_no_network(at_the_bench, world, reason):
    bench = at_the_bench
    bench.bracelet.modem.denied = reason == "denied"
    bench.bracelet.modem.service = reason == "denied"
    begin(bench)
    assert result(world) == reason
    assert bench.alarms() == []


def test_a_strap_that_opens_ends_it_and_its_alarm_goes_on(at_the_bench, world):
    bench = at_the_bench
    bench.answers = False
    begin(bench)
    world.expect("firmware", "sms", within=60, ok=1)
    world.call(bench.bracelet.strap.close)
    world.run(6)
    world.call(bench.bracelet.strap.open)
    real = world.expect("firmware", "raised", within=10, by="strap").detail["counter"]
    assert result(world) == "abandoned"
    bench.answers = True
    world.expect("firmware", "delivered", within=90, counter=real)
    assert not bench.flags()[real]["drill"]


def test_an_alarm_that_is_no_drill_is_left_alone(at_the_bench, world):
    bench = at_the_bench
    bench.answers = False
    bench.boot(5)
    bench.press()
    begin(bench)
    assert result(world) == "busy"
    assert len(bench.alarms()) == 1
    bench.answers = True
    world.expect("bracelet", "watchdog", within=45)
    assert not marks(bench)
    assert "killed_by" not in world.expect("firmware", "boot", within=5).detail
    world.expect("firmware", "delivered", within=120, counter=bench.alarms()[0].counter)


def test_a_bracelet_without_the_number_or_an_identity_says_so(at_the_bench, world):
    bench = at_the_bench
    settings = json.loads(bench.bracelet.files.get("/settings.json"))
    del settings["sms"]
    for path in ("/settings.json", "/settings.json.2"):
        bench.bracelet.files.put(path, json.dumps(settings).encode())
    begin(bench)
    assert result(world) == "number"
    bench.bracelet.power_cut()
    for path in ("/identity", "/identity.2"):
        bench.bracelet.files.put(path, b"")
    begin(bench)
    assert result(world) == "blank"


# -- what the workshop makes of what it hears


def heard(*lines):
    life = Text()
    for line in lines:
        life.hear(line)
    return life


RAISED = ("@armed", "@link path=sms up=1", "@raised by=trial counter=33 octets=123", "@published counter=33 path=sms")
TAKEN = (*RAISED, "@sms counter=33 ok=1")
RECEIPT = ("@receipt counter=33 path=sms", "@delivered counter=33", "@test part=sms result=ok")


def test_a_receipt_by_sms_is_good():
    life = heard(*TAKEN, *RECEIPT)
    life.judge(180)
    assert (life.raised, life.taken, life.path) == (33, 1, "sms")


def test_so_is_one_of_an_update_that_was_quicker():
    life = heard(
        *TAKEN,
        "@receipt counter=16 path=sms",
        "@update by=time counter=34 octets=123",
        "@published counter=34 path=sms",
        "@sms counter=34 ok=1",
        "@receipt counter=34 path=sms",
        "@delivered counter=34",
        RECEIPT[2],
    )
    life.judge(180)
    assert (life.raised, life.path, life.delivered) == (33, "sms", True)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((*TAKEN, "@test part=sms result=late"), "the network took the message .* within 180 s no receipt"),
        ((*RAISED, "@sms counter=33 ok=0", "@test part=sms result=late"), "the network refused the message .* credit"),
        ((*RAISED, "@test part=sms result=late"), "could not hand over the message within 180 s"),
        (("@armed", "@sim state=locked", "@test part=sms result=network"), "no network within 3 min.*SIM is locked"),
        (("@armed", "@test part=sms result=denied"), "refuses this SIM"),
        (("@armed", "@test part=sms result=busy"), "an alarm that is no drill"),
        ((*TAKEN, "@test part=sms result=pressed"), "the button was pressed"),
        ((*TAKEN, "@test part=sms result=abandoned"), "an error ended a part"),
        (("@test part=sms result=blank",), "lost its identity"),
        (TAKEN, "ended without a word"),
        ((*TAKEN, "@receipt counter=33 path=mqtt", *RECEIPT[1:]), "answered, but not by SMS"),
        ((*TAKEN, "@receipt counter=16 path=sms", "@delivered counter=16", RECEIPT[2]), "answered, but not by SMS"),
    ],
)
def test_anything_else_is_told_with_what_to_do(lines, why):
    with pytest.raises(Trouble, match=f"^drill by SMS: .*{why}"):
        heard(*lines).judge(180)


def test_a_real_alarm_in_the_middle_is_no_drill():
    for what in ("hold", "strap", "check_in"):
        with pytest.raises(Trouble, match="REAL alarm"):
            heard(*TAKEN, f"@raised by={what} counter=34 octets=123")


def test_afterwards_it_is_calm():
    back = Back()
    for line in ("@armed", "@link path=mqtt up=1", "@heartbeat counter=3"):
        back.hear(line)
    assert not back.restless
    back.hear("@published counter=33 path=mqtt")
    assert back.restless

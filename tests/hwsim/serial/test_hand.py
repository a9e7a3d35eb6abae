"""What a hand does at the bench, and what it notices: the socket of `hwsim usb --control`."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest
import serial
from click.testing import CliRunner

from hwsim.cli import main
from hwsim.scenario.actions import ACTIONS
from hwsim.serial import hand
from hwsim.serial.hand import Hand, HandError

from .conftest import PATIENCE, offer


@pytest.fixture
def control(usb, tmp_path):
    path = tmp_path / "hand"
    usb.world.call(lambda: Hand(usb.world, usb, path))
    return path


def command(control, *words, status=0):
    done = CliRunner().invoke(main, ["hand", str(control), *words])
    assert done.exit_code == status, done.output
    return done.stdout if status == 0 else done.stderr


def test_a_press_is_felt_and_the_firmware_says_so(usb, control):
    usb.world.call(usb.power_cut)
    usb.files.put("/offer.json", json.dumps(offer(usb.world)).encode())
    hand.do(control, "switch_on")
    hand.wait(control, "firmware", "armed", PATIENCE)
    command(control, "press", "3.3")
    assert hand.wait(control, "wearer", "felt", PATIENCE, pattern="ticks")["who"] == "wearer"
    assert hand.wait(control, "firmware", "raised", PATIENCE, by="hold")["counter"] == 0
    assert json.loads(command(control, "wait", "wearer", "felt", "pattern=raised"))["pattern"] == "raised"


def test_whoever_interrupts_a_start_at_the_cable_makes_no_part_a_suspect(usb, line):
    usb.world.call(usb.power_cut)
    usb.files.put("/offer.json", json.dumps(offer(usb.world)).encode())
    usb.world.call(usb.boot)
    usb.world.expect("firmware", "armed", within=PATIENCE)
    usb.world.expect("firmware", "modem", within=PATIENCE, ready=1)  # parts are marked by now
    line.send(b"\x03")
    line.until(b"KeyboardInterrupt")
    line.until(b">>> ")
    line.send(b"import machine; machine.reset()\r")
    assert "killed_by" not in usb.world.expect("firmware", "boot", within=PATIENCE).detail
    usb.world.expect("firmware", "armed", within=PATIENCE)
    kept = bytes.fromhex(usb.rtc.memory)  # firmware/tocsin/boots.py and risks.py
    assert not kept[10] & 8 and not any(kept[13:18])  # nothing begins more slowly for it, or is left out


def test_strap_battery_sim_and_sky(usb, control):
    for name, more in (("strap_close", {}), ("battery", {"percent": 30}), ("sim_out", {}), ("gnss_lost", {})):
        hand.do(control, name, **more)
    assert (usb.strap.closed, usb.battery.percent, usb.modem._sim, usb.gnss.sky) == (True, 30, False, False)
    state = json.loads(command(control, "state"))
    assert (state["strap"], state["battery"], state["port"]) == (True, 30, usb.port.path)


def test_switched_on_before_a_lost_supply_would_have_come_back(usb, control):
    hand.do(control, "power_cut", restart_s=0.5)
    hand.do(control, "switch_on")
    hand.do(control, "switch_on")
    hand.wait(control, "firmware", "blank", PATIENCE)
    usb.world.run(0.6)
    assert usb.state in ("waiting", "running")


def test_what_happens_is_told_as_it_happens(usb, control):
    with hand.Line(control) as line:
        line.ask("watch")
        hand.do(control, "strap_close")
        events = [line.next(PATIENCE)["event"] for _ in range(2)]
    assert [(event["who"], event["what"]) for event in events] == [("scene", "strap_close"), ("strap", "closed")]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["dance"], "nothing that a hand can do: dance"),
        (["revoke"], "nothing that a hand can do: revoke"),
        (["press", "soon"], "press: for_s is how long the button is held, not soon"),
        (["press", "99"], "for_s is 0.02 to 60 s"),
        (["press", "1", "2"], "press takes no more than 1 values"),
        (["strap_close", "x=1"], 'has no argument "x"'),
        (["wait", "firmware", "raised", "--within", "0.1"], "firmware raised: it did not happen"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(control, words, why):
    said = command(control, *words, status=1)
    assert why in said
    assert "Traceback" not in said


def test_noise_gets_an_answer_or_no_more_of_it(control):
    for noise in (b"\xff\n", b"[1]\n", b"5\n", b'{"do": []}\n', b'{"do": "wait", "within": "x"}\n', b"{}\n"):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(control))
            peer.sendall(noise)
            assert json.loads(peer.makefile().readline())["ok"] is False
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(control))
        peer.settimeout(PATIENCE)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            peer.sendall(b"x" * 9000)
            assert peer.recv(100) == b""
    assert hand.do(control, "state")["ok"]


def test_nobody_there(tmp_path):
    with pytest.raises(HandError, match="no hwsim usb --control listens there"):
        hand.do(tmp_path / "none", "press")
    assert "no hwsim usb" in command(tmp_path / "none", "press", status=1)
    said = command(tmp_path / "none", "--list")
    assert "strap_cut" in said
    assert "unplug " in said


def test_every_listed_action_is_one_of_a_scenario_or_of_the_bench():
    assert set(hand.known()) == {name for name, a in ACTIONS.items() if a.family in hand.ABOUT} | set(hand.BENCH)
    assert not set(hand.BENCH) & set(ACTIONS)


def test_the_cable(usb, control, mpremote):
    before = usb.port.path
    open_port = serial.Serial(before, 115200, timeout=PATIENCE)
    usb.world.expect("usb", "opened", within=PATIENCE)
    hand.do(control, "unplug")
    with pytest.raises(serial.SerialException):
        open_port.read(1)
    open_port.close()
    usb.world.expect("usb", "unplugged", within=PATIENCE)
    assert hand.do(control, "state")["state"]["port"] == ""
    assert usb.state in ("waiting", "running")  # it lives on its cell
    hand.do(control, "unplug")
    hand.do(control, "plug")
    assert hand.do(control, "state")["state"]["port"] == usb.port.path
    assert mpremote("eval", "6 * 7") == "42\n"


def test_a_socket_that_nobody_hears_is_in_nobodys_way(usb, control, tmp_path):
    with pytest.raises(OSError, match="is in use by another hwsim usb"):
        usb.world.call(lambda: Hand(usb.world, usb, control))
    left = tmp_path / "left"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(left))
    usb.world.call(lambda: Hand(usb.world, usb, left))
    assert json.loads(command(left, "state"))["port"] == usb.port.path
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="no socket: name another one"):
        usb.world.call(lambda: Hand(usb.world, usb, tmp_path / "file"))

"""Updates by cable: what the bracelet says, judged; and one, with the stock tools, on a board that is in use."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from nacl.signing import SigningKey

from hwsim import bundle, mpy, toolchain
from hwsim.board import load
from hwsim.powercut import release
from hwsim.serial import image
from hwsim.serial.spiflash import SpiFlash
from hwsim.serial.usb import UsbBracelet
from hwsim.workshop import rehearse, renew
from hwsim.workshop.__main__ import main
from hwsim.workshop.renew import Course
from hwsim.workshop.trouble import Trouble
from hwsim.world import World, link
from hwsim.world.bracelet import FIRMWARE

pytestmark = pytest.mark.xdist_group("cable")
KEY, OTHER = release.KEY, SigningKey(bytes(32))
PUBLIC = bytes(KEY.verify_key)
ROM = next(part.offset for part in image.PARTITIONS if part.name == b"romfs")


def heard(*lines: str) -> Course:
    course = Course(2)
    for line in lines:
        course.hear(line)
    return course


INSTALLED, TRIAL = "@firmware state=installed version=2", "@firmware state=trial version=2"


def test_a_course_to_its_end():
    course = heard("@boot cause=reset", "@armed", "@link path=net up=1")
    assert (course.installed, course.kept, course.waits) == (False, False, False)
    for line in (INSTALLED, "@boot cause=reset", TRIAL, "@raised by=trial counter=3 octets=99", "@delivered counter=3"):
        course.hear(line)
    assert (course.installed, course.kept, course.waits) == (True, False, False)
    course.hear("@firmware state=kept version=2")
    assert course.kept


def test_an_alarm_goes_first():
    assert heard("@armed", "@published counter=4 path=mqtt").waits
    assert heard("@update by=time counter=9 octets=90").waits
    assert not heard("@update path=mqtt news=1", "@heartbeat counter=3").waits
    assert not heard("@published counter=4 path=mqtt", INSTALLED, "@published counter=5 path=mqtt").waits


def test_another_update_that_it_was_on_is_not_this_one():
    course = heard("@firmware state=trial version=7", "@firmware state=given_up", "@firmware state=kept version=7")
    assert (course.installed, course.kept) == (False, False)
    assert heard(TRIAL).installed  # the run before was interrupted


def test_given_up_says_what_may_be_the_reason():
    with pytest.raises(Trouble, match=r"one is back.*failed was mqtt: OSError:111.*task core ended \(ValueError"):
        heard(
            INSTALLED,
            TRIAL,
            "@failed path=mqtt reason=OSError:111",
            "@restarted task=core reason=ValueError",
            "@firmware state=given_up",
        )


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("@refused what=update reason=signature", r"\(signature\): the bundle is not signed by the maker"),
        ("@refused what=update reason=key", "no maker's key, so it takes no update: make it anew with --from-start"),
        ("@refused what=update reason=version", "runs this version or a higher one already"),
        ("@refused what=update reason=processor", "make one for it"),
        ("@refused what=update reason=OSError:28", "no room"),
        ("@refused what=update reason=OSError:5", r"\(OSError:5\): nothing was changed"),
        ("@blank", "has no keys yet"),
        ("@crashed reason=ImportError", "can't start"),
        ("@boot cause=hard mode=safe", "leave it alone for an hour"),
    ],
)
def test_what_can_not_go_on(line, why):
    with pytest.raises(Trouble, match=why):
        heard(line)
    heard("@refused what=down reason=tag")  # of others it lives on


# -- before a port is touched


def wrong(file, key, board="devkit") -> str:
    with pytest.raises(Trouble) as caught:
        renew.read(file, key, load(board))
    return str(caught.value)


def test_a_bundle_is_read_before_a_port_is_touched(tmp_path):
    good, riscv, file = tmp_path / "good", tmp_path / "riscv", tmp_path / "file"
    good.write_bytes(bundle.sign(2, bundle.processor("xtensawin"), b"image", KEY))
    riscv.write_bytes(bundle.sign(2, bundle.processor("rv32imc"), b"image", KEY))
    file.write_bytes(b"x")
    for key in (PUBLIC, None):
        assert renew.read(good, key, load("walter"))[1] == (2, "xtensawin", b"image")
    assert "its signature is not that of this key; nothing was touched" in wrong(good, bytes(OTHER.verify_key))
    assert "is no bundle" in wrong(file, None)
    assert "can't be read" in wrong(tmp_path / "none", PUBLIC)
    assert "is for rv32imc, and devkit has an esp32" in wrong(riscv, PUBLIC)
    file.write_bytes(good.read_bytes()[:-1])
    assert "is not whole" in wrong(file, None)


def test_a_dry_run_and_misuse(tmp_path):
    file, key = tmp_path / "good", tmp_path / "maker.pub"
    file.write_bytes(bundle.sign(2, bundle.processor("xtensawin"), b"image", KEY))
    key.write_bytes(PUBLIC)
    words = ["--board", "devkit", "--update", str(file)]
    done = CliRunner().invoke(main, [*words, "--dry-run", "--update-key", str(key)])
    assert done.exit_code == 0, done.output
    assert "version 2, for xtensawin, signed with" in done.output and " 3  trial " in done.output
    done = CliRunner().invoke(main, [*words, "--dry-run"])
    assert "signature not checked here" in done.output
    key.write_bytes(bytes(OTHER.verify_key))
    assert CliRunner().invoke(main, [*words, "--dry-run", "--update-key", str(key)]).exit_code == 1
    assert CliRunner().invoke(main, [*words, "--from-start"]).exit_code == 2


@pytest.fixture
def default_signal():
    """Makes a signal act as usual in processes of this test: under nohup they would inherit that it is ignored."""
    before = {}
    yield lambda number: before.setdefault(number, signal.signal(number, signal.SIG_DFL))
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_whoever_ends_it_gets_the_table(tmp_path, number, default_signal):
    default_signal(number)
    (tmp_path / "good").write_bytes(bundle.sign(2, bundle.processor("xtensawin"), b"image", KEY))
    words = ["--board", "devkit", "--update", str(tmp_path / "good"), "--batch", "--port", f"{tmp_path}/ttyUSB*"]
    with subprocess.Popen(
        [sys.executable, "-m", "hwsim.workshop", *words, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            while "plug in the next board" not in (line := process.stdout.readline()):
                assert line, process.stderr.read()
            process.send_signal(number)
            assert json.loads(process.stdout.readline())["table"] == []
            assert process.stderr.read() == ""
        finally:
            process.kill()
    assert process.returncode == 1


# -- at a port


def in_use(world: World, folder, relay: rehearse.Relay) -> UsbBracelet:
    """A bracelet as the workshop leaves it, program in a ROMFS, that its relay knows."""
    SpiFlash(folder / "flash", load("devkit").family, 4).program(ROM, link.rom(FIRMWARE).read_bytes())
    bracelet = UsbBracelet(world, folder / "flash", board="devkit", link=folder / "ttyUSB0")
    bracelet.wifi.ssid, bracelet.wifi.key = rehearse.SSID, rehearse.WIFI_KEY
    bracelet.gnss.cold_start_s = 1.0
    for name, content in {
        "/board.json": bracelet.board.to_json().encode(),
        "/update.key": PUBLIC,
        "/main.py": (FIRMWARE / "main.py").read_bytes(),
    }.items():
        bracelet.files.put(name, content)
    offer, answer = folder / "offer.json", folder / "answer.json"
    network = "--wifi", f"{rehearse.SSID}:{rehearse.WIFI_KEY}"
    relay.command("bracelet", "add", "x", "--offer", str(offer), "--data", str(relay.folder), *network)
    bracelet.files.put("/offer.json", offer.read_bytes())
    world.net.route(rehearse.NAME, relay.port, rehearse.HOST, relay.port)
    world.start_thread()
    world.call(bracelet.boot)
    world.expect("firmware", "provisioned", within=90)
    answer.write_bytes(world.call(lambda: bracelet.files.get("/answer.json")))
    relay.command("bracelet", "add", "--answer", str(answer), "--data", str(relay.folder))
    return bracelet


def lives(world: World) -> bool:
    """Has its firmware started since the last program was at its prompt?"""
    course = [event.what for event in world.trace if event.what in ("soft reset", "armed")]
    return course[-1] == "armed"


@pytest.mark.long
@pytest.mark.timeout(600)  # a whole life in real time, on a machine that has much else to do
def test_a_bracelet_in_use_is_updated_by_cable(tmp_path):
    march = toolchain.mpy_march(tuple(toolchain.micropython()))
    (tmp_path / "maker.pub").write_bytes(PUBLIC)
    with rehearse.box(tmp_path) as relay, World(start=int(time.time()), realtime=True) as world:
        bracelet = in_use(world, tmp_path, relay)
        identity = world.call(lambda: bracelet.files.get("/identity"))

        def update(octets: bytes, key: SigningKey, *more: str) -> tuple[int, list[dict[str, object]]]:
            (tmp_path / "bundle").write_bytes(octets)
            (tmp_path / "maker.pub").write_bytes(bytes(key.verify_key))
            words = [
                "--port",
                str(tmp_path / "ttyUSB0"),
                "--update",
                str(tmp_path / "bundle"),
                "--board",
                "devkit",
                "--update-key",
                str(tmp_path / "maker.pub"),
                "--state",
                str(tmp_path / "state"),
            ]
            done = CliRunner().invoke(main, [*words, "--json", *more])
            return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]

        other = bundle.sign(2, bundle.processor("xtensawin"), mpy.rom(FIRMWARE, "xtensawin").read_bytes(), KEY)
        status, said = update(other, KEY)
        assert status == 1 and "the bundle is for xtensawin, and MicroPython at" in str(said[-1]["trouble"])
        assert world.run_until(lambda: lives(world), 90)  # it is not left at its prompt, until the watchdog ends
        for _ in range(4):  # LIMIT in boots.py: that it was looked at so often is no reason for safe mode
            world.call(bracelet.reset)
            world.expect("firmware", "armed", within=90)
        status, said = update(bundle.sign(2, bundle.processor(march), b"forged", OTHER), OTHER)
        assert status == 1 and "refuses the update (signature)" in str(said[-1]["trouble"])
        status, said = update(release.bundle(FIRMWARE), KEY, "--batch", "--count", "1")
        assert status == 0, said
        assert [row["good"] for told in said for row in told.get("table", ())] == [True]
        assert [told["step"] for told in said if told.get("verdict") == "good"] == list(renew.STEPS)
        world.expect("firmware", "armed", within=90)
        assert world.call(lambda: bracelet.files.get("/identity")) == identity
        assert not world.call(lambda: {"update.new", "update.bin"} & set(bracelet.files.names()))
        world.stop()

"""gammu, a program that knows hundreds of modems and nothing of ours, takes the simulated one for one of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hwsim import toolchain

pytestmark = pytest.mark.world(realtime=True)
OWN, OTHER = "+10000000002", "+10000000001"

Gammu = Callable[..., str]


@pytest.fixture
def modem(world):
    world.sms.delay_us = 50_000
    modem = world.relay_modem(OWN)
    world.start_thread()
    yield modem
    world.stop()


@pytest.fixture
def phone(world):
    return world.sms.phone(OTHER)


@pytest.fixture
def gammu(phone, modem, tmp_path: Path) -> Gammu:
    """Run one of its commands to the end."""
    settings = tmp_path / "gammurc"
    settings.write_text(f"[gammu]\nport = {modem.port}\nconnection = at115200\nsynchronizetime = no\n")

    def run(*arguments: str, status: int = 0) -> str:
        command = [*toolchain.find_gammu().argv, "-c", str(settings), *arguments]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return run


def septets(packed: bytes, count: int) -> str:
    """7-bit text unpacked: 3GPP TS 23.038, 6.1.2.1. For letters the default alphabet is that of ASCII."""
    bits = int.from_bytes(packed, "little")
    return "".join(chr(bits >> 7 * place & 127) for place in range(count))


def test_it_knows_whom_it_speaks_to(gammu: Gammu) -> None:
    said = gammu("identify")
    assert "Manufacturer         : hwsim\n" in said
    assert "IMEI                 : 004999010640000\n" in said
    assert "SIM IMSI             : 001010000000000\n" in said


def test_it_sees_the_network_come_and_go(gammu: Gammu, world, modem) -> None:
    said = gammu("networkinfo")
    assert "Network state        : home network\n" in said
    assert "Network              : 001 01" in said
    assert "LAC 1A2B, CID 0001C3D4" in said
    world.call(lambda: setattr(modem.modem, "service", False))
    assert "home network" not in gammu("networkinfo")


def test_text_from_it_to_a_phone(gammu: Gammu, world, phone) -> None:
    assert "OK, message reference=1" in gammu("sendsms", "TEXT", OTHER, "-text", "the relay has it")
    assert world.run_until(lambda: phone.received, 30)
    (sms,) = phone.received
    assert (sms.sender, sms.coding & 0x0C, septets(sms.data, sms.length)) == (OWN, 0, "the relay has it")


def test_octets_to_it_and_deleted(gammu: Gammu, world, modem, phone) -> None:
    alarm = bytes(range(1, 141))  # without zeros: gammu prints only as far as the first
    world.call(lambda: phone.send(OWN, alarm))
    world.call(lambda: phone.send(OWN, b"\xff\xfe"))
    assert world.run_until(lambda: len(modem.modem.storage) == 2, 30)
    said = gammu("getallsms")
    assert said.count(f'Remote number        : "{OTHER}"') == 2
    assert said.count("Coding               : 8-bit") == 2
    assert f"(hex: {alarm.hex().upper()})" in said
    assert "2 SMS parts in 2 SMS sequences" in said
    gammu("deleteallsms", "1")
    assert not modem.modem.storage
    assert "0 SMS parts in 0 SMS sequences" in gammu("getallsms")


def test_without_a_network_it_says_so(gammu: Gammu, world, modem, phone) -> None:
    world.call(lambda: setattr(modem.modem, "service", False))
    done = gammu("sendsms", "TEXT", OTHER, "-text", "lost", status=127)
    assert "error 331" in done  # 3GPP TS 27.005, 3.2.5: no network service
    assert not phone.received


def test_a_named_gammu_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "gammu"
    program.write_text("#!/bin/sh\necho '[Gammu version 1.40.0 built ...]'\n")
    program.chmod(0o755)
    monkeypatch.setenv("HWSIM_GAMMU", str(program))
    find = toolchain.find_gammu.__wrapped__  # anew, whatever other tests have found
    assert find() == toolchain.Tool((str(program),), "1.40.0", "HWSIM_GAMMU")
    program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(toolchain.ToolchainError, match="must name a working gammu"):
        find()

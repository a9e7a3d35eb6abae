"""Real time: the same firmware and models against real sockets, a real serial port, and the wall clock."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time

import pytest
import serial

from hwsim.world import SimulationError, Track, World

from .conftest import HERE
from .test_modem import submit

pytestmark = pytest.mark.world(realtime=True)
PHONE, RELAY = "+10000000001", "+10000000002"


class EchoServer:
    """A real TLS server in this process, on the loopback."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections: list[ssl.SSLSocket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            try:
                connection = self._context.wrap_socket(raw, server_side=True)
                self.connections.append(connection)
                while data := connection.recv(4096):
                    connection.sendall(b"re: " + data)
            except OSError:
                pass

    def close(self) -> None:
        self._listener.close()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def server(world):
    server = EchoServer(world.authority.server("echo.test"))
    yield server
    server.close()


def network_bracelet(world, utc=True):
    bracelet = world.bracelet(firmware=HERE / "fw_net")
    config = {"host": "echo.test", "port": 8883, "tls": True, "utc": [2026, 1, 1, 0, 0, 0, 0, 0]}
    bracelet.files.put("/net.json", json.dumps(config).encode())
    bracelet.files.put("/ca.der", world.authority.der)
    return bracelet


def test_tls_to_a_real_server(world, server):
    world.net.route("echo.test", 8883, "127.0.0.1", server.port)
    network_bracelet(world).boot()
    world.expect("firmware", "answer", within=30, text="re:_hello_1")
    world.net.cut()
    world.expect("firmware", "failed", within=30)


def test_a_real_server_that_is_not_there(world):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    world.net.route("echo.test", 8883, "127.0.0.1", port)
    network_bracelet(world).boot()
    world.expect("firmware", "failed", within=30)


def test_a_real_server_that_goes_away(world, server):
    world.net.route("echo.test", 8883, "127.0.0.1", server.port)
    network_bracelet(world).boot()
    world.expect("firmware", "answer", within=30)
    server.connections[0].shutdown(socket.SHUT_RDWR)
    world.expect("network", "closed", within=30)
    world.run(0.5)


def press(world, bracelet):
    """Hold the button until the firmware has seen it, however busy the machine is."""
    world.call(bracelet.button.press)
    pressed = world.expect("firmware", "pressed", within=30)
    world.call(bracelet.button.release)
    return pressed


def test_the_clock_follows_the_wall(world, basic):
    started = time.monotonic()
    bracelet = world.bracelet(firmware=basic, track=Track.still(1, 2))
    bracelet.boot()
    world.expect("firmware", "boot", within=30)
    world.run(1)
    pressed = press(world, bracelet)
    assert abs(pressed.t_us / 1e6 - pressed.detail["ticks"] / 1000 - 0.3) < 2
    world.expect("haptic", "pulse", within=30, ms=lambda ms: 70 <= ms < 3000)
    assert abs((time.monotonic() - started) - world.now_us / 1e6) < 2


def test_a_thread_runs_the_world(world, basic):
    bracelet = world.bracelet(firmware=basic)
    world.start_thread()
    try:
        world.call(bracelet.boot)
        world.expect("firmware", "boot", within=30)
        press(world, bracelet)
        assert world.run_until(lambda: bracelet.state == "waiting", 30)  # between two events it may be running
        with pytest.raises(ZeroDivisionError):
            world.call(lambda: 1 // 0)
        with pytest.raises(RuntimeError, match="own thread"):
            world.call(lambda: world.run(1))
    finally:
        world.stop()
    world.start_thread()  # another thread, the same interpreter
    press(world, bracelet)
    world.call(bracelet.power_cut)
    world.stop()


def test_a_descriptor_that_another_one_let_go_of_is_left_alone(world):
    pipes = [os.pipe() for _ in range(2)]
    called = []

    def readable(mine, other):
        called.append(mine)
        world.unwatch(pipes[other][0])
        world.unwatch(pipes[mine][0])

    for mine in range(2):
        world.watch(pipes[mine][0], lambda mine=mine: readable(mine, 1 - mine))
        os.write(pipes[mine][1], b"!")
    world.run(0.05)
    assert len(called) == 1
    for fd in (*pipes[0], *pipes[1]):
        os.close(fd)


def test_what_kills_the_thread_is_raised(world, firmware):
    main = firmware("import time, uctypes\ntime.sleep_ms(100)\nuctypes.bytearray_at(8, 8)[0] = 1")
    bracelet = world.bracelet(firmware=main)
    world.start_thread()
    world.call(bracelet.boot)
    with pytest.raises(RuntimeError, match="has ended"):
        world.run_until(lambda: False, 60)
    with pytest.raises(SimulationError, match="died"):
        world.stop()


def test_a_hung_firmware_is_reset_by_its_watchdog(world, firmware):
    main = firmware(
        """
        import machine
        print(f"@up cause={machine.reset_cause()}")
        if machine.reset_cause() == 1:
            machine.WDT(timeout=500)
            while True:
                pass
        """
    )
    world.bracelet(firmware=main).boot()
    world.expect("firmware", "up", within=30, cause=1)
    world.expect("bracelet", "watchdog", within=30)
    world.expect("firmware", "up", within=30, cause=3)


def test_keys_made_in_real_time_are_real(firmware, tmp_path):
    def drawn():
        with World(realtime=True) as world:
            world.bracelet(firmware=main).boot()
            return world.expect("firmware", "random", within=30).detail["hex"]

    main = firmware("import os, binascii\nprint('@random hex=x' + binascii.hexlify(os.urandom(16)).decode())")
    assert drawn() != drawn()


def read_until(port: serial.Serial, end: bytes) -> bytes:
    answer = b""
    deadline = time.monotonic() + 30
    while not answer.endswith(end):
        answer += port.read(1)
        assert time.monotonic() < deadline, answer
    return answer


def test_the_relays_modem_on_a_serial_port(world):
    modem = world.relay_modem(RELAY)
    phone = world.sms.phone(PHONE)
    world.sms.delay_us = 50_000
    world.start_thread()
    try:
        for _ in range(2):  # the relay may go and come back
            with serial.Serial(modem.port, 115200, timeout=0.5) as port:
                port.write(b"ATE0\r")
                read_until(port, b"OK\r\n")
                port.write(b"AT+CNMI=2,1,0,0,0\r")
                read_until(port, b"OK\r\n")
                world.call(lambda: phone.send(RELAY, b"alarm"))
                assert read_until(port, b'"SM",1\r\n') == b'\r\n+CMTI: "SM",1\r\n'
                port.write(b"AT+CMGR=1\r")
                assert b"05616C61726D" in read_until(port, b"OK\r\n")
                port.write(b"AT+CMGD=1\r")
                read_until(port, b"OK\r\n")
                pdu = submit(PHONE, b"receipt")
                port.write(b"AT+CMGS=%d\r" % (len(pdu) - 1))
                read_until(port, b"> ")
                port.write(pdu.hex().encode() + b"\x1a")
                assert b"+CMGS: " in read_until(port, b"OK\r\n")
        assert world.run_until(lambda: len(phone.received) == 2, 30)
    finally:
        world.stop()


def test_descriptors_are_given_back(basic):
    before = len(os.listdir("/proc/self/fd"))
    with World(realtime=True) as world:
        world.relay_modem(RELAY)
        world.bracelet(firmware=basic).boot()
        world.expect("firmware", "boot", within=30)
    assert len(os.listdir("/proc/self/fd")) == before


def test_deep_sleep_ends_by_timer_and_by_pin(firmware):
    main = firmware(
        """
        import esp32, machine, time
        from machine import Pin
        print("@up cause=%d wake=%d" % (machine.reset_cause(), machine.wake_reason()))
        time.sleep_ms(50)
        esp32.wake_on_ext0(Pin(33, Pin.IN, Pin.PULL_UP), 0)
        machine.deepsleep(500 if machine.reset_cause() == 1 else 60000)
        """
    )
    with World(realtime=True) as world:
        bracelet = world.bracelet(firmware=main)
        bracelet.boot()
        world.expect("firmware", "up", within=20, cause=1)
        world.expect("firmware", "up", within=20, cause=4, wake=4)
        assert world.run_until(lambda: bracelet.state == "asleep", 20)
        bracelet.button.press(for_s=0.2)
        world.expect("firmware", "up", within=20, cause=4, wake=2)

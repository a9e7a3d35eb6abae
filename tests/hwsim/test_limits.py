"""What an ESP32 hasn't got: heap, buffers, a second TLS socket, words of 64 bits."""

from __future__ import annotations

import json
import platform

import pytest

from hwsim import toolchain
from hwsim.rig import Rig
from hwsim.world import Track, World
from hwsim.world.link import heap_size


class Silent:
    def __init__(self, stream):
        pass

    def received(self, data):
        pass

    def closed(self):
        pass


@pytest.mark.world(heap=64 * 1024)
def test_the_heap_ends_where_the_world_says(world, firmware):
    main = firmware(
        """
        import gc
        gc.collect()
        free = gc.mem_free()
        print("@heap free=%d" % free)
        try:
            bytearray(free)
        except MemoryError:
            print("@full")
        """
    )
    world.bracelet(firmware=main).boot()
    free = world.expect("firmware", "heap", within=1).detail["free"]
    world.expect("firmware", "full", within=1)
    bits = toolchain.word_bits(tuple(toolchain.micropython()))
    assert 64 * 1024 * bits // 48 < free < heap_size(64 * 1024, bits)


@pytest.mark.world(heap=64 * 1024)
def test_a_heap_in_pieces_fails_no_exchange_with_the_world(world, firmware):
    """The chip needs no text to set a pin, so a lack of room for the text is no fault of a firmware."""
    main = firmware(
        """
        import gc, time
        from machine import Pin
        pin = Pin(14, Pin.OUT)
        kept = [None] * 4000
        try:
            for place in range(len(kept)):
                kept[place] = bytearray(300)
        except MemoryError:
            pass
        for every_other in range(0, len(kept), 2):
            kept[every_other] = None
        gc.collect()
        try:
            bytearray(700)
        except MemoryError:
            print("@in_pieces")
        for _ in range(12):
            pin.value(1)
            pin.value(0)
        time.sleep(1)
        print("@slept")
        """
    )
    world.bracelet(firmware=main).boot()
    world.expect("firmware", "in_pieces", within=1)
    world.expect("firmware", "slept", within=2)


def test_what_the_uart_has_no_room_for_is_lost_and_counted(world, firmware):
    main = firmware(
        """
        import time
        from machine import UART, Pin
        Pin(14, Pin.OUT, value=1)
        uart = UART(1, baudrate=9600, tx=27, rx=26)  # 256 octets
        time.sleep(4)
        print("@heard n=%d" % len(uart.read()))
        """
    )
    bracelet = world.bracelet(firmware=main)
    bracelet.boot()
    world.run(0.5)
    bracelet.gnss.inject(b"x" * 600)
    world.expect("firmware", "heard", within=5, n=256)
    lost = sum(event.detail["lost"] for event in world.trace if event.who == "gnss" and event.what == "overrun")
    assert lost >= 600 - 256


def test_a_single_octet_at_a_time_is_no_different_for_the_firmware(world, tmp_path):
    rig = Rig(world, tmp_path, track=Track.still(1.0, 2.0))
    rig.bracelet.gnss.line.chunk = 1
    rig.provision()
    rig.boot()
    world.expect("firmware", "gnss", within=60, fix=1)
    rig.press()
    world.expect("firmware", "receipt", within=10, path="mqtt")
    rig.close()


def test_a_second_tls_socket_finds_no_memory_until_the_first_is_closed(world, firmware):
    world.net.listen("echo.test", 8883, Silent, tls=world.authority.server("echo.test"))
    main = firmware(
        """
        import errno, json, network, socket, ssl, time
        from machine import RTC
        RTC().datetime((2026, 1, 1, 0, 0, 0, 0, 0))
        wlan = network.WLAN(network.STA_IF)
        wlan.active(True)
        wlan.connect("workshop", "hwsim-key")
        while not wlan.isconnected():
            time.sleep(1)
        def connect():
            raw = socket.socket()
            raw.connect(socket.getaddrinfo("echo.test", 8883)[0][-1])
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.verify_mode = ssl.CERT_NONE
            return context.wrap_socket(raw, server_hostname="echo.test")
        first = connect()
        try:
            second = connect()
        except OSError as error:
            print("@second error=%s" % errno.errorcode[error.errno])
        first.close()
        first.close()
        third = connect()
        print("@third")
        try:
            connect()
        except OSError as error:
            print("@fourth error=%s" % errno.errorcode[error.errno])
        """
    )
    world.bracelet(firmware=main).boot()
    world.expect("firmware", "second", within=20, error="ENOMEM")
    world.expect("firmware", "third", within=5)
    world.expect("firmware", "fourth", within=5, error="ENOMEM")


def runs_32_bits() -> bool:
    """Whether this machine runs programs of a 32-bit architecture; where it doesn't, the toolchain says so plainly."""
    if platform.machine() in toolchain.ARCHITECTURE_32:
        return True
    with pytest.raises(toolchain.ToolchainError, match="no 32-bit Debian package is known"):
        toolchain.find_micropython(32)
    return False


def test_the_32_bit_interpreter_has_the_chips_small_integers(monkeypatch, firmware):
    if not runs_32_bits():
        return
    monkeypatch.setenv("HWSIM_BITS", "32")
    assert toolchain.word_bits(tuple(toolchain.micropython())) == 32
    main = firmware(
        """
        import gc
        def allocated(a, b):
            gc.collect()
            before = gc.mem_alloc()
            a + b
            return gc.mem_alloc() - before
        allocated(1, 1)
        print("@small n=%d" % allocated(0x1FFFFFFF, 0x1FFFFFFF))
        print("@big n=%d" % allocated(0x3FFFFFFF, 1))
        """
    )
    with World() as world:
        world.bracelet(firmware=main).boot()
        small = world.expect("firmware", "small", within=1).detail["n"]
        assert world.expect("firmware", "big", within=1).detail["n"] > small


def test_an_alarm_on_32_bits_on_both_paths(monkeypatch, tmp_path):
    if not runs_32_bits():
        return
    monkeypatch.setenv("HWSIM_BITS", "32")
    with World() as world:
        rig = Rig(world, tmp_path, track=Track.still(59.77, -43.85))
        rig.provision()
        rig.boot(settle=60)
        rig.press()
        world.expect("firmware", "receipt", within=10, path="mqtt")
        world.net.data_up = False
        world.run(60)
        rig.press()
        world.expect("firmware", "receipt", within=60, path="sms")
        assert not [line for line in rig.bracelet.console if "restarted" in line]
        document = json.dumps(rig.documents())
        assert "597700000" in document
        rig.close()


def test_another_word_size_is_refused(monkeypatch):
    monkeypatch.setenv("HWSIM_BITS", "16")
    with pytest.raises(toolchain.ToolchainError, match="HWSIM_BITS must be 32 or not set, and it is 16"):
        toolchain.micropython()


def test_a_server_can_send_no_more_than_the_chip_takes_and_nothing_is_lost(world, firmware):
    class Flood(Silent):
        def __init__(self, stream):
            self._stream = stream

        def received(self, data):
            self._stream.write(bytes(range(256)) * 200)
            self._stream.close()

    world.net.listen("flood.test", 7, Flood)
    main = firmware(
        """
        import network, socket, time
        wlan = network.WLAN(network.STA_IF)
        wlan.active(True)
        wlan.connect("workshop", "hwsim-key")
        while not wlan.isconnected():
            time.sleep(1)
        raw = socket.socket()
        raw.connect(socket.getaddrinfo("flood.test", 7)[0][-1])
        raw.send(b"go")
        time.sleep(5)
        print("@waiting")
        count = right = 0
        while True:
            data = raw.recv(1000)
            if not data:
                break
            for octet in data:
                right += octet == count & 255
                count += 1
        print("@read n=%d right=%d" % (count, right))
        """
    )
    world.bracelet(firmware=main).boot()
    world.expect("firmware", "waiting", within=20)
    assert [link.unread for link in world.net.links()] == [5760]
    world.expect("firmware", "read", within=20, n=51200, right=51200)

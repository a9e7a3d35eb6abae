"""Wi-Fi, names, connections and TLS, through the firmware's own sockets in the interpreter."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from hwsim.world.certs import Authority

from .conftest import HERE

HOST, PORT = "echo.test", 8883


class Echo:
    """Answers every line with "re: ", and remembers what became of its connections."""

    opened: list[Echo]

    def __init__(self, stream):
        self.stream = stream
        self.got = b""
        self.over = 0
        self.opened.append(self)

    def received(self, data):
        self.got += data
        self.stream.write(b"re: " + data)

    def closed(self):
        self.over += 1


@pytest.fixture
def echo():
    return type("Echo", (Echo,), {"opened": []})


@pytest.fixture
def start(world):
    """Boot the network firmware with a configuration."""

    def boot(ca=None, **config):
        config = {"host": HOST, "port": PORT, "tls": ca is not None, "utc": [2026, 1, 1, 0, 0, 0, 0, 0], **config}
        bracelet = world.bracelet(firmware=HERE / "fw_net")
        bracelet.files.put("/net.json", json.dumps(config).encode())
        bracelet.files.put("/ca.der", ca or b"")
        bracelet.boot()
        return bracelet

    return boot


@pytest.mark.parametrize("tls", [False, True])
def test_lines_go_and_come(world, start, echo, tls):
    world.net.listen(HOST, PORT, echo, tls=world.authority.server(HOST) if tls else None)
    start(ca=world.authority.der if tls else None)
    world.expect("firmware", "wifi", within=5)
    world.expect("firmware", "connected", within=2)
    world.expect("firmware", "answer", within=1, text="re:_hello_1")
    world.expect("firmware", "answer", within=6, text="re:_hello_2")
    assert echo.opened[0].got == b"hello 1\nhello 2\n"


def test_a_server_may_be_known_by_its_address(world, start, echo):
    world.net.listen("192.0.2.7", PORT, echo)
    start(host="192.0.2.7")
    world.expect("firmware", "answer", within=6, text="re:_hello_1")


def test_an_outage_delays_and_loses_nothing(world, start, echo):
    world.net.listen(HOST, PORT, echo)
    start()
    world.expect("firmware", "answer", within=5, text="re:_hello_1")
    world.net.data_up = False
    world.expect_nothing("firmware", "answer", within=12)
    world.net.data_up = True
    world.expect("firmware", "answer", within=2, text="re:_hello_2")
    world.expect("firmware", "answer", within=6, text="re:_hello_3")


def test_a_cut_breaks_the_connection_on_both_sides(world, start, echo):
    world.net.listen(HOST, PORT, echo)
    start()
    world.expect("firmware", "connected", within=5)
    world.run(1)
    world.net.cut()
    world.expect("firmware", "failed", within=6, why="[Errno_104]_ECONNRESET")
    assert echo.opened[0].over == 1
    world.expect("firmware", "answer", within=12, text="re:_hello_1")


def test_a_server_that_closes_is_noticed(world, start, echo):
    world.net.listen(HOST, PORT, echo)
    start()
    world.expect("firmware", "answer", within=5)
    echo.opened[0].stream.close()
    world.expect("firmware", "ended", within=6)
    world.expect("firmware", "connected", within=12)


def test_nobody_listens(world, start, echo):
    world.net.listen(HOST, PORT, echo)
    world.net.unlisten(HOST, PORT)
    start()
    world.expect("firmware", "connected", within=5)  # asyncio can't tell before it writes
    world.expect("firmware", "failed", within=1, why="[Errno_111]_ECONNREFUSED")


def test_an_unknown_name_and_an_unreachable_resolver(world, start):
    start(host="nowhere.test")
    world.expect("firmware", "wifi", within=5)
    world.expect("firmware", "failed", within=1, kind="OSError", why=-2)
    world.net.data_up = False
    world.run(9.9)
    failed = world.expect("firmware", "failed", within=12, why=-202)  # 10 s after it asked, and the loop stood still
    assert failed.t_us > 22e6


def test_access_points_come_and_go(world, start, echo):
    world.net.listen(HOST, PORT, echo)
    bracelet = start()
    world.expect("firmware", "answer", within=5)
    bracelet.wifi.up = False
    world.expect("wifi", "lost", within=8)
    world.run(20)
    bracelet.wifi.up = True
    world.expect("wifi", "associated", within=3)
    world.expect("firmware", "answer", within=40)


@pytest.mark.parametrize("config", [{"key": "wrong-key"}, {"ssid": "elsewhere"}])
def test_a_wrong_key_or_name_gets_nowhere(world, start, config):
    start(**config)
    world.expect_nothing("firmware", "wifi", within=30)


def test_a_reset_leaves_the_server_with_a_dead_connection(world, start, echo):
    world.net.listen(HOST, PORT, echo)
    bracelet = start()
    world.expect("firmware", "answer", within=5)
    bracelet.reset()
    world.run(1)
    assert echo.opened[0].over == 0
    echo.opened[0].stream.write(b"are you there?\n")
    world.expect("firmware", "answer", within=10, text="re:_hello_1")  # it is back on the network
    world.run(1)
    assert echo.opened[0].over == 1
    assert len(echo.opened) == 2


def test_losses_are_delays(world, start, echo):
    world.net.listen(HOST, PORT, echo)
    world.net.loss = 0.5
    start()
    world.run(120)
    answers = [event.detail["text"] for event in world.trace if event.what == "answer"]
    assert answers == [f"re:_hello_{n + 1}" for n in range(len(answers))]
    assert len(answers) > 5


FUTURE = datetime(2048, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("other authority", "The_certificate_is_not_correctly_signed_by_the_trusted_CA"),
        ("other name", "The_certificate_Common_Name_(CN)_does_not_match_with_the_expected_CN"),
        ("expired by the board's clock", "The_certificate_validity_has_expired"),
        ("expired by the host's clock", "The_certificate_validity_has_expired"),
        ("clock not set", "The_certificate_validity_starts_in_the_future"),
    ],
)
def test_certificates_that_are_refused(world, start, echo, case, why):
    authority = world.authority
    ca, name, not_after, utc = authority.der, HOST, FUTURE, [2026, 1, 1, 0, 0, 0, 0, 0]
    if case == "other authority":
        ca = Authority().der
    elif case == "other name":
        name = "other.test"
    elif case == "expired by the host's clock":
        not_after = datetime(2021, 1, 1, tzinfo=UTC)
    elif case == "expired by the board's clock":
        utc = [2048, 1, 2, 0, 0, 0, 0, 0]
    else:
        utc = None
    world.net.listen(HOST, PORT, echo, tls=authority.server(name, not_after=not_after))
    start(ca=ca, utc=utc)
    world.expect("firmware", "failed", within=6, kind="ValueError", why=why)
    world.expect("network", "tls refused", within=1)
    assert echo.opened == []


def test_a_server_of_another_kind_is_refused(world, start, echo):
    """The handshake fails on octets that aren't TLS, whoever sends them."""
    world.net.listen(HOST, PORT, echo)
    start(ca=world.authority.der)
    world.expect("firmware", "failed", within=6)


def test_large_answers_and_blocking_sockets(world, firmware):
    class Big:
        def __init__(self, stream):
            self.stream = stream

        def received(self, data):
            if data.endswith(b"\n"):
                self.stream.write(bytes(range(256)) * 100)
                self.stream.close()

        def closed(self):
            pass

    world.net.listen(HOST, PORT, Big)
    main = firmware(
        """
        import network, socket, time
        w = network.WLAN(network.STA_IF)
        w.active(True)
        w.connect("workshop", "hwsim-key")
        while not w.isconnected():
            time.sleep_ms(100)
        s = socket.socket()
        s.settimeout(5)
        s.connect(socket.getaddrinfo("echo.test", 8883)[0][-1])
        s.sendall(b"x" * 20000 + b"\\n")
        data = s.read()
        print(f"@got octets={len(data)} right={int(data == bytes(range(256)) * 100)}")
        s.close()
        t = socket.socket()
        t.settimeout(5)
        try:
            t.connect(("10.99.0.1", 1))
        except OSError as e:
            print(f"@late errno={e.errno}")
        """
    )
    world.bracelet(firmware=main).boot()
    world.expect("firmware", "got", within=10, octets=25600, right=1)
    world.expect("firmware", "late", within=6, errno=110)


@pytest.mark.parametrize("server", ["w.ifconfig()[3]", '"9.9.9.9"'])
def test_names_can_be_resolved_without_blocking(world, firmware, echo, server):
    """By the name server that the network tells of, and by a public one."""
    world.net.listen(HOST, PORT, echo)
    main = firmware(
        """
        import asyncio, network, select, socket
        async def ask(name):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.setblocking(False)
            labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split("."))
            query = b"\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + labels + b"\\0\\0\\1\\0\\1"
            s.sendto(query, (SERVER, 53))
            p = select.poll()
            p.register(s, select.POLLIN)
            for _ in range(100):
                if p.poll(0):
                    answer, sender = s.recvfrom(512)
                    s.close()
                    return answer[3] & 15, ".".join(str(b) for b in answer[-4:])
                await asyncio.sleep_ms(20)
        async def main():
            while not w.isconnected():
                await asyncio.sleep_ms(100)
            code, address = await ask("echo.test")
            blocking = socket.getaddrinfo("echo.test", 1)[0][-1][0]
            print(f"@resolved code={code} same={int(address == blocking)}")
            print(f"@unknown code={(await ask('nowhere.test'))[0]}")
        w = network.WLAN(network.STA_IF)
        w.active(True)
        w.connect("workshop", "hwsim-key")
        asyncio.run(main())
        """.replace("SERVER", server)
    )
    world.bracelet(firmware=main).boot()
    world.expect("firmware", "resolved", within=6, code=0, same=1)
    world.expect("firmware", "unknown", within=1, code=3)


def test_a_host_that_is_no_text_is_refused_as_on_the_chip(world, firmware):
    main = firmware(
        """
        import socket
        try:
            socket.getaddrinfo(None, 53)
        except TypeError:
            print("@refused")
        """
    )
    world.bracelet(firmware=main).boot()
    world.expect("firmware", "refused", within=1)


def test_real_servers_are_for_real_time(world):
    with pytest.raises(RuntimeError, match="virtual time"):
        world.net.route(HOST, PORT, "127.0.0.1", 1)


def test_a_captive_portal_answers_every_name_as_a_web_server(world, start, echo):
    world.net.listen(HOST, PORT, echo)
    start()
    world.expect("firmware", "answer", within=5, text="re:_hello_1")
    world.net.captive = True
    world.expect("firmware", "failed", within=10)
    world.expect("firmware", "connected", within=15)
    answer = world.expect("firmware", "answer", within=2)
    assert answer.detail["text"] == "HTTP/1.1_302_Found"
    assert len(echo.opened) == 1
    assert world.net.resolve("no.such.name") == world.net.resolve(HOST)
    world.net.captive = False
    world.expect("firmware", "answer", within=40, text="re:_hello_1")
    assert world.net.resolve("no.such.name") is None


def test_tls_does_not_take_a_portal_for_the_server(world, start, echo):
    world.net.listen(HOST, PORT, echo, tls=world.authority.server(HOST))
    world.net.captive = True
    start(ca=world.authority.der)
    world.expect("firmware", "failed", within=10)
    world.expect_nothing("firmware", "answer", within=30)
    assert echo.opened == []

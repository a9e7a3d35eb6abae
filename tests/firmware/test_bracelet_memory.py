"""A bracelet whose chip has no memory left for Wi-Fi or TLS: no network is blamed for it, nothing restarts, the alarm
goes by SMS at once, and the connection is there as soon as there is memory."""

import pytest
from tocsin.links import shortage

from hwsim.world.certs import Authority
from hwsim.world.memory import KB

TLS = 4 * KB + 16_721 + 4_433 + 50  # a socket and the buffers of TLS, in octets
# What is left, and how the connection fails: for the socket, the buffers of TLS, and each step of the handshake
LEFT = {
    1_000: "OSError:105",
    4 * KB + 500: "OSError:12",
    TLS - 2_000: "OSError:12",
    TLS + 1_000: "OSError:12",
    TLS + 4_500: "OSError:-10368",
    TLS + 8_500: "certificate",
    TLS + 11_200: "OSError:-19840",
}


def failures(bench):
    """What went wrong in the firmware, without what is meant to."""
    bad = ("restarted", "crashed", "stuck")
    return [str(event) for event in bench.world.trace if event.who == "firmware" and event.what in bad]


def begin(bench, left):
    """Wi-Fi is there; then its memory is taken but for `left`, before the broker can be reached."""
    bench.broker.down()
    bench.boot()
    bench.world.expect("firmware", "link", within=30, path="net", up=1)
    bench.bracelet.memory.tighten(left)
    bench.broker.up()


@pytest.mark.parametrize("left", LEFT)
def test_no_memory_for_a_connection_is_nobodys_fault_and_the_sms_goes_at_once(bench, left):
    world = bench.world
    begin(bench, left)
    world.expect("firmware", "refused", within=60, what="memory", reason=LEFT[left])
    world.run(60)
    bench.press()
    raised = bench.alarms()[-1]
    sent = world.expect("firmware", "published", within=1, counter=raised.counter)
    assert sent.detail["path"] == "sms"
    world.expect("firmware", "delivered", within=30, counter=raised.counter)
    world.run(120)
    assert not [event for event in world.trace if event.what == "refused" and event.detail.get("what") == "tls"]
    assert not [event for event in world.trace if event.detail.get("reason") == "barren"]
    assert failures(bench) == []
    bench.bracelet.memory.tighten(None)
    bench.press()
    world.expect("firmware", "link", within=60, path="mqtt", up=1)


def test_no_memory_for_wifi_is_looked_for_again(bench):
    world = bench.world
    bench.bracelet.memory.tighten(25 * KB)  # its buffers, but no association
    bench.boot()
    world.expect("firmware", "link", within=5, path="net", up=0)  # not after a wait for a network that can't come
    bench.press()
    world.expect("firmware", "published", within=30, path="sms")  # as soon as the modem has started
    bench.bracelet.memory.tighten(None)
    world.expect("firmware", "link", within=60, path="mqtt", up=1)
    assert failures(bench) == []


def test_a_wifi_that_finds_no_memory_at_start_is_left_out(bench):
    bench.bracelet.memory.tighten(2 * KB)
    bench.boot()
    bench.world.expect("firmware", "link", within=20, path="sms", up=1)
    bench.press()
    bench.world.expect("firmware", "delivered", within=30)
    assert failures(bench) == []


def test_reconnecting_again_and_again_costs_no_memory(bench):
    world, memory = bench.world, bench.bracelet.memory
    bench.boot()
    left = []
    for _ in range(10):
        world.expect("firmware", "link", within=320, path="mqtt", up=1)
        bench.bracelet.button.hold(3.3)  # it stays awake, and does not wait long to connect again
        world.run(20)
        left.append((memory.heap.total, memory.heap.largest))
        bench.broker.down()
        world.expect("firmware", "link", within=60, path="mqtt", up=0)
        bench.broker.up()
    assert len(set(left)) == 1
    assert failures(bench) == []


def test_a_certificate_that_is_wrong_is_refused_as_before(bench):
    """Memory is ample, so whoever shows another certificate is not the broker."""
    bench.broker.down()
    bench.broker.present(Authority().server("relay.test"))
    bench.broker.up()
    bench.boot()
    bench.world.expect("firmware", "refused", within=60, what="tls", reason="certificate")


# -- what says that there was no memory


ALONE = (12, 105, 16, 141, -0x7F00, -0x2880, -0x3F80, -0x4D80, -0x5180, -0x6180, -0x1180)
COMBINED = (-0x4290, -0x2900 - 0x6A, -0x4E00 - 0x10)


@pytest.mark.parametrize("code", ALONE + COMBINED)
def test_errors_for_want_of_memory(code):
    """mbedtls/error.h; 0x4290 is RSA_PUBLIC_FAILED for want of MPI's memory (micropython issue 5808)."""
    assert shortage.short(OSError(code))
    assert shortage.short(OSError(code, "MBEDTLS_ERR"))


@pytest.mark.parametrize("code", [-0x2700, -0x7200, -0x7280, -0x7780, -0x6C00, -0x4E00, 104, 110, 111, 113])
def test_errors_that_say_something_else(code):
    assert not shortage.short(OSError(code))


def test_others():
    assert shortage.short(MemoryError()) and shortage.short(OSError("WiFi Out of Memory"))
    for error in (OSError(), OSError("Wifi Internal Error"), ValueError(12), EOFError()):
        assert not shortage.short(error)

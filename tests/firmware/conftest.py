"""The firmware's pure modules are plain Python: here they are imported as they are. What touches hardware runs only in
the interpreter of the bracelet (the `world` fixture), mostly on a bench with a relay (the `bench` fixture)."""

import sys
from pathlib import Path

import pytest

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
if str(FIRMWARE) not in sys.path:
    sys.path.insert(0, str(FIRMWARE))


@pytest.fixture
def make_bench(world, tmp_path):
    """Benches in this test's world, with a provisioned bracelet that is switched off."""
    from hwsim.rig import Rig

    made = []

    def make(**options):
        bench = Rig(world, tmp_path, **options)
        made.append(bench)
        bench.provision()
        return bench

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make_bench):
    return make_bench()


@pytest.fixture
def release(tmp_path):
    """Makes signed releases of the firmware."""
    from tests.firmware.updates import releases

    return releases(tmp_path)


def fill_with_advertising(modem, world):
    """The modem's memory for messages, to the last place."""
    from hwsim.world.pdu import Sms, encode_deliver
    from hwsim.world.sms import CENTRE_NUMBER

    octets = encode_deliver(Sms("+10000000077", modem.number, b"buy"), world.unix_time, CENTRE_NUMBER)
    while modem.messages.put(octets):
        pass

"""Same seed, same trace, with the whole firmware and a relay: once alone, and nine times on a machine that plays the
others meanwhile."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from hwsim.rig import Rig
from hwsim.world import Track, World


def a_bad_evening(seed, folder):
    """Raised by MQTT, raised without a network, reset before the receipt, called back: both paths, flash, TLS,
    chance."""
    with World(seed=seed) as world:
        world.net.loss = 0.05
        bench = Rig(world, folder, track=Track([(0, 48.0, 11.0, 500), (600, 48.02, 11.01, 510)]))
        try:
            bench.provision()
            bench.boot(settle=40)
            bench.press()
            world.run(30)
            bench.bracelet.wifi.up = False
            world.run(20)
            bench.press()
            bench.bracelet.reset()
            world.run(90)
            bench.bracelet.wifi.up = True
            world.run(120)
            # The relay drew the key id, and the relay is real: the one thing here that no seed rules.
            trace = (
                world.format_trace().replace(f"{bench.kid[0]}/{bench.kid}", "<key id>").replace(bench.kid, "<key id>")
            )
            return trace, bench.accepted()
        finally:
            bench.close()


@pytest.mark.long
def test_ten_times_the_same(tmp_path):
    folders = [tmp_path / str(number) for number in range(10)]
    for folder in folders:
        folder.mkdir()
    text, accepted = a_bad_evening(5, folders[0])
    assert len(accepted) > 3
    with ThreadPoolExecutor(9) as all_at_once:
        others = list(all_at_once.map(lambda folder: a_bad_evening(5, folder), folders[1:]))
    for other, other_accepted in others:
        assert other == text
        assert other_accepted == accepted


def test_another_seed_is_another_evening(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    assert a_bad_evening(1, tmp_path / "a")[0] != a_bad_evening(2, tmp_path / "b")[0]

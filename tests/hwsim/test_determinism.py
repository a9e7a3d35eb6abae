"""Same seed, same trace: the promise everything else is built on."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from hwsim.world import Track, World

from .conftest import HERE


class Echo:
    def __init__(self, stream):
        self._stream = stream

    def received(self, data):
        self._stream.write(data)

    def closed(self):
        pass


def a_day_out(seed: int) -> World:
    """Two bracelets, TLS, losses, cuts, a reset and a message: everything that draws from a generator or a socket."""
    world = World(seed=seed)
    world.net.loss = 0.05
    world.net.listen("echo.test", 8883, Echo, tls=world.authority.server("echo.test"))
    track = Track([(0, 1.0, 2.0, 10), (60, 1.001, 2.001, 12)])
    one = world.bracelet(firmware=HERE / "fw_basic", track=track)
    two = world.bracelet(firmware=HERE / "fw_net", phone="+10000000009")
    net = {"host": "echo.test", "port": 8883, "tls": True, "utc": [2026, 1, 1, 0, 0, 0, 0, 0]}
    two.files.put("/net.json", json.dumps(net).encode())
    two.files.put("/ca.der", world.authority.der)
    phone = world.sms.phone("+10000000003")
    phone.send("+10000000009", b"nobody listens")
    random = world.random("a day out")
    one.boot()
    two.boot()
    for _ in range(20):
        one.button.press(for_s=random.random())
        world.run(random.random() * 3)
        world.run_until(lambda: one.led.on, 1)
    world.net.cut()
    one.reset()
    two.power_cut(restart_after=1)
    world.net.data_up = False
    world.run(15)
    world.net.data_up = True
    world.run(60)
    world.close()
    return world


def test_the_same_seed_gives_the_same_trace_on_a_loaded_machine():
    with ThreadPoolExecutor(10) as all_at_once:
        worlds = list(all_at_once.map(a_day_out, [7] * 10))
    first = worlds[0].format_trace()
    for world in worlds[1:]:
        assert world.format_trace() == first
    assert len({world.digest() for world in worlds}) == 1
    assert len(worlds[0].trace) > 100


def test_another_seed_gives_another_trace():
    assert a_day_out(1).digest() != a_day_out(2).digest()


def test_how_time_is_cut_into_pieces_changes_nothing():
    def run(pieces):
        with World() as world:
            bracelet = world.bracelet(firmware=HERE / "fw_basic", track=Track.still(1, 2))
            bracelet.boot()
            world.after(4_000_000, bracelet.button.press)
            world.after(4_300_000, bracelet.button.release)
            for seconds in pieces:
                world.run(seconds)
            return world.digest()

    assert run([40]) == run([0.0001] * 100 + [0.99] + [1] * 39) == run([3.7, 0.4, 35.9])


def test_tasks_that_wake_together_run_in_their_order(world, firmware):
    main = firmware(
        """
        import asyncio
        async def one(n):
            for _ in range(20):
                await asyncio.sleep_ms(100)
                print(f"@ran n={n}")
        async def main():
            await asyncio.gather(*[one(n) for n in range(8)])
        asyncio.run(main())
        """
    )
    world.bracelet(firmware=main).boot()
    world.run(10)
    assert [event.detail["n"] for event in world.trace if event.what == "ran"] == list(range(8)) * 20


def test_cancelled_and_timed_out_tasks_behave(world, firmware):
    main = firmware(
        """
        import asyncio
        async def forever():
            try:
                await asyncio.Event().wait()
            finally:
                print("@cleaned up=1")
        async def fails():
            raise KeyError("k")
        async def works():
            await asyncio.sleep(1)
        async def main():
            try:
                await asyncio.wait_for(forever(), 2)
            except asyncio.TimeoutError:
                print("@timeout")
            task = asyncio.create_task(forever())
            await asyncio.sleep(1)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                print("@cancelled")
            lock = asyncio.Lock()
            async with lock:
                waiter = asyncio.create_task(lock.acquire())
                await asyncio.sleep_ms(1)
            await waiter
            print("@results n=%d" % len(await asyncio.gather(fails(), works(), return_exceptions=True)))
        asyncio.run(main())
        """
    )
    world.bracelet(firmware=main).boot()
    world.expect("firmware", "cleaned", within=3)
    world.expect("firmware", "timeout", within=1)
    world.expect("firmware", "cleaned", within=2)
    world.expect("firmware", "cancelled", within=0.1)
    world.expect("firmware", "results", within=2, n=2)

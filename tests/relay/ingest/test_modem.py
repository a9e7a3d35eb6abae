"""The modem driver against the simulated modem, in virtual time: whole exchanges, hung modems, full storage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hwsim.modems import MODELS
from hwsim.world import World
from relay.ingest.sms import Incoming, Modem, Outgoing, Ready, Recovered, Report, Sent, Silent, Trouble

RELAY, BRACELET = "+10000000009", "+10000000001"
STEP = 0.01


class Bench:
    """A driver on the simulated modem's endpoint."""

    def __init__(self, world: World, model: str | None = None) -> None:
        self.world = world
        world.sms.delay_us = 100_000
        self.phone = world.sms.phone(BRACELET)
        self.far = world.relay_modem(RELAY, pty=False, model=model)
        self.driver = Modem()
        self.reports: list[Report] = []
        self.driver.opened(self.now)

    @property
    def now(self) -> float:
        return self.world.now_us / 1e6

    def run(self, seconds: float, *, release: bool = True) -> list[Report]:
        """Let both sides work; what comes in is released at once, as after a commit."""
        assert self.far.endpoint is not None
        seen: list[Report] = []
        end = self.now + seconds
        while self.now < end:
            self.far.endpoint.write(self.driver.take_output())
            self.world.run(STEP)
            news = self.driver.receive(self.far.endpoint.read(), self.now) + self.driver.tick(self.now)
            for report in news:
                if isinstance(report, Incoming) and release:
                    self.driver.release(report.ref, self.now)
            seen += news
        self.reports += seen
        return seen


@pytest.fixture
def bench() -> Iterator[Bench]:
    world = World(seed=1)
    yield Bench(world)
    world.close()


def octets(reports: list[Report]) -> list[bytes]:
    return [report.octets for report in reports if isinstance(report, Incoming)]


def test_a_message_comes_in_is_deleted_and_answered(bench: Bench) -> None:
    bench.run(3)
    assert Ready(0) in bench.reports
    bench.phone.send(RELAY, b"alarm")
    assert octets(bench.run(3)) == [b"alarm"]
    assert bench.far.modem.storage == {}
    bench.driver.send(Outgoing(BRACELET, b"receipt"), bench.now)
    assert any(isinstance(report, Sent) for report in bench.run(5))
    assert [sms.data for sms in bench.phone.received] == [b"receipt"]


def test_what_came_while_the_relay_was_down_is_found(bench: Bench) -> None:
    bench.phone.send(RELAY, b"one")
    bench.phone.send(RELAY, b"two")
    bench.world.run(2)
    assert sorted(octets(bench.run(5))) == [b"one", b"two"]
    assert bench.far.modem.storage == {}


def test_a_message_that_was_not_stored_stays_in_the_sim(bench: Bench) -> None:
    bench.run(3)
    bench.phone.send(RELAY, b"alarm")
    assert octets(bench.run(70, release=False)) == [b"alarm"]
    assert len(bench.far.modem.storage) == 1
    bench.driver.opened(bench.now)  # the relay was killed and started
    assert octets(bench.run(5)) == [b"alarm"]
    assert bench.far.modem.storage == {}


def test_messages_that_arrive_while_others_are_sent(bench: Bench) -> None:
    bench.run(3)
    for number in range(10):
        bench.phone.send(RELAY, b"alarm %d" % number)
        bench.driver.send(Outgoing(BRACELET, b"receipt %d" % number), bench.now)
        bench.run(0.7)
    bench.run(60)
    assert sorted(octets(bench.reports)) == [b"alarm %d" % n for n in range(10)]
    assert sorted(sms.data for sms in bench.phone.received) == [b"receipt %d" % n for n in range(10)]


def test_more_messages_than_the_sim_holds(bench: Bench) -> None:
    for number in range(30):
        bench.phone.send(RELAY, b"%d" % number)
    bench.run(120)
    assert len(set(octets(bench.reports))) == 30


def test_no_service_delays_a_receipt(bench: Bench) -> None:
    bench.run(3)
    bench.far.modem.service = False
    bench.driver.send(Outgoing(BRACELET, b"receipt"), bench.now)
    bench.run(15)
    assert bench.phone.received == []
    bench.far.modem.service = True
    bench.run(60)
    assert [sms.data for sms in bench.phone.received] == [b"receipt"]


def test_a_hung_modem_is_noticed_and_serves_again_after_a_power_cycle(bench: Bench) -> None:
    bench.run(3)
    bench.far.modem.mute = True
    bench.phone.send(RELAY, b"alarm")
    assert Silent() in bench.run(120)
    bench.far.modem.power(False)
    bench.far.modem.power(True)
    bench.driver.opened(bench.now)
    assert octets(bench.run(90)) == [b"alarm"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("silent", [False, True])
def test_each_model_serves_from_its_start_and_after_each_restart(model: str, silent: bool) -> None:
    """With each maker's start-up words, readiness, memories, notifications, prompt and defaults."""
    with World(seed=2) as world:
        bench = Bench(world, model)
        bench.run(30)
        bench.phone.send(RELAY, b"before")
        bench.run(5)
        bench.far.modem.restart(silent=silent)
        bench.phone.send(RELAY, b"during")
        bench.driver.send(Outgoing(BRACELET, b"receipt"), bench.now)
        bench.run(100)
        bench.phone.send(RELAY, b"after")
        bench.run(60)
        assert list(dict.fromkeys(octets(bench.reports))) == [b"before", b"during", b"after"]
        assert all(bench.far.modem.messages.store(memory) == {} for memory in ("SM", "ME"))
        assert [sms.data for sms in bench.phone.received] == [b"receipt"]
        assert bench.driver.ready


def restart(bench: Bench, announces: bool) -> None:
    """As by a supply that fails for a moment; its settings are the factory's again."""
    bench.far.modem.announces = announces
    bench.far.modem.power(False)
    bench.far.modem.power(True)


@pytest.mark.parametrize("announces", [True, False])
@pytest.mark.parametrize("after", [0.0, 1.0, 30.0])
def test_a_modem_that_restarts_by_itself_is_set_up_again(bench: Bench, announces: bool, after: float) -> None:
    bench.run(60)
    restart(bench, announces)
    bench.run(after)
    bench.phone.send(RELAY, b"alarm")
    assert octets(bench.run(60)) == [b"alarm"]
    assert bench.far.modem.cnmi == (2, 1)
    assert bench.far.modem.storage == {}


def test_a_modem_that_another_program_set_up_is_taken_back(bench: Bench) -> None:
    bench.run(60)
    bench.far.modem.cnmi = (0, 0)
    bench.phone.send(RELAY, b"alarm")
    assert octets(bench.run(60)) == [b"alarm"]
    assert bench.far.modem.cnmi == (2, 1)


def test_a_restart_in_the_middle_of_sending_costs_a_try_and_no_alarm(bench: Bench) -> None:
    bench.run(30)
    bench.driver.send(Outgoing(BRACELET, b"receipt"), bench.now)
    bench.run(0.5)
    restart(bench, announces=True)
    bench.phone.send(RELAY, b"alarm")
    assert octets(bench.run(60)) == [b"alarm"]
    assert [sms.data for sms in bench.phone.received] == [b"receipt"]


def test_no_network_is_told_and_so_is_its_end(bench: Bench) -> None:
    bench.run(30)
    bench.far.modem.service = False
    bench.run(60)
    told = [report.what for report in bench.reports if isinstance(report, Trouble)]
    assert told == ["the modem is not registered with a network"]
    bench.far.modem.service = True
    bench.run(60)
    assert bench.reports[-1] == Recovered("the modem is not registered with a network")

"""What comes down: acceptance, closing, settings and revocation, on both paths, once each, and from nobody else."""

import cbor2
import pytest

from hwsim.scenario import wearer
from relay import receipt
from relay.pipeline import Status
from relay.store import chains, commands
from relay.store.chains import Replacement
from relay.verify import down
from relay.verify.ratchet import ChainState
from relay.verify.seal import seal

ACCEPTED = [90, 90, 90, 90, 300]
CLOSED = [250, 250, 250]


def felt(bench, since_us):
    return [round(ms, -1) for ms in bench.bracelet.haptic.felt_since(since_us) if ms > 60]


def pressed(bench, world, **boot):
    bench.boot(settle=20)
    bench.press()
    world.expect("firmware", "receipt", within=30)
    world.run(3)
    return bench


def unfinished(bench):
    with bench.store.read() as connection:
        return commands.unfinished(connection, int(bench.kid, 16))


@pytest.mark.parametrize("path", ["mqtt", "sms"])
def test_a_person_accepts_and_it_is_felt_once(make_bench, world, path):
    bench = pressed(make_bench(wifi=path == "mqtt"), world)
    start = world.now_us
    bench.accept()
    world.expect("firmware", "accept", within=10, path=path)
    world.run(3)
    assert felt(bench, start) == ACCEPTED
    for command in bench.told[:]:
        bench.tell(command)  # whoever has it may send it again, for ever
    world.expect("firmware", "refused", within=10, what="down", reason="ratchet:_replay")
    world.run(30)
    assert felt(bench, start) == ACCEPTED


def test_a_heartbeat_confirms_it_at_once(bench, world):
    pressed(bench, world)
    bench.accept()
    world.expect("relay", "heartbeat", within=10)
    assert unfinished(bench) == []
    assert len(bench.told) == 1


def test_acceptance_survives_a_reset_and_is_not_felt_again(bench, world):
    pressed(bench, world)
    bench.accept()
    world.expect("firmware", "accept", within=10)
    bench.bracelet.reset()
    world.expect("firmware", "armed", within=5)
    world.expect("firmware", "link", within=10, path="mqtt", up=1)
    world.run(1)  # subscribed: the broker keeps nothing for who is away
    start = world.now_us
    bench.tell(bench.told[0])
    world.expect("firmware", "refused", within=40, what="down", reason="ratchet:_replay")
    world.run(3)
    assert felt(bench, start) == []


@pytest.mark.parametrize("order", ["accept", "close_alarm"])
def test_of_what_was_called_back_no_order_is_felt_or_told_from_another(bench, world, order):
    """The relay gives none any more; this one was sealed before the cancel reached it, and was on its way."""
    pressed(bench, world)
    bench.bracelet.wifi.up = False
    world.run(2)
    getattr(bench, order)()
    bench.forget_sessions()
    for _ in range(2):
        bench.bracelet.button.press(0.15)
        world.run(0.45)
    bench.bracelet.button.hold(3.3)
    world.expect("firmware", "cancelled", within=5)
    bench.bracelet.wifi.up = True
    world.expect("firmware", "link", within=60, path="mqtt", up=1)
    world.run(5)
    start = world.now_us
    bench.tell(bench.told[0])
    world.expect("firmware", "order", within=10)
    world.run(3)
    assert felt(bench, start) == []
    world.expect("firmware", "update", within=700)  # and it changes nothing
    world.run(70)  # until the relay has looked again
    assert unfinished(bench) == []
    assert len(bench.told) == 2


@pytest.mark.parametrize("order", ["accept", "close_alarm"])
def test_no_order_leaves_for_what_was_called_back(bench, world, order):
    pressed(bench, world)
    wearer.call_back(bench)
    world.expect("firmware", "cancelled", within=8)
    world.run(5)
    getattr(bench, order)()
    world.run(4000)
    assert bench.told == []


@pytest.mark.parametrize("path", ["mqtt", "sms"])
def test_the_relay_closes_the_alarm_and_no_update_follows(make_bench, world, path):
    bench = pressed(make_bench(wifi=path == "mqtt"), world)
    start = world.now_us
    bench.close_alarm()
    world.expect("firmware", "close", within=10, path=path)
    world.run(3)
    assert felt(bench, start) == CLOSED
    before = len(bench.accepted())
    world.expect_nothing("firmware", "update", within=1800)
    assert len(bench.accepted()) == before


def test_a_closed_alarm_stays_closed_after_a_reset_and_a_hold_raises_a_new_one(bench, world):
    pressed(bench, world)
    bench.close_alarm()
    world.expect("firmware", "close", within=10)
    bench.bracelet.reset()
    world.expect("firmware", "armed", within=5)
    world.expect_nothing("firmware", "update", within=120)
    bench.press()
    world.run(5)
    assert [document["seq"] for document in bench.documents().values()][-1] == 0


def test_a_command_comes_after_an_outage(bench, world):
    """What the broker forgot is sent again until a heartbeat shows that it arrived."""
    pressed(bench, world)
    bench.bracelet.wifi.up = False
    world.run(15)
    bench.accept()
    bench.forget_sessions()
    bench.bracelet.wifi.up = True
    world.expect("firmware", "accept", within=400)
    world.run(10)
    assert unfinished(bench) == []
    assert len(bench.told) > 1
    assert len({command.octets for command in bench.told}) == 1


def test_settings_are_used_at_once_and_after_a_reset(bench, world):
    bench.boot(settle=70)
    bench.configure(heartbeat_s=60, hold_ms=1500)
    world.expect("firmware", "configure", within=10, news=1)
    world.run(5)
    assert unfinished(bench) == []
    for _ in range(2):
        beats = len([item for item in bench.items if item.status == Status.HEARTBEAT])
        world.run(600)
        assert 9 <= len([item for item in bench.items if item.status == Status.HEARTBEAT]) - beats <= 11
        bench.bracelet.button.press(1.7)
        world.expect("firmware", "raised", within=2)
        bench.bracelet.reset()
        world.expect("firmware", "armed", within=5)
        world.run(80)


def test_of_two_configurations_in_the_wrong_order_the_newer_one_holds(bench, world):
    bench.boot(settle=70)
    bench.configure(heartbeat_s=900)  # the first message after the relay's start lies a leap ahead
    world.expect("firmware", "configure", within=5, news=1)
    world.run(5)
    bench.bracelet.wifi.up = False
    world.run(15)
    bench.configure(hold_ms=5000)
    bench.configure(hold_ms=1500)
    bench.forget_sessions()
    bench.bracelet.wifi.up = True
    world.expect("wifi", "up")
    world.expect("firmware", "link", within=50, path="mqtt", up=1)
    older, newer = bench.told[1], bench.told[2]
    world.run(2)
    bench.tell(newer)
    world.expect("firmware", "configure", within=5, news=1)
    bench.tell(older)
    world.expect("firmware", "configure", within=5, news=0)
    bench.bracelet.button.press(1.7)
    world.expect("firmware", "raised", within=2)


def test_what_a_heartbeat_shows_to_be_missing_is_sent_again(bench, world):
    """A receipt that was lost, for a message that the bracelet no longer has, must not hide that a command came."""
    pressed(bench, world)
    octets = seal_behind_its_back(bench)
    bench.accept()
    world.expect("firmware", "accept", within=10)
    world.run(5)
    assert [row.kind for row in unfinished(bench)] == [1]  # something before it is missing
    bench.broker.publish(f"b/{bench.kid[0]}/{bench.kid}/ack", octets)
    world.run(1000)
    assert unfinished(bench) == []


def seal_behind_its_back(bench):
    """Uses up one counter of the down chain for a receipt that nobody sends."""
    kid = int(bench.kid, 16)
    with bench.store.write() as connection:
        stored = chains.read(connection, bench.store.box, [kid])[kid, chains.DOWN]
        octets, state = receipt.make(bytes.fromhex(bench.kid), stored.state, 77)
        chains.replace(bench.store, connection, [Replacement(kid, chains.DOWN, stored.version, state)])
    bench.pipeline.roster.drop(kid)
    return octets


@pytest.mark.parametrize("path", ["mqtt", "sms"])
def test_forged_foreign_truncated_and_malformed_commands_do_nothing(make_bench, world, path):
    bench = pressed(make_bench(wifi=path == "mqtt"), world)
    kid = bytes.fromhex(bench.kid)
    good, _ = seal(kid, 1, bytes(32), down.about(down.Kind.CLOSE, 0))
    foreign, _ = seal(b"none", 1, bytes(32), down.revoke())
    wipe, _ = seal(kid, 1, bytes(32), down.revoke())
    for octets in (good, good[:-1], foreign, wipe, wipe + b"\0", b"", b"\xff" * 140, bytes(141)):
        if path == "mqtt":
            bench.broker.publish(f"b/{bench.kid[0]}/{bench.kid}/ack", octets)
        else:
            bench.phone.send("+10000000001", octets[:140])
        world.run(5)
    start = world.now_us
    assert not any(event.what in ("accept", "close", "configure", "revoke") for event in world.trace)
    assert not any(event.what in ("restarted", "crashed") for event in world.trace)
    world.expect("firmware", "update", within=700)
    assert felt(bench, start) == []


def malformed(bench, body):
    """An authentic message of this relay with a body that breaks the grammar."""
    kid = int(bench.kid, 16)
    with bench.store.write() as connection:
        stored = chains.read(connection, bench.store.box, [kid])[kid, chains.DOWN]
        octets, key = seal(bytes.fromhex(bench.kid), stored.state.next, stored.state.key, body)
        after = ChainState(stored.state.next + 1, key)
        chains.replace(bench.store, connection, [Replacement(kid, chains.DOWN, stored.version, after)])
    bench.pipeline.roster.drop(kid)
    bench.broker.publish(f"b/{bench.kid[0]}/{bench.kid}/ack", octets)


def test_a_malformed_command_is_refused_and_the_next_one_is_heard(bench, world):
    pressed(bench, world)
    bodies = [[1, 4, 0], [1, 3, {1: 59}], [1, 3, {4: 1}], [1, 3, [1]], [1, 1], [1, 5, 0], [2, 4], [1], 7, [1, 2, -1]]
    for body in bodies:
        malformed(bench, cbor2.dumps(body))
        world.expect("firmware", "refused", within=5, what="down")
    bench.accept()
    world.expect("firmware", "accept", within=10)

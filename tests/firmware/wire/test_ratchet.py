"""The device's receiving chain under loss, reordering, duplication, damage and restarts, against a model."""

from __future__ import annotations

import random
from typing import Any

import pytest

from relay.verify.keys import message_key, next_chain_key
from relay.verify.seal import seal_receipt

from .interpreter import Device, Refused

KEPT, LEAP, FARTHEST = 64, 128, 5000
KID = bytes.fromhex("0a0b0c0d")


class Model:
    """Which receipts must open, and the state that must follow."""

    def __init__(self, root: bytes) -> None:
        self.root = root
        self.next = 0
        self.skipped: set[int] = set()

    def opens(self, counter: int) -> bool:
        if counter < self.next:
            if counter not in self.skipped:
                return False
            self.skipped.remove(counter)
            return True
        if counter - self.next > FARTHEST:
            return False
        leap = counter - self.next >= LEAP
        first = counter - counter % LEAP if leap else self.next
        self.skipped = (set() if leap else self.skipped) | set(range(first, counter))
        self.skipped = set(sorted(self.skipped)[-KEPT:])
        self.next = counter + 1
        return True

    def state(self) -> list[Any]:
        keys = [self.root]
        for _ in range(self.next):
            keys.append(next_chain_key(keys[-1]))
        return [self.next, keys[self.next], {n: message_key(keys[n]) for n in self.skipped}]


def receipts(root: bytes, n: int) -> list[bytes]:
    messages, key = [], root
    for counter in range(n):
        message, key = seal_receipt(KID, counter, key, 1000 + counter)
        messages.append(message)
    return messages


def damaged(rng: random.Random, message: bytes) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        return message[: rng.randrange(len(message))]
    if kind == 1:
        return message + rng.randbytes(rng.randrange(1, 5))
    octets = bytearray(message)
    for _ in range(kind):
        octets[rng.randrange(len(octets))] ^= 1 << rng.randrange(8)
    return bytes(octets)


def schedule(rng: random.Random, n: int) -> list[int]:
    """Counters as they arrive: some lost, some late, some twice."""
    arrivals = []
    for counter in range(n):
        late = rng.choice([0, 0, 0, 1, 3, 10, 60])
        for _ in range(rng.choice([0, 1, 1, 1, 2])):
            arrivals.append((counter + late + rng.randrange(3), counter))
    return [counter for _, counter in sorted(arrivals, key=lambda arrival: arrival[0])]


@pytest.mark.parametrize("restarts", [False, True])
def test_loss_reordering_duplication_and_damage(device: Device, restarts: bool) -> None:
    """With `restarts` the chain is made anew from its stored state before every message."""
    rng = random.Random(13)
    for _ in range(25):
        root = rng.randbytes(32)
        messages, model = receipts(root, 80), Model(root)
        arrivals: list[tuple[bytes, int | None]] = []
        for counter in schedule(rng, 80):
            while rng.random() < 0.3:
                forgery = damaged(rng, messages[rng.randrange(80)])
                if forgery not in messages:
                    arrivals.append((forgery, None))
            arrivals.append((messages[counter], counter))
        if restarts:
            state, results = [0, root, {}], []
            for message, _ in arrivals:
                results += device.call("receive", KID, state, [message])
                state = results[-1][1]
        else:
            results = device.call("receive", KID, [0, root, {}], [message for message, _ in arrivals])
        for (_, counter), (result, state) in zip(arrivals, results, strict=True):
            if counter is not None and model.opens(counter):
                assert result == ["receipt", 1000 + counter]
            else:
                assert isinstance(result, str)
            assert state[0] == model.next
            assert set(state[2]) == model.skipped
        assert results[-1][1] == model.state()


def test_every_flipped_bit_and_every_truncation_moves_nothing(device: Device) -> None:
    root = bytes(range(32))
    message = receipts(root, 3)[2]
    forgeries = [message[:n] for n in range(len(message))]
    for bit in range(8 * len(message)):
        octets = bytearray(message)
        octets[bit // 8] ^= 1 << bit % 8
        forgeries.append(bytes(octets))
    results = device.call("receive", KID, [0, root, {}], [*forgeries, message, message])
    for result, state in results[:-2]:
        assert isinstance(result, str)
        assert state == [0, root, {}]
    assert results[-2][0] == ["receipt", 1002]
    assert results[-1][0] == "ratchet: replay"


def test_another_bracelets_receipt_is_refused(device: Device) -> None:
    root = bytes(32)
    message, _ = seal_receipt(bytes(4), 0, root, 7)
    (result, state), (own, _) = device.call("receive", KID, [0, root, {}], [message, receipts(root, 1)[0]])
    assert result == "down: another bracelet's"
    assert state == [0, root, {}]
    assert own == ["receipt", 1000]


def test_gap(device: Device) -> None:
    """The farthest message opens; one farther is refused before any work is done for it."""
    root = bytes(32)
    messages = receipts(root, FARTHEST + 2)
    assert device.call("scan", [0, root, {}], FARTHEST, 32) == [FARTHEST // 32 + 1, True]
    with pytest.raises(Refused, match="gap"):
        device.call("scan", [0, root, {}], FARTHEST + 1, 32)
    (far, untouched), (result, state) = device.call(
        "receive", KID, [0, root, {}], [messages[FARTHEST + 1], messages[FARTHEST]]
    )
    assert (far, untouched) == ("ratchet: gap", [0, root, {}])
    assert result == ["receipt", 1000 + FARTHEST]
    assert state[0] == FARTHEST + 1
    assert set(state[2]) == set(range(FARTHEST - FARTHEST % LEAP, FARTHEST))


def test_a_leap_forgets_what_lies_before_it_and_a_gap_does_not(device: Device) -> None:
    """A relay that was put back steps forward on purpose: what it never sealed would be missed for ever."""
    root = bytes(32)
    messages = receipts(root, LEAP + 6)
    for first, kept in ((2, 2), (LEAP + 4, 5)):
        results = device.call("receive", KID, [0, root, {}], [messages[1], messages[first + 1], messages[0]])
        opened = [isinstance(result, list) for result, _ in results]
        assert opened == [True, True, kept == 2]
        assert len(results[1][1][2]) == kept


@pytest.mark.parametrize(("every", "most"), [(3, KEPT + 1), (40, KEPT + 1), (10**6, 2), (7, 5)])
def test_a_lack_of_memory_costs_at_most_the_keys_of_what_was_passed(device: Device, every: int, most: int) -> None:
    """Wherever it strikes: what comes next opens. Before, a chain whose table found no room lost its place, and opened
    nothing more of the relay's until the next start."""
    root = bytes(32)
    messages = receipts(root, 2 * LEAP + 80)
    arrivals = (0, LEAP + 10, LEAP + 11, LEAP + 60, 2 * LEAP + 79)
    results = device.call("receive_short_of_memory", KID, [0, root, {}], [messages[n] for n in arrivals], every, most)
    assert [result for result, _ in results] == [["receipt", 1000 + n] for n in arrivals]
    model = Model(root)
    for counter, (_, state) in zip(arrivals, results, strict=True):
        assert model.opens(counter)
        wanted = model.state()
        assert state[:2] == wanted[:2]
        assert state[2].items() <= wanted[2].items()
        if most > KEPT:
            assert state[2] == wanted[2]
        model.skipped = set(state[2])


def test_before_a_leap_no_keys_are_kept(device: Device) -> None:
    """A table of them would want one long stretch of the heap, and nothing of it is ever asked for."""
    root = bytes(32)
    message = receipts(root, 2 * LEAP + 1)[-1]
    ((result, state),) = device.call("receive_short_of_memory", KID, [0, root, {}], [message], 10**6, 1)
    assert (result, state[0], state[2]) == (["receipt", 1000 + 2 * LEAP], 2 * LEAP + 1, {})


def test_scan_works_in_small_steps_and_moves_nothing(device: Device) -> None:
    root = bytes(32)
    assert device.call("scan", [0, root, {}], 0, 32) == [1, True]
    assert device.call("scan", [0, root, {}], 31, 32) == [1, True]
    assert device.call("scan", [0, root, {}], 32, 32) == [2, True]
    assert device.call("scan", [0, root, {}], 9, 1) == [10, True]
    key = message_key(next_chain_key(root))
    assert device.call("scan", [5, root, {1: key}], 1, 32) == [1, True]
    for used in (0, 2, 4):
        with pytest.raises(Refused, match="replay"):
            device.call("scan", [5, root, {1: key}], used, 32)


def test_a_forged_counter_is_paid_for_once(device: Device) -> None:
    """However often it is asked for a far key, the chain keeps what it worked out, and gives the right near ones."""
    root = bytes(32)
    messages = receipts(root, 3001)
    forged = messages[3000][:-1] + bytes([messages[3000][-1] ^ 1])
    arrivals = [forged, messages[2], forged, messages[0], messages[1], forged, messages[2990], messages[3000]]
    results = [result for result, _ in device.call("receive", KID, [0, root, {}], arrivals)]
    assert [result for result in results if isinstance(result, str)] == ["ratchet: tag"] * 3
    assert [result[1] for result in results if isinstance(result, list)] == [1002, 1000, 1001, 3990, 4000]


def test_noise_never_does_more_than_be_refused(device: Device) -> None:
    rng = random.Random(14)
    root = bytes(32)
    good = receipts(root, 40)
    noise = [rng.randbytes(rng.randrange(0, 160)) for _ in range(1500)]
    noise += [damaged(rng, rng.choice(good)) for _ in range(1500)]
    noise = [message for message in noise if message not in good]
    for result, state in device.call("receive", KID, [0, root, {}], noise):
        assert isinstance(result, str)
        assert state == [0, root, {}]


def test_what_the_relay_never_says_is_refused(device: Device) -> None:
    """Sealed with the right key, but not in the grammar: other versions, kinds, types and lengths."""
    bodies: list[Any] = [
        [2, 0, 5],
        [1, 5, 5],
        [1, 4, 5],
        [1, 1],
        [1, 3, 5],
        [1, -1, 5],
        [1, 0],
        [1, 0, 5, 6],
        [1, 0, -1],
        [1, 0, 2**32],
        [1, 0, "5"],
        [1, 0, None],
        [1, 0, True],
        [True, 0, 5],
        [1, False, 5],
        {1: 0},
        5,
        b"",
    ]
    for body in bodies:
        message = device.call("seal_down", KID, 0, bytes(32), body)
        ((result, _),) = device.call("receive", KID, [0, bytes(32), {}], [message])
        assert isinstance(result, str)
        assert result.startswith("down: ")


def test_what_is_missing_is_the_lowest_that_can_still_come(device: Device) -> None:
    root = bytes(range(32))
    messages = receipts(root, 80)
    for order, expected in (([], 0), ([0], 1), ([0, 1], 2), ([1], 0), ([0, 2, 4], 1), ([4, 0, 1], 2), ([70], 6)):
        results = device.call("receive", KID, [0, root, {}], [messages[number] for number in order])
        state = results[-1][1] if results else [0, root, {}]
        assert device.call("missing", state) == expected, order


def test_what_lies_behind_a_leap_is_missed_whichever_comes_first(device: Device) -> None:
    """A relay's first message since its start leaps. When that one is lost and the second comes, it must be missed."""
    root = bytes(32)
    messages = receipts(root, 2 * LEAP + 2)
    results = device.call("receive", KID, [3, state_at(root, 3), {}], [messages[2 * LEAP + 1], messages[2 * LEAP]])
    assert [result for result, _ in results] == [["receipt", 1000 + 2 * LEAP + 1], ["receipt", 1000 + 2 * LEAP]]
    assert sorted(results[0][1][2]) == [2 * LEAP], "a heartbeat tells that it is missing"


def state_at(root: bytes, counter: int) -> bytes:
    key = root
    for _ in range(counter):
        key = next_chain_key(key)
    return key

"""Plays a life on a rig and reports what came of it."""

from __future__ import annotations

import contextlib
import hashlib
import resource
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import cbor2
from sqlalchemy import select

from hwsim.rig import APN, PHONE, RELAY_NUMBER, WIFI, Rig
from hwsim.scenario import actions
from hwsim.soak import facts as trace_facts
from hwsim.soak import judge
from hwsim.soak.draw import end, on_stock_image
from hwsim.soak.judge import Evidence, Failure
from hwsim.soak.life import Life, Step
from hwsim.world import Track, World
from relay.store import schema
from relay.verify import parse

# Time from the moment when everything works again until everything must be delivered. firmware/delivery.md:
# at most five minutes between two tries, twice that for a new connection, and a modem that must be switched on.
QUIET_S = 1500.0
LOOK_S = 60.0  # between two checks whether all is delivered
LINGER_S = 120.0  # more of the life once all is delivered: something wrong may still follow
MEMORY_MAX_KIB = 1 << 20  # of the simulator's process
_JOURNAL_HEAD, _JOURNAL_CHECK = 12, 8  # firmware/tocsin/journal.py


@dataclass
class Outcome:
    """The outcome of a life, as plain data that passes between processes. Times are in seconds."""

    seed: int
    digest: str = ""
    raised: int = 0
    called_back: int = 0
    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    waits: list[float] = field(default_factory=list)  # from the press to the receipt
    paths: Counter[str] = field(default_factory=Counter)  # of Alerts: the path on which each came first
    sms_ways: Counter[str] = field(default_factory=Counter)  # judge.sms_ways; "excepted": late, and modem_starts False
    refused: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    simulated_s: float = 0.0
    wall_s: float = 0.0
    trace: str = ""  # only when asked for, or when the life failed


def play(life: Life, firmware: Path | None = None, keep_trace: bool = False) -> Outcome:
    """Play a life to its end. An error of the relay or the simulator is a failure of the rule "simulation"."""
    outcome = Outcome(life.seed, actions=Counter(step.do for step in life.steps))
    started = time.perf_counter()
    track = Track(life.track)
    with contextlib.ExitStack() as stack:
        # The world's own folder lies in it: a life that is ended just then leaves one thing to remove, not two.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hwsim-soak-"))
        world = stack.enter_context(World(seed=life.seed, folder=Path(folder)))
        rig = Rig(
            world,
            Path(folder),
            wifi=life.wifi,
            apn=APN if life.apn else None,
            track=track,
            firmware=firmware,
            board=life.board,
            loaded=on_stock_image(life),
        )
        stack.callback(rig.close)
        try:
            rig.provision()
            rig.bracelet.boot()
            _live(rig, life)
            evidence = _evidence(rig, life, track)
            verdict = judge.judge(evidence)
            outcome.checks, outcome.failures = verdict.checks, verdict.failures
            outcome.sms_ways = Counter(judge.sms_ways(evidence).values())
            if not evidence.modem_starts:
                outcome.sms_ways["excepted"] = outcome.sms_ways.pop("late", 0)
        except Exception as error:  # any error that a life causes in the relay or the simulator is a finding
            first = (str(error).splitlines() or [""])[0]
            where = traceback.extract_tb(error.__traceback__)[-1]
            why = f"{type(error).__name__} in {where.name}, {Path(where.filename).name}:{where.lineno}: {first}"
            outcome.failures = [Failure("simulation", why, world.now_us)]
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if peak_kib > MEMORY_MAX_KIB:
            outcome.failures.append(Failure("memory", f"the simulator has used {peak_kib} KiB"))
        _figures(outcome, rig)
        outcome.digest = world.digest()
        outcome.simulated_s = world.now_us / 1e6
        if keep_trace or outcome.failures:
            outcome.trace = world.format_trace()
    outcome.wall_s = time.perf_counter() - started
    return outcome


def calm(life: Life) -> list[Step]:
    """List the steps that end everything that may be wrong at the end of this life."""
    ends = [end(name) for name in sorted({step.do for step in life.steps})]
    return [step for step in ends if step is not None]


def _live(rig: Rig, life: Life) -> None:
    world = rig.world
    born = world.now_us

    def until(at: float) -> None:
        world.run(max(0.0, born / 1e6 + at - world.now_us / 1e6))

    for step in life.steps:
        until(step.at)
        actions.do(rig, step.do, **step.arguments)
    until(life.calm_at)
    for step in calm(life):
        actions.do(rig, step.do, **step.arguments)
    last = world.now_us + round(QUIET_S * 1e6)
    while world.now_us < last and not _all_delivered(rig):
        world.run(LOOK_S)
    world.run(LINGER_S)
    if rig.bracelet.state != "off":
        rig.bracelet.power_cut()


def _all_delivered(rig: Rig) -> bool:
    """Tell whether the bracelet has its receipt for every alarm and cancel, as far as its console tells."""
    facts = trace_facts.read(rig.world.trace)
    if rig.bracelet.state == "off" or not facts.armed or facts.armed[-1].end is not None:
        return False
    return not set({**facts.raised, **facts.cancels}) - set(facts.receipts) - judge.withdrawn(facts)


def _evidence(rig: Rig, life: Life, track: Track) -> Evidence:
    world, bracelet = rig.world, rig.bracelet
    sent = [message for message in rig.broker.published if message.client]
    with rig.store.read() as connection:
        stored = [row.counter for row in connection.execute(select(schema.alarm.c.counter))]
    contents = {name: bracelet.files.get(f"/{name}") for name in bracelet.files.names("/")}
    return Evidence(
        facts=trace_facts.read(world.trace),
        world_start=world.start,
        track=track,
        documents=list(rig.documents().values()),
        copies=dict(rig.rebroadcasts),
        stored=stored,
        refused=rig.refused(),
        alarm_octets=[message.payload for message in sent if message.topic.endswith("/alarm")]
        + [sms.data for sms in world.sms.submitted if sms.sender == PHONE],
        heartbeat_octets=[message.payload for message in sent if message.topic.endswith("/hb")],
        files=sorted(contents),
        kept_on_flash=_kept(rig),
        trace_text="\n".join(f"{event.who} {event.what} {dict(event.detail)}" for event in world.trace),
        secrets=_secrets(rig, contents),
        jump_m=max((abs(float(s.arguments["metres"])) for s in life.steps if s.do == "gnss_jump"), default=0.0),
        gnss_offset_s=max((abs(float(s.arguments["s"])) for s in life.steps if s.do == "gnss_clock"), default=0.0),
        clock_offset_s=max(
            (abs(float(s.arguments["offset_s"])) for s in life.steps if s.do == "network_time"), default=0.0
        ),
        texted=_texted(rig),
        modem_starts=not any(step.do in ("modem_blocks", "modem_kills") for step in life.steps),
        hangs=sum(step.do == "hang" for step in life.steps)
        + sum(e.what == "driver call" and e.detail["ends"] == "blocks" for e in rig.world.trace),
    )


def _texted(rig: Rig) -> dict[int, int]:
    first: dict[int, int] = {}
    centre = rig.world.sms
    for sms, at in zip(centre.submitted, centre.submitted_us, strict=True):
        if sms.sender == PHONE:
            first.setdefault(parse(sms.data).counter, at)
    return first


def _journal(rig: Rig) -> list[object]:
    """Return the journal's newest whole record, decoded; [] when there is none. The other slot may be torn."""
    partition = rig.bracelet.flash.journal
    slots = [partition[: len(partition) // 2], partition[len(partition) // 2 :]]
    whole = [slot for slot in slots if _is_whole(slot)]
    if not whole:
        return []
    slot = max(whole, key=lambda slot: slot[4:8])
    record: list[object] = cbor2.loads(slot[_JOURNAL_HEAD : _JOURNAL_HEAD + _length(slot)])
    return record


def _length(slot: bytes) -> int:
    return int.from_bytes(slot[8:_JOURNAL_HEAD], "big")


def _is_whole(slot: bytes) -> bool:
    end = _JOURNAL_HEAD + _length(slot)
    check = hashlib.sha256(slot[:end]).digest()[:_JOURNAL_CHECK]
    return slot[:4] == b"TCJ1" and slot[end : end + _JOURNAL_CHECK] == check


def _kept(rig: Rig) -> list[tuple[int, int]]:
    record = _journal(rig)
    messages = record[5] if record else []
    assert isinstance(messages, list)
    return [(message[0], message[2]) for message in messages]


def _secrets(rig: Rig, contents: dict[str, bytes]) -> list[str]:
    """List the secrets: phone numbers, password, key of the access point, signing seed, every position sent."""
    words = {PHONE, PHONE[1:], RELAY_NUMBER, RELAY_NUMBER[1:], rig.offer["mqtt"]["password"], WIFI[1]}
    words.add(contents["identity"][-40:-8].hex())
    for document in rig.documents().values():
        if document["position"]:
            lat, lon = document["position"]["lat_e7"], document["position"]["lon_e7"]
            words |= {str(lat), str(lon), f"{lat / 1e7:.4f}", f"{lon / 1e7:.4f}"}
    return sorted(words)


def _figures(outcome: Outcome, rig: Rig) -> None:
    facts = trace_facts.read(rig.world.trace)
    accepted = rig.accepted()
    outcome.raised, outcome.called_back = len(facts.raised), len(facts.cancels)
    outcome.delivered = sum(counter in accepted for counter in facts.raised)
    outcome.lost = len(set(facts.raised) - set(accepted) - judge.withdrawn(facts))
    outcome.duplicated = sum(times - 1 for times in rig.rebroadcasts.values())
    outcome.refused = rig.refused()
    for story in rig.alarms():
        if story.relay_path:
            outcome.paths[story.relay_path] += 1
        if story.receipt_us is not None:
            outcome.waits.append((story.receipt_us - story.pressed_us) / 1e6)

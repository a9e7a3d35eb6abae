# sans-I/O, but for the store
"""The relay's commands to bracelets, beside receipts: an alarm is accepted or closed, settings, updates, revocation.

`Desk` is the operator's side: it writes down requests, in any process. `Downlink` is the running relay's side: it seals
what was asked for, in the transaction that moves the down chain, and says which commands to send now. This module sends
nothing. A command is sent again until a heartbeat shows that it arrived: at growing intervals, and whenever a heartbeat
shows that it didn't.

After a cancel, the bracelet is sent no acceptance or closing of that alarm, or of an earlier one. An attacker who has
forced the cancel holds the bracelet and sees its traffic. An operator's actions, and their times, must not tell the
attacker whether the relay believes the cancel. The bracelet would heed neither (`secret` in the firmware's alarm.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, or_, select, update

from relay import outbox, receipt, registry, words
from relay.cases import opening
from relay.registry import Registry, RegistryError
from relay.rollback import Lead, within_reach
from relay.store import chains, commands, records, schema
from relay.store.chains import Replacement
from relay.store.database import StaleState, Store
from relay.store.schema import COUNTERS
from relay.subscribers import audiences
from relay.verify import down
from relay.verify.down import Kind
from relay.verify.keys import RelayKeys
from relay.verify.ratchet import ChainState
from relay.verify.seal import seal

AGAIN_S = (60, 600, 3600, 21600)  # seconds after each attempt; the last one for ever
LEASE_S = 5  # seconds from taking a command until it is taken again if nothing was sent
SMS_ATTEMPTS = 4
DAY_MS = 86_400_000
EXPIRES_MS = {Kind.ACCEPT: 7 * DAY_MS, Kind.CLOSE: 7 * DAY_MS, Kind.CONFIGURE: 30 * DAY_MS, Kind.UPDATE: 30 * DAY_MS}
_STATE = {Kind.ACCEPT: "accepted", Kind.CLOSE: "closed"}
_IMPLAUSIBLE_MS = 5 * 365 * DAY_MS  # an age beyond this means a wrong clock, now or before; then the command is sent
_ALARM = re.compile(r"([0-9a-f]{8})-(0|[1-9][0-9]{0,7})")
_T = schema.command.c
_SAID = {
    Kind.ACCEPT: "case.accepted",
    Kind.CLOSE: "case.closed",
    Kind.CONFIGURE: "bracelet.configured",
    Kind.UPDATE: "bracelet.updating",
}


class CommandError(Exception):
    """A request of an operator that makes no sense now; the message says why and what to do."""


class Asked(NamedTuple):
    """A command as it was asked for."""

    kid: str
    kind: Kind
    alarm: str | None = None
    settings: dict[str, int] | None = None
    tells: bool = True  # False: the bracelet will not be told, because it is revoked or its wearer has cancelled
    called_back: bool = False  # the wearer has cancelled this alarm
    later_called_back: bool = False  # the wearer has cancelled a later alarm, and not this one


class Outbound(NamedTuple):
    """A sealed command that is to be sent now, by MQTT and, when there is a number, by SMS too."""

    id: int
    kid: str
    kind: Kind
    counter: int
    octets: bytes
    number: str | None

    @property
    def topic(self) -> str:
        return receipt.topic(self.kid)

    def __repr__(self) -> str:
        return f"Outbound({self.kid}, {self.kind.name}, {self.counter})"


class Desk:
    """An operator's requests. Each is on disk when the call returns; a running relay takes it up within a second."""

    def __init__(self, store: Store, registry: Registry, actor: str = "operator") -> None:
        self.store = store
        self.registry = registry
        self.actor = actor

    def accept(self, alarm: str, *, now: float, by: str | None = None) -> Asked:
        """Record that a person, `by`, has accepted this alarm ("<key id>-<counter>"): the wearer will feel it."""
        return self._about(Kind.ACCEPT, alarm, by, int(now * 1000))

    def close(self, alarm: str, *, now: float, by: str | None = None) -> Asked:
        """Record that this alarm is over: the bracelet stops its Updates."""
        return self._about(Kind.CLOSE, alarm, by, int(now * 1000))

    def configure(self, kid: str, settings: Mapping[str, int], *, now: float) -> Asked:
        """Change these settings (relay.verify.down.SETTINGS) of a bracelet."""
        if not settings:
            raise CommandError("name at least one setting")
        try:
            down.configure(settings)
        except ValueError as error:
            raise CommandError(str(error)) from None
        number, now_ms = self._number(kid), int(now * 1000)
        with self.store.write() as connection:
            _may_command(connection, number)
            before = commands.unfinished(connection, number, Kind.CONFIGURE)
            merged: dict[str, int] = {}
            for row in before:  # settings that may not have arrived are sent again
                merged |= commands.settings_of(row.body)
            merged |= settings
            commands.finish(connection, [row.id for row in before], "superseded", now_ms)
            commands.add(connection, number, Kind.CONFIGURE, down.configure(merged), now_ms)
            records.write_audit(self.store, connection, [(now_ms, self.actor, _SAID[Kind.CONFIGURE], number, None)])
        return Asked(kid, Kind.CONFIGURE, settings=merged)

    def update(self, kid: str, bundle: down.Bundle, *, now: float) -> Asked:
        """Have a bracelet fetch and install this bundle, which must be at the broker already (relay/bundles.py)."""
        try:
            body = down.update(bundle)
        except ValueError as error:
            raise CommandError(str(error)) from None
        number, now_ms = self._number(kid), int(now * 1000)
        with self.store.write() as connection:
            _may_command(connection, number)
            before = [row.id for row in commands.unfinished(connection, number, Kind.UPDATE)]
            commands.finish(connection, before, "superseded", now_ms)
            commands.add(connection, number, Kind.UPDATE, body, now_ms)
            records.write_audit(self.store, connection, [(now_ms, self.actor, _SAID[Kind.UPDATE], number, None)])
        return Asked(kid, Kind.UPDATE)

    def withdraw(self, bundle: down.Bundle, *, now: float) -> list[str]:
        """Withdraw a bundle, so that no bracelet fetches it any more; return the key ids of those that had been told
        to. The caller must remove the bundle's pieces from the broker."""
        now_ms = int(now * 1000)
        with self.store.write() as connection:
            numbers = commands.withdraw(connection, down.update(bundle), now_ms)
            said = [(now_ms, self.actor, "bracelet.update_withdrawn", number, None) for number in numbers]
            records.write_audit(self.store, connection, said)
        return sorted({f"{number:08x}" for number in numbers})

    def unwanted(self, *, now: float) -> set[down.Bundle]:
        """List the bundles that were ordered, and that no bracelet is to fetch any more."""
        with self.store.read() as connection:
            return commands.bundles(connection, int(now * 1000) - EXPIRES_MS[Kind.UPDATE])[1]

    def revoke(self, kid: str, *, now: float) -> Asked | None:
        """Have a bracelet wiped. From now on the relay refuses its alarms, but takes its heartbeats, and lets it
        connect until one of them confirms the wipe. A bracelet that was never completed is revoked for good at once;
        then this returns None."""
        entry = self.registry.get(kid)
        if entry.state == "offered":
            self.registry.revoke(kid, now=now)
            return None
        number, now_ms = self._number(kid), int(now * 1000)
        with self.store.write() as connection:
            _may_command(connection, number)
            before = [row.id for row in commands.unfinished(connection, number)]
            commands.finish(connection, before, "superseded", now_ms)
            commands.add(connection, number, Kind.REVOKE, down.revoke(), now_ms)
            registry.changed(self.store, connection, self.actor, "bracelet.revoking", number, now_ms)
        return Asked(kid, Kind.REVOKE)

    def _number(self, kid: str) -> int:
        return int(self.registry.get(kid).kid, 16)

    def _about(self, kind: Kind, alarm: str, by: str | None, now_ms: int) -> Asked:
        found = _ALARM.fullmatch(alarm)
        if found is None:
            raise CommandError(
                f"{alarm!r} is not the name of an alarm; give KEY_ID-COUNTER, like c0ffee01-12: `relay alarms` shows it"
            )
        kid, counter = int(found[1], 16), int(found[2])
        with self.store.write() as connection:
            case_id = records.case_of(connection, records.alarm_id(kid, counter)) if counter < COUNTERS else None
            case = opening.read(connection, case_id, lock=True) if case_id is not None else None
            if case_id is None or case is None:
                raise CommandError(f"there is no alarm {alarm}; `relay alarms --all` lists all alarms")
            counter = case_id % COUNTERS
            alarm = f"{found[1]}-{counter}"
            for word, at_ms in (("closed", case.closed_ms), (_STATE[kind], getattr(case, f"{_STATE[kind]}_ms"))):
                if at_ms is not None:
                    who = opening.who(self.store.box, case, word)
                    raise CommandError(
                        f"{alarm} was {word} already, {f'by {who}, ' if who else ''}at {words.utc(at_ms)}"
                    )
            opening.say(connection, self.store.box, case_id, _STATE[kind], by, now_ms)
            told = [each.channel for each in audiences.read(connection, self.store.box) if each.may_hear_of(kid)]
            outbox.promise_case(self.store, connection, case_id, _STATE[kind], told, now_ms)
            void = connection.execute(select(opening.called_back_since(kid, case_id))).scalar_one()
            tells = not void and _why_not(connection, kid) is None
            if tells:
                # A wearer who is told that the alarm is over need not be told that somebody has accepted it.
                before = [row.id for row in commands.unfinished(connection, kid) if row.case_id == case_id]
                commands.finish(connection, before, "superseded", now_ms)
                commands.add(connection, kid, kind, down.about(kind, counter), now_ms, case_id)
            records.write_audit(self.store, connection, [(now_ms, self.actor, _SAID[kind], kid, case_id)])
        called_back = case.cancel_seq is not None
        return Asked(
            found[1], kind, alarm, tells=tells, called_back=called_back, later_called_back=void and not called_back
        )


class Downlink:
    """The running relay's side. It calls `moved` for each bracelet whose down chain it moves behind the pipeline's
    back."""

    def __init__(self, store: Store, keys: RelayKeys, moved: Callable[[int], None], lead: Lead | None = None) -> None:
        self.store = store
        self.keys = keys
        self._moved = moved
        self._lead = lead or Lead()

    def due(self, now: float, limit: int = 50, *, may_expire: bool = True) -> list[Outbound]:
        """Return the commands to send now, sealed. A command that isn't reported by `sent` comes again in a few
        seconds. `may_expire`: this machine's clock is trusted enough to end commands that are too old by it; else
        they wait."""
        now_ms = int(now * 1000)
        # A command that is due later than any schedule says was scheduled by a clock that was ahead.
        due = or_(_T.due_ms <= now_ms, _T.due_ms > now_ms + AGAIN_S[-1] * 1000)
        void = opening.called_back_since(_T.kid, _T.case_id)  # false for a command that is about no alarm
        query = select(schema.command, void.label("void")).where(_T.done_ms.is_(None), or_(due, void))
        query = query.order_by(_T.id).limit(limit)
        with self.store.read() as connection:
            if connection.execute(query.limit(1)).first() is None:
                return []
        outbound, sealed = [], []
        try:
            with self.store.write() as connection:
                rows = connection.execute(query.with_for_update(skip_locked=True)).all()
                fresh = {row.kid for row in rows if row.counter is None and not row.void}
                if self._step_ahead(connection, fresh, now_ms):
                    rows = connection.execute(query.with_for_update(skip_locked=True)).all()
                for row in rows:
                    if row.void:
                        commands.finish(connection, [row.id], "superseded", now_ms)
                        continue
                    age_ms, expires_ms = now_ms - row.requested_ms, EXPIRES_MS.get(row.kind)
                    if expires_ms is not None and expires_ms < age_ms < _IMPLAUSIBLE_MS:
                        if may_expire:
                            commands.finish(connection, [row.id], "expired", now_ms)
                        else:
                            _later(connection, row.id, now_ms + AGAIN_S[0] * 1000)
                        continue
                    found = self._sealed(connection, row)
                    if found is None and row.kind == Kind.REVOKE:  # it stays revoked, even if nobody can tell it
                        _later(connection, row.id, now_ms + AGAIN_S[-1] * 1000)
                        continue
                    if found is None:
                        commands.finish(connection, [row.id], "given up", now_ms)
                        continue
                    if row.counter is None:
                        sealed.append(row.kid)
                    lease = {"counter": found[0], "octets": found[1], "due_ms": now_ms + LEASE_S * 1000}
                    connection.execute(update(schema.command).where(_T.id == row.id).values(lease))
                    outbound.append(self._outbound(connection, row, *found))
        except StaleState:  # another process sealed something for the same bracelet: both are right, one comes later
            return []
        self._lead.taken(sealed)
        for kid in sealed:
            self._moved(kid)
        return outbound

    def sent(self, command: Outbound, now: float) -> None:
        """Record that a command left, on one path at least."""
        now_ms = int(now * 1000)
        with self.store.write() as connection:
            attempts = connection.execute(select(_T.attempts).where(_T.id == command.id)).scalar_one()
            again = now_ms + AGAIN_S[min(attempts, len(AGAIN_S) - 1)] * 1000
            change = {"attempts": attempts + 1, "sent_ms": now_ms, "due_ms": again}
            connection.execute(update(schema.command).where(_T.id == command.id).values(change))

    def _step_ahead(self, connection: Connection, kids: Iterable[int], now_ms: int) -> bool:
        """Step the down chains of bracelets that were told nothing since the start (see `relay.rollback`); tell whether
        any moved."""
        steps = {kid: steps for kid in kids if (steps := self._lead.steps(kid))}
        stored = chains.read(connection, self.store.box, steps) if steps else {}
        down = {kid: chain for (kid, name), chain in stored.items() if name == chains.DOWN and chain is not None}
        most = within_reach(connection, {kid: chain.state.next for kid, chain in down.items()})
        moved = []
        for kid, chain in down.items():
            if wanted := min(steps[kid], most[kid]):
                state = chains.leapt(chain.state, wanted)
                moved.append(Replacement(kid, chains.DOWN, chain.version, state, state.next))
        chains.replace(self.store, connection, moved)
        commands.unseal(connection, [new.kid for new in moved], now_ms)
        return bool(moved)

    def _sealed(self, connection: Connection, row: Row[Any]) -> tuple[int, bytes] | None:
        """Return counter and octets of a command, sealed now if need be; None when the bracelet has no chain, or when
        one of the two is damaged."""
        if row.kind not in set(Kind):
            return None
        if row.counter is not None and row.octets:
            return row.counter, row.octets
        stored = chains.read(connection, self.store.box, [row.kid]).get((row.kid, chains.DOWN))
        if stored is None:
            return None
        number = stored.state.next
        try:
            octets, key = seal(row.kid.to_bytes(4, "big"), number, stored.state.key, row.body)
        except (ValueError, OverflowError):
            return None
        chains.replace(
            self.store, connection, [Replacement(row.kid, chains.DOWN, stored.version, ChainState(number + 1, key))]
        )
        return number, octets

    def _outbound(self, connection: Connection, row: Row[Any], counter: int, octets: bytes) -> Outbound:
        number = None
        if row.attempts < SMS_ATTEMPTS:
            number = commands.sms_number(self.store, connection, row.kid, row.case_id)
        return Outbound(row.id, f"{row.kid:08x}", Kind(row.kind), counter, octets, number)


def _later(connection: Connection, command: int, due_ms: int) -> None:
    connection.execute(update(schema.command).where(_T.id == command).values(due_ms=due_ms))


def _may_command(connection: Connection, kid: int) -> None:
    why_not = _why_not(connection, kid)
    if why_not is not None:
        raise RegistryError(why_not)


def _why_not(connection: Connection, kid: int) -> str | None:
    """Say why this bracelet can't be told anything; None when it can."""
    found = connection.execute(select(schema.bracelet.c.state).where(schema.bracelet.c.kid == kid))
    state = found.scalar_one_or_none() or "missing in the database"
    if state != "active":
        return f"this bracelet is {state}: it can't be told anything"
    if commands.revoking(connection, [kid]):
        return "this bracelet is being revoked; it will be told nothing else"
    return None

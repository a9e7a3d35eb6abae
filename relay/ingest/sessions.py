"""Run the relay's two MQTT sessions: one for alarms, over which it also publishes, and one for heartbeats.

A broker delivers a session's messages in the order in which they came. In one session, 40,000 heartbeats that waited
for the relay would stand before the next alarm; in two, each is read as its lane has room. Sessions that the relay had
under other client ids are ended at the start, because a broker keeps every message for a session that nobody takes up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from relay.broker import RELAY
from relay.ingest.mqtt import Endpoint, Message, MqttLink
from relay.log import Logger

ALARMS, HEARTBEATS = "b/+/+/alarm", "b/+/+/hb"


def endpoint_of(relay: Endpoint, letter: str) -> Endpoint:
    """Return the endpoint of one session. If the account is the relay's own, the session's name is its client id and
    its user: under one account, a broker that makes the client id of the user's name would let each session end the
    other. An operator who names another account in relay.toml has a broker that doesn't do so."""
    name = f"{relay.client_id}-{letter}"
    return replace(relay, client_id=name, user=name if relay.user == RELAY else relay.user)


def client_ids(sessions: str) -> tuple[str, str]:
    """Return the client ids by which the broker knows the two sessions."""
    return f"{sessions}-a", f"{sessions}-h"


class Sessions:
    """Both connections for the loop, which selects on `waits_for` and then calls `read`, `tick` and `flush`."""

    def __init__(
        self,
        endpoint: Endpoint,
        log: Logger,
        *,
        on_message: Callable[[Message], None],
        on_published: Callable[[int], None],
        room_for_alarms: Callable[[], bool],
        room_for_heartbeats: Callable[[], bool],
        longest: int,
        wake: Callable[[], None],
        may_connect: Callable[[], bool] = lambda: True,
        former: Former | None = None,
    ) -> None:
        self._log = log
        self._wake = wake
        self._endpoint = endpoint
        self._room = {"alarms": room_for_alarms, "heartbeats": room_for_heartbeats}

        def link(session: str, letter: str, topics: str) -> MqttLink:
            return MqttLink(
                endpoint_of(endpoint, letter),
                log,
                filters=(topics,),
                on_message=on_message,
                on_published=on_published,
                has_room=self._room[session],
                longest=longest,
                wake=wake,
                may_connect=may_connect,
                session=session,
            )

        self.alarms = link("alarms", "a", ALARMS)
        self.heartbeats = link("heartbeats", "h", HEARTBEATS)
        self._former = former
        self._ending: MqttLink | None = None
        self._ready = False
        self.times_ready = 0  # how often both came to be ready

    @property
    def ready(self) -> bool:
        """Tell whether the broker has granted everything that the relay has to hear."""
        return self.alarms.connected and self.heartbeats.connected

    def _links(self) -> Iterator[tuple[MqttLink, bool]]:
        """Yield each connection, and whether there is room for what it brings; alarms first."""
        yield self.alarms, self._room["alarms"]()
        yield self.heartbeats, self._room["heartbeats"]()
        if self._ending is not None:
            yield self._ending, True

    def waits_for(self) -> tuple[list[int], list[int]]:
        """Return the file descriptors to be read, and those to be written."""
        reading, writing = [], []
        for link, has_room in self._links():
            fd = link.fileno()
            if fd is not None:
                if has_room:
                    reading.append(fd)
                if link.wants_write:
                    writing.append(fd)
        return reading, writing

    @property
    def may_read_on(self) -> bool:
        """Tell whether there is something to read that select doesn't see."""
        return any(has_room and link.unread > 0 for link, has_room in self._links())

    def read(self, readable: Collection[int]) -> None:
        """Take in what has come, while there is room for it."""
        for link, has_room in self._links():
            if has_room and (link.unread > 0 or link.fileno() in readable):
                link.readable()

    def acknowledge(self, message: Message) -> None:
        """Send the PUBACK, on the connection that the message came by."""
        (self.heartbeats if message.session == "heartbeats" else self.alarms).acknowledge(message)

    def tick(self, now: float) -> None:
        for link, _ in self._links():
            link.tick(now)
        if self.ready != self._ready:
            self._ready = self.ready
            if self._ready:
                self.times_ready += 1
                self._log.info("mqtt.ready")
        if self._former is not None and self._former.ids and self._ready:
            self._end_former(self._former)

    def _end_former(self, former: Former) -> None:
        """Connect once with a clean session under each client id that is not used any more (3.1.2.4)."""
        if self._ending is None:
            endpoint = replace(self._endpoint, client_id=former.ids[0], clean=True)
            self._ending = MqttLink(
                endpoint,
                self._log,
                filters=(),
                on_message=lambda _: None,
                on_published=lambda _: None,
                wake=self._wake,
                session="former",
            )
        elif self._ending.connected or self._ending.is_refused:
            if self._ending.connected:
                self._log.info("mqtt.former_session_ended")
            self._ending.close()
            self._ending = None
            former.is_over(former.ids[0])

    def flush(self) -> None:
        for link, _ in self._links():
            link.flush()

    def deadline(self, now: float) -> float:
        """Return the latest time at which `tick` should be called."""
        return min(link.deadline(now) for link, _ in self._links())

    def close(self) -> None:
        for link, _ in self._links():
            link.close()


class Former:
    """The client ids under which the broker may still have a session of this relay, in a file of the data folder."""

    def __init__(self, file: Path, now: Sequence[str], also: Sequence[str] = ()) -> None:
        self._file = file
        self._now = tuple(now)
        try:
            known = file.read_text().split()
        except (OSError, ValueError):
            known = []
        self.ids = [each for each in dict.fromkeys((*also, *known)) if each not in now]
        self._write()

    def is_over(self, client_id: str) -> None:
        """Note that the broker has no session of this name any more, or never will have."""
        self.ids.remove(client_id)
        self._write()

    def _write(self) -> None:
        try:
            self._file.write_text("".join(f"{each}\n" for each in (*self._now, *self.ids)))
        except OSError:
            pass  # then an id that was changed later is not noticed; alarms don't depend on it

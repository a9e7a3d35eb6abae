"""Ask nats-server what it tells and does by request: its connections (CONNZ), ending one (KICK), what JetStream keeps.

Subjects and fields: server/monitor.go, server/events.go and server/jetstream_api.go of nats-server 2.15. This module
asks and reads; `relay.broker.watch` and `relay.broker.gate` decide what follows from an answer.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client

MESSAGES, SESSIONS, RETAINED = "$MQTT_msgs", "$MQTT_sess", "$MQTT_rmsgs"
SESSION_SUBJECTS = "$MQTT.sess."
_PAGE = 1024
_TIMEOUT_S = 10


@dataclass(frozen=True)
class Connection:
    """A client that is connected."""

    server: str
    number: int
    name: str  # of the account
    client_id: str


async def connections(system: Client, **which: str) -> AsyncIterator[Connection]:
    """Yield the broker's clients; `user` or `mqtt_client` leave the others out."""
    offset = 0
    while True:
        asked = json.dumps({"auth": True, "limit": _PAGE, "offset": offset, **which}).encode()
        reply = json.loads((await system.request("$SYS.REQ.SERVER.PING.CONNZ", asked, timeout=_TIMEOUT_S)).data)
        found = reply["data"]["connections"] or ()
        for one in found:
            name, client_id = one.get("authorized_user", ""), one.get("mqtt_client", "")
            yield Connection(reply["server"]["id"], one["cid"], name, client_id)
        offset += len(found)
        if not found or offset >= reply["data"]["total"]:
            return


async def end_connections(system: Client, **which: str) -> None:
    """End every connection of an account (`user`) or client id (`mqtt_client`)."""
    async for connection in connections(system, **which):
        asked = json.dumps({"cid": connection.number}).encode()
        await system.request(f"$SYS.REQ.SERVER.{connection.server}.KICK", asked, timeout=_TIMEOUT_S)


@dataclass(frozen=True)
class Queue:
    """A consumer: the messages that wait for one subscription of one session."""

    durable: str
    waiting: int
    connected: bool

    @property
    def session(self) -> str:
        """Return the hash of the client id."""
        return self.durable[:8]


class Storage:
    """The storage that JetStream keeps for MQTT clients. Methods raise LookupError when the server refuses a
    request."""

    def __init__(self, broker: Client) -> None:
        self._broker = broker

    async def octets(self) -> int:
        """Count the octets in files."""
        return int((await self._ask("INFO"))["storage"])

    async def configuration(self, stream: str) -> dict[str, Any] | None:
        """Return how a stream is set up, None where there is none."""
        try:
            found: dict[str, Any] = (await self._ask(f"STREAM.INFO.{stream}"))["config"]
        except LookupError:
            return None
        return found

    async def limit(self, stream: str, configuration: dict[str, Any], **wanted: object) -> None:
        """Change a stream's set-up, unless it is like that already."""
        if any(configuration.get(name) != value for name, value in wanted.items()):
            await self._ask(f"STREAM.UPDATE.{stream}", **{**configuration, **wanted})

    async def sessions(self) -> set[str]:
        """Return the hashes of all client ids with a session."""
        found: set[str] = set()
        while True:
            info = await self._ask(f"STREAM.INFO.{SESSIONS}", subjects_filter=f"{SESSION_SUBJECTS}>", offset=len(found))
            subjects = info["state"].get("subjects") or {}
            found |= {subject.rpartition(".")[2] for subject in subjects}
            if not subjects or len(found) >= info.get("total", 0):
                return found

    async def queues(self) -> list[Queue]:
        """Return all consumers of messages."""
        found: list[Queue] = []
        while True:
            listed = await self._ask(f"CONSUMER.LIST.{MESSAGES}", offset=len(found))
            page = listed["consumers"] or ()
            for one in page:
                waiting = one.get("num_pending", 0) + one.get("num_ack_pending", 0)
                found.append(Queue(one["name"], waiting, one.get("push_bound", False)))
            if not page or len(found) >= listed["total"]:
                return found

    async def end(self, session: str, queues: list[Queue]) -> None:
        """Delete a session's record and its consumers, and with them the messages that waited for it alone."""
        for queue in queues:
            if queue.session == session:
                with suppress(LookupError):
                    await self._ask(f"CONSUMER.DELETE.{MESSAGES}.{queue.durable}")
        with suppress(LookupError):
            await self._ask(f"STREAM.PURGE.{SESSIONS}", filter=f"{SESSION_SUBJECTS}{session}")

    async def _ask(self, what: str, **fields: Any) -> dict[str, Any]:
        asked = json.dumps(fields).encode() if fields else b""
        reply = await self._broker.request(f"$JS.API.{what}", asked, timeout=_TIMEOUT_S)
        answer: dict[str, Any] = json.loads(reply.data)
        if "error" in answer:
            raise LookupError(answer["error"].get("description", "refused"))
        return answer

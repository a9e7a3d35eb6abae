"""A rig for a bracelet under test: a real relay pipeline behind the world's broker and its SMS centre.

Everything on the relay's side is real except its sockets: registry, verification, store, receipts. The bracelet is the
unmodified firmware, provisioned by the offer that this relay made.
"""

from __future__ import annotations

import datetime
import json
import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwsim.world import World
from hwsim.world.mqtt import Message
from hwsim.world.pdu import Sms
from relay import pki, store
from relay.pipeline import Inbound, Item, Pipeline, Status
from relay.registry import Registry
from relay.verify import parse
from relay.verify.keys import RelayKeys

HOST, PORT = "relay.test", 8883
RELAY_NUMBER, PHONE = "+10000000002", "+10000000001"
UTC = datetime.UTC
WIFI = ("workshop", "hwsim-key")


class Rig:
    def __init__(
        self,
        world: World,
        folder: Path,
        *,
        wifi: bool = True,
        networks: Sequence[tuple[str, str]] = (WIFI,),
        sends_time: bool = True,
        **bracelet: Any,
    ) -> None:
        self.world = world
        self.folder = folder
        self.answers = True  # does the relay answer with receipts?
        self.items: list[Item] = []
        self.ca = pki.create_ca(not_before=datetime.datetime(2025, 6, 1, tzinfo=UTC))
        self.store = store.open_store(f"sqlite:///{folder / 'relay.db'}", os.urandom(32))
        keys = RelayKeys(os.urandom(32))
        self.registry = Registry(self.store, keys)
        self.pipeline = Pipeline(self.store, keys)
        self.broker = world.mqtt_broker(HOST, PORT, tls=self.certificate(self.ca))
        self.broker.on_publish(self._published)
        self.bracelet = world.bracelet(phone=PHONE, **bracelet)
        self.phone = world.sms.phone(RELAY_NUMBER, "relay")
        self.phone.on_sms = self._texted
        self.offer = self.registry.offer(
            "test", now=world.unix_time, host=HOST, port=PORT, ca_der=self.ca.cert_der,
            sms=RELAY_NUMBER, wifi=networks if wifi else [],
        )  # fmt: skip
        self.kid: str = self.offer["kid"]
        if not sends_time:
            self.offer["time"] = 0

    def close(self) -> None:
        self.store.close()

    def certificate(self, ca: pki.Authority, name: str = HOST, **validity: datetime.datetime) -> ssl.SSLContext:
        """A server's TLS context with a certificate for `name` by this authority."""
        validity.setdefault("not_before", datetime.datetime(2025, 6, 2, tzinfo=UTC))
        cert, key = pki.issue_server(ca, [name], **validity)
        (self.folder / "server.pem").write_bytes(cert + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem")
        return context

    def serve(self, tls: ssl.SSLContext) -> None:
        """Let another server take the broker's place."""
        self.broker.down()
        self.broker = self.world.mqtt_broker(HOST, PORT, tls=tls)
        self.broker.on_publish(self._published)

    # -- the bracelet's life before the test

    def provision(self) -> None:
        """First boot with the offer, the answer carried back, and off again."""
        self.bracelet.files.put("/offer.json", json.dumps(self.offer).encode())
        self.bracelet.boot()
        self.world.expect("firmware", "provisioned", within=5)
        self.world.expect("firmware", "armed", within=5)
        self.bracelet.power_cut()
        answer = json.loads(self.bracelet.files.get("/answer.json"))
        self.registry.complete(answer, now=self.world.unix_time)

    def boot(self, settle: float = 0) -> None:
        self.bracelet.boot()
        self.world.expect("firmware", "armed", within=5)
        if settle:
            self.world.run(settle)

    def press(self) -> None:
        """Hold the button until the alarm is raised."""
        self.world.call(self.bracelet.button.press)
        self.world.expect("firmware", "raised", within=4)
        self.world.call(self.bracelet.button.release)

    # -- the relay's side

    def _published(self, message: Message) -> None:
        _, _, kid, kind = message.topic.split("/")
        if kind == "ack":
            return
        item = self._process(Inbound("mqtt", message.payload, kind, kid))
        if item.receipt and self.answers:
            self.broker.publish(f"b/{kid[:2]}/{kid}/ack", item.receipt)

    def _texted(self, sms: Sms) -> None:
        item = self._process(Inbound("sms", sms.data))
        if item.receipt and self.answers:
            self.phone.send(sms.sender, item.receipt)

    def _process(self, inbound: Inbound) -> Item:
        item = self.pipeline.process([inbound], self.world.unix_time).items[0]
        self.items.append(item)
        return item

    def accepted(self) -> list[int]:
        """Counters of the alarm messages the relay took as new, in their order."""
        return [item.counter for item in self.items if item.status == Status.NEW and item.counter is not None]

    def documents(self) -> dict[int, dict[str, Any]]:
        """What was rebroadcast, by counter."""
        documents = [json.loads(item.rebroadcast[1]) for item in self.items if item.rebroadcast]
        return {document["counter"]: document for document in documents}

    def times(self) -> dict[int, int]:
        return {counter: document["sent_unix"] for counter, document in self.documents().items()}

    def sequences(self) -> list[int]:
        return [document["seq"] for document in self.documents().values()]

    def flags(self) -> dict[int, dict[str, Any]]:
        return {counter: document["flags"] for counter, document in self.documents().items()}

    def octets(self, counter: int) -> set[bytes]:
        """The different octets that went out for one counter by MQTT."""
        mine = [message.payload for message in self.broker.published if message.topic.endswith("/alarm")]
        return {octets for octets in mine if parse(octets).counter == counter}

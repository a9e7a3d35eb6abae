"""A rig for a bracelet under test: a real relay pipeline behind the world's broker and its SMS centre.

Everything on the relay's side is real except its sockets: registry, verification, store, receipts. The bracelet is the
unmodified firmware, provisioned by the offer that this relay made. A test uses the rig to switch faults on the relay's
side (stopped, mute, somebody else in the broker's place, lost and late messages), and to read what came of an alarm.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import ssl
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwsim.world import World
from hwsim.world.mqtt import Message
from hwsim.world.pdu import Sms
from relay import bundles, pki, store
from relay.backup.restore import begin_anew
from relay.downlink import Asked, Desk, Downlink, Outbound
from relay.pipeline import Inbound, Item, Pipeline, Status
from relay.receipt import topic as receipt_topic
from relay.registry import Registry
from relay.rollback import Lead
from relay.store import commands
from relay.subscribers.audiences import Permission
from relay.subscribers.register import LOCAL, Subscribers
from relay.verify import parse
from relay.verify.keys import RelayKeys

HOST, PORT = "relay.test", 8883
RELAY_NUMBER, PHONE = "+10000000002", "+10000000001"
UTC = datetime.UTC
WIFI = ("workshop", "hwsim-key")
APN: Mapping[str, str | bool] = {"name": "internet"}


@dataclass(frozen=True)
class Arrival:
    """A message that reached the relay and was processed, and its outcome."""

    t_us: int
    path: str  # mqtt, sms
    item: Item


@dataclass(frozen=True)
class AlarmStory:
    """The way of an Alert, from the finger to the wrist. Times in microseconds of the world; None: has not happened."""

    counter: int
    pressed_us: int  # without a press, when it was raised
    raised_us: int
    relay_us: int | None  # new at the relay
    relay_path: str | None
    receipt_us: int | None  # its genuine receipt reached the bracelet
    receipt_path: str | None


class SmsFaults:
    """The faults of every short message in the world, in both directions."""

    def __init__(self, world: World) -> None:
        dice = world.random("sms faults")
        self.delay_us = 2_500_000
        self.spread_us = 0  # up to so much more, at random: messages overtake each other
        self.drop_percent = 0
        self.copies = 0
        world.sms.delay_us = lambda sms: self.delay_us + (dice.randint(0, self.spread_us) if self.spread_us else 0)
        world.sms.drop = lambda sms: dice.randrange(100) < self.drop_percent
        world.sms.duplicate = lambda sms: self.copies


def _authority() -> pki.Authority:
    """Make the relay's own CA. Its certificate has the commonest length, so that it takes the same room, and the same
    time to write, on every bracelet's flash: the trace of a world then follows from its seed."""
    while True:
        ca = pki.create_ca(not_before=datetime.datetime(2025, 6, 1, tzinfo=UTC))
        if len(ca.certificate.signature) == 71 and ca.certificate.serial_number.bit_length() > 152:
            return ca


@functools.cache
def _empty_store() -> bytes:
    """Return the file of a new store. It is made only once: making the tables takes longer than many a life."""
    with tempfile.TemporaryDirectory(prefix="hwsim-") as folder:
        file = Path(folder) / "relay.db"
        store.open_store(f"sqlite:///{file}", bytes(32)).close()
        return file.read_bytes()


class Rig:
    def __init__(
        self,
        world: World,
        folder: Path,
        *,
        wifi: bool = True,
        networks: Sequence[tuple[str, str]] = (WIFI,),
        sends_time: bool = True,
        apn: Mapping[str, str | bool] | None = None,
        **bracelet: Any,
    ) -> None:
        self.world = world
        self.folder = folder
        self.answers = True  # does the relay answer with receipts?
        self.arrivals: list[Arrival] = []
        self.rebroadcasts: Counter[tuple[str, int]] = Counter()  # documents at the subscriber by (key id, counter)
        self.sms = SmsFaults(world)
        self._noise = world.random("garbage")
        self._leads = world.random("lead")
        self._relay_up = self._broker_up = self._genuine = True
        self._waiting: list[tuple[Inbound, str]] = []  # for a relay that is down; of an SMS also its sender
        self.ca = _authority()
        (folder / "relay.db").write_bytes(_empty_store())
        self._store_key = os.urandom(32)
        self.store = store.open_store(f"sqlite:///{folder / 'relay.db'}", self._store_key)
        keys = RelayKeys(os.urandom(32))
        Subscribers(self.store).add(LOCAL, bytes(range(32)), Permission(), now=world.unix_time)
        self._start_relay(keys)
        self.told: list[Outbound] = []  # commands that left, every time one did
        self.capture: list[bytes] = []  # all that ever went down, receipts too, as somebody at the broker sees it
        self._looking = False
        self._tls = self.certificate(self.ca)
        self.broker = world.mqtt_broker(HOST, PORT, tls=self._tls)
        self.broker.on_publish(self._published)
        self.bracelet = world.bracelet(phone=PHONE, **bracelet)
        self.phone = world.sms.phone(RELAY_NUMBER, "relay")
        self.phone.on_sms = self._texted
        self.offer = self.registry.offer(
            "test",
            now=world.unix_time,
            host=HOST,
            port=PORT,
            ca_der=self.ca.cert_der,
            sms=RELAY_NUMBER,
            wifi=networks if wifi else [],
            apn=apn,
        )
        self.kid: str = self.offer["kid"]
        # The relay is real, and it drew key id and account: only they don't follow from the seed.
        account = self.offer["mqtt"]["user"]
        self.broker.names = {f"{self.kid[0]}/{self.kid}": "kid", self.kid: "kid", account: "account"}
        if not sends_time:
            self.offer["time"] = 0

    def _start_relay(self, keys: RelayKeys) -> None:
        self.registry = Registry(self.store, keys)
        lead = Lead(self._leads.randrange)
        self.pipeline = Pipeline(self.store, keys, lead=lead)
        self.desk = Desk(self.store, self.registry)
        self._downlink = Downlink(self.store, keys, self.pipeline.roster.drop, lead)

    def close(self) -> None:
        self.store.close()

    def certificate(self, ca: pki.Authority, name: str = HOST, **validity: datetime.datetime) -> ssl.SSLContext:
        """Make a server's TLS context with a certificate for `name` by this authority."""
        validity.setdefault("not_before", datetime.datetime(2025, 6, 2, tzinfo=UTC))
        cert, key = pki.issue_server(ca, [name], **validity)
        (self.folder / "server.pem").write_bytes(cert + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem")
        return context

    # -- the bracelet's life before the test

    def provision(self) -> None:
        """Boot for the first time with the offer, carry the answer back to the relay, and switch off again."""
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

    # -- what goes wrong on the relay's side

    def set_broker(self, up: bool) -> None:
        """Stop the broker, or start it. Its sessions, the relay's among them, are kept."""
        if up != self._broker_up:
            self._broker_up = up
            if up:
                self.broker.up()
            else:
                self.broker.down()
            self._catch_up()

    def forget_sessions(self) -> None:
        """Let the broker lose what it kept: sessions, and messages that a stopped relay had not fetched yet."""
        self.broker.sessions.clear()
        self._waiting = [waiting for waiting in self._waiting if waiting[0].path == "sms"]
        self.world.net.cut()

    def set_relay(self, up: bool) -> None:
        """Stop the relay, or start it anew: it then takes, in order, the messages that were kept for it meanwhile."""
        if up != self._relay_up:
            self._relay_up = up
            self.world.note("relay", "up" if up else "down")
            if up:
                self._start_relay(self.pipeline.keys)
            self._catch_up()

    def keep(self) -> bytes:
        """Return the relay's database as it is now, for `put_back`."""
        with self.store.read() as connection:
            kept: bytes = connection.connection.driver_connection.serialize()  # type: ignore[union-attr]  # SQLite's own
        return kept

    def put_back(self, kept: bytes, *, restore: bool) -> None:
        """Put the relay back to an earlier state and start it: as `relay restore` does, or as somebody who copies the
        folder does."""
        self.store.close()
        for end in ("-wal", "-shm"):
            (self.folder / f"relay.db{end}").unlink(missing_ok=True)
        (self.folder / "relay.db").write_bytes(kept)
        self.store = store.open_store(f"sqlite:///{self.folder / 'relay.db'}", self._store_key)
        if restore:
            begin_anew(self.store, self.pipeline.keys, int(self.world.unix_time * 1000))
        self.world.note("relay", "restored" if restore else "copied back")
        self._start_relay(self.pipeline.keys)

    def set_genuine(self, genuine: bool) -> None:
        """Let the genuine broker answer. False: a server with a certificate of another authority answers in its
        place."""
        if genuine != self._genuine:
            self._genuine = genuine
            self.broker.present(self._tls if genuine else self.certificate(_authority()))
            if not self._broker_up:
                self.broker.down()

    def garbage(self, octets: int) -> bytes:
        """Return random octets, by the world's seed."""
        return bytes(self._noise.getrandbits(8) for _ in range(octets))

    # -- what an operator does

    def accept(self, counter: int | None = None) -> None:
        """Accept the alarm with this Alert, or the newest; the wearer is to feel it."""
        self.desk.accept(self._alarm(counter), now=self.world.unix_time)
        self.command()

    def close_alarm(self, counter: int | None = None) -> None:
        """Close the alarm with this Alert, or the newest."""
        self.desk.close(self._alarm(counter), now=self.world.unix_time)
        self.command()

    def configure(self, **settings: int) -> Asked:
        """Change the bracelet's settings, by the names in relay.verify.down.SETTINGS."""
        asked = self.desk.configure(self.kid, settings, now=self.world.unix_time)
        self.command()
        return asked

    def update(self, octets: bytes) -> Asked:
        """Leave a bundle with the broker, and have the bracelet fetch it."""
        for topic, piece in bundles.pieces(octets):
            self.broker.retain(topic, piece)
        asked = self.desk.update(self.kid, bundles.describe(octets), now=self.world.unix_time)
        self.command()
        return asked

    def revoke(self) -> None:
        """Have the bracelet wiped."""
        self.desk.revoke(self.kid, now=self.world.unix_time)
        self.command()

    def _alarm(self, counter: int | None) -> str:
        return f"{self.kid}-{self.alarms()[-1].counter if counter is None else counter}"

    def command(self) -> None:
        """Send what is due, as a running relay does, and look again in a minute."""
        if self._relay_up:
            for command in self._downlink.due(self.world.unix_time):
                self.tell(command)
                self._downlink.sent(command, self.world.unix_time)
        if not self._looking:
            self._looking = True
            self.world.after(60_000_000, self._look)

    def _look(self) -> None:
        self._looking = False
        with self.store.read() as connection:
            waiting = commands.unfinished(connection, int(self.kid, 16))
        if waiting:
            self.command()

    def tell(self, command: Outbound) -> None:
        """Send a sealed command on its paths, also if it was sent before."""
        self.told.append(command)
        paths = "mqtt" if command.number is None else "mqtt and sms"
        self.world.note("relay", "command", kind=command.kind.name.lower(), counter=command.counter, by=paths)
        self.capture.append(command.octets)
        self.broker.publish(command.topic, command.octets)
        if command.number is not None:
            self.phone.send(command.number, command.octets)

    # -- the relay's side

    def _published(self, message: Message) -> None:
        _, _, kid, kind = message.topic.split("/")
        if kind != "ack":
            self._take(Inbound("mqtt", message.payload, kind, kid), "")

    def _texted(self, sms: Sms) -> None:
        self._take(Inbound("sms", sms.data, sender=sms.sender), sms.sender)

    def _take(self, inbound: Inbound, sender: str) -> None:
        self._waiting.append((inbound, sender))
        self._catch_up()

    def _catch_up(self) -> None:
        """Let the relay, while it runs, process every message that it can reach: those at the broker only while the
        broker runs too."""
        waiting, self._waiting = self._waiting, []
        for inbound, sender in waiting:
            if self._relay_up and (inbound.path == "sms" or self._broker_up):
                self._process(inbound, sender)
            else:
                self._waiting.append((inbound, sender))

    def _process(self, inbound: Inbound, sender: str) -> None:
        item = self.pipeline.process([inbound], self.world.unix_time).items[0]
        self.arrivals.append(Arrival(self.world.now_us, inbound.path, item))
        reason = {"reason": str(item.reason)} if item.reason else {}
        self.world.note("relay", str(item.status), path=inbound.path, counter=item.counter, **reason)
        if item.deliveries and item.kid is not None and item.counter is not None:
            self.rebroadcasts[item.kid, item.counter] += 1
        if self.told or item.also:  # a heartbeat may have shown that something did not arrive
            self.command()
        if not item.receipt or not self.answers:
            return
        self.capture += [item.receipt, *item.also]
        if inbound.path == "sms":
            self.phone.send(sender, item.receipt)
        elif item.kid is not None:
            for octets in (item.receipt, *item.also):
                self.broker.publish(receipt_topic(item.kid), octets)

    # -- what came of it

    def alarms(self) -> list[AlarmStory]:
        """List the Alerts that the bracelet raised, in their order."""
        stories, pressed = [], 0
        receipts: dict[int, tuple[int, str]] = {}
        raised: list[tuple[int, int, int]] = []
        for event in self.world.trace:
            if event.who == self.bracelet.button.who and event.what == "pressed":
                pressed = event.t_us  # not the firmware's time, at which a pattern of taps began
            if event.who != self.bracelet.firmware_name:
                continue
            if event.what == "raised":
                by_itself = event.detail["by"] in ("strap", "check_in")  # nobody pressed
                raised.append((event.detail["counter"], event.t_us if by_itself else pressed, event.t_us))
            elif event.what == "receipt":
                receipts.setdefault(event.detail["counter"], (event.t_us, event.detail["path"]))
        new = {arrival.item.counter: arrival for arrival in self.arrivals if arrival.item.status == Status.NEW}
        for counter, pressed_us, raised_us in raised:
            arrival = new.get(counter)
            receipt = receipts.get(counter, (None, None))
            relay = (arrival.t_us, arrival.path) if arrival else (None, None)
            stories.append(AlarmStory(counter, pressed_us, raised_us, *relay, *receipt))
        return stories

    @property
    def items(self) -> list[Item]:
        """The outcomes of the messages that the relay processed, in their order."""
        return [arrival.item for arrival in self.arrivals]

    def refused(self) -> Counter[str]:
        """Count the messages that the relay refused, by reason."""
        return Counter(str(item.reason) for item in self.items if item.status == Status.REFUSED)

    def accepted(self) -> list[int]:
        """List the counters of the alarm messages that the relay took as new, in their order."""
        return [item.counter for item in self.items if item.status == Status.NEW and item.counter is not None]

    def subscriber(self) -> list[tuple[int, dict[str, Any]]]:
        """List the documents that were rebroadcast, copies included, each with its time in microseconds."""
        return [
            (arrival.t_us, json.loads(arrival.item.document))
            for arrival in self.arrivals
            if arrival.item.document and arrival.item.deliveries
        ]

    def documents(self) -> dict[int, dict[str, Any]]:
        """Return the documents that were rebroadcast, by counter."""
        return {document["counter"]: document for _, document in self.subscriber()}

    def times(self) -> dict[int, int]:
        return {counter: document["sent_unix"] for counter, document in self.documents().items()}

    def sequences(self) -> list[int]:
        return [document["seq"] for document in self.documents().values()]

    def flags(self) -> dict[int, dict[str, Any]]:
        return {counter: document["flags"] for counter, document in self.documents().items()}

    def octets(self, counter: int) -> set[bytes]:
        """Return the different octets that the bracelet sent for one counter by MQTT."""
        mine = [message.payload for message in self.broker.published if message.topic.endswith("/alarm")]
        return {octets for octets in mine if parse(octets).counter == counter}

"""MQTT 3.1.1 over TLS as a path: QoS 1 up, QoS 0 down, and never a connection to somebody who isn't the relay's broker.

The broker keeps nothing for us between two connections: we send again what it has not acknowledged, and the relay sends
again what we have not answered.

The broker's certificate must come from our own CA, name the host, and be valid now; without knowing the time there is
no connection at all (until then there is SMS). Everything has a time-out. Only the public-key steps of the TLS
handshake stall the loop on an ESP32, some hundred milliseconds each; Python can't help that.
"""

import asyncio
import gc
import socket
import ssl
from asyncio import core

from tocsin import aio, log
from tocsin.links import mqtt_codec as codec
from tocsin.links import resolver, shortage

CONNECT_MS = 20000  # to be connected, proved genuine and greeted
ANSWER_MS = 10000  # for a PUBACK, SUBACK or PINGRESP
_LATE_MS = 60000  # for a PUBACK that nobody waits for, while pings are answered: a broker may be slow
KEEPALIVE_S = 60
PAUSE_MS = 2000
PAUSE_MAX_MS = 300000
PAUSE_URGENT_MS = 30000
BYE_MS = 300  # for the DISCONNECT to get away
OUT_MAX = 64  # packets that wait to be written: far more than ours and the PUBACKs for a burst of receipts
_UNHURRIED = -1  # the token of a message whose result nobody waits for: see publish()
_FETCH = -2  # in place of a token: not a message, but a subscription that only fetch() waits for
_TLS_ERROR = -1000  # mbedTLS' own numbers are below; those of the sockets are small


class Refused(Exception):
    """A refusal: the other side is not the relay's broker, or it doesn't want us."""


class Mqtt:
    """MQTT as a path. on_state(up); on_refused(what, reason); on_message(octets); on_result(token, ok) for every
    publish() accepted; under(name, call): a call that may end the start."""

    def __init__(
        self,
        settings,
        identity,
        ca,
        clock,
        random_byte,
        name_server,
        on_state,
        on_refused,
        on_message,
        on_result,
        under,
    ):
        self._host, self._port = settings.host, settings.port
        self._user, self._password = settings.user or "", settings.password or ""
        self._topic = identity.topic + "ack"
        self._ca = ca
        self._clock = clock
        self._random_byte = random_byte
        self._name_server = name_server  # () -> its address
        self._on_state = on_state
        self._on_refused = on_refused
        self._on_message = on_message
        self._on_result = on_result
        self._under = under
        self._stream = None
        self._packet_id = 0
        self._waiting = {}  # packet id -> (token, ms sent); token None: SUBACK
        self._out = []  # packets to be written
        self._wake = aio.Event()  # the network or the clock changed
        self._written = aio.Event()  # there is something in _out
        self._broken = aio.Event()
        self._network = None  # the link that is up
        self._fetched = None  # the topic that fetch() waits for
        self.found = None  # the address at which the broker was found
        self._outcome = None  # of the attempt to connect: True, or what it raised
        self._ping_at = None
        self._sent_at = 0
        self.will = lambda: None  # () -> (topic, octets) that the broker sends when this connection is lost, or None
        self.urgent = False  # messages wait: try again sooner
        self.up = False

    def network(self, link):
        """Use the link of this name, or none (None). On another link everything begins anew, at once."""
        if link != self._network:
            self._network = link
            self._broken.set()
        self.kick()

    def kick(self):
        """Don't wait out the pause: something changed for the better."""
        self._wake.set()

    async def close(self):
        """Say goodbye, so that the broker doesn't take the silence for a loss, and connect no more."""
        self._network = None
        if self.up:
            self._write(codec.DISCONNECT)
            await asyncio.sleep_ms(BYE_MS)
        self._broken.set()

    def publish(self, token, topic, octets):
        """Hand over a message. False when there is no connection; else on_result(token, ...) follows. A message with
        the token -1 can wait: while the broker answers pings, its PUBACK may be late, and the connection is kept."""
        if not self.up:
            return False
        packet_id = self._next_id()
        self._waiting[packet_id] = (token, self._clock.ms())
        self._write(codec.publish(topic, octets, packet_id))
        return not self._broken.is_set()

    def fetch(self, topic, take):
        """Ask for the message that the broker keeps under a topic: take(octets) gets it, when there is one and nothing
        else is asked for first. False when there is no connection."""
        if not self.up:
            return False
        self._end_fetch()
        self._fetched, self._take_fetched = topic, take
        packet_id = self._next_id()
        self._waiting[packet_id] = (_FETCH, self._clock.ms())
        self._write(codec.subscribe(topic, packet_id))
        return True

    def _end_fetch(self):
        if self._fetched:
            packet_id = self._next_id()
            self._waiting[packet_id] = (_FETCH, self._clock.ms())
            self._write(codec.unsubscribe(self._fetched, packet_id))
            self._fetched = None

    def _next_id(self):
        """Return a packet id that is free."""
        while True:
            self._packet_id = self._packet_id % 0xFFFF + 1
            if self._packet_id not in self._waiting:
                return self._packet_id

    def _write(self, packet):
        if len(self._out) >= OUT_MAX:  # the broker sends and doesn't read
            self._broken.set()
            return
        self._out.append(packet)
        self._sent_at = self._clock.ms()
        self._written.set()

    # -- the connection's life ------------------------------------------------------------------------------------

    async def run(self):
        tries = 0
        while True:
            self._wake.clear()
            if not (self._network and self._host and self._ca and self._clock.quality):
                await self._wake.wait()
                continue
            started = self._clock.ms()
            try:
                await self._session()
            except Refused as error:
                self._on_refused(error.args[0], error.args[1])
            except (OSError, ValueError, EOFError, MemoryError, asyncio.TimeoutError) as error:
                if shortage.short(error):
                    self._on_refused("memory", log.reason(error))
                else:
                    log.event("failed", path="mqtt", reason=log.reason(error))
            tries = 0 if self._clock.ms() - started > 60000 else min(tries + 1, 8)
            pause = min(PAUSE_MS << tries, PAUSE_URGENT_MS if self.urgent else PAUSE_MAX_MS)
            await self._wake.wait(pause - (pause >> 1) * self._random_byte() // 255)

    async def _session(self):
        link = self._network
        self._broken.clear()
        self._outcome = None
        self._waiting = {}
        self._fetched = None
        self._out = []
        tasks = []
        self._socket = None
        try:
            tasks = [asyncio.create_task(self._attempt())]
            await self._broken.wait(CONNECT_MS)
            if self._outcome is not True:  # failed, or too late, or on a link that is no more
                raise self._outcome or OSError(110)  # ETIMEDOUT
            self._broken.clear()
            if self._network != link:
                return
            tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._send())]
            self.up = True
            self._on_state(True)
            await self._mind()
        finally:
            for task in tasks:
                task.cancel()
            self._close()
            if self.up:
                self.up = False
                self._on_state(False)
            waiting = self._waiting
            self._waiting = {}
            for token, _ in waiting.values():
                if token is not None and token != _FETCH:
                    self._on_result(token, False)

    def _close(self):
        self._stream = None
        if self._socket is not None:
            try:
                self._socket.close()
            except OSError:
                pass
            self._socket = None

    async def _attempt(self):
        try:
            await self._connect()
            self._outcome = True
        except Exception as error:
            self._outcome = error
        self._broken.set()

    async def _connect(self):
        raw = self._socket = self._under("mqtt", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        # The address is asked for each time: a false one, say of a portal's name server, must not outlive the attempt.
        # Without an answer, the address at which the broker was last found must do; nobody else is asked.
        try:
            address = await resolver.resolve(self._host, self._name_server(), self._random_byte)
        except OSError:
            if not self.found:
                raise
            address = self.found
        where = socket.getaddrinfo(address, self._port, 0, socket.SOCK_STREAM)[0][-1]  # of an address: asks nobody
        raw.setblocking(False)
        try:
            raw.connect(where)
        except OSError as error:
            if error.args[0] not in (115, 119):  # EINPROGRESS on unix and on the ESP32
                raise
        await _writable(raw)
        gc.collect()  # also what the last connection held of ESP-IDF's memory
        room = shortage.room()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=self._ca)
            self._socket = self._under(
                "mqtt",
                lambda: context.wrap_socket(raw, server_hostname=self._host, do_handshake_on_connect=False),
            )
            self._socket.setblocking(False)
            self._stream = asyncio.StreamReader(self._socket)
            # The first write does the handshake.
            self._stream.write(codec.connect(self._user, self._user, self._password, KEEPALIVE_S, self.will()))
            await self._stream.drain()
        except OSError as error:
            code = error.args[0] if error.args else 0
            if isinstance(code, int) and code < _TLS_ERROR and not shortage.short(error):
                raise Refused("tls" if room else "memory", str(-code))
            raise
        except ValueError:  # how MicroPython tells that the certificate is not good; the text names names
            # mbedTLS takes a signature that it had no memory to check for a wrong one.
            raise Refused("tls" if room else "memory", "certificate")
        await self._greet()
        self.found = address

    async def _greet(self):
        self._decoder = codec.Decoder()
        packets = []
        while not packets:
            data = await self._stream.read(512)
            if not data:
                raise EOFError
            packets = self._decoder.feed(data)
        first = packets[0]
        if first[0] != codec.CONNACK:
            raise OSError(71)  # EPROTO
        if first[2]:
            raise Refused("mqtt", str(first[2]))
        packet_id = self._next_id()
        self._waiting[packet_id] = (None, self._clock.ms())
        self._write(codec.subscribe(self._topic, packet_id))
        self._ping_at = None
        self._early = packets[1:]

    async def _read(self):
        try:
            self._take(self._early)
            while True:
                data = await self._stream.read(512)
                if not data:
                    break
                self._take(self._decoder.feed(data))
        except (OSError, ValueError, MemoryError) as error:
            log.event("failed", path="mqtt", reason=log.reason(error))
        self._broken.set()

    def _take(self, packets):
        for packet in packets:
            kind = packet[0]
            if kind == codec.PUBLISH:
                if packet[1] == self._topic:
                    self._on_message(packet[2])
                elif packet[1] == self._fetched:
                    self._end_fetch()
                    self._take_fetched(packet[2])
                if packet[3] is not None:
                    self._write(codec.puback(packet[3]))
            elif kind == codec.PUBACK:
                token = self._waiting.get(packet[1], (None, 0))[0]
                if token is not None:
                    del self._waiting[packet[1]]
                    self._on_result(token, True)
            elif kind in (codec.SUBACK, codec.UNSUBACK):
                token = self._waiting.get(packet[1], (0, 0))[0]
                if token is None or token == _FETCH:
                    del self._waiting[packet[1]]
                if kind == codec.SUBACK and packet[2] > 1 and token != _FETCH:
                    self._on_refused("mqtt", "subscribe")
                    self._broken.set()
            elif kind == codec.PINGRESP:
                self._ping_at = None

    async def _send(self):
        """Write one packet after the other, as the only writer: a stream forgets octets written to it during a drain(),
        and mbedTLS wants a write that it couldn't finish tried again with the same octets."""
        try:
            while True:
                while self._out:
                    self._stream.write(self._out.pop(0))
                    await self._stream.drain()
                self._written.clear()
                await self._written.wait()
        except (OSError, MemoryError):
            self._broken.set()

    async def _mind(self):
        """Wait until the connection is broken or an answer is overdue."""
        while not self._broken.is_set():
            now = self._clock.ms()
            due = now + ANSWER_MS  # a packet sent while it waits here is due later
            idle = KEEPALIVE_S * 750
            for token, sent_at in self._waiting.values():
                if token == _UNHURRIED and now - sent_at <= _LATE_MS:
                    idle = ANSWER_MS
                elif now - sent_at > ANSWER_MS:
                    return
                else:
                    due = min(due, sent_at + ANSWER_MS + 1)
            if self._ping_at is not None:
                if now - self._ping_at > ANSWER_MS:
                    return
                due = min(due, self._ping_at + ANSWER_MS + 1)
            elif now - self._sent_at >= idle:
                self._ping_at = now
                self._write(codec.PINGREQ)
            else:
                due = min(due, self._sent_at + idle)
            await self._broken.wait(due - now)


def _writable(sock):
    """Wait until a connection that was begun is there or has failed (which the first write shows)."""
    yield core._io_queue.queue_write(sock)

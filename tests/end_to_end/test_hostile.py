"""What an attacker with the bracelet's own broker account can send: refused, counted by reason, and without effect on
the next alarm."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable

import cbor2
import paho.mqtt.client as mqtt

from relay.broker import RELAY
from relay.demo.stack import HOST
from tests.end_to_end.scene import Scene


def publish(scene: Scene, messages: list[bytes]) -> None:
    stack = scene.stack
    account = next(account for account in stack.relay_parts.registry.accounts() if account.kid == stack.kid)
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=account.name)
    client.username_pw_set(account.name, account.password)
    client.tls_set_context(ssl.create_default_context(cafile=str(stack.data.ca_cert)))
    client.connect(HOST, stack.broker.port)
    client.loop_start()
    try:
        for octets in messages:
            client.publish(f"b/{stack.kid[0]}/{stack.kid}/alarm", octets, qos=1).wait_for_publish(30)
    finally:
        client.disconnect()
        client.loop_stop()


def flip(octets: bytes, at: int) -> bytes:
    return octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]


def ratchets(scene: Scene) -> tuple[dict[str, int], dict[str, int]]:
    """Where the relay's chains stand, and where the alarms that it stored must have brought them: Updates may come
    meanwhile."""
    with scene.stack.relay_parts.store.read() as connection:
        # The down chain counts from where the first message since the relay's start has led it.
        stand = dict(connection.exec_driver_sql("select name, next - floor from chain where name <> 'heartbeat'").all())
        last, count = connection.exec_driver_sql("select max(counter), count(*) from alarm").one()
    return stand, {"alarm": last + 1, "down": count}


def test_refused_counted_and_no_ratchet_moved(scene: Scene) -> None:
    stack = scene.stack
    genuine: list[bytes] = []
    tap = _tap(scene, genuine.append)
    first = scene.press()
    scene.wait_receipt(first)
    deadline = time.monotonic() + 30
    while not genuine and time.monotonic() < deadline:
        time.sleep(0.05)
    tap()
    sealed = genuine[0]
    kid = bytes.fromhex(stack.kid)
    ahead = cbor2.dumps([cbor2.dumps({1: 10, 4: kid, 6: b"\x07"}), {}, bytes(130 - 25)])
    foreign = cbor2.dumps([cbor2.dumps({1: 10, 4: flip(kid, 3), 6: b"\x07"}), {}, bytes(100)])
    attacks = {
        "not_cbor": [b"\xff\xff\xff", sealed[:60], b""],
        "bad_structure": [cbor2.dumps([b"", {}, b""])],
        "bad_header": [cbor2.dumps([cbor2.dumps({1: 3, 4: kid, 6: b"\x07"}), {}, bytes(100)])],
        "oversized": [bytes(141), bytes(20_000)],
        "bad_tag": [ahead],
        "wrong_topic": [foreign],
        "replay": [flip(sealed, len(sealed) - 1)],
        "gap": [cbor2.dumps([cbor2.dumps({1: 10, 4: kid, 6: b"\xff\xff\xff"}), {}, bytes(100)])],
    }
    publish(scene, [octets for group in attacks.values() for octets in group])
    publish(scene, [sealed])  # an exact copy is a duplicate: answered again, published never

    wanted = {reason: len(group) for reason, group in attacks.items()}
    got: dict[str, int] = {}
    deadline = time.monotonic() + 60
    while got != wanted and time.monotonic() < deadline:
        for event in stack.events():
            if event.source == "relay" and event.what == "alarm.refused":
                got[event.detail["reason"]] = got.get(event.detail["reason"], 0) + 1
        time.sleep(0.05)
    assert got == wanted
    with stack.relay_parts.store.read() as connection:
        counted = dict(connection.exec_driver_sql("select reason, sum(count) from refusal group by reason").all())
    assert counted == wanted
    stand, expected = ratchets(scene)
    assert stand == expected

    second = scene.press()
    scene.wait_receipt(second)
    published = [d["counter"] for d in scene.wait_documents(2)]
    assert published == sorted(set(published))
    assert {first, second} <= set(published)


def _tap(scene: Scene, heard: Callable[[bytes], None]) -> Callable[[], None]:
    """Listen on an account of the relay's that it does not use itself, as an attacker who holds the broker could."""
    from relay.datadir import SECRET_RELAY

    stack = scene.stack
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=RELAY)
    client.username_pw_set(RELAY, stack.data.secret(SECRET_RELAY))
    client.tls_set_context(ssl.create_default_context(cafile=str(stack.data.ca_cert)))
    listens = threading.Event()
    client.on_message = lambda _c, _u, message: heard(message.payload)
    client.on_connect = lambda *_: client.subscribe("b/+/+/alarm", 1)  # on every connection: the first may be refused
    client.on_subscribe = lambda *_: listens.set()
    client.connect(HOST, stack.broker.port)
    client.loop_start()
    assert listens.wait(30)

    def stop() -> None:
        client.disconnect()
        client.loop_stop()

    return stop

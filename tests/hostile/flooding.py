"""An attacker with one bracelet's account, and what an honest bracelet feels meanwhile.

    python -m tests.hostile.flooding [SECONDS]      -> figures, one JSON object

All of it real and on the loopback: nats-server, a relay process, the attacker in a process of its own. What the
attacker sends has its own key id and counters, so that only the tag shows that it is junk.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from relay.bench.load import Connection, Spec
from relay.ingest import qos1
from relay.verify.envelope import outer_header
from tests.relay.service.rig import ROOT, TIMEOUT, Bracelet, Rig, rig

_WINDOW = 4000
_EVERY = 0.25
_MADE = 50_000  # then the same again


def junk(kid: bytes, number: int) -> bytes:
    """A message that looks genuine up to its tag, each another."""
    protected = outer_header(kid, 0)
    content = number.to_bytes(4, "big") * 25
    return b"\x83%c%b\xa0\x58%c%b" % (0x40 | len(protected), protected, len(content), content)


def send_junk(port: int, ca: Path, thief: tuple[str, str, str], *, most: int, seconds: float) -> int:
    """Publish as a bracelet (key id, account, password), as fast as the broker takes it; how many it has taken."""
    kid_hex, name, password = thief
    topic, kid = f"b/{kid_hex[0]}/{kid_hex}/alarm".encode(), bytes.fromhex(kid_hex)
    made = min(most, _MADE)
    packets = [qos1.publish(topic, number % 65_535 + 1, junk(kid, number)) for number in range(made)]
    unheard: dict[str, Any] = {"audience": "", "epoch": "", "sealed": False}  # it only sends
    spec = Spec(port, str(ca), name, password, "", None, raw=False, timeout=10, **unheard)
    connection = Connection(spec, name)
    print("begins", flush=True)
    sent = taken = 0
    end = time.monotonic() + seconds
    while taken < most and time.monotonic() < end and not connection.socket.ended:
        count = min(500, most - sent, taken + _WINDOW - sent, made - sent % made)
        if count > 0:
            connection.socket.send(b"".join(packets[sent % made : sent % made + count]))
            sent += count
        connection.socket.flush()
        select.select([connection], [], [], 0.001 if sent - taken < _WINDOW else 0.05)
        taken += sum(head.kind == qos1.PUBACK for head in connection.packets())
    connection.socket.close()
    return taken


def attack(seconds: float, *, embedded: bool = True) -> dict[str, Any]:
    """Figures: the receipts' delays of an honest bracelet before and while another one's account sends junk. Only the
    embedded broker can be told to cut it off."""
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder), own_broker=not embedded) as made:
        thief, honest = made.bracelet("thief"), made.bracelet("honest")
        if not embedded:
            made.start_broker()
        relay = made.start()
        before = receipts(made, honest, seconds / 2)
        command = [sys.executable, "-m", "tests.hostile.flooding", "send", str(made.port), str(made.data.ca_cert)]
        command += [thief.kid, thief.account, thief.password, str(seconds)]
        attacker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert attacker.stdout is not None
        attacker.stdout.readline()
        during = receipts(made, honest, seconds)
        taken, lasted = attacker.communicate()[0].split()
        return {
            "junk": int(taken),
            "junk_per_s": round(int(taken) / float(lasted)),
            "lasted_s": round(float(lasted), 1),
            "receipt_before": before,
            "receipt_during": during,
            "told": [{key: e[key] for key in ("messages", "let_go", "refused")} for e in relay.events("flood")],
            "cut_off": len(relay.events("flood.cut_off")),
        }


def receipts(made: Rig, bracelet: Bracelet, seconds: float) -> dict[str, float]:
    """Raise alarms for so long, and take the time from the button to each receipt."""
    device = bracelet.connect()
    delays: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        device.publish(f"{bracelet.base}/alarm", bracelet.alarm())
        device.next(TIMEOUT * 3)
        delays.append((time.monotonic() - start) * 1000)
        time.sleep(max(0.0, start + _EVERY - time.monotonic()))
    device.close()
    made.clients.remove(device)
    delays.sort()
    return {"alarms": len(delays), "p50_ms": round(delays[len(delays) // 2]), "p99_ms": round(delays[-1])}


if __name__ == "__main__":
    if sys.argv[1:2] == ["send"]:
        port, ca, *thief, seconds = sys.argv[2:]
        kid, account, password = thief
        began = time.monotonic()
        taken = send_junk(int(port), Path(ca), (kid, account, password), most=10**9, seconds=float(seconds))
        print(taken, time.monotonic() - began)
    else:
        print(json.dumps(attack(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0), indent=1))

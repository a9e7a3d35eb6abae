"""What one account can do to the others, in figures: the attacks of this folder, one after another.

    python -m tests.hostile [--quick]      -> a table in Markdown

"Before" is what the same attack did to a broker without the rules, or, where the relay itself was to blame, what was
measured when the attack was found (relay of July 2026, same machine). Everything is bounded and on the loopback.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from hwsim import toolchain
from relay import pki
from relay.broker import Broker, MqttUser
from relay.broker.mosquitto import MosquittoBroker
from relay.broker.nats import NatsBroker
from tests.broker.conftest import ANNA, BORIS, PASSWORDS, Client, everyone

from .attacker import connect, stored
from .flooding import attack

TRIES, SESSIONS, LONG = 10, 200, 60_000


class Unbound(MosquittoBroker):
    """A broker that lets every account take any client id."""

    def write_configuration(self) -> None:
        super().write_configuration()
        file = self.folder / "mosquitto.conf"
        file.write_text(file.read_text().replace("use_username_as_clientid true\n", ""))


def evicted(broker: Broker, ca: Path) -> str:
    """How often another account throws a bracelet off."""
    thrown = 0
    for number in range(TRIES):
        anna = Client(broker, ca, ANNA, PASSWORDS[ANNA], ANNA, True).connect()
        relay = Client(broker, ca, "relay", PASSWORDS["relay"], "relay", True).connect()
        anna.subscribe(f"b/0/{ANNA}/ack")
        _, thief = connect(broker, ca, ANNA, BORIS, PASSWORDS[BORIS])
        relay.publish(f"b/0/{ANNA}/ack", b"%d" % number)
        try:
            anna.receive(1.0)
        except Exception:
            thrown += 1
        thief.close()
        anna.close()
        relay.close()
    return f"{thrown} of {TRIES} receipts lost"


def grown(broker: Broker, ca: Path) -> str:
    """What an account's sessions under long client ids leave at the broker."""
    folder: Path = broker.folder  # type: ignore[attr-defined]
    let_in = 0
    for number in range(SESSIONS):
        code, connection = connect(broker, ca, f"{number:06d}".ljust(LONG, "x"), BORIS, PASSWORDS[BORIS])
        connection.close()
        let_in += code == 0
    if isinstance(broker, NatsBroker):
        return f"{let_in} sessions, {stored(folder) >> 10} KiB stored"
    broker.stop()  # then it writes
    return f"{let_in} sessions, {(folder / 'mosquitto.db').stat().st_size >> 10} KiB stored"


def flood(seconds: float) -> list[str]:
    """An honest bracelet's receipts while another account sends junk."""
    rows = []
    for name, embedded in (("the embedded broker", True), ("a broker that nobody tells to cut it off", False)):
        figures = attack(seconds, embedded=embedded)
        during = figures["receipt_during"]
        rows.append(
            f"| sends junk without pause to {name} | 30 s for a receipt | {figures['junk_per_s']:,} junk/s for "
            f"{figures['lasted_s']} s; receipts p50 {during['p50_ms']} ms, slowest of {during['alarms']}: "
            f"{during['p99_ms']} ms (before the flood {figures['receipt_before']['p50_ms']} ms) |"
        )
    return rows


def both(folder: Path, figure: Callable[[Broker, Path], str]) -> tuple[str, str]:
    """The figure at a broker without the rule, and at the embedded one."""
    authority = pki.create_ca()
    cert, key = pki.issue_server(authority, ["127.0.0.1"])
    for name, octets in (("ca.pem", authority.cert_pem), ("cert.pem", cert), ("key.pem", key)):
        (folder / name).write_bytes(octets)
    users: list[MqttUser] = everyone()
    where = "127.0.0.1", 0, folder / "cert.pem", folder / "key.pem", users
    found = []
    for broker in (
        Unbound(folder / "unbound", *where, program=toolchain.mosquitto()),
        NatsBroker(folder / "embedded", *where),
    ):
        broker.start()
        try:
            broker.wait_ready()
            found.append(figure(broker, folder / "ca.pem"))
        finally:
            broker.stop()
    return found[0], found[1]


def main() -> None:
    seconds = 5.0 if "--quick" in sys.argv[1:] else 30.0
    print("| one account ... | before | now |\n| --- | --- | --- |")
    for what, figure in (("takes another's client id", evicted), (f"opens {SESSIONS} sessions", grown)):
        with tempfile.TemporaryDirectory() as folder:
            before, now = both(Path(folder), figure)
        print(f"| {what} | {before} | {now} |", flush=True)
    for row in flood(seconds):
        print(row, flush=True)


if __name__ == "__main__":
    main()

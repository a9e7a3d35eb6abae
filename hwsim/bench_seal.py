"""Measure what it costs the firmware to seal one alarm message, in the unix interpreter: time and heap allocation.

The same work (ratchet, CBOR, signature, AES-CCM) is done three times: with native code, with the big-integer fallback,
and with the textbook's double-and-add in place of the comb. The last one exists only here, to show what the other two
save; it also leaks the key through its timing. An ESP32 is some hundred times slower, and allocation there means
garbage collection, so the ratios and the octets say more than the microseconds.
"""

from __future__ import annotations

import os
import statistics
import subprocess
from json import dumps, loads
from pathlib import Path
from typing import Any

from hwsim.toolchain import micropython

FIRMWARE = Path(__file__).resolve().parent.parent / "firmware"
VARIANTS = {"native": "native code", "fallback": "big integers", "double_and_add": "double-and-add"}

# Runs in MicroPython. ALONE: only native code.
_SCRIPT = """
import gc, json, sys, time
from tocsin import envelope
from tocsin.crypto import curve_plain, ed25519, sha512_plain

P = 2**255 - 19
D2 = curve_plain.D2


def add(p, q):
    x1, y1, z1, t1 = p
    x2, y2, z2, t2 = q
    a = (y1 - x1) * (y2 - x2) % P
    b = (y1 + x1) * (y2 + x2) % P
    c = t1 * t2 * D2 % P
    d = 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def double_and_add(k):
    result, power = curve_plain.NEUTRAL, curve_plain.BASE
    while k:
        if k & 1:
            result = add(result, power)
        power = add(power, power)
        k >>= 1
    return curve_plain.encode(result)


def seal():
    return envelope.seal_alarm(KID, RELAY, 1000, CHAIN_KEY, PAYLOAD, signer)[0]


def measure(base, sha512, runs):
    ed25519.curve.base, ed25519.sha512 = base, sha512
    octets = seal()
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    seal()
    allocated = gc.mem_alloc() - before
    gc.enable()
    best = None
    for _ in range(runs):
        gc.collect()
        start = time.ticks_us()
        seal()
        took = time.ticks_diff(time.ticks_us(), start)
        best = took if best is None else min(best, took)
    return {"us": best, "allocated": allocated, "octets": len(octets)}


KID, RELAY, CHAIN_KEY = bytes(4), bytes(8), bytes(32)
PAYLOAD = envelope.alarm_payload(24, 0, 0, 1767225600, 87, (597700000, -438501234, 12, 3, 34, 14, 87), None, 1000)
signer = ed25519.Signer(bytes(range(32)))
found = {}
if not ALONE:
    found["fallback"] = measure(curve_plain.base, sha512_plain.sha512, 20)
    found["double_and_add"] = measure(double_and_add, sha512_plain.sha512, 5)
try:
    from tocsin.crypto import curve_viper, sha512_viper
    found["native"] = measure(curve_viper.base, sha512_viper.sha512, 50)
except (ImportError, SyntaxError, ValueError, NotImplementedError, MemoryError):
    pass  # an interpreter without native code
print(json.dumps({"variants": found, "word_bits": 64 if sys.maxsize >> 32 else 32}))
"""


def _run(firmware: Path, *, alone: bool) -> Any:
    done = subprocess.run(
        [*micropython(), "-X", "heapsize=64m", "-c", f"ALONE = {alone}\n{_SCRIPT}"],
        env={**os.environ, "MICROPYPATH": f"{firmware}:.frozen"},
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    return loads(done.stdout)


def against(other: Path, pairs: int) -> dict[str, Any]:
    """Compare the time of a seal with native code, this firmware's over another's. They run in turn, so that a busy
    machine slows both; the median of the pairs counts."""
    ratios, allocated = [], {}
    for _ in range(pairs):
        took = {}
        for place in (FIRMWARE, other):
            native = _run(place, alone=True)["variants"]["native"]
            took[place], allocated[place] = native["us"], native["allocated"]
        ratios.append(took[FIRMWARE] / took[other])
    return {
        "ratio": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
        "allocated": allocated[FIRMWARE],
        "other_allocated": allocated[other],
    }


def measure() -> dict[str, Any]:
    """Return the cost of each variant, and how many times cheaper it is than double-and-add."""
    report: dict[str, Any] = _run(FIRMWARE, alone=False)
    plain = report["variants"]["double_and_add"]
    for variant in report["variants"].values():
        variant["times_faster"] = round(plain["us"] / variant["us"], 2)
        variant["times_less_allocated"] = round(plain["allocated"] / variant["allocated"], 2)
    return report


def main(json: bool, other: Path | None = None, pairs: int = 15) -> int:
    """Print the comparison, for people or as one JSON object. `other`: compare with the firmware in that folder."""
    if other is not None:
        found = against(other, pairs)
        print(
            dumps(found)
            if json
            else "time: {ratio} of the other's (median; {lowest} to {highest}), allocated: "
            "{allocated} octets, the other {other_allocated}".format(**found)
        )
        return 0
    report = measure()
    if json:
        print(dumps(report))
        return 0
    print(f"Sealing one alarm message, MicroPython for unix, {report['word_bits']}-bit words")
    print(f"{'':16}{'time':>10}{'allocated':>16}   against double-and-add")
    for name, label in VARIANTS.items():
        cost = report["variants"].get(name)
        if cost is None:
            print(f"{label:16}  not available in this interpreter")
            continue
        print(
            f"{label:16}{cost['us']:>7} us{cost['allocated']:>9} octets"
            f"   {cost['times_faster']} x faster, {cost['times_less_allocated']} x less allocated"
        )
    return 0

"""The phases of the benchmark, one after another, and the report."""

from __future__ import annotations

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair

from relay import initial
from relay.assembly import Relay
from relay.bench.fleet import Fleet, Sent
from relay.bench.load import Spec
from relay.broker import MqttUser
from relay.broker.nats import NatsBroker
from relay.broker.process import free_port
from relay.datadir import DataDir
from relay.subscribers import audiences

ALARM_SHARE = 0.23  # of the design's load; the rest are heartbeats
SLOW_SYNC_MS = 5.0
TARGETS = {
    "cpu_us_per_message": ("at most", 150.0),
    "sealing_us_per_message_and_audience": ("at most", 6.0),
    "paced_rate_kept": ("at least", 0.98),
    "paced_p99_ms": ("below", 250.0),
    "lost": ("at most", 0.0),
    "naive_ratio": ("at least", 2.0),
    "naive_ratio_slow_disk": ("at least", 10.0),
}
_READY = 30.0
_QUIET = 15.0  # after so long without anything new, missing messages are lost
_LOAD_USER = "load"
_RAW_BRACELETS = 20


@dataclass(frozen=True)
class Size:
    """The size of a run."""

    bracelets: int = 1000
    rate: int = 2000
    paced_s: int = 10
    unbounded: int = 20_000
    naive: int = 3000
    naive_slow: int = 600


QUICK = Size(bracelets=50, rate=500, paced_s=2, unbounded=2000, naive=300, naive_slow=100)


class BenchError(Exception):
    """A phase that could not be measured."""


class Bench:
    """A run of the benchmark, in a folder that is thrown away."""

    def __init__(self, folder: Path, size: Size, progress: Callable[[str], None]) -> None:
        self._size = size
        self._progress = progress
        self._folder = folder
        self._loads = 0
        data = DataDir(folder / "data")
        initial.init(data, initial.Options(listen="127.0.0.1", port=free_port("127.0.0.1")))
        text = data.config.read_text().replace("embedded = true", "embedded = false")
        data.config.write_text(text)  # the broker goes on from phase to phase
        self._relay = Relay(data)
        self._data = data
        self._broker: NatsBroker | None = None

    def run(self) -> dict[str, Any]:
        began = time.monotonic()
        size = self._size
        self._progress(f"making {size.bracelets} bracelets")
        fleet = Fleet(self._relay, size.bracelets, int(time.time()), lambda _: None)
        self._fleet = fleet
        # Messages over the raw hop never reach the relay. Bracelets of the fleet would have lost those messages, and
        # the relay would then carry 26 skipped keys for each of them through every later phase.
        self._unheard = Fleet(self._relay, _RAW_BRACELETS, int(time.time()), lambda _: None)
        self._start_broker()
        try:
            results: dict[str, Any] = {
                "machine": self._machine(),
                "setup": self._setup(),
                "ed25519_verify": self._ed25519(),
                "raw_broker_hop": {
                    "paced": self._phase("raw hop, paced", None, size.rate * 3, size.rate),
                    "unbounded": self._phase("raw hop, unbounded", None, size.unbounded, None),
                },
                "pipeline": {
                    "paced": self._phase("pipeline, paced", "batch", size.rate * size.paced_s, size.rate),
                    "unbounded": self._phase("pipeline, unbounded", "batch", size.unbounded, None),
                    "unbounded_alarms_only": self._phase(
                        "pipeline, unbounded, alarms only", "batch", size.unbounded // 2, None, share=1.0
                    ),
                },
                "sealing": {
                    **self._sealing(),
                    "before": self._phase("alarms only, in clear", "clear", size.unbounded // 2, None, share=1.0),
                    "after": self._phase("alarms only, sealed", "batch", size.unbounded // 2, None, share=1.0),
                },
                "naive": {"unbounded": self._phase("naive, unbounded", "naive", size.naive, None)},
                "slow_disk": {
                    "sync_ms": SLOW_SYNC_MS,
                    "simulated": "each commit sleeps that much longer, in both variants",
                    "pipeline": self._phase(
                        "slow disk, pipeline", "batch", size.unbounded // 2, None, sync_ms=SLOW_SYNC_MS
                    ),
                    "naive": self._phase("slow disk, naive", "naive", size.naive_slow, None, sync_ms=SLOW_SYNC_MS),
                },
            }
        finally:
            self._stop_broker()
        results["ratios"] = ratios(results)
        results["targets"] = targets(results)
        results["took_s"] = round(time.monotonic() - began, 1)
        return results

    # ---- parts ----

    def _start_broker(self) -> None:
        users = list(self._relay.own_users())
        with self._relay.store.read() as connection:
            (self._audience,) = audiences.read(connection, self._relay.store.box)
        up, down = ("b/+/+/alarm", "b/+/+/hb"), (f"s/{self._audience.id}/+/alarm", "b/+/+/ack")
        password, ids = self._data.new_password("mqtt-load"), ("load-publisher", "load-subscriber")
        heard = up + down
        users.append(
            MqttUser(name=_LOAD_USER, password=password, ids=ids, subscriptions=16, publish=up, subscribe=heard)
        )
        data, port = self._data, self._relay.config.mqtt.port
        self._broker = NatsBroker(data.broker, "127.0.0.1", port, data.server_cert, data.server_key, users)
        self._broker.start()
        self._broker.wait_ready()

    def _stop_broker(self) -> None:
        if self._broker is not None:
            self._broker.stop()
        self._relay.store.close()

    def _machine(self) -> dict[str, Any]:
        return {
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "load_before": round(os.getloadavg()[0], 2),
            "python": platform.python_version(),
            "fsync_ms": self._fsync_ms(),
        }

    def _setup(self) -> dict[str, Any]:
        return {
            "broker": "nats-server, embedded, as deployed: TLS on the loopback, QoS 1",
            "store": "SQLite, WAL, synchronous=FULL",
            "bracelets": self._size.bracelets,
            "alarm_share": ALARM_SHARE,
            "note": "relay, broker and load generator share this machine; CPU is that of the relay's process alone",
        }

    def _fsync_ms(self) -> float:
        file = self._folder / "fsync"
        times = []
        with file.open("wb", buffering=0) as out:
            for _ in range(30):
                out.write(bytes(4096))
                start = time.perf_counter()
                os.fsync(out.fileno())
                times.append((time.perf_counter() - start) * 1000)
        file.unlink()
        return round(statistics.median(times), 3)

    def _ed25519(self) -> dict[str, float]:
        self._progress("bare Ed25519 verification")
        public, secret = crypto_sign_seed_keypair(bytes(32))
        signed = crypto_sign(bytes(120), secret)
        count, start = 0, time.process_time()
        while (spent := time.process_time() - start) < 0.5:
            for _ in range(100):
                crypto_sign_open(signed, public)
            count += 100
        return {"cpu_us": round(spent / count * 1e6, 1), "per_s": round(count / spent)}

    def _sealing(self) -> dict[str, float]:
        """Measure the cost of sealing one document for one audience, in rounds; return the median, because others use
        this machine."""
        self._progress("sealing")
        document, rounds = b"{" + bytes(1100).replace(b"\0", b"x") + b"}", []
        for _ in range(20):
            start = time.process_time()
            for kid in range(1000):
                self._audience.seal(kid, "alarm", document)
            rounds.append((time.process_time() - start) * 1000)
        return {"octets": len(document), "cpu_us": round(statistics.median(rounds), 2)}

    def _phase(
        self,
        name: str,
        variant: str | None,
        messages: int,
        rate: int | None,
        *,
        share: float = ALARM_SHARE,
        sync_ms: float = 0,
    ) -> dict[str, Any]:
        self._loads += 1
        file = self._folder / f"load-{self._loads}"
        sent = (self._unheard if variant is None else self._fleet).seal(file, messages, share)
        self._progress(f"{name}: {messages} messages" + (f" at {rate}/s" if rate else ""))
        spec = Spec(
            port=self._relay.config.mqtt.port,
            ca=str(self._data.ca_cert),
            user=_LOAD_USER,
            password=self._data.secret("mqtt-load"),
            messages=str(file),
            rate=rate,
            raw=variant is None,
            audience=self._audience.id,
            epoch=(self._audience.epoch.id + self._audience.epoch.key).hex(),
            sealed=variant != "clear",
            timeout=_QUIET,
        )
        spec_file = self._folder / "spec.json"
        spec_file.write_text(json.dumps(asdict(spec)))
        try:
            if variant is None:
                seen = _load(spec_file)
                return _raw(seen)
            with _Target(self._data, variant, sync_ms, messages) as target:
                seen = _load(spec_file)
                last = target.complete(messages)
            return _measured(sent, seen, last, rate)
        finally:
            file.unlink()
            spec_file.unlink()


class _Target:
    """The relay's process."""

    def __init__(self, data: DataDir, variant: str, sync_ms: float, messages: int) -> None:
        command = [sys.executable, "-m", "relay.bench.target", str(data.path), variant, str(sync_ms), str(messages)]
        self._log = (data.path / "bench.log").open("ab")
        self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log)
        self._last: dict[str, Any] | None = None
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            with self._news:
                self._last = json.loads(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _wait(self, messages: int, timeout: float) -> dict[str, Any]:
        with self._news:
            self._news.wait_for(
                lambda: (self._last is not None and self._last["messages"] >= messages) or not self._reader.is_alive(),
                timeout,
            )
            if self._last is None:
                raise BenchError(
                    "the relay's process did not start; its log is bench.log in the benchmark's folder (--keep)"
                )
            return self._last

    def complete(self, messages: int) -> dict[str, Any]:
        """Return the last report, after all of the load, or after waiting for it in vain."""
        return self._wait(messages, _QUIET)

    def __enter__(self) -> _Target:
        self._wait(0, _READY)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._reader.join()
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._log.close()


def _load(spec: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "relay.bench.load", str(spec)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=170,
    )
    if done.returncode:
        raise BenchError(
            "the load generator failed: " + done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        )
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def _raw(seen: dict[str, Any]) -> dict[str, Any]:
    took = seen["last_seen"] - seen["first_sent"]
    figures = {"messages": seen["messages"], "messages_per_s": round(seen["heard"] / took)}
    return figures | {key: seen[key] for key in ("p50_ms", "p99_ms", "max_ms", "lost", "duplicated")}


def _measured(sent: Sent, seen: dict[str, Any], last: dict[str, Any], rate: int | None) -> dict[str, Any]:
    took = last["at"] - seen["first_sent"]
    figures = {
        "messages": sent.messages,
        "alarms": sent.alarms,
        "octets_mean": round(sent.octets, 1),
        "offered_per_s": rate,
        "messages_per_s": round(last["messages"] / took, 1),
        "cpu_us_per_message": round(last["cpu_s"] / max(1, last["messages"]) * 1e6, 1),
        "rebroadcasts": seen["heard"],
        "receipts": seen["receipts"],
    }
    return figures | {key: seen[key] for key in ("p50_ms", "p99_ms", "max_ms", "lost", "duplicated")}


def ratios(results: dict[str, Any]) -> dict[str, float]:
    """Compute the ratios of the figures to each other."""
    pipeline, naive, slow = results["pipeline"], results["naive"]["unbounded"], results["slow_disk"]
    batch = pipeline["unbounded"]
    return {
        "pipeline_to_naive": round(batch["messages_per_s"] / naive["messages_per_s"], 2),
        "pipeline_to_naive_slow_disk": round(slow["pipeline"]["messages_per_s"] / slow["naive"]["messages_per_s"], 2),
        "naive_cpu_to_pipeline": round(naive["cpu_us_per_message"] / batch["cpu_us_per_message"], 2),
        "pipeline_to_raw_hop": round(
            batch["messages_per_s"] / results["raw_broker_hop"]["unbounded"]["messages_per_s"], 3
        ),
        "sealed_cpu_to_clear": round(
            results["sealing"]["after"]["cpu_us_per_message"] / results["sealing"]["before"]["cpu_us_per_message"], 3
        ),
        "cpu_to_ed25519": round(batch["cpu_us_per_message"] / results["ed25519_verify"]["cpu_us"], 2),
    }


def targets(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """List the figures that were promised, and whether this run reached them."""
    pipeline, slow = results["pipeline"], results["slow_disk"]
    sealing = results["sealing"]
    phases = [*pipeline.values(), sealing["before"], sealing["after"], results["naive"]["unbounded"]]
    phases += [slow["pipeline"], slow["naive"]]
    values = {
        "cpu_us_per_message": max(pipeline[load]["cpu_us_per_message"] for load in ("paced", "unbounded")),
        "sealing_us_per_message_and_audience": results["sealing"]["cpu_us"],
        "paced_rate_kept": round(pipeline["paced"]["messages_per_s"] / pipeline["paced"]["offered_per_s"], 3),
        "paced_p99_ms": pipeline["paced"]["p99_ms"],
        "lost": float(sum(phase["lost"] for phase in phases)),
        "naive_ratio": results["ratios"]["pipeline_to_naive"],
        "naive_ratio_slow_disk": results["ratios"]["pipeline_to_naive_slow_disk"],
    }
    met = {"at most": float.__le__, "below": float.__lt__, "at least": float.__ge__}
    return {
        name: {"wanted": f"{how} {limit:g}", "value": values[name], "met": met[how](float(values[name]), limit)}
        for name, (how, limit) in TARGETS.items()
    }


def run(size: Size, progress: Callable[[str], None], keep: Path | None = None) -> dict[str, Any]:
    """Run all phases, in a new folder; `keep` names a folder that is left."""
    if keep is not None:
        keep.mkdir(mode=0o700, parents=True)
        return Bench(keep, size, progress).run()
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        return Bench(Path(folder), size, progress).run()

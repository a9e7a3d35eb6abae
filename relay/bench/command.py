"""The command `relay bench`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click

from relay.commands.common import Failure, errors_in_words, json_option


@click.command()
@json_option
@click.option("--quick", is_flag=True, help="A tenth of everything: to see that it runs. The figures mean little.")
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(exists=False, path_type=Path),
    help="Work in this new folder, on its disk, and leave it.",
)
@click.option(
    "--accounts",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Measure something else: what N accounts cost the embedded broker's gate and the alarm loop.",
)
@errors_in_words
def bench(as_json: bool, quick: bool, keep: Path | None, accounts: int | None) -> None:
    """Measure the pipeline on this machine: throughput, CPU, latency, losses, beside the limits of its parts.

    Takes about a minute; progress on standard error. Exit status 1 when an alarm was lost or a phase could not be
    measured; slow is no failure.
    """
    from relay.bench import plan

    if accounts is not None:
        _accounts(accounts, as_json=as_json, quick=quick, keep=keep)
        return
    try:
        results = plan.run(
            plan.QUICK if quick else plan.Size(), lambda text: click.echo(f"bench: {text}", err=True), keep
        )
    except (plan.BenchError, FileExistsError) as error:
        raise Failure(str(error)) from None
    click.echo(json.dumps(results, indent=1) if as_json else describe(results))
    raise SystemExit(1 if results["targets"]["lost"]["value"] else 0)


def _accounts(count: int, *, as_json: bool, quick: bool, keep: Path | None) -> None:
    from relay.bench import accounts, plan

    size = accounts.Size(count, connections=min(count, 60), alarms=10) if quick else accounts.Size(count)
    try:
        with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
            if keep is not None:
                keep.mkdir(parents=True)
            where = Path(folder) if keep is None else keep
            results = accounts.run(where, size, lambda text: click.echo(f"bench: {text}", err=True))
    except (plan.BenchError, FileExistsError) as error:
        raise Failure(str(error)) from None
    click.echo(json.dumps(results, indent=1) if as_json else accounts.describe(results))
    raise SystemExit(1 if results["connects"]["refused"] else 0)


def describe(results: dict[str, Any]) -> str:
    """Write the report for people."""
    lines = [f"{'':<32}{'msg/s':>9}{'CPU us':>9}{'p50 ms':>9}{'p99 ms':>9}{'lost':>6}{'twice':>7}"]
    rows = [
        ("raw broker hop, paced", results["raw_broker_hop"]["paced"]),
        ("raw broker hop", results["raw_broker_hop"]["unbounded"]),
        ("pipeline, paced", results["pipeline"]["paced"]),
        ("pipeline", results["pipeline"]["unbounded"]),
        ("pipeline, alarms only", results["pipeline"]["unbounded_alarms_only"]),
        ("alarms only, in clear", results["sealing"]["before"]),
        ("alarms only, sealed", results["sealing"]["after"]),
        ("naive", results["naive"]["unbounded"]),
        (f"disk with {results['slow_disk']['sync_ms']:g} ms sync, pipeline", results["slow_disk"]["pipeline"]),
        (f"disk with {results['slow_disk']['sync_ms']:g} ms sync, naive", results["slow_disk"]["naive"]),
    ]
    for name, row in rows:
        cpu = f"{row['cpu_us_per_message']:.1f}" if "cpu_us_per_message" in row else ""
        lines.append(
            f"{name:<32}{row['messages_per_s']:>9.0f}{cpu:>9}{row['p50_ms']:>9}{row['p99_ms']:>9}{row['lost']:>6}{row['duplicated']:>7}"
        )
    lines.append(f"bare Ed25519 verification: {results['ed25519_verify']['cpu_us']} us")
    sealing, ratio = results["sealing"], results["ratios"]["sealed_cpu_to_clear"]
    lines.append(f"sealing a message for an audience: {sealing['cpu_us']} us; CPU sealed to in clear: {ratio}")
    for name, target in results["targets"].items():
        lines.append(f"{'reached' if target['met'] else 'MISSED ':<8} {name} {target['wanted']}: {target['value']}")
    return "\n".join(lines)

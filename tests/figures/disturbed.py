"""Disturbed runs: each trains twice with the same seed, disturbed and not, and is measured by `learn --json` itself."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
EPOCHS = 12
Figure = dict[str, Any]


class Asked(NamedTuple):
    """What is done in one run, and what must come out: limits in seconds for the median and 99 of 100 recoveries."""

    kind: str
    times: int
    spares: int = 0
    p50_at_most: float | None = None
    p99_at_most: float | None = None
    stale: bool = False
    epochs: int = EPOCHS
    snapshot_interval_steps: int | None = None


DISTURBED = {
    "neurons": Asked("kill", 200, p50_at_most=0.5, p99_at_most=2.0),
    "neurons-with-a-spare": Asked("kill", 200, spares=1, p50_at_most=0.5, p99_at_most=2.0),
    "coordinator": Asked("coordinator", 50),
    "broker": Asked("broker", 50),
    "everything": Asked("everything", 20, snapshot_interval_steps=50),
    "zombies": Asked("pause", 100, spares=1, p99_at_most=2.0, stale=True, epochs=36),
    "partitions": Asked("partition", 20, spares=1, stale=True),
}


def epochs_of(scale: float, epochs: int = EPOCHS) -> int:
    """As many as the digits take, or as there must be for everything to happen; fewer for a small part."""
    return max(1, round(epochs * min(1.0, 5 * scale)))


def learnt(runs: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """`coordinator learn … --json`: its exit code, and its result if it has one."""
    done = subprocess.run(
        [sys.executable, "-m", "coordinator", "learn", *arguments, "--runs", runs, "--json"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout.strip():
        raise SystemExit(f"learn {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.returncode, json.loads(done.stdout)


def measured(name: str, dataset: str, scale: float, interval: int | None = None) -> Figure:
    """One of `DISTURBED`, or a part of it; a snapshot every `interval` steps, where the figure has none of its own."""
    asked = DISTURBED[name]
    count = max(1, round(asked.times * scale))
    arguments = ["--chaos", f"{asked.kind}={count}", "--chaos-seed", "7", "--compare", "--spares", str(asked.spares)]
    arguments += ["--epochs", str(epochs_of(scale, asked.epochs))]
    if interval := asked.snapshot_interval_steps or interval:
        arguments += ["--snapshot-interval-steps", str(interval)]
    with tempfile.TemporaryDirectory(prefix="figures-") as runs:
        code, result = learnt(runs, dataset, *arguments)
        superseded = _superseded(Path(runs, result["run"]))
    facts = result["chaos"][asked.kind]
    return {
        "kind": asked.kind,
        "exit": code,
        **{key: facts[key] for key in ("asked", "done")},
        "identical": result["identical"],
        "recovery_seconds_p50": facts["recovery_seconds_p50"],
        "recovery_seconds_p99": facts["recovery_seconds_p99"],
        "recovery_seconds_most": facts["recovery_seconds_most"],
        "p50_at_most": asked.p50_at_most,
        "p99_at_most": asked.p99_at_most,
        "stale_messages": result["stale_messages"],
        "stale_wanted": asked.stale,
        "lives_told_that_they_are_over": superseded,
        "steps": result["steps"],
        "steps_repeated_most": result["steps_repeated_most"],
        "steps_repeated_at_most": asked.snapshot_interval_steps,
    }


def _superseded(folder: Path) -> int:
    """How many lives of nodes woke up, spoke, and were told by the coordinator that another has their place."""
    logs = (path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("logs/node-*.log"))
    return sum(text.count("another node has replaced this one") for text in logs)


def missed(figure: Figure) -> list[str]:
    """What should be and is not."""
    faults = []
    if "identical" in figure:
        if not figure["identical"]:
            faults.append("the weights differ")
        if figure["done"] < figure["asked"]:
            faults.append(f"{figure['done']} of {figure['asked']} were done before the run had ended")
        for share in ("p50", "p99"):
            limit, seconds = figure[f"{share}_at_most"], figure[f"recovery_seconds_{share}"]
            if limit is not None and (seconds is None or seconds > limit):
                faults.append(f"recovery {share} is {seconds} s, wanted at most {limit}")
        if figure["stale_wanted"] and not figure["stale_messages"]:
            faults.append("no message of the past came")
        limit = figure["steps_repeated_at_most"]
        if limit is not None and figure["steps_repeated_most"] > limit:
            faults.append(f"{figure['steps_repeated_most']} steps were repeated, an interval is {limit}")
    elif figure["percent_slower"] > figure["percent_at_most"]:
        faults.append(f"it costs {figure['percent_slower']} %, wanted at most {figure['percent_at_most']}")
    return faults


def shown_row(name: str, figure: Figure) -> str:
    """A row of the table in docs/reliability.md."""
    if "percent_slower" in figure:
        return f"| {name} | {figure['pairs']} pairs | {figure['percent_slower']} % slower |"
    same = "identical" if figure["identical"] else "DIFFERENT"
    times = " | ".join(
        "–" if figure[key] is None else f"{figure[key]:.2f} s"
        for key in ("recovery_seconds_p50", "recovery_seconds_p99", "recovery_seconds_most")
    )
    return (
        f"| {name} | {figure['done']} of {figure['asked']} | {same} | {times} "
        f"| {figure['stale_messages']:,} | {figure['steps_repeated_most']} |"
    )

"""What snapshots and heartbeats cost a run that nothing happens to: with and without them, in turn, several times.

Measured by the clock on the wall, from the moment when the network stands until the last epoch is done: whatever the
coordinator does in between is in it. A difference of speeds that drifts with the machine's hits both alike.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.figures.disturbed import CHECKOUT, Figure, epochs_of

PAIRS = 10
PERCENT_AT_MOST = 3.0
NEVER = 1_000_000
WITHOUT_HEARTBEATS = """
import functools

import coordinator.service as service

service.RunPlan = functools.partial(service.RunPlan, heartbeat_interval_ms=3_600_000, silence_ms=86_400_000)
"""
"""Python runs it in every program that it starts: there is no option for what nobody should switch off."""


def cost(dataset: str, scale: float) -> Figure:
    """By how many percent a run with everything is slower than one without, in the median of pairs."""
    epochs, pairs = epochs_of(scale), max(2, round(PAIRS * scale))
    slower, seconds = [], {"with": list[float](), "without": list[float]()}
    for pair in range(pairs):
        # Who comes first changes, so that neither always follows the other.
        for which in ("with", "without") if pair % 2 else ("without", "with"):
            seconds[which].append(_seconds_of(dataset, epochs, without=which == "without"))
        slower.append(100.0 * (seconds["with"][-1] / seconds["without"][-1] - 1.0))
    figure: dict[str, Any] = {
        "pairs": pairs,
        "percent_slower": round(statistics.median(slower), 2),
        "percent_at_most": PERCENT_AT_MOST,
        "percent_of_each_pair": [round(percent, 2) for percent in slower],
        "seconds_with": [round(value, 2) for value in seconds["with"]],
        "seconds_without": [round(value, 2) for value in seconds["without"]],
    }
    return figure


def _seconds_of(dataset: str, epochs: int, *, without: bool) -> float:
    with tempfile.TemporaryDirectory(prefix="figures-") as folder:
        Path(folder, "sitecustomize.py").write_text(WITHOUT_HEARTBEATS if without else "", encoding="utf-8")
        command = ["coordinator", "learn", dataset, "--epochs", str(epochs), "--runs", f"{folder}/runs", "--json"]
        if without:
            command += ["--snapshot-interval-steps", str(NEVER)]
        learning = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{CHECKOUT}"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert learning.stderr is not None
        moments = {}
        with learning:
            for line in learning.stderr:
                moments[line.partition(":")[0]] = time.monotonic()
        if learning.returncode:
            raise SystemExit(f"learn {' '.join(command)} ended with {learning.returncode}")
        return moments[f"epoch {epochs}"] - moments["wired"]

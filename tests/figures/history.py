"""`python -m tests.figures.history`: measure what the history of a run takes on disk and in memory.

A large network (64-4000-10 in six programs) and the usual one (64-12-10, a program a neuron) learn digits, in turn without a
history and with the usual one. A snapshot is taken every few steps, so that the history is full. Compared are the size of the
run's folder and the most memory that the coordinator took.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.figures.clients import program_below
from tests.figures.disturbed import CHECKOUT

MB = 1024 * 1024
NETWORKS = {
    "64-12-10": ["--epochs", "6", "--snapshot-interval-steps", "5"],
    "64-4000-10": ["--hidden", "4000", "--group-size", "1000", "--epochs", "1", "--snapshot-interval-steps", "1"],
}
KINDS = {"without": ["--history", "0"], "with": []}
LARGEST_MB = 64.0
LOOK_SECONDS = 0.05


def main() -> int:
    """Exit 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(prog="history", description=__doc__)
    parser.add_argument("--pairs", type=int, default=3, help="how often each (default 3)")
    options = parser.parse_args()
    figures = {name: _compared(arguments, options.pairs) for name, arguments in NETWORKS.items()}
    print(json.dumps(figures | {"disk_mb_at_most": LARGEST_MB}, indent=1))
    return int(
        any(
            figure["more_disk_mb"] > LARGEST_MB
            or figure["more_memory_mb"] > figure["snapshot_mb"] + figure["spread_mb"]
            for figure in figures.values()
        )
    )


def _compared(arguments: list[str], pairs: int) -> dict[str, Any]:
    """Return the sizes of runs in turn without and with a history."""
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(pairs):
        for kind, choice in KINDS.items():
            found[kind].append(_measured([*arguments, *choice]))
            print(f"{kind}: {found[kind][-1]}", file=sys.stderr, flush=True)
    sizes = {
        name: {kind: [each[name] for each in runs] for kind, runs in found.items()} for name in ("disk_mb", "memory_mb")
    }
    less, more = (sizes["memory_mb"][kind] for kind in KINDS)
    return {
        **sizes,
        "kept": [run["kept"] for run in found["with"]],
        "snapshot_mb": found["with"][0]["snapshot_mb"],
        "more_disk_mb": round(max(sizes["disk_mb"]["with"]) - min(sizes["disk_mb"]["without"]), 2),
        "more_memory_mb": round(statistics.median(more) - statistics.median(less), 2),
        "spread_mb": round(max(less) - min(less), 2),
    }


def _measured(arguments: list[str]) -> dict[str, float]:
    """Run a training to its end; return the sizes of its folder, of a snapshot, and of the coordinator at most."""
    with tempfile.TemporaryDirectory(prefix="figures-") as runs:
        command = [
            sys.executable,
            "-m",
            "coordinator",
            "learn",
            "digits",
            "--runs",
            runs,
            "--name",
            "measured",
            *arguments,
        ]
        with subprocess.Popen(
            command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as learn:
            assert learn.stderr is not None
            for line in learn.stderr:
                if line.startswith("wired"):
                    break
            coordinator, peak = program_below(learn.pid, "coordinator"), 0
            while learn.poll() is None:
                with contextlib.suppress(OSError, StopIteration):
                    peak = max(peak, _peak_kb(coordinator))
                time.sleep(LOOK_SECONDS)
            if learn.returncode:
                raise SystemExit(f"learn ended with {learn.returncode}: {learn.stderr.read()}")
        folder = Path(runs, "measured")
        snapshots = list((folder / "snapshots").glob("*.snapshot"))
        return {
            "disk_mb": round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MB, 2),
            "memory_mb": round(peak / 1024, 2),
            "snapshot_mb": round(max(path.stat().st_size for path in snapshots) / MB, 3),
            "kept": len(list((folder / "history").glob("*.snapshot"))),
        }


def _peak_kb(process: int) -> int:
    """Return the most resident memory that a process has had."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    sys.exit(main())

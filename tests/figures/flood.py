"""`python -m tests.figures.flood`: measure what floods by programs without a valid key cost a network with keys.

A network of 86 programs, a neuron each, learns digits over TCP with CURVE. In turn it is left alone and attacked: 10,000
handshakes with wrong keys at 200 a second, then 1,000,000 malformed and forged frames at 5,000 a second. Both are sent at low
priority (nice 10) to the broker's two ports. Then the holder of a node's key sends forged commands. At the end the weights are
compared with those of a calm computation in memory. `--scale 0.1` does a tenth.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coordinator.bench.transports import CURVE, Prepared, prepared
from coordinator.client import Client
from coordinator.core.run_plan import RunPlan
from coordinator.data.prepared import PreparedData
from coordinator.defaults import NetworkSettings
from coordinator.job import Job
from coordinator.local.launcher import LocalRun
from coordinator.storage.disk import REAL_DISK
from coordinator.storage.resumption import checked_config
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.snapshots import SnapshotStore
from coordinator.topology import Topology
from neuron_node.fingerprint import fingerprint
from tests.figures.clients import PATIENCE_SECONDS, memory_mb, program_below, speed
from tests.figures.disturbed import CHECKOUT
from tests.networks import COORDINATOR_LIFE, RUN, trained, weights_sha256

ATTACKS = {"handshakes": (10_000, 200.0), "frames": (1_000_000, 5_000.0), "commands": (50_000, 1_000.0)}
"""How many, and how many a second."""
LIMITED = ("handshakes", "frames")
"""The attacks from outside, for which the limit of speed holds."""
SLOWEST_RATIO = 0.8
CALM_SECONDS = 20.0
CALMER_SECONDS = 5.0


def main() -> int:
    """Exit 1 if a program ended, a bit changed, or the limit of speed was not kept."""
    parser = argparse.ArgumentParser(prog="flood", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="how much of each attack (default 1)")
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help="which attacks (default all)")
    options = parser.parse_args()
    attacks = {name: ATTACKS[name] for name in options.attacks or ATTACKS}
    with tempfile.TemporaryDirectory(prefix="figures-") as name:
        folder = Path(name)
        directory = Job.from_flags({"dataset": "digits", "epochs": 100_000}, None).create_run(folder / "runs")
        how = prepared(CURVE, folder)
        with directory.claimed(), LocalRun(directory, 86, broker=how.broker, keys=how.keys) as run:
            figure = _attacked(run, directory, how, attacks, options.scale)
        figure |= _compared(directory)
    figure["ratio_at_least"] = SLOWEST_RATIO
    print(json.dumps(figure, indent=1))
    good = figure["identical"] and not figure["ended"] and figure["recoveries"] == 0
    return int(not good or any(figure[name]["ratio"] < SLOWEST_RATIO for name in LIMITED if name in figure))


def _attacked(
    run: LocalRun, directory: RunFolder, how: Prepared, attacks: dict[str, tuple[int, float]], scale: float
) -> dict[str, Any]:
    """Attack the run in turn; return the figures of each attack, and what happened to its programs."""
    events = run.events()
    for event in events:
        if event["event"] == "failed":
            raise SystemExit(event["reason"])
        if event["event"] == "wired":
            break
    ended: list[str] = []
    watcher = threading.Thread(target=_watch, args=(events, ended), daemon=True)
    watcher.start()
    door = directory.read_json("endpoints")["door"]
    with Client(door, PATIENCE_SECONDS) as client:
        figure: dict[str, Any] = {}
        pids = {name: _process(run, name) for name in ("neuron-broker", "coordinator")}
        before = speed(client, CALM_SECONDS)
        for kind, (count, rate) in attacks.items():
            memory = [{name: memory_mb(pid) for name, pid in pids.items()}]
            during, taken = _speed_during(client, kind, how, round(count * scale), rate)
            memory.append({name: memory_mb(pid) for name, pid in pids.items()})
            time.sleep(CALMER_SECONDS)
            memory.append({name: memory_mb(pid) for name, pid in pids.items()})
            after = speed(client, CALM_SECONDS)
            figure[kind] = {
                "ratio": round(during / statistics.mean((before, after)), 3),
                "steps_per_second": [round(each, 1) for each in (before, during, after)],
                "memory_mb_before_during_after": memory,
                **taken,
            }
            print(f"{kind}: {figure[kind]}", file=sys.stderr, flush=True)
            before = after
        status = client.ask("status")[0]
        client.ask("stop")
    watcher.join()
    return figure | {"recoveries": status["recoveries"], "ended": ended}


def _watch(events: Iterator[dict[str, Any]], ended: list[str]) -> None:
    """Note the programs that ended before the run was stopped."""
    ended += [event["program"] for event in events if event["event"] == "ended"]


def _speed_during(client: Client, kind: str, how: Prepared, count: int, rate: float) -> tuple[float, dict[str, Any]]:
    """Return the steps per second during an attack, and what the attacker reports."""
    targets = [option for endpoint in how.broker for option in ("--target", endpoint)]
    command = ["tests.intruders", kind, *targets, "--keys", str(how.keys), "--count", str(count), "--rate", str(rate)]
    begun, first, used = time.monotonic(), client.ask("status")[0]["step"], _seconds_of_senders()
    done = subprocess.run([sys.executable, "-m", *command], cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True)
    last = client.ask("status")[0]["step"]
    seconds = time.monotonic() - begun
    # The sender takes CPU from the network, because both are on one machine.
    share = round(100 * (_seconds_of_senders() - used) / seconds, 1)
    return (last - first) / seconds, {"sender_core_percent": share, **json.loads(done.stdout)}


def _seconds_of_senders() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _compared(directory: RunFolder) -> dict[str, Any]:
    """Compare the last snapshot of the run with a calm computation of as many steps."""
    config = checked_config(directory)
    network = NetworkSettings.from_json(config["network"])
    topology = Topology(network.layers, config["group_size"])
    saved = SnapshotStore(directory.path, directory.identity(config), REAL_DISK).latest(topology)
    assert saved is not None, "the run has no snapshot"
    step = saved.snapshot.step
    plan = RunPlan(
        run=RUN,
        incarnation=COORDINATOR_LIFE,
        seed=config["seed"],
        network=network,
        data=PreparedData.load(directory.data),
        group_size=config["group_size"],
        fingerprint=fingerprint(),
        steps_at_most=step,
    )
    found, calm = topology.assemble(saved.snapshot.states).sha256(), weights_sha256(trained(plan))
    return {"step": step, "weights_sha256": found, "identical": found == calm}


def _process(run: LocalRun, name: str) -> int:
    assert run._supervisor is not None
    return program_below(run._supervisor.pid, name)


if __name__ == "__main__":
    sys.exit(main())

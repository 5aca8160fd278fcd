"""`python -m tests.figures.scale [neurons] [groups]`: a thousand neuron programs, and twenty million synapses, on this machine.

Neurons: 950-40-10, a program each, is wired, trains a few steps, loses a program by kill -9, recovers, and stops. Groups:
784-4096-4096-10 trains batches of 64 in groups of 1,024 and of 2,048. One line of JSON for each on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil

from coordinator.bench.network import made_run
from coordinator.bench.wire import Order
from coordinator.capacity.host import this_machine
from coordinator.capacity.resources import check_needs, needs_of
from coordinator.local.launcher import LocalRun
from coordinator.storage.run_folder import RunFolder

Figure = dict[str, Any]
Events = Iterator[dict[str, Any]]
MEGABYTE = 1024 * 1024
NEURONS = Order((950, 40, 10), 1, 1, seconds=3.0)
GROUPS = tuple(Order((784, 4096, 4096, 10), size, 64, seconds=15.0) for size in (1024, 2048))
LIMITS = {"seconds_wired": 15.0, "megabytes_a_node": 5.0, "peak_megabytes": 8192.0}


def neurons(order: Order) -> Figure:
    """A thousand programs from start to stop, one of them killed on the way."""
    figure = _begun(order)
    begun = time.monotonic()
    with made_run(order) as (directory, nodes):
        with LocalRun(directory, nodes) as run:
            events = run.events()
            _await(events, "wired")
            figure["seconds_wired"] = time.monotonic() - begun
            figure["steps_per_second"] = _steps_per_second(events, order.seconds)[0]
            processes = _processes(directory)
            shares = [_share_megabytes(psutil.Process(process)) for process in processes.values()]
            figure["megabytes_a_node"] = statistics.median(shares)
            figure["megabytes_of_all"] = _megabytes_of_all()
            figure["killed"] = "hidden.0"
            killed = time.monotonic()
            os.kill(processes["hidden.0"], signal.SIGKILL)
            figure["seconds_of_recovery"] = _await(events, "recovered")["seconds"]
            figure["seconds_from_kill_to_recovered"] = time.monotonic() - killed
            figure["steps_per_second_afterwards"] = _steps_per_second(events, order.seconds)[0]
            processes |= _processes(directory)
            stopping = time.monotonic()
        figure["seconds_stopping"] = time.monotonic() - stopping
        figure["left_behind"] = sum(psutil.pid_exists(process) for process in processes.values())
    return figure


def groups(order: Order) -> Figure:
    """Speed, and the most memory that all programs together had."""
    figure = _begun(order)
    begun = time.monotonic()
    with made_run(order) as (directory, nodes), LocalRun(directory, nodes) as run:
        events = run.events()
        _await(events, "wired")
        figure["seconds_wired"] = time.monotonic() - begun
        figure["steps_per_second"], figure["peak_megabytes"] = _steps_per_second(events, order.seconds, weighed=True)
    return figure


def _begun(order: Order) -> Figure:
    """What is wanted, what it was reckoned to need, and how busy the machine is. Raises `UserError` if it has not the room."""
    needs = needs_of(order.layers, order.group_size, order.batch_size)
    check_needs(needs, this_machine())
    return {
        "layers": list(order.layers),
        "group_size": order.group_size,
        "batch_size": order.batch_size,
        "nodes": needs.groups,
        "synapses": needs.synapses,
        "megabytes_reckoned": needs.memory_megabytes,
        "load_before": os.getloadavg()[0],
    }


def _await(events: Events, name: str) -> dict[str, Any]:
    for event in events:
        if event["event"] == "failed":
            raise SystemExit(event["reason"])
        if event["event"] == name:
            return event
    raise SystemExit(f"the run ended before it was {name}")


def _steps_per_second(events: Events, seconds: float, *, weighed: bool = False) -> tuple[float, float]:
    """Of the next so many seconds, and at least one step; the most memory of all programs in them, if it is to be weighed."""
    first, begun, most = _await(events, "progress")["step"], time.monotonic(), 0.0
    while True:
        step, elapsed = _await(events, "progress")["step"], time.monotonic() - begun
        if weighed:
            most = max(most, _megabytes_of_all())
        if step > first and elapsed >= seconds:
            return (step - first) / elapsed, most


def _processes(directory: RunFolder) -> dict[str, int]:
    """Of each neuron."""
    return {name: int(place["process"]) for name, place in directory.read_json("placements").items()}


def _megabytes_of_all() -> float:
    """All programs that this one has started, by their proportional shares."""
    return sum(map(_share_megabytes, psutil.Process().children(recursive=True)))


def _share_megabytes(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / MEGABYTE
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0.0


def missed(figure: Figure) -> list[str]:
    """What is more than it should be."""
    faults = [
        f"{key} is {figure[key]:.1f}, wanted at most {limit:g}"
        for key, limit in LIMITS.items()
        if figure.get(key, 0.0) > limit
    ]
    return faults + ([f"{figure['left_behind']} programs were left behind"] if figure.get("left_behind") else [])


def main() -> int:
    """Exit 1 if a limit was not kept."""
    parser = argparse.ArgumentParser(prog="scale", description=__doc__)
    parser.add_argument("what", nargs="*", choices=["neurons", "groups", []], help="neurons, groups (default: both)")
    # However it ends, no program and no folder stays.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    wanted = parser.parse_args().what or ["neurons", "groups"]
    faults = []
    for order in (NEURONS, *GROUPS):
        if ("neurons" if order is NEURONS else "groups") not in wanted:
            continue
        figure = neurons(order) if order is NEURONS else groups(order)
        print(json.dumps({key: round(v, 2) if isinstance(v, float) else v for key, v in figure.items()}), flush=True)
        faults += missed(figure)
    for fault in faults:
        print(f"scale: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

"""Measures wire, network and matrices in turn, several times in one run, and returns a row of figures."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from coordinator.bench.network import measure_network
from coordinator.bench.reference import THREAD_VARIABLES, has_pytorch
from coordinator.bench.transports import CURVE, IPC, TCP
from coordinator.bench.wire import Order
from coordinator.capacity.host import this_machine
from coordinator.capacity.resources import check_needs, check_nodes, needs_of
from coordinator.core.inflight import FORWARD_AT_ONCE
from coordinator.core.steps import AT_ONCE as STEPS_AT_ONCE
from coordinator.core.traffic import Load, Pass, load_of
from coordinator.defaults import Wiring
from coordinator.errors import JobError
from coordinator.topology import Topology

SPEEDS = {
    "steps_per_second": "network",
    "wire_steps_per_second": "wire",
    "wire_and_arithmetic_steps_per_second": "wire_and_arithmetic",
    "wire_many_at_once_steps_per_second": "wire_many_at_once",
    "numpy_steps_per_second": "numpy",
    "numpy_all_cores_steps_per_second": "numpy_all_cores",
    "pytorch_steps_per_second": "pytorch",
}
"""The keys of a row, and the measurement for each. In a prediction, a step is a forward pass."""
WORKS = ("training", "prediction")
RATIOS = {
    "ratio_to_wire": "wire",
    "ratio_to_wire_and_arithmetic": "wire_and_arithmetic",
    "ratio_to_wire_many_at_once": "wire_many_at_once",
    "ratio_to_numpy": "numpy",
    "ratio_to_numpy_all_cores": "numpy_all_cores",
    "ratio_to_pytorch": "pytorch",
}
LONGEST_START_SECONDS = 300.0


@dataclass(frozen=True)
class Case:
    """The case of one row: a network in groups of one size, which learns or predicts batches of one size."""

    layers: tuple[int, ...]
    batch_size: int
    group_size: int | str
    work: str = "training"
    wiring: str = "broker"
    microbatches: int = 1
    nodes: int | None = None
    """The number of programs that host all groups; None: one program per group, as in the bare wire."""
    transport: str = IPC

    @property
    def neurons_a_group(self) -> int:
        """The largest number of neurons in a group; for whole layers, the size of the largest layer."""
        return max(self.layers) if isinstance(self.group_size, str) else self.group_size

    def order(self, seconds: float) -> Order:
        """Return the order for a measurement of this many seconds."""
        return Order(
            self.layers,
            self.neurons_a_group,
            self.batch_size,
            seconds,
            learning=self.work == "training",
            wiring=self.wiring,
            microbatches=self.microbatches,
            nodes=self.nodes,
            transport=self.transport,
        )

    @property
    def measured(self) -> list[str]:
        """The measurements of the case, in order. Steps can't overlap, so only predictions have the wire with many at once."""
        absent = {"pytorch": not has_pytorch(), "wire_many_at_once": self.work == "training"}
        if self.transport != IPC:
            absent |= {name: name not in ("network", "wire") for name in SPEEDS.values()}
        if self.nodes is not None:
            absent |= dict.fromkeys(("wire", "wire_and_arithmetic", "wire_many_at_once"), True)
        return [name for name in SPEEDS.values() if not absent.get(name, False)]

    def load(self) -> Load:
        """Return the messages of a step or of a forward pass, including those that stay inside a program."""
        one = Pass(self.batch_size, self.work == "training", followed=True)
        return load_of(Topology(self.layers, self.neurons_a_group), one)


@dataclass
class Samples:
    """The figures of all repeats of a case, by the name of the measurement."""

    speeds: dict[str, list[float]] = field(default_factory=dict)
    seconds_starting: list[float] = field(default_factory=list)
    memory_megabytes: list[float] = field(default_factory=list)

    def add(self, name: str, speed: float) -> None:
        """Add the steps per second of one repeat."""
        self.speeds.setdefault(name, []).append(speed)

    def ratios(self, name: str) -> list[float]:
        """Return the speed of the network divided by another speed of the same repeat, for each repeat.

        Other work of the machine slows both down, so the ratio varies less than the speeds.
        """
        others = self.speeds.get(name, [])
        return [own / other for own, other in zip(self.speeds.get("network", []), others, strict=bool(others))]


def check_case(case: Case) -> None:
    """Check that this machine has the resources for the network. Raises `UserError` if it does not."""
    wiring: Wiring = "direct" if case.wiring == "direct" else "broker"
    needs = needs_of(case.layers, case.neurons_a_group, case.batch_size, nodes=case.nodes, wiring=wiring)
    check_nodes(case.nodes, needs.groups)
    check_needs(needs, this_machine())


def measure_case(case: Case, repeats: int, seconds: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Make all measurements of a case in turn; return the row. `tell` gets a line before each measurement.

    Raises:
        JobError: a measurement failed.
    """
    [samples] = _measure_in_turn([case], repeats, seconds, tell)
    return row_of(case, samples)


def measure_encryption(case: Case, repeats: int, seconds: float, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Measure a case over TCP with and without CURVE, in turn; return both rows. The latter states the ratios to the former.

    Raises:
        JobError: a measurement failed.
    """
    cases = [replace(case, transport=transport) for transport in (TCP, CURVE)]
    plain, encrypted = _measure_in_turn(cases, repeats, seconds, tell)
    rows = [row_of(each, samples) for each, samples in zip(cases, (plain, encrypted), strict=True)]
    for key, ours, theirs in (
        ("ratio_to_tcp", encrypted.speeds["network"], plain.speeds["network"]),
        ("wire_ratio_to_tcp", encrypted.speeds["wire"], plain.speeds["wire"]),
        ("ratio_of_ratios_to_wire", encrypted.ratios("wire"), plain.ratios("wire")),
    ):
        ratios = [own / other for own, other in zip(ours, theirs, strict=True)]
        rows[1][key] = statistics.median(ratios)
        rows[1]["spread"][key] = [min(ratios), max(ratios)]
    return rows


def _measure_in_turn(cases: Sequence[Case], repeats: int, seconds: float, tell: Callable[[str], None]) -> list[Samples]:
    samples = [Samples() for _ in cases]
    # The same measurement of all cases follows one another: the speed of a machine changes slowly.
    turns = [
        (case, kept, name)
        for name in SPEEDS.values()
        for case, kept in zip(cases, samples, strict=True)
        if name in case.measured
    ]
    for repeat in range(repeats):
        # Reverse the order in every other repeat, so that no measurement always follows the same one.
        for case, kept, name in turns if repeat % 2 == 0 else reversed(turns):
            layers, what = "-".join(map(str, case.layers)), name.replace("_", " ")
            tell(f"{layers}, repeat {repeat + 1} of {repeats}: {what} over {case.transport}")
            _measure(name, case.order(seconds), kept)
    return samples


def _measure(name: str, order: Order, samples: Samples) -> None:
    if name == "network":
        found = measure_network(order)
        samples.add(name, found.steps_per_second)
        samples.seconds_starting.append(found.seconds_starting)
        if found.memory_megabytes_per_node is not None:
            samples.memory_megabytes.append(found.memory_megabytes_per_node)
    elif name.startswith("wire"):
        at_once = STEPS_AT_ONCE if order.learning else FORWARD_AT_ONCE if name == "wire_many_at_once" else 1
        samples.add(name, wire_speed(replace(order, arithmetic=name == "wire_and_arithmetic", at_once=at_once)))
    else:
        library, _, all_cores = name.partition("_")
        threads = 1 if library == "numpy" and not all_cores else os.cpu_count() or 1
        samples.add(name, reference_speed(order, library, threads))


def wire_speed(order: Order) -> float:
    """Return the steps per second of the bare wire, with the wiring of the network. Raises `JobError`."""
    return _program("wire", [], order, {})


def reference_speed(order: Order, library: str, threads: int) -> float:
    """Return the steps per second of the same network as matrices, in a process of its own. Raises `JobError`."""
    return _program("reference", [library], order, {variable: str(threads) for variable in THREAD_VARIABLES})


def _program(module: str, arguments: list[str], order: Order, environment: Mapping[str, str]) -> float:
    done = subprocess.run(
        [sys.executable, "-m", f"coordinator.bench.{module}", *arguments],
        input=order.to_json() + "\n",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=order.seconds + LONGEST_START_SECONDS,
    )
    try:
        found = json.loads(done.stdout)
    except json.JSONDecodeError:
        lines = done.stderr.strip().splitlines()
        raise JobError(
            f"bench: {module} ended with {done.returncode}: {lines[-1] if lines else 'no message'}"
        ) from None
    if "fault" in found:
        raise JobError(f"bench: {found['fault']}")
    return float(found["steps_per_second"])


def row_of(case: Case, samples: Samples) -> dict[str, Any]:
    """Return the row: medians, and minimum and maximum of the repeats; None for figures that were not measured."""
    needs, load = needs_of(case.layers, case.neurons_a_group, case.batch_size, nodes=case.nodes), case.load()
    series: dict[str, list[float]] = {key: samples.speeds.get(name, []) for key, name in SPEEDS.items()}
    series["samples_per_second"] = [case.batch_size * speed for speed in series["steps_per_second"]]
    series |= {key: samples.ratios(name) for key, name in RATIOS.items()}
    series["microseconds_per_message"] = [1e6 / speed / load.messages for speed in series["steps_per_second"]]
    series["seconds_starting"] = samples.seconds_starting
    series["memory_megabytes_per_node"] = samples.memory_megabytes
    return {
        "work": case.work,
        "layers": list(case.layers),
        "batch_size": case.batch_size,
        "group_size": case.group_size,
        "wiring": case.wiring,
        "transport": case.transport,
        "microbatches": case.microbatches,
        "nodes": needs.nodes,
        "neurons": needs.neurons,
        "synapses": needs.synapses,
        "repeats": len(series["steps_per_second"]),
        **{key: statistics.median(values) if values else None for key, values in series.items()},
        "messages_per_step": load.messages,
        "bytes_per_step": load.message_bytes,
        "deliveries_per_step": load.deliveries,
        "delivered_bytes_per_step": load.delivered_bytes,
        "spread": {key: [min(values), max(values)] if values else None for key, values in series.items()},
    }

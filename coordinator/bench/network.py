"""Measures this project's network: a local run with made samples, from one report of its progress to a later one."""

from __future__ import annotations

import contextlib
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from coordinator.bench.predicting import PredictingRun, await_trained, passes_per_second
from coordinator.bench.profiled import ProfiledRun, profile_of
from coordinator.bench.transports import IPC, prepared
from coordinator.bench.wire import Order
from coordinator.data.encoding import Encoding
from coordinator.data.prepared import PreparedData
from coordinator.defaults import NetworkSettings
from coordinator.errors import JobError, UserError
from coordinator.job import Job
from coordinator.local.launcher import LocalRun
from coordinator.settings import LearnSettings
from coordinator.storage.run_folder import RunFolder
from neuron_node.activations import Array

SAMPLES_AT_MOST_BYTES = 64 * 1024 * 1024
BATCHES = 500
LEAST_BATCHES = 4
TRAINING = ("train_inputs", "train_targets", "train_labels")
STEPS_AT_LEAST = 2
SILENT_AT_MOST_SECONDS = 120.0


@dataclass(frozen=True)
class Measured:
    """The figures of one run of the network."""

    steps_per_second: float
    seconds_starting: float
    memory_megabytes_per_node: float | None


def made_network(layers: tuple[int, ...], batch_size: int) -> NetworkSettings:
    """Return settings of a network whose training does not end during a measurement."""
    return NetworkSettings(
        layers=layers,
        input_activation="identity",
        hidden_activation="logistic",
        output_activation="logistic",
        loss="squared_error",
        learning_rate=0.1,
        batch_size=batch_size,
        epochs=1_000_000,
    )


def made_samples(layers: tuple[int, ...], batch_size: int) -> tuple[Array, Array]:
    """Return meaningless inputs (rows, inputs) and targets (rows, outputs): so many batches that epochs rarely end."""
    features, outputs = layers[0], layers[-1]
    batch_bytes = 8 * batch_size * (features + outputs)
    rows = batch_size * max(LEAST_BATCHES, min(BATCHES, SAMPLES_AT_MOST_BYTES // batch_bytes))
    inputs = np.sin(np.arange(rows * features, dtype=np.float64)).reshape(rows, features)
    labels = np.arange(rows) % max(2, outputs)
    targets = (labels[:, None] == np.arange(outputs)).astype(np.float64)
    return inputs, targets


def made_data(layers: tuple[int, ...], batch_size: int) -> PreparedData:
    """Return made samples in the form of a run's data; one sample is held out."""
    inputs, targets = made_samples(layers, batch_size)
    features, outputs = layers[0], layers[-1]
    names = tuple(f"feature {index}" for index in range(features))
    classes = tuple(f"class {index}" for index in range(max(2, outputs)))
    encoding = Encoding("made", names, "target", "none", (0.0,) * features, (1.0,) * features, classes, outputs)
    labels = encoding.decode_labels(targets)
    return PreparedData("made", "", encoding, inputs, targets, inputs[:1], targets[:1], labels, labels[:1])


def measure_network(order: Order) -> Measured:
    """Train or predict for the seconds of the order, and end the run. Raises `JobError` if the run fails or stalls."""
    if not order.learning:
        return _measure_prediction(order)
    with made_run(order) as (directory, nodes), tempfile.TemporaryDirectory(prefix="exmachina-bench-") as folder:
        how = prepared(order.transport, Path(folder))
        broker = None if order.transport == IPC else how.broker
        with LocalRun(directory, nodes, broker=broker, keys=how.keys) as run:
            return _watched(run.events(), directory, order.seconds)


def _measure_prediction(order: Order) -> Measured:
    """Send rows forward through a network that has learned one step."""
    rows = made_samples(order.layers, order.batch_size)[0]
    with made_run(order, steps=1) as (directory, nodes), PredictingRun(directory, nodes) as run:
        starting = await_trained(run.events())
        door = directory.read_json("endpoints")["door"]
        speed = passes_per_second(door, rows, order.batch_size, order.seconds)
        return Measured(speed, starting, memory_megabytes_per_node(directory))


def profile_network(order: Order) -> dict[str, dict[str, float]]:
    """Return, by role, the microseconds that a program spends on each part of a step. Raises `JobError`."""
    with made_run(order) as (directory, nodes):
        with ProfiledRun(directory, nodes) as run:
            _watched(run.events(), directory, order.seconds)
        return profile_of(directory)


@contextlib.contextmanager
def made_run(order: Order, steps: int | None = None) -> Iterator[tuple[RunFolder, int]]:
    """Make a temporary folder of a run with made samples; give the folder and the number of nodes."""
    data, network = made_data(order.layers, order.batch_size), made_network(order.layers, order.batch_size)
    if steps is not None:
        # The coordinator measures all training samples after the last step: keep only those that it learns.
        data = replace(data, **{name: getattr(data, name)[: steps * order.batch_size] for name in TRAINING})
    how = {
        "group_size": order.group_size,
        "wiring": order.wiring,
        "microbatches": order.microbatches,
        "nodes": order.nodes,
    }
    job = Job(LearnSettings.model_validate(how), data, network)
    with tempfile.TemporaryDirectory(prefix="exmachina-bench-") as folder:
        directory = job.create_run(Path(folder), steps_at_most=steps)
        with directory.claimed():
            yield directory, job.nodes


def _watched(events: Iterator[dict[str, Any]], directory: RunFolder, seconds: float) -> Measured:
    starting, begun = math.nan, time.monotonic()
    first: tuple[float, int] | None = None
    for event in events:
        now = time.monotonic()
        if event["event"] == "failed":
            raise JobError(event["reason"])
        if event["event"] == "wired":
            starting = event["seconds"]
        if event["event"] != "progress":
            continue
        if first is None:
            # The first steps are slower, because caches are cold.
            first = (now, event["step"]) if event["step"] else None
            continue
        elapsed, steps = now - first[0], event["step"] - first[1]
        if elapsed >= seconds and steps >= STEPS_AT_LEAST:
            return Measured(steps / elapsed, starting, memory_megabytes_per_node(directory))
        if now - begun > seconds + SILENT_AT_MOST_SECONDS:
            break
    raise JobError(f"the network did not finish {STEPS_AT_LEAST} steps; see its logs")


def memory_megabytes_per_node(directory: RunFolder) -> float | None:
    """Return the median of the nodes' proportional shares of memory; None if the kernel does not report them."""
    shares = [share for process in _processes(directory) if (share := _proportional_share_megabytes(process))]
    return statistics.median(shares) if shares else None


def _processes(directory: RunFolder) -> list[int]:
    try:
        placements = directory.read_json("placements")
    except UserError:
        return []
    return sorted({int(place["process"]) for place in placements.values()})


def _proportional_share_megabytes(process: int) -> float | None:
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except (OSError, ValueError, IndexError):
        pass
    return None

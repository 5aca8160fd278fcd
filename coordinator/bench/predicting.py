"""A local run for predictions: it trains one step and then answers requests: `python -m coordinator.bench.predicting`.

It is the supervisor of a local run. But its coordinator keeps running after the training, as in `coordinator serve`, and gets
requests as from `coordinator evaluate`. A forward pass has as many rows as a batch of the run.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from coordinator.client import Client
from coordinator.core import trainer
from coordinator.errors import JobError
from coordinator.local import supervisor
from coordinator.local.launcher import LocalRun
from coordinator.local.supervisor import Order, Supervisor, main
from coordinator.requests import rows_a_request
from coordinator.service import Observer, Service
from coordinator.storage.run_folder import RunFolder
from neuron_node.activations import Array

PATIENCE_SECONDS = 300.0
FIRST_PASSES = 8


class StayingService(Service):
    """A coordinator that answers requests after the training."""

    def __init__(self, directory: RunFolder, observe: Observer, **_: Any) -> None:
        super().__init__(directory, observe, stop_when_finished=False)


class PredictingSupervisor(Supervisor):
    """A supervisor whose coordinator keeps running after the training, and sends one batch of rows in each forward pass."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        rows = RunFolder(Path(order.run)).read_json("config")["network"]["batch_size"]
        # Replace them in this program only, before the fork: other commands use the normal service and size.
        for module, name, value in ((supervisor, "Service", StayingService), (trainer, "MEASURED_ROWS_AT_ONCE", rows)):
            setattr(module, name, value)


class PredictingRun(LocalRun):
    """A local run with the supervisor of this module."""

    supervisor_module = "coordinator.bench.predicting"


def await_trained(events: Iterator[dict[str, Any]]) -> float:
    """Wait until the network answers requests; return the seconds until it was wired. Raises `JobError` if the run fails."""
    starting = math.nan
    for event in events:
        if event["event"] == "failed":
            raise JobError(event["reason"])
        if event["event"] == "wired":
            starting = event["seconds"]
        if event["event"] == "finished":
            return starting
    raise JobError("the network ended before it answered requests; see its logs")


def passes_per_second(door: str, rows: Array, batch_size: int, seconds: float) -> float:
    """Return the forward passes per second, including the time to send rows (rows, inputs) and to receive answers."""
    with Client(door, PATIENCE_SECONDS) as client:

        def ask(passes: int) -> float:
            wanted = np.resize(rows, (passes * batch_size, rows.shape[1]))
            begun = time.perf_counter()
            client.ask("forward", wanted)
            return time.perf_counter() - begun

        # Choose the size of a request from the duration of the first ones: it must not take much longer than `seconds`.
        most = max(1, rows_a_request(client.ask("describe")[0]["layers"]) // batch_size)
        passes = min(FIRST_PASSES, most)
        ask(passes)
        took = ask(passes)
        passes = max(passes, min(most, math.ceil(passes * seconds / took)))
        elapsed = 0.0
        for requests in itertools.count(1):
            elapsed += ask(passes)
            if elapsed >= seconds:
                return requests * passes / elapsed
    raise AssertionError("time passes")


if __name__ == "__main__":
    sys.exit(main(PredictingSupervisor))

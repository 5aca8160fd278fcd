"""A local run that learns nothing more and sends rows forward: `python -m coordinator.bench.predicting`.

It is the supervisor of every local run, but its coordinator stays when it has trained (a single step), as that of
`coordinator serve` does, and is asked as `coordinator evaluate` asks it. A forward pass has as many rows as a batch of the
run, where a run's own measurements always take so many at once.
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

from coordinator.client import ROWS_A_REQUEST, Client
from coordinator.core import trainer
from coordinator.errors import JobError
from coordinator.local import supervisor
from coordinator.local.launcher import LocalRun
from coordinator.local.supervisor import Order, Supervisor, main
from coordinator.service import Observer, Service
from coordinator.storage.run_folder import RunFolder
from neuron_node.activations import Array
from neuron_node.transport import Endpoints

PATIENCE_SECONDS = 300.0
FIRST_PASSES = 8


class StayingService(Service):
    """A coordinator that can still be asked when it has finished."""

    def __init__(self, directory: RunFolder, observe: Observer, **_: Any) -> None:
        super().__init__(directory, observe, stop_when_finished=False)


class PredictingSupervisor(Supervisor):
    """Its coordinator stays when it has trained, and sends so many rows forward in a pass as a batch has."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        rows = RunFolder(Path(order.run)).read_json("config")["network"]["batch_size"]
        # In this program alone, before it forks: nobody else wants another service or another size.
        for module, name, value in ((supervisor, "Service", StayingService), (trainer, "MEASURED_ROWS_AT_ONCE", rows)):
            setattr(module, name, value)


class PredictingRun(LocalRun):
    """A local run under the supervisor of this module."""

    supervisor_module = "coordinator.bench.predicting"


def await_trained(events: Iterator[dict[str, Any]]) -> float:
    """Return when the network is there to be asked; the seconds until it was wired. Raises `JobError`."""
    starting = math.nan
    for event in events:
        if event["event"] == "failed":
            raise JobError(event["reason"])
        if event["event"] == "wired":
            starting = event["seconds"]
        if event["event"] == "finished":
            return starting
    raise JobError("the network ended before it could be asked; its logs say why")


def passes_per_second(endpoints: Endpoints, rows: Array, batch_size: int, seconds: float) -> float:
    """Forward passes a second, the way of the rows to the coordinator and of the answers back included."""
    with Client(endpoints, PATIENCE_SECONDS) as client:

        def ask(passes: int) -> float:
            wanted = np.resize(rows, (passes * batch_size, rows.shape[1]))
            begun = time.perf_counter()
            client.ask("forward", wanted)
            return time.perf_counter() - begun

        # What a request may take follows from how long the first ones took: it must not outlast the measurement by far.
        most = max(1, ROWS_A_REQUEST // batch_size)
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

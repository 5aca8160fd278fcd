"""Makes the folder of a run with a history, trained with the textbook's matrices: many steps in no time, without processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from coordinator.core.events import Persist, Row, Snapshot
from coordinator.core.training import LOSSES, Epoch, Progress
from coordinator.data.prepared import PreparedData
from coordinator.job import Job
from coordinator.schedule import Schedule
from coordinator.scores import accuracy
from coordinator.storage.history import history_of
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.run_log import EventLog
from coordinator.storage.run_store import RunStore
from coordinator.topology import Parameters, Topology
from coordinator.verify.textbook import Textbook

RECOVERED = "input.0 (node-1) <ended> & came back"


def drawn_run(base: Path, steps: int, every: int, **settings: Any) -> RunFolder:
    """Return an interrupted run after `steps` steps, with a snapshot after each `every` steps, and one recovery."""
    job = Job.from_flags({"name": "drawn", **settings}, None)
    directory = job.create_run(base)
    config = directory.config()
    data = PreparedData.load(directory.data)
    schedule = Schedule(config["seed"], len(data.train_inputs), job.network.batch_size, job.network.epochs)
    store = RunStore(directory.path, directory.identity(config), history=history_of(directory, config))
    topology = Topology(job.network.layers, config["group_size"])
    book = Textbook(job.network, config["seed"])
    loss = LOSSES[job.network.loss]
    rows: list[Row] = []
    epochs: tuple[Epoch, ...] = ()
    for step in range(1, steps + 1):
        chosen = schedule.samples_of(step - 1)
        before = book.forward(data.train_inputs[chosen])[-1]
        right = data.train_targets[chosen]
        rows.append(
            Row(
                step,
                schedule.epoch_of(step - 1),
                loss(before, right),
                accuracy(data.encoding, before, right),
                step / 9,
                1,
            )
        )
        book.step(data.train_inputs[chosen], right)
        if step % schedule.steps_per_epoch == 0:
            outputs = book.forward(data.test_inputs)[-1]
            measured = loss(outputs, data.test_targets), accuracy(data.encoding, outputs, data.test_targets)
            epochs += (Epoch(len(epochs) + 1, rows[-1].loss, rows[-1].accuracy, *measured),)
        if step % every == 0:
            parameters = Parameters(tuple(book.biases), tuple(map(np.ascontiguousarray, book.weights)))
            progress = Progress(step, rows[-1].loss, 1, 1, (), epochs)
            snapshot = Snapshot(step, topology.divide(parameters), progress)
            store.persist(Persist(snapshot, 1, False, tuple(rows)))
            rows = []
    log = EventLog(directory.path / "events.jsonl")
    log.note("recovered", {"reason": RECOVERED, "generation": 2, "step": every, "seconds": 0.25})
    return directory

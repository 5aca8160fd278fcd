"""Runs in memory whose snapshots, journal and metrics go through the store of a real run, and a person who intervenes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coordinator.core.access import Access
from coordinator.core.events import Asked, ListSnapshots, LoadSnapshot, Persist, PersistGeneration
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.queries import NO_ROWS
from coordinator.core.run_plan import RunPlan
from coordinator.data.prepared import PreparedData
from coordinator.in_memory import MemoryNetwork, add_run
from coordinator.job import Job
from coordinator.storage.history import history_of
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.run_store import RunStore
from neuron_node.fingerprint import fingerprint
from neuron_node.protocol import NOBODY, Header, Request
from tests.networks import COORDINATOR_LIFE

COORDINATOR = 0
"""The number of the coordinator in the network in memory."""


def asked(name: int, command: str, access: Access = Access.OPERATOR, **arguments: Any) -> Asked:
    """Return a request as the front door passes it on."""
    request = Request(Header(NOBODY, 0, 0, NOBODY), name.to_bytes(8, "big"), command, json.dumps(arguments), NO_ROWS)
    return Asked(request, access)


class DiskNetwork(MemoryNetwork):
    """A network in memory whose coordinator has a disk."""

    def __init__(self, store: RunStore, plan: RunPlan) -> None:
        super().__init__()
        self._store = store
        self._topology = plan.topology()

    def _perform(self, number: int, actions: Sequence[Any]) -> None:
        for action in actions:
            match action:
                case Persist():
                    self._handle(number, self._store.persist(action))
                case PersistGeneration():
                    self._handle(number, self._store.persist_generation(action))
                case LoadSnapshot():
                    self._handle(number, self._store.load(action, self._topology))
                case ListSnapshots():
                    self._handle(number, self._store.kept(action))
                case _:
                    super()._perform(number, [action])


class IntervenedRun:
    """A run on xor in the folder `runs/r`, with a snapshot after every third step."""

    def __init__(self, base: Path, epochs: int = 24) -> None:
        job = Job.from_flags({"dataset": "xor", "name": "r", "epochs": epochs}, None)
        self.directory: RunFolder = job.create_run(base)
        config = self.directory.config()
        self.plan = RunPlan(
            run=bytes.fromhex(config["run"]),
            incarnation=COORDINATOR_LIFE,
            seed=config["seed"],
            network=job.network,
            data=PreparedData.load(self.directory.data),
            group_size=config["group_size"],
            fingerprint=fingerprint(),
            snapshot_interval_steps=3,
        )
        self.store = RunStore(
            self.directory.path, self.directory.identity(config), history=history_of(self.directory, config)
        )
        self.network = DiskNetwork(self.store, self.plan)
        self.coordinator: CoordinatorMachine = add_run(self.network, self.plan)
        self._names = itertools.count(1)

    @property
    def step(self) -> int:
        """The last step."""
        return self.coordinator.trainer.training.progress.step

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a request, and go on until it is answered."""
        request = asked(next(self._names), command, **arguments)
        self.network.give(COORDINATOR, request)
        self.network.run_until(lambda: request.request.id in self.network.answers)
        answer: dict[str, Any] = json.loads(self.network.answers[request.request.id].result)
        assert "error" not in answer, answer["error"]
        return answer

    def run_to(self, step: int) -> None:
        """Go on until the step after which the run then stays, because it is paused there."""
        self.ask("resume", to=step)
        self.network.run_until(lambda: self.step == step and self.coordinator.trainer.still)

    def finish(self) -> None:
        """Go on to the end."""
        self.ask("resume")
        self.network.run_until(lambda: self.coordinator.finished is not None)
        assert self.coordinator.finished is not None
        self.directory.write_json("result", {**self.coordinator.finished, "run": "r"})


def intervened_run(base: Path) -> IntervenedRun:
    """Return a finished run of three branches with changes of all kinds."""
    run = IntervenedRun(base)
    run.run_to(7)
    run.ask("set", what="weight", neuron="hidden.1", to="output.0", value=0.25)
    run.ask("silence", neuron="hidden.0")
    run.run_to(10)
    run.ask("rewind", step=6)
    run.run_to(11)
    run.ask("set", what="rate", value=0.5)
    run.ask("silence", neuron="hidden.1")
    run.run_to(13)
    run.ask("rewind", step=10, branch=0)
    run.run_to(12)
    run.ask("silence", neuron="hidden.0", end=True)
    run.ask("set", what="bias", neuron="output.0", value=-0.5)
    run.finish()
    return run

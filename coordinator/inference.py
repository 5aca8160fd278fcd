"""Predictions of a saved network: the state machines of the nodes run in memory, without processes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from coordinator.core.access import Access
from coordinator.core.events import Asked, Snapshot
from coordinator.core.queries import NO_ROWS
from coordinator.core.run_plan import RunPlan
from coordinator.core.state import CoordinatorState
from coordinator.core.trainer import MEASURED_ROWS_AT_ONCE
from coordinator.core.training import Progress
from coordinator.data.prepared import PreparedData
from coordinator.errors import UserError
from coordinator.in_memory import network_of
from coordinator.storage.model_file import Model
from coordinator.topology import Topology
from neuron_node.activations import Array
from neuron_node.fingerprint import fingerprint
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.protocol import NOBODY, Header, Request

COORDINATOR = 0
"""The number of the coordinator in its network: it starts first."""


class InMemoryNetwork:
    """The network of a model, with one machine per neuron."""

    def __init__(self, model: Model, data: PreparedData | None = None) -> None:
        """Start the machines; `data` are the samples of the run, if they are known."""
        nothing = np.empty((0, model.network.layers[0])), np.empty((0, model.network.layers[-1]))
        data = data or PreparedData(model.encoding.dataset, "", model.encoding, *nothing, *nothing, None, None)
        states = Topology(model.network.layers, 1).divide(model.parameters)
        plan = RunPlan(
            run=b"m" * IDENTITY_LENGTH,
            incarnation=b"c" * IDENTITY_LENGTH,
            seed=model.seed,
            network=model.network,
            data=data,
            group_size=1,
            fingerprint=fingerprint(),
            trained=Snapshot(model.step, states, Progress()),
        )
        self._outputs = model.network.layers[-1]
        self._network, coordinator = network_of(plan)
        self._network.run_until(lambda: coordinator.state is CoordinatorState.IDLE)
        self._asked = 0

    def forward(self, rows: Array) -> Array:
        """Return the activities of the outputs (rows, outputs) for scaled rows (rows, inputs).

        Raises `UserError` if the rows are so large that the numbers overflow.
        """
        if not len(rows):
            return np.empty((0, self._outputs))
        starts = range(0, len(rows), MEASURED_ROWS_AT_ONCE)
        return np.concatenate([self._ask(rows[start : start + MEASURED_ROWS_AT_ONCE]) for start in starts])

    def _ask(self, rows: Array) -> Array:
        return self.ask("forward", rows)[1]

    def ask(self, command: str, rows: Array = NO_ROWS, **arguments: Any) -> tuple[dict[str, Any], Array]:
        """Send the coordinator a request, as a client does; return its facts and its rows of numbers. Raises `UserError`."""
        self._asked += 1
        request_id = self._asked.to_bytes(IDENTITY_LENGTH, "big")
        request = Request(Header(NOBODY, 0, 0, NOBODY), request_id, command, json.dumps(arguments), rows)
        self._network.give(COORDINATOR, Asked(request, Access.VIEWER))
        self._network.run_until(lambda: request_id in self._network.answers)
        reply = self._network.answers.pop(request_id)
        facts: dict[str, Any] = json.loads(reply.result)
        if not reply.good:
            raise UserError(facts["error"])
        return facts, reply.rows


def forward(model: Model, rows: Array) -> Array:
    """Return the activities of the outputs for scaled rows. Raises `UserError` as `InMemoryNetwork.forward` does."""
    return InMemoryNetwork(model).forward(rows)

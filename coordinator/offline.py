"""A saved network at work without any process: the node machines run in memory, and rows go through them."""

from __future__ import annotations

import numpy as np

from coordinator.data.prepared import PreparedData
from coordinator.errors import UserError
from coordinator.machine.events import Snapshot
from coordinator.machine.plan import Plan
from coordinator.machine.state import CoordinatorState
from coordinator.machine.training import Progress
from coordinator.memory_network import network_of
from coordinator.model_file import Model
from coordinator.topology import Topology
from neuron_node.activations import Array
from neuron_node.fingerprint import fingerprint
from neuron_node.messages import IDENTITY_LENGTH


class InMemoryNetwork:
    """The network of a model: every neuron is a machine of its own, and rows go through them, as often as is asked."""

    def __init__(self, model: Model) -> None:
        nothing = np.empty((0, model.network.layers[0])), np.empty((0, model.network.layers[-1]))
        data = PreparedData(model.encoding.dataset, "", model.encoding, *nothing, *nothing, None, None)
        states = Topology(model.network.layers, 1).divide(model.parameters)
        plan = Plan(
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
        self._network, self._coordinator = network_of(plan)
        self._network.run_until(lambda: self._coordinator.state is CoordinatorState.IDLE)

    def forward(self, rows: Array) -> Array:
        """Return the outputs' activities (rows, outputs) for scaled rows (rows, inputs).

        Raises `UserError` for rows so large that the numbers overflow.
        """
        if not len(rows):
            return np.empty((0, self._outputs))
        answers: list[Array] = []
        failures: list[str] = []
        self._coordinator.course.forward(rows, answers.append, failures.append)
        self._network.run_until(lambda: bool(answers or failures))
        if failures:
            raise UserError(failures[0])
        return answers[0]


def forward(model: Model, rows: Array) -> Array:
    """Return the outputs' activities for scaled rows, once. Raises `UserError` as `InMemoryNetwork.forward` does."""
    return InMemoryNetwork(model).forward(rows)

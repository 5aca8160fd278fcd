"""Predictions of a saved network: the state machines of the nodes run in memory, without processes."""

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


def forward(model: Model, rows: Array) -> Array:
    """Return the activities of the outputs (rows, outputs) for scaled rows (rows, inputs).

    Raises `UserError` if the rows are so large that the numbers overflow.
    """
    if not len(rows):
        return np.empty((0, model.network.layers[-1]))
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
    network, coordinator = network_of(plan)
    network.run_until(lambda: coordinator.state is CoordinatorState.IDLE)
    answers: list[Array] = []
    failures: list[str] = []
    coordinator.course.forward(rows, answers.append, failures.append)
    network.run_until(lambda: bool(answers or failures))
    if failures:
        raise UserError(failures[0])
    return answers[0]

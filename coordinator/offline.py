"""Predictions of a saved network: the state machines of the nodes run in memory, without processes."""

from __future__ import annotations

import json

import numpy as np

from coordinator.data.prepared import PreparedData
from coordinator.errors import UserError
from coordinator.machine.course import MEASURED_ROWS_AT_ONCE
from coordinator.machine.events import Snapshot
from coordinator.machine.plan import Plan
from coordinator.machine.state import CoordinatorState
from coordinator.machine.training import Progress
from coordinator.memory_network import MemoryNetwork, network_of
from coordinator.model_file import Model
from coordinator.topology import Topology
from neuron_node.activations import Array
from neuron_node.addresses import COORDINATOR, client_address
from neuron_node.codec import decode, encode
from neuron_node.fingerprint import fingerprint
from neuron_node.frames import IDENTITY_LENGTH, split
from neuron_node.messages import NOBODY, Header, Reply, Request


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
    starts = range(0, len(rows), MEASURED_ROWS_AT_ONCE)
    return np.concatenate([_ask(network, start, rows[start : start + MEASURED_ROWS_AT_ONCE]) for start in starts])


def _ask(network: MemoryNetwork, number: int, rows: Array) -> Array:
    """What the coordinator answers to a request for one pass, as it would answer a client. Raises `UserError`."""
    client = number.to_bytes(IDENTITY_LENGTH, "big")
    replies: list[bytes] = []
    network.hear(client_address(client), replies.append)
    network.send(COORDINATOR + encode(Request(Header(NOBODY, 0, 0, client), client, "forward", "{}", rows)))
    network.run_until(lambda: bool(replies))
    [reply] = [decode(frame) for frame in split(replies[0])]
    assert isinstance(reply, Reply)
    if not reply.good:
        raise UserError(json.loads(reply.result)["error"])
    return reply.rows

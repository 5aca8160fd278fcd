"""The limits in bytes of a local run: every message of its network fits."""

from __future__ import annotations

import json

import numpy as np
import pytest

from coordinator.core.queries import describe_host
from coordinator.core.steps import AT_ONCE
from coordinator.core.tracing import shapes
from coordinator.core.traffic import Pass, load_of, messages_of
from coordinator.core.trainer import MEASURED_ROWS_AT_ONCE
from coordinator.local.limits import largest_message_bytes, limits_of_run
from coordinator.requests import ROWS_A_REQUEST, ROWS_AT_LEAST, row_width, rows_a_request
from coordinator.topology import Topology
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.codec import encode
from neuron_node.frames import IDENTITY_LENGTH, MAX_FRAME_BYTES
from neuron_node.initializers import initial_bias_and_weights
from neuron_node.peer import LONGEST_ENDPOINT, Peer
from neuron_node.protocol import (
    NOBODY,
    Grant,
    Header,
    Message,
    NamedArray,
    Placement,
    Reply,
    Request,
    State,
    TraceReport,
    state_of,
)
from neuron_node.role import Role
from tests.networks import settings_of

HEADER = Header(NOBODY, 1, 1, NOBODY)
NETWORKS = [
    ((2, 3, 1), 1, 4),
    ((64, 12, 10), 1, 16),
    ((64, 12, 10), 64, 2_000),
    ((300, 40, 3), 7, 1),
    ((5, 4, 200), 2, 64),
    ((10, 10, 10), 10, 60_000),
    ((400, 500), 500, 1),
]


def initial_state(role: Role) -> State:
    bias, weights = initial_bias_and_weights(role)
    return state_of(bias.reshape(1, -1), weights)


def config_of(layers: tuple[int, ...], group_size: int, batch: int) -> dict[str, object]:
    return {"network": settings_of(layers, batch_size=batch).to_json(), "group_size": group_size}


@pytest.mark.parametrize(("layers", "group_size", "batch"), NETWORKS)
def test_every_message_of_a_network_fits(layers: tuple[int, ...], group_size: int, batch: int) -> None:
    """Data frames, a grant of all groups to one node, reports, and the largest requests and replies are within the limit."""
    config = config_of(layers, group_size, batch)
    most = largest_message_bytes(config)
    topology, network = Topology(layers, group_size), settings_of(layers, batch_size=batch)
    for one in (Pass(batch), Pass(max(batch, MEASURED_ROWS_AT_ONCE), learning=False)):
        assert max(message.size for message in messages_of(topology, one)) <= most
    placements = []
    for number in topology.groups:
        role = topology.role(number, network, 1)
        placements.append(Placement(role, 1, initial_state(role), None))
    peers = tuple(Peer(bytes(IDENTITY_LENGTH), "e" * LONGEST_ENDPOINT) for _ in placements)
    rows = np.ones((rows_a_request(layers), row_width(layers)))
    neurons = [describe_host("hidden12.3456", 1, None) for _ in range(sum(layers))]
    reports: list[Message] = []
    for number in topology.groups:
        arrays = [NamedArray(name, np.ones(shape)) for name, shape in shapes(topology, number, batch).items()]
        reports.append(TraceReport(HEADER, number, 1, 3, tuple(arrays), 2**62, 2**62))
    others: list[Message] = [
        Grant(HEADER, tuple(placements), peers),
        Request(HEADER, bytes(IDENTITY_LENGTH), "forward", "{}", rows),
        Reply(HEADER, True, "{}", rows),
        Reply(HEADER, True, json.dumps({"neurons": neurons}), np.empty((0, 0))),
    ]
    for message in (*reports, *others):
        assert ADDRESS_LENGTH + len(encode(message)) <= most


@pytest.mark.parametrize(("layers", "group_size", "batch"), NETWORKS)
def test_the_memory_of_the_broker_holds_the_steps_in_flight(
    layers: tuple[int, ...], group_size: int, batch: int
) -> None:
    """There is room for them twice, because the broker may copy a message."""
    step = load_of(Topology(layers, group_size), Pass(batch)).message_bytes
    assert limits_of_run(config_of(layers, group_size, batch)).memory_bytes >= 2 * AT_ONCE * step


def test_a_huge_network_has_the_largest_limit() -> None:
    """No message is larger than the protocol allows."""
    assert largest_message_bytes(config_of((8_192, 8_192), 8_192, 1)) == MAX_FRAME_BYTES


def test_requests_have_a_multiple_of_the_rows_of_a_pass() -> None:
    """A request has many narrow rows or few wide ones, and at least the rows of a pass."""
    sizes = [rows_a_request((width, 1)) for width in (1, 64, 784, 5_000, 100_000)]
    assert sizes == [ROWS_A_REQUEST, ROWS_A_REQUEST, 512, ROWS_AT_LEAST, ROWS_AT_LEAST]
    assert all(size % MEASURED_ROWS_AT_ONCE == 0 for size in sizes)

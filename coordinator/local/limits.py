"""The limits in bytes that follow from the network of a run."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from coordinator.core.inflight import FORWARD_AT_ONCE, FORWARD_BYTES_AT_ONCE, LEAST_FORWARD_AT_ONCE
from coordinator.core.queries import TRACED_AT_MOST
from coordinator.core.steps import AT_ONCE
from coordinator.core.trainer import MEASURED_ROWS_AT_ONCE
from coordinator.defaults import NetworkSettings
from coordinator.requests import row_width, rows_a_request
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.frames import MAX_FRAME_BYTES, NUMBER_BYTES, NUMBERS_BEGIN
from neuron_node.limits import Limits, limits_for

BYTES_BESIDES = 1024 * 1024
"""An upper limit for the parts of a message that do not grow with the network, such as the description of the data."""
BYTES_A_NEURON = 1024
"""An upper limit for the text about a neuron in a reply, or its fields in a grant."""
BYTES_A_PEER = 600
BYTES_A_PAIR = 48
"""An upper limit for a pair of groups in a grant: a sender of the one, and a block of the other."""
BYTES_A_WEIGHT = 64
"""An upper limit for the text about a synapse in a reply."""


def largest_message_bytes(config: Mapping[str, Any]) -> int:
    """Return an upper limit for the messages of a run with this checked config.

    The largest message is a grant of all groups to one node, the state of a group, the numbers of a pass, or the rows or the
    text of a request or reply.
    """
    network = NetworkSettings.from_json(config["network"])
    layers, rows = network.layers, max(network.batch_size, MEASURED_ROWS_AT_ONCE)
    neurons, widest = sum(layers), max(layers)
    groups = _groups(layers, config["group_size"])
    requested = NUMBER_BYTES * rows_a_request(layers) * row_width(layers)
    passed = NUMBER_BYTES * rows * max(widest, 2 * layers[-1])
    weights = NUMBER_BYTES * (neurons + sum(above * below for above, below in pairwise(layers)))
    peers = BYTES_A_PEER * sum(groups) + BYTES_A_PAIR * sum(above * below for above, below in pairwise(groups))
    text = BYTES_A_NEURON * neurons + BYTES_A_WEIGHT * 2 * widest
    traced = _traced_bytes(layers, config["group_size"], network.batch_size)
    return min(MAX_FRAME_BYTES, BYTES_BESIDES + text + max(requested, weights + max(peers, 2 * passed), traced))


def limits_of_run(config: Mapping[str, Any]) -> Limits:
    """Return the limits for a run with this checked config. The memory of the broker holds all messages in flight twice."""
    network = NetworkSettings.from_json(config["network"])
    groups = _groups(network.layers, config["group_size"])
    step = _step_bytes(network.layers, groups, network.batch_size)
    # Each synapse has a signal at both ends, an error, a gradient, and a weight before and after.
    synapses = sum(above * below for above, below in pairwise(network.layers))
    trace = 2 * 6 * NUMBER_BYTES * synapses if synapses <= TRACED_AT_MOST else 0
    forward = _step_bytes(network.layers, groups, max(network.batch_size, MEASURED_ROWS_AT_ONCE))
    forwards = min(FORWARD_AT_ONCE * forward, max(FORWARD_BYTES_AT_ONCE, LEAST_FORWARD_AT_ONCE * forward))
    return limits_for(largest_message_bytes(config), max(2 * AT_ONCE * step, forwards, trace))


def _traced_bytes(layers: tuple[int, ...], group_size: int, rows: int) -> int:
    """Return an upper limit for the numbers of a group in a pass, which it reports for a trace."""
    most = 0
    for above, neurons, below in zip((0, *layers), layers, (*layers[1:], 0), strict=False):
        size = min(neurons, group_size)
        each_row = size * (1 + -(-above // group_size)) + 4 * size + 2 * max(below, size)
        most = max(most, rows * each_row + 3 * size * (1 + below))
    return NUMBER_BYTES * most


def _groups(layers: tuple[int, ...], group_size: int) -> list[int]:
    """Return the number of groups of each layer."""
    return [-(-neurons // group_size) for neurons in layers]


def _step_bytes(layers: tuple[int, ...], groups: list[int], rows: int) -> int:
    """Return an upper limit for all messages of a step."""
    numbers = 2 * sum(layers) + layers[-1]
    messages = 2 * sum(groups) + groups[0] + groups[-1]
    for above, below, neurons in zip(groups, groups[1:], layers[1:], strict=False):
        numbers += above * neurons
        messages += above * below
    return NUMBER_BYTES * rows * numbers + (NUMBERS_BEGIN + ADDRESS_LENGTH) * messages

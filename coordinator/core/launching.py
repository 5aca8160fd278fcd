"""The messages that start a pass: inputs and targets, one for a whole stage or one per group with its columns."""

from __future__ import annotations

import numpy as np

from coordinator.core.passes import InFlightPass
from coordinator.topology import Topology
from neuron_node.activations import Array
from neuron_node.addresses import group_address, stage_address
from neuron_node.events import Send
from neuron_node.frames import NUMBER_BYTES, ON_THE_WIRE, DataKind, data_head, mark_of, shape_of, tail_of, window_of
from neuron_node.group import AXON_AT_ONCE_BYTES
from neuron_node.role import OUTSIDE


class Launching:
    """Encodes the messages of passes."""

    def __init__(self, topology: Topology, run: bytes) -> None:
        self._run = run
        self._ends = (
            (DataKind.AXON, DataKind.SIGNAL, topology.inputs),
            (DataKind.TARGETS, DataKind.TARGET, topology.outputs),
        )
        self._topology = topology

    def sends(self, flight: InFlightPass, generation: int, low: int, high: int) -> list[Send]:
        """Return the messages that start a pass, or that repeat it if its attempt is above 0."""
        window = window_of(flight.attempt, low, high)
        mark = mark_of(flight.number, flight.mode, flight.part, flight.parts)
        sends: list[Send] = []
        for values, (whole, own, groups) in zip((flight.inputs, flight.targets), self._ends, strict=True):
            if values is None:
                continue
            if len(groups) > 1 and NUMBER_BYTES * values.size <= AXON_AT_ONCE_BYTES:
                stage = self._topology.stage_of(groups[0])
                head = data_head(whole, self._run, generation, stage, OUTSIDE)
                one_each = len(groups) == values.shape[1]
                blocks = [values.T] if one_each else [values[:, group.columns] for group in groups]
                numbers = b"".join(map(_bytes_of, blocks))
                sends.append(_message(stage_address(stage), head, window, mark, values.shape, numbers))
                continue
            for group in groups:
                head = data_head(own, self._run, generation, group.number, OUTSIDE)
                ours = values[:, group.columns]
                sends.append(_message(group_address(group.number), head, window, mark, ours.shape, _bytes_of(ours)))
        return sends


def _bytes_of(values: Array) -> memoryview:
    # If a group has all columns, they are copied only once, into the message.
    return np.ascontiguousarray(values, ON_THE_WIRE).data


def _message(
    address: bytes, head: bytes, window: bytes, mark: bytes, shape: tuple[int, ...], numbers: bytes | memoryview
) -> Send:
    sizes = shape_of(*shape)
    return Send(b"".join((address, sizes.length, head, window, tail_of(mark, sizes), numbers)))

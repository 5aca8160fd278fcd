"""The messages that start a pass: inputs and targets, each group its own columns."""

from __future__ import annotations

import numpy as np

from coordinator.machine.passes import Flight
from coordinator.topology import Group, Topology
from neuron_node.activations import Array
from neuron_node.addresses import group_address
from neuron_node.codec import data_head, data_mark, data_shape
from neuron_node.events import Send
from neuron_node.messages import Header, Input, Target
from neuron_node.role import OUTSIDE


class Launching:
    """Sends passes into the network."""

    def __init__(self, topology: Topology) -> None:
        self._of: tuple[bytes, int, bytes] | None = None
        self._topology = topology
        self._inputs: list[tuple[Group, bytes]] = []
        self._outputs: list[tuple[Group, bytes]] = []

    def sends(self, flight: Flight, header: Header) -> list[Send]:
        """What starts a pass or, with a higher attempt, makes it repeat itself."""
        of = (header.run, header.generation, header.incarnation)
        if of != self._of:
            self._of = of
            self._inputs, self._outputs = (
                [(group, data_head(group_address(group.number), kind, *of, OUTSIDE)) for group in groups]
                for kind, groups in ((Input, self._topology.inputs), (Target, self._topology.outputs))
            )
        mark = data_mark(flight.number, flight.attempt, flight.mode, flight.part, flight.parts, flight.chain)
        sends = _columns(mark, flight.inputs, self._inputs)
        if flight.targets is not None:
            sends += _columns(mark, flight.targets, self._outputs)
        return sends


def _columns(mark: bytes, values: Array, groups: list[tuple[Group, bytes]]) -> list[Send]:
    """Each group's columns of the values, (batch, columns of all groups)."""
    batch = len(values)
    if len(groups) == len(values.T):
        # One neuron a group.
        mark += data_shape(batch, 1)
        numbers, size = values.T.astype("<f8", order="C", copy=False).tobytes(), 8 * batch
        places = range(0, len(numbers), size)
        return [
            Send(b"".join((head, mark, numbers[at : at + size]))) for (_, head), at in zip(groups, places, strict=True)
        ]
    # Where a group has all columns, they are copied only once, into the frame.
    columns = [(head, np.ascontiguousarray(values[:, group.columns], "<f8")) for group, head in groups]
    return [Send(b"".join((head, mark, data_shape(*some.shape), some.data))) for head, some in columns]

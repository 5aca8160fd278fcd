"""The messages that start a pass: inputs and targets, each group its own columns."""

from __future__ import annotations

from coordinator.machine.passes import Flight
from coordinator.topology import Group, Topology
from neuron_node.activations import Array
from neuron_node.addresses import group_address
from neuron_node.codec import data_head, data_mark, data_shape
from neuron_node.events import Send
from neuron_node.messages import Data, Header, Input, Target
from neuron_node.role import OUTSIDE


class Launching:
    """Sends passes into the network."""

    def __init__(self, topology: Topology) -> None:
        self._inputs = [(group, group_address(group.number)) for group in topology.inputs]
        self._outputs = [(group, group_address(group.number)) for group in topology.outputs]

    def sends(self, flight: Flight, header: Header) -> list[Send]:
        """What starts a pass or, with a higher attempt, makes it repeat itself."""
        mark = data_mark(flight.number, flight.attempt, flight.mode, flight.part, flight.parts)
        sends = _columns(Input, flight.inputs, self._inputs, header, mark)
        if flight.targets is not None:
            sends += _columns(Target, flight.targets, self._outputs, header, mark)
        return sends


def _columns(
    kind: type[Data], values: Array, groups: list[tuple[Group, bytes]], header: Header, mark: bytes
) -> list[Send]:
    """Each group's columns of the values, (batch, columns of all groups)."""
    batch = len(values)
    begin = data_head(b"", kind, header.run, header.generation, header.incarnation, OUTSIDE) + mark
    if all(group.size == 1 for group, _ in groups):
        begin += data_shape(batch, 1)
        numbers, size = values.T.astype("<f8", order="C", copy=False).tobytes(), 8 * batch
        places = range(0, len(numbers), size)
        return [Send(address, begin + numbers[at : at + size]) for (_, address), at in zip(groups, places, strict=True)]
    return [
        Send(address, begin + data_shape(batch, group.size) + values[:, group.columns].astype("<f8").tobytes())
        for group, address in groups
    ]

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
        self._of: tuple[bytes, int, bytes] | None = None
        self._heads: dict[type[Data], bytes] = {}
        self._inputs = [(group, group_address(group.number)) for group in topology.inputs]
        self._outputs = [(group, group_address(group.number)) for group in topology.outputs]

    def sends(self, flight: Flight, header: Header) -> list[Send]:
        """What starts a pass or, with a higher attempt, makes it repeat itself."""
        of = (header.run, header.generation, header.incarnation)
        if of != self._of:
            self._of = of
            self._heads = {kind: data_head(b"", kind, *of, OUTSIDE) for kind in (Input, Target)}
        mark = data_mark(flight.number, flight.attempt, flight.mode, flight.part, flight.parts)
        sends = _columns(self._heads[Input] + mark, flight.inputs, self._inputs)
        if flight.targets is not None:
            sends += _columns(self._heads[Target] + mark, flight.targets, self._outputs)
        return sends


def _columns(begin: bytes, values: Array, groups: list[tuple[Group, bytes]]) -> list[Send]:
    """Each group's columns of the values, (batch, columns of all groups)."""
    batch = len(values)
    if len(groups) == len(values.T):
        # One neuron a group.
        begin += data_shape(batch, 1)
        numbers, size = values.T.astype("<f8", order="C", copy=False).tobytes(), 8 * batch
        places = range(0, len(numbers), size)
        return [Send(address, begin + numbers[at : at + size]) for (_, address), at in zip(groups, places, strict=True)]
    return [
        Send(address, begin + data_shape(batch, group.size) + values[:, group.columns].astype("<f8").tobytes())
        for group, address in groups
    ]

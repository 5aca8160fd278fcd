"""Collecting every group's state after one step: whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from coordinator.topology import Topology
from neuron_node.codec import encode
from neuron_node.errors import WrongShape
from neuron_node.events import Send
from neuron_node.protocol import LATEST_STEP, Fetch, GroupState, Header


@dataclass
class StateCollector:
    """The states that are wanted, and those that have come. Of `LATEST_STEP` any step's will do."""

    topology: Topology
    step: int
    wanted: set[int]
    states: dict[int, GroupState] = field(default_factory=dict)

    def ask(self, header: Header, addresses: Mapping[int, bytes]) -> Iterator[Send]:
        """Ask the nodes of all groups whose state is still missing, in order; `addresses` has the node of each group."""
        for number in sorted(self.wanted - self.states.keys()):
            if number in addresses:
                yield Send(addresses[number] + encode(Fetch(header, number, self.step)))

    @property
    def whole(self) -> bool:
        """Whether every group's state is here."""
        return self.states.keys() == self.wanted

    def hear(self, message: GroupState) -> bool:
        """Take a state if it is wanted; whether all have come with it. Raises `PeerError`."""
        if (
            message.group not in self.wanted
            or message.group in self.states
            or self.step not in (message.step, LATEST_STEP)
        ):
            return False
        group = self.topology.groups[message.group]
        fan_out = sum(self.topology.groups[below].size for below in self.topology.receivers[message.group])
        columns = (message.state.bias.shape[1], message.activity.shape[1], message.error.shape[1])
        if (
            columns != (group.size,) * 3
            or len(message.state.bias) != 1
            or message.state.weights.shape != (group.size, fan_out)
        ):
            raise WrongShape(f"the state of {group.names[0]}")
        self.states[message.group] = message
        return self.whole

"""Collect the state of every group after one step."""

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
    """The wanted states, and those that were received. `LATEST_STEP` accepts a state after any step."""

    topology: Topology
    step: int
    wanted: set[int]
    states: dict[int, GroupState] = field(default_factory=dict)

    def fetch(self, header: Header, addresses: Mapping[int, bytes]) -> Iterator[Send]:
        """Request the missing states, in the order of the groups; `addresses` has the node of each group."""
        for number in sorted(self.wanted - self.states.keys()):
            if number in addresses:
                yield Send(addresses[number] + encode(Fetch(header, number, self.step)))

    @property
    def complete(self) -> bool:
        """Whether the state of every group was received."""
        return self.states.keys() == self.wanted

    def receive(self, message: GroupState) -> bool:
        """Receive a state if it is wanted; return whether it was the last one. Raises `PeerError`."""
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
        return self.complete

"""What a group is told to be: its neurons, whom it hears, whom it speaks to, and how it learns."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from neuron_node.activations import ACTIVATIONS
from neuron_node.fields import MAX_GROUP, Flag, Many, Real, Text, Whole, record_of
from neuron_node.losses import LOSSES

Number = Annotated[int, Whole(1, 2**32 - 1)]
Size = Annotated[int, Whole(1, MAX_GROUP)]
Bound = Annotated[float, Real(-1e6, 1e6)]

OUTSIDE = 0
"""The number that stands for the coordinator where a group's number is expected. Groups are numbered from 1."""


class Block(NamedTuple):
    """The synapses from every neuron of this group to every neuron of another, and the range of their first weights."""

    receiver: Number
    size: Size
    weight_low: Bound
    weight_high: Bound


class Sender(NamedTuple):
    """A group whose signals this one waits for, and where this one's synapses begin among all `fan_out` of its axons.

    A `fan_out` of 0 says that the sender does not publish its axons: it has one receiver only, and sends to that.
    """

    group: Number
    size: Size
    first: Annotated[int, Whole(0, 2**32 - 1)] = 0
    fan_out: Annotated[int, Whole(0, 2**32 - 1)] = 0


class Role(NamedTuple):
    """A group's place in the network. `senders` and `blocks` stand in synapse order, the order of every sum."""

    group: Number
    names: Annotated[tuple[str, ...], Many(Text(64), MAX_GROUP)]
    senders: Annotated[tuple[Sender, ...], Many(record_of(Sender), MAX_GROUP)]
    blocks: Annotated[tuple[Block, ...], Many(record_of(Block), MAX_GROUP)]
    activation: Annotated[str, Text(32, tuple(ACTIVATIONS))]
    loss: Annotated[str, Text(32, tuple(LOSSES))]
    learning_rate: Annotated[float, Real(0.0, 1e6)]
    bias_low: Bound
    bias_high: Bound
    bias_learned: Annotated[bool, Flag()]
    seed: Annotated[int, Whole()]

    @property
    def size(self) -> int:
        """How many neurons the group has."""
        return len(self.names)

    @property
    def fan_out(self) -> int:
        """How many synapses each of its axons has."""
        return sum(block.size for block in self.blocks)

    @property
    def is_input(self) -> bool:
        """Whether it hears the coordinator instead of other groups."""
        return not self.senders

    @property
    def needs_own_error(self) -> bool:
        """Whether the group, or anybody above it, learns from its own error: an input neuron needs it for its bias alone."""
        return self.bias_learned or not self.is_input

    @property
    def is_output(self) -> bool:
        """Whether it has nobody below: its error comes from the targets."""
        return not self.blocks

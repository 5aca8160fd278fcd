"""What a group is told to be: its neurons, its senders and receivers, and how it learns."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from neuron_node.activations import ACTIVATIONS
from neuron_node.losses import LOSSES
from neuron_node.schema import MAX_GROUP, Flag, Many, Real, Text, Whole, record_of

Number = Annotated[int, Whole(1, 2**32 - 1)]
Size = Annotated[int, Whole(1, MAX_GROUP)]
Bound = Annotated[float, Real(-1e6, 1e6)]

OUTSIDE = 0
"""The number that stands for the coordinator where the number of a group or a stage is expected. Both are numbered from 1."""


class Block(NamedTuple):
    """The synapses from every neuron of this group to every neuron of another, and the range of their first weights."""

    receiver: Number
    stage: Number
    """Of the receiver."""
    size: Size
    weight_low: Bound
    weight_high: Bound


class Sender(NamedTuple):
    """A group whose signals this one waits for."""

    group: Number
    stage: Number
    size: Size


class Role(NamedTuple):
    """A group's place in the network. `senders` and `blocks` stand in synapse order, the order of every sum.

    A stage is all groups that wait for the same senders. The group's neurons are `size` of the `width` neurons of its stage,
    from the one with the index `first` on; frames for a whole stage have a block for each of its groups, in that order.
    """

    group: Number
    stage: Number
    first: Annotated[int, Whole(0, 2**32 - 1)]
    width: Annotated[int, Whole(1, 2**32 - 1)]
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
        """Whether its signals come from the coordinator."""
        return not self.senders

    @property
    def needs_own_error(self) -> bool:
        """Whether the group, or a group above it, learns from its own error: an input neuron needs it for its bias alone."""
        return self.bias_learned or not self.is_input

    @property
    def is_output(self) -> bool:
        """Whether no group is below it: its error comes from the targets."""
        return not self.blocks

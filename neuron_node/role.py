"""The role of a group: its neurons, its senders and receivers, and its settings for learning. Plain data, sent in a Grant."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from neuron_node.activations import ACTIVATIONS
from neuron_node.losses import LOSSES
from neuron_node.schema import MAX_GROUP, Flag, Many, Real, Text, Whole, record_of

Number = Annotated[int, Whole(1, 2**32 - 1)]
Size = Annotated[int, Whole(1, MAX_GROUP)]
Bound = Annotated[float, Real(-1e6, 1e6)]

OUTSIDE = 0
"""The number of the coordinator where a message needs the number of a group or a stage. Groups and stages start at 1."""


class Block(NamedTuple):
    """The synapses from every neuron of this group to every neuron of one receiver, and the range of their initial weights."""

    receiver: Number
    stage: Number
    """The receiver's stage."""
    size: Size
    """The receiver's number of neurons."""
    weight_low: Bound
    weight_high: Bound


class Sender(NamedTuple):
    """A group that sends signals to this group."""

    group: Number
    stage: Number
    size: Size


class Role(NamedTuple):
    """A group's position in the network. `senders` and `blocks` are in synapse order, the order of every sum.

    A stage is the set of all groups with the same senders; it has `width` neurons. This group has `size` of these neurons, and
    its first neuron has the index `first` in the stage. A frame for a whole stage has one block of columns for each group.
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
    silent: Annotated[tuple[int, ...], Many(Whole(0, MAX_GROUP - 1), MAX_GROUP)] = ()
    """The places in `names` of the silenced neurons. Their activity and their own error count as 0."""

    @property
    def size(self) -> int:
        """The number of neurons of the group."""
        return len(self.names)

    @property
    def fan_out(self) -> int:
        """The number of synapses of each axon."""
        return sum(block.size for block in self.blocks)

    @property
    def is_input(self) -> bool:
        """Whether the coordinator sends the group's signals."""
        return not self.senders

    @property
    def needs_own_error(self) -> bool:
        """Whether any learning uses the group's own error. An input neuron needs it for its bias only."""
        return self.bias_learned or not self.is_input

    @property
    def is_output(self) -> bool:
        """Whether the group has no receivers: it computes its error from the targets."""
        return not self.blocks

"""Filter control messages by their header and address, before the node's table of transitions."""

from __future__ import annotations

from typing import NamedTuple

from neuron_node.addresses import EVERY_NODE, node_address
from neuron_node.errors import Stale, Unexpected
from neuron_node.protocol import Echo, Grant, Message, NodeStatusRequest, Reject, Reregister, Stop, Superseded, Welcome

OF_ANY_GENERATION = (Welcome, Reject, Grant, Reregister, NodeStatusRequest, Stop, Superseded)


class Standing(NamedTuple):
    """A node's place in a run."""

    incarnation: bytes
    coordinator: bytes
    run: bytes
    generation: int
    hosts_groups: bool


def check(message: Message, address: bytes, node: Standing) -> None:
    """Raise `PeerError` for a message of another run or generation, or one that is not for this node.

    Only a message of `OF_ANY_GENERATION`, to this incarnation, may name another run or generation. An echo has no run; the
    proof of the links checks it.
    """
    header = message.header
    if isinstance(message, Echo):
        return
    if isinstance(message, OF_ANY_GENERATION):
        to_all = isinstance(message, Reregister) and address == EVERY_NODE
        if address != node_address(node.incarnation) and not to_all:
            # A node that was replaced may still be subscribed to the address of a group.
            raise Unexpected(f"{type(message).__name__} that is not addressed to this node alone")
        if to_all and header.incarnation == node.coordinator:
            raise Stale("a call of the coordinator that knows this node")
        if isinstance(message, Grant) and header.run == node.run:
            # Groups that were released have lost the steps since their grant: only another generation restores them.
            over = node.generation if node.hosts_groups else node.generation + 1
            if header.generation < over:
                raise Stale(f"a grant of generation {header.generation}, this is {node.generation}")
        return
    if header.run != node.run or header.generation != node.generation:
        raise Stale(f"generation {header.generation}, this is {node.generation}")

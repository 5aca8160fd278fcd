"""The first check of a control message: by its header and address, before the table `TRANSITIONS` of `node.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_node.addresses import EVERY_NODE, node_address
from neuron_node.errors import Stale, Unexpected
from neuron_node.protocol import Echo, Grant, Message, NodeStatusRequest, Reject, Reregister, Stop, Superseded, Welcome

if TYPE_CHECKING:
    from neuron_node.node import Node

OF_ANY_GENERATION = (Welcome, Reject, Grant, Reregister, NodeStatusRequest, Stop, Superseded)


def check(machine: Node, message: Message, address: bytes, coordinator: bytes) -> None:
    """Accept messages of the node's run and generation, and some messages to this incarnation of any run and generation.

    `OF_ANY_GENERATION` names the latter. An echo belongs to no run; `LinkProbe` checks it.

    Raises:
        Stale: the message has another run or generation.
        Unexpected: the message is not addressed to this incarnation, but its kind must be.
    """
    header = message.header
    if isinstance(message, Echo):
        return
    if isinstance(message, OF_ANY_GENERATION):
        to_everybody = isinstance(message, Reregister) and address == EVERY_NODE
        if address != node_address(machine.born.incarnation) and not to_everybody:
            # A node that was replaced may still receive messages to the address of its former group.
            raise Unexpected(f"{type(message).__name__} that is not addressed to this node alone")
        if to_everybody and header.incarnation == coordinator:
            raise Stale("a call of the coordinator that knows this node")
        if isinstance(message, Grant) and header.run == machine.run:
            # A node without groups has dropped the steps since its grant. Only a later generation may place groups here again.
            over = machine.generation if machine.hosting.groups else machine.generation + 1
            if header.generation < over:
                raise Stale(f"a grant of generation {header.generation}, this is {machine.generation}")
        return
    if header.run != machine.run or header.generation != machine.generation:
        raise Stale(f"generation {header.generation}, this is {machine.generation}")

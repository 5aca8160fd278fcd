"""What a node hears at all: decided from a message's header and address, before the table of `machine` is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_node.addresses import EVERY_NODE, node_address
from neuron_node.errors import Stale, Unexpected
from neuron_node.protocol import Echo, Grant, Message, NodeStatusRequest, Reject, Reregister, Stop, Superseded, Welcome

if TYPE_CHECKING:
    from neuron_node.node import Node

OF_ANY_GENERATION = (Welcome, Reject, Grant, Reregister, NodeStatusRequest, Stop, Superseded)


def check(machine: Node, message: Message, address: bytes, coordinator: bytes) -> None:
    """Only a grant, a welcome, a refusal, a stop or an inquiry to this very incarnation may name another run or generation.

    An echo is of no run; the proof of the links knows whether it waits for it. Raises `PeerError`.
    """
    header = message.header
    if isinstance(message, Echo):
        return
    if isinstance(message, OF_ANY_GENERATION):
        to_everybody = isinstance(message, Reregister) and address == EVERY_NODE
        if address != node_address(machine.born.incarnation) and not to_everybody:
            # At a group's address a node that was replaced may still be listening.
            raise Unexpected(f"{type(message).__name__} that is not addressed to this node alone")
        if to_everybody and header.incarnation == coordinator:
            raise Stale("a call of the coordinator that knows this node")
        if isinstance(message, Grant) and header.run == machine.run:
            # Groups that were let go have lost the steps since their grant: only another generation brings them back.
            over = machine.generation if machine.hosting.groups else machine.generation + 1
            if header.generation < over:
                raise Stale(f"a grant of generation {header.generation}, this is {machine.generation}")
        return
    if header.run != machine.run or header.generation != machine.generation:
        raise Stale(f"generation {header.generation}, this is {machine.generation}")

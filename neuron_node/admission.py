"""Filter control messages by their header and address, before the node's table of transitions."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from neuron_node.addresses import EVERY_NODE, node_address
from neuron_node.errors import Stale, Unexpected
from neuron_node.protocol import (
    NOBODY,
    Echo,
    Fetch,
    Grant,
    Message,
    NodeStatusRequest,
    Reject,
    Reregister,
    Stop,
    Superseded,
    TraceRequest,
    Welcome,
)

OF_ANY_GENERATION = (Welcome, Reject, Grant, Reregister, NodeStatusRequest, Stop, Superseded)
OF_THE_OWN_RUN = (Grant, Stop, Superseded)
"""Only `Reregister` and then `Welcome` move a member of a run to another run."""


class Standing(NamedTuple):
    """A node's place in a run."""

    incarnation: bytes
    coordinator: bytes
    run: bytes
    generation: int
    hosts_groups: bool
    registration: int
    """The CRC-32 of its last registration."""
    seeking: bool
    """Whether it registers, and no coordinator has welcomed it."""
    bound: bool
    """Whether a supervisor has started it for its run."""
    obeyed: Collection[bytes] = ()
    """The last coordinators that it has obeyed."""


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
        if isinstance(message, Reregister) and header.run == node.run and header.incarnation in node.obeyed:
            # A coordinator calls only nodes that it doesn't know. This call was delayed, or repeated by a forger.
            raise Stale("a call of a coordinator that has welcomed this node")
        _check_proof(node, message)
        if isinstance(message, Grant) and header.run == node.run:
            # Groups that were released have lost the steps since their grant: only another generation restores them.
            over = node.generation if node.hosts_groups else node.generation + 1
            if header.generation < over:
                raise Stale(f"a grant of generation {header.generation}, this is {node.generation}")
        return
    if isinstance(message, Fetch | TraceRequest) and address != node_address(node.incarnation):
        # Signatures are checked at this address.
        raise Unexpected(f"{type(message).__name__} that is not addressed to this node alone")
    if header.run != node.run or header.generation != node.generation:
        raise Stale(f"generation {header.generation}, this is {node.generation}")


def _check_proof(node: Standing, message: Message) -> None:
    """Raise `Stale` for a message that would move or end the node if its sender knows neither its run nor its registration.

    A `Welcome` and a `Reject` name, as their pass, the CRC-32 of the registration that they answer. So does a `Stop` or
    `Superseded` that answers a registration.
    """
    header, kind = message.header, type(message).__name__
    answers = header.pass_number == node.registration
    if isinstance(message, Welcome | Reject) and not answers:
        raise Stale(f"{kind} for another registration")
    if node.bound and header.run != node.run and not isinstance(message, Reject):
        raise Stale(f"{kind} of another run")
    answers = answers and node.seeking and not isinstance(message, Grant)
    if isinstance(message, OF_THE_OWN_RUN) and not answers and (header.run != node.run or node.run == NOBODY):
        raise Stale(f"{kind} of another run")

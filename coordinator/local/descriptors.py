"""The number of open files of the programs of a local run."""

from __future__ import annotations

from coordinator.local.relay import DESCRIPTORS_A_NODE as RELAY_DESCRIPTORS_A_NODE
from neuron_node.transport import DESCRIPTORS_A_PROGRAM

SOCKETS_A_PROGRAM = 2
DESCRIPTORS_BESIDES = 128


def broker_descriptors(nodes: int) -> int:
    """Return the number of open files of the broker: two connections per program, and its own."""
    return SOCKETS_A_PROGRAM * nodes + DESCRIPTORS_BESIDES


def relay_descriptors(nodes: int) -> int:
    """Return the number of open files of the relay."""
    return RELAY_DESCRIPTORS_A_NODE * nodes + DESCRIPTORS_BESIDES


def most_descriptors(nodes: int, *, relayed: bool) -> int:
    """Return the largest number of open files of any program of a run, for nodes and spares together."""
    return max(broker_descriptors(nodes), relay_descriptors(nodes) if relayed else 0, DESCRIPTORS_A_PROGRAM)

"""Addresses: one letter and eight bytes, so that none is a prefix of another and the broker can filter by them.

| letter | followed by | who subscribes | what is sent there |
|---|---|---|---|
| G | a group's number | the node that hosts the group | inputs, targets and signals for the group |
| A | a group's number | the nodes of every group that it sends to | all signals of the group's axons, published once for all |
| E | a group's number | the nodes of every group that sends to it | the group's error, published once for all |
| N | a node's incarnation | that node | control from the coordinator |
| N | zeros | every node | the coordinator's call to register, when it begins another life |
| C | zeros | the coordinator | registrations, results, answers, requests |
| P | a fresh name | who proves its links | a probe, sent to oneself; and the echoes of peers |
| R | a client's name | a command-line client | replies to its requests |
"""

from __future__ import annotations

ADDRESS_LENGTH = 9

COORDINATOR = b"C" + bytes(8)
EVERY_NODE = b"N" + bytes(8)


def group_address(group: int) -> bytes:
    """Where signals for a group are sent."""
    return b"G" + group.to_bytes(8, "big")


def axon_address(group: int) -> bytes:
    """Where a group publishes the signals of its whole axons."""
    return b"A" + group.to_bytes(8, "big")


def error_address(group: int) -> bytes:
    """Where a group publishes its error."""
    return b"E" + group.to_bytes(8, "big")


def node_address(incarnation: bytes) -> bytes:
    """Where one life of one node hears the coordinator."""
    return b"N" + incarnation


def probe_address(name: bytes) -> bytes:
    """A fresh address at which a program proves its own links."""
    return b"P" + name


def client_address(name: bytes) -> bytes:
    """Where a command-line client hears its replies."""
    return b"R" + name

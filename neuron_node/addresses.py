"""Addresses: one letter and eight bytes, so that none is a prefix of another and the broker can filter by them.

| letter | followed by | subscribers | what is sent there |
|---|---|---|---|
| S | a stage's number | the nodes of all groups of the stage | whole axons, errors, inputs and targets for all of its groups |
| S | zeros | the coordinator | activities of output groups, errors of input groups |
| G | a group's number | the node that hosts the group | signals and targets for this group alone |
| N | a node's incarnation | that node | control from the coordinator |
| N | zeros | every node | the coordinator's call to register, when it begins another life |
| C | zeros | the coordinator | registrations, states, answers, requests |
| P | a fresh name | a program that proves its links | a probe, sent to itself; and the echoes of peers |
| R | a client's name | a command-line client | replies to its requests |
"""

from __future__ import annotations

ADDRESS_LENGTH = 9

COORDINATOR = b"C" + bytes(8)
EVERY_NODE = b"N" + bytes(8)


DATA_LETTERS = b"SG"
"""Addresses at which data frames travel, and nothing else."""


def stage_address(stage: int) -> bytes:
    """Where frames for a whole stage are sent; for `OUTSIDE` the coordinator's results."""
    return b"S" + stage.to_bytes(8, "big")


def group_address(group: int) -> bytes:
    """Where signals and targets for one group are sent."""
    return b"G" + group.to_bytes(8, "big")


def node_address(incarnation: bytes) -> bytes:
    """Where the coordinator sends control messages for one life of one node."""
    return b"N" + incarnation


def probe_address(name: bytes) -> bytes:
    """A fresh address at which a program proves its own links."""
    return b"P" + name


def client_address(name: bytes) -> bytes:
    """Where replies to a command-line client are sent."""
    return b"R" + name

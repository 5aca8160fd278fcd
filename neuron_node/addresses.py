"""The addresses of messages: one letter and eight bytes. All have one length, so no address is a prefix of another.

| letter | followed by | subscribers | messages |
|---|---|---|---|
| S | a stage's number | the nodes of all groups of the stage | axons, errors, inputs and targets for all groups of the stage |
| S | zeros | the coordinator | activities of output groups, errors of input groups |
| G | a group's number | the node that hosts the group | signals and targets for this group only |
| N | a node's incarnation | that node | control messages from the coordinator |
| N | zeros | every node | the request to register, from a coordinator that restarted |
| C | zeros | the coordinator | registrations, states, answers |
| P | a fresh name | a program that proves its links | the program's own probe, and the echoes of peers |
"""

from __future__ import annotations

ADDRESS_LENGTH = 9

COORDINATOR = b"C" + bytes(8)
EVERY_NODE = b"N" + bytes(8)


DATA_LETTERS = b"SG"
"""The letters of the addresses for data frames."""


def stage_address(stage: int) -> bytes:
    """Return the address for frames to a whole stage; for `OUTSIDE`, the address for results to the coordinator."""
    return b"S" + stage.to_bytes(8, "big")


def group_address(group: int) -> bytes:
    """Return the address for signals and targets to one group."""
    return b"G" + group.to_bytes(8, "big")


def node_address(incarnation: bytes) -> bytes:
    """Return the address for control messages to one incarnation of a node."""
    return b"N" + incarnation


def probe_address(name: bytes) -> bytes:
    """Return the address at which a program receives its own probe."""
    return b"P" + name

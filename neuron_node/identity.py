"""The identity of a node, and its states."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from neuron_node.protocol import NOBODY

BEGIN_AGAIN = -1
"""The exit code of a machine whose program must begin again, under a new incarnation."""


class NodeState(Enum):
    """The states of a node."""

    SEEKING = "seeking"
    """The node sends `Register` at growing intervals until the coordinator answers."""
    SPARE = "spare"
    """The coordinator has accepted the node; the node hosts no group."""
    WIRING = "wiring"
    """The node hosts groups and proves its links."""
    WORKING = "working"
    """The node takes part in passes."""
    ENDED = "ended"
    """The node handles no more messages."""


@dataclass(frozen=True)
class NodeIdentity:
    """The identity of one start of a node. `program.py` draws the incarnation at random, after the fork."""

    incarnation: bytes
    name: str
    host: str
    process: int
    software: str
    fingerprint: str
    endpoint: str = ""
    """The endpoint of the node's outlet for direct wiring; empty if it has none."""
    run: bytes = NOBODY
    """The run that a supervisor started the node for. A registration that names the run supersedes an earlier life at once."""
    key: str = ""
    """The name of its key; empty without keys."""
    proof: bytes | None = None
    """The proof for the coordinator that it has this key."""

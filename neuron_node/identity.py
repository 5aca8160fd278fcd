"""One life of a node: what it is born with, and where it is in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

BEGIN_AGAIN = -1
"""The code of a machine that has ended while its program is to begin another life, under another incarnation."""


class NodeState(Enum):
    """Where a node is in its life."""

    SEEKING = "seeking"
    """Registers, ever more slowly, until the coordinator answers."""
    SPARE = "spare"
    """Known to the coordinator; hosts no group."""
    WIRING = "wiring"
    """Has groups; proves its links."""
    WORKING = "working"
    """Takes part in passes."""
    ENDED = "ended"


@dataclass(frozen=True)
class NodeIdentity:
    """What a node is born with. The incarnation is drawn by the shell, after the fork."""

    incarnation: bytes
    name: str
    host: str
    process: int
    software: str
    fingerprint: str
    endpoint: str = ""
    """Where its data can be heard without the broker; empty: nowhere."""

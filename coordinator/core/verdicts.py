"""What the parts of the coordinator conclude. The machine applies each verdict."""

from __future__ import annotations

from typing import NamedTuple

from coordinator.core.membership import Member


class Dead(NamedTuple):
    """These members are lost, all for one reason. If they hosted groups, the network is rolled back."""

    members: tuple[Member, ...]
    reason: str


class Recover(NamedTuple):
    """Begin another generation and roll the network back to the last snapshot."""

    reason: str
    seen_generation: int = 0
    """A generation that a node has seen; the new one must be higher."""


class Spread(NamedTuple):
    """Begin another generation, go back to the last snapshot, and grant released groups to spares. It is no recovery."""


class StopRun(NamedTuple):
    """Stop all nodes and end the run, with this exit code."""

    exit_code: int


class LeaveNodes(NamedTuple):
    """End the coordinator with this exit code. The nodes stay, and wait for the next one."""

    exit_code: int


Verdict = Dead | Recover | Spread | StopRun | LeaveNodes

"""Who may send a request to the coordinator, and who may compute for it."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from neuron_node.protocol import Register


class NodeKey(NamedTuple):
    """A key, and the number of nodes that may use it."""

    name: str
    places: int


KeyOf = Callable[[Register], NodeKey | None]
"""Returns the key that made the proof of a registration; None if the proof is missing or wrong."""


class Access(IntEnum):
    """What the sender of a request may do. An operator may do all that a viewer may."""

    VIEWER = 1
    """May send requests that only read."""
    OPERATOR = 2
    """May send requests that change something."""

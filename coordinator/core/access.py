"""Who may send a request to the coordinator."""

from __future__ import annotations

from enum import IntEnum


class Access(IntEnum):
    """What the sender of a request may do. An operator may do all that a viewer may."""

    VIEWER = 1
    """May send requests that only read."""
    OPERATOR = 2
    """May send requests that change something."""

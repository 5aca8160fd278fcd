"""The states of a coordinator."""

from __future__ import annotations

from enum import Enum

RESTARTED = 5
"""The exit code of a coordinator that ended to make room for another run."""


class CoordinatorState(Enum):
    """The states of a run."""

    GATHERING = "gathering"
    WIRING = "wiring"
    TRAINING = "training"
    IDLE = "idle"
    STOPPING = "stopping"
    ENDED = "ended"


RUNNING = (CoordinatorState.TRAINING, CoordinatorState.IDLE)
OPEN = (CoordinatorState.GATHERING, CoordinatorState.WIRING, *RUNNING)
ALIVE = (*OPEN, CoordinatorState.STOPPING)

"""How often a snapshot is taken: as often as it may, for a share of the training time that stays below a bound.

What a snapshot costs is how much longer steps take while its parts come in and it is written. Nothing of it reaches a
weight: a run has the same weights whatever its snapshots were.
"""

from __future__ import annotations

import math
import statistics
from collections import deque

SHARE_AT_MOST = 0.025
FIRST_STEPS = 10
LEAST_STEPS = 4
MOST_STEPS = 10_000
GROWTH_AT_MOST = 2
STEPS_REMEMBERED = 32
SNAPSHOTS_REMEMBERED = 9


class SnapshotInterval:
    """Chooses the interval between snapshots, in steps; or keeps the one that was set."""

    def __init__(self, fixed_interval_steps: int | None) -> None:
        self.interval_steps = FIRST_STEPS if fixed_interval_steps is None else fixed_interval_steps
        self._fixed = fixed_interval_steps is not None
        self._plain_ms: deque[float] = deque(maxlen=STEPS_REMEMBERED)
        self._costs_ms: deque[float] = deque(maxlen=SNAPSHOTS_REMEMBERED)
        self._slowed_ms: list[float] = []

    def begin_again(self) -> None:
        """The network was rolled back, and is slower until all know each other again: forget what is half measured."""
        self._slowed_ms = []

    def step_done(self, took_ms: float, *, slowed: bool) -> None:
        """A step is done; whether a snapshot was being taken meanwhile."""
        if slowed:
            self._slowed_ms.append(took_ms)
            return
        self._plain_ms.append(took_ms)
        if self._slowed_ms:
            usual_ms = statistics.median(self._plain_ms)
            # Signed: noise must be able to cancel itself out, or a busy machine would look like dear snapshots.
            self._costs_ms.append(sum(self._slowed_ms) - len(self._slowed_ms) * usual_ms)
            self._slowed_ms = []
            if not self._fixed:
                self._choose(usual_ms)

    def _choose(self, usual_ms: float) -> None:
        bearable = statistics.median(self._costs_ms) / max(SHARE_AT_MOST * usual_ms, 1e-9)
        # A hiccup of the machine looks like a dear snapshot: grow slowly, so that the next ones can correct it.
        self.interval_steps = max(
            LEAST_STEPS, min(math.ceil(bearable), GROWTH_AT_MOST * self.interval_steps, MOST_STEPS)
        )

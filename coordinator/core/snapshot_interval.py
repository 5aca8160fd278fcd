"""Choose the interval of snapshots: as short as possible while snapshots take at most a given share of the training time.

The cost of a snapshot is the additional time of the steps during which it is received and written. It changes no weight: a
run has the same weights with any snapshots.
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
    """The interval between snapshots in steps: a fixed one, or one that follows from the cost."""

    def __init__(self, fixed_interval_steps: int | None) -> None:
        self.interval_steps = FIRST_STEPS if fixed_interval_steps is None else fixed_interval_steps
        self._fixed = fixed_interval_steps is not None
        self._plain_ms: deque[float] = deque(maxlen=STEPS_REMEMBERED)
        self._costs_ms: deque[float] = deque(maxlen=SNAPSHOTS_REMEMBERED)
        self._slowed_ms: list[float] = []

    def begin_again(self) -> None:
        """Discard the current measurement, because the network was rolled back and is slower until all nodes are connected."""
        self._slowed_ms = []

    def step_done(self, took_ms: float, *, slowed: bool) -> None:
        """Note the duration of a step; `slowed` says that a snapshot was being taken."""
        if slowed:
            self._slowed_ms.append(took_ms)
            return
        self._plain_ms.append(took_ms)
        if self._slowed_ms:
            usual_ms = statistics.median(self._plain_ms)
            # Keep the sign: noise must average to zero, or snapshots would look expensive on a busy host.
            self._costs_ms.append(sum(self._slowed_ms) - len(self._slowed_ms) * usual_ms)
            self._slowed_ms = []
            if not self._fixed:
                self._choose(usual_ms)

    def _choose(self, usual_ms: float) -> None:
        affordable = statistics.median(self._costs_ms) / max(SHARE_AT_MOST * usual_ms, 1e-9)
        # A pause of the host looks like an expensive snapshot: grow slowly, so that later snapshots can correct it.
        self.interval_steps = max(
            LEAST_STEPS, min(math.ceil(affordable), GROWTH_AT_MOST * self.interval_steps, MOST_STEPS)
        )

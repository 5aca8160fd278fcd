"""What stopped the training, and how long it took until the step that was interrupted was done after all."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

KEPT = 10_000
DOUBLINGS_AT_MOST = 6


@dataclass(frozen=True)
class Interruption:
    """One event that kept a step from being finished; `step_due` is None where no step was."""

    reason: str
    generation: int
    step_due: int | None
    since_ms: float


class RecoveryStats:
    """Open ones, and how long the closed ones took."""

    def __init__(self) -> None:
        self.seconds: deque[float] = deque(maxlen=KEPT)
        self._open: list[Interruption] = []
        self._in_a_row = 0

    def begin(self, reason: str, generation: int, step_due: int | None, now_ms: float) -> None:
        """Something has happened."""
        self._in_a_row += 1
        if len(self._open) < KEPT:
            self._open.append(Interruption(reason, generation, step_due, now_ms))

    @property
    def patience(self) -> float:
        """By how much time limits are longer than usual: they double with every interruption until a step is done."""
        return float(2 ** min(self._in_a_row, DOUBLINGS_AT_MOST))

    def seconds_within(self, share: float) -> float | None:
        """In how many seconds this share of all recoveries was over; None if there was none."""
        return percentile(self.seconds, share)

    def done(self, step: int, now_ms: float) -> list[dict[str, Any]]:
        """A step is done (or, with no more to do, the network stands): the facts of what is over with it."""
        self._in_a_row = 0
        if not self._open:
            return []
        over = [one for one in self._open if one.step_due is None or one.step_due <= step]
        self._open = [one for one in self._open if one not in over]
        facts = []
        for one in over:
            seconds = (now_ms - one.since_ms) / 1000.0
            self.seconds.append(seconds)
            facts.append({"reason": one.reason, "generation": one.generation, "step": step, "seconds": seconds})
        return facts


def percentile(values: Collection[float], share: float) -> float | None:
    """The smallest value that at least such a share of all values does not exceed; None where there are no values."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None

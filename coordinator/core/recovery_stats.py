"""Interruptions of the training, and the time from each until the interrupted step was done."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

KEPT = 10_000
DOUBLINGS_AT_MOST = 6


@dataclass(frozen=True)
class Interruption:
    """An event that kept step `step_due` from being finished; None if no step was due."""

    reason: str
    generation: int
    step_due: int | None
    since_ms: float


class RecoveryStats:
    """Open interruptions, and the durations of those that are over."""

    def __init__(self) -> None:
        self.seconds: deque[float] = deque(maxlen=KEPT)
        self._open: list[Interruption] = []
        self._in_a_row = 0

    def begin(self, reason: str, generation: int, step_due: int | None, now_ms: float) -> None:
        """Note an interruption."""
        self._in_a_row += 1
        if len(self._open) < KEPT:
            self._open.append(Interruption(reason, generation, step_due, now_ms))

    def rewound(self, step: int) -> None:
        """Note that the run goes on from this step: it counts as recovered when it has done another one."""
        self._open = [
            one if one.step_due is None else replace(one, step_due=min(one.step_due, step + 1)) for one in self._open
        ]

    @property
    def timeout_factor(self) -> float:
        """How many times longer than usual timeouts are: they double with each interruption until a step is done."""
        return float(2 ** min(self._in_a_row, DOUBLINGS_AT_MOST))

    def seconds_within(self, share: float) -> float | None:
        """Return the seconds within which this share of all recoveries was over; None if there was none."""
        return percentile(self.seconds, share)

    def step_done(self, step: int, now_ms: float) -> list[dict[str, Any]]:
        """Close the interruptions of steps up to this one, and return a report for each.

        Also called when the network is wired and no step is left.
        """
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
    """Return the smallest value that at least this share of all values does not exceed; None if there are no values."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None

"""What the page remembers of a run: curves of a bounded number of points, and the latest predictions."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

MOST_POINTS = 400
"""The most points of a curve. When there are more, every second one is dropped."""
LATEST = 200
"""The number of predictions whose accuracy is shown."""


class Curve:
    """Numbers over steps. It stays bounded: the older points are thinned evenly, and the newest one always stays."""

    def __init__(self, most: int = MOST_POINTS) -> None:
        self._most = most
        self._every = 1
        """Of so many added points, one is kept."""
        self._since = 0
        """The points that were added after the last kept one."""
        self._kept: list[tuple[int, tuple[float | None, ...]]] = []
        self._newest: tuple[int, tuple[float | None, ...]] | None = None

    def add(self, step: int, *numbers: float | None) -> None:
        """Add the numbers of a step. Points of this step and of later ones are forgotten: the run has gone back."""
        if self._newest is not None and step <= self._newest[0]:
            self._kept = [point for point in self._kept if point[0] < step]
            self._since = self._every
        self._newest = step, numbers
        self._since += 1
        if not self._kept or self._since >= self._every:
            self._kept.append(self._newest)
            self._since = 0
        if len(self._kept) > self._most:
            newest_stays = len(self._kept) % 2 == 1
            self._kept = self._kept[::2]
            self._since = 0 if newest_stays else self._every
            self._every *= 2

    @property
    def points(self) -> list[list[float | None]]:
        """The kept points, each with its step first."""
        kept = self._kept
        newest = [self._newest] if self._newest is not None and (not kept or kept[-1] != self._newest) else []
        return [[step, *numbers] for step, numbers in (*kept, *newest)]


class Prediction(NamedTuple):
    """What the network has said of a row, before it learned from it."""

    step: int
    row: Sequence[float]
    found: Any
    """The predicted class by its number, or the predicted value."""
    right: Any


class Predictions:
    """The latest predictions of rows of the training."""

    def __init__(self) -> None:
        self._latest: deque[Prediction] = deque(maxlen=LATEST)

    def add(self, prediction: Prediction) -> None:
        """Add a prediction; the oldest one is forgotten."""
        self._latest.append(prediction)

    def newest(self, count: int) -> list[Prediction]:
        """Return so many predictions, the newest first."""
        return list(reversed(self._latest))[:count]

    @property
    def count(self) -> int:
        """The number of predictions that are remembered."""
        return len(self._latest)

    @property
    def accuracy(self) -> float | None:
        """The share of right predictions; None without any, or if the targets are numbers."""
        if not self._latest or not isinstance(self._latest[-1].found, int):
            return None
        right = [each for each in self._latest if each.found == each.right]
        return len(right) / len(self._latest)

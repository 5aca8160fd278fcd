"""Everything that is left to chance in a simulation, drawn from one seed."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Dice:
    """A frozen stream of choices, keyed by a seed and a name.

    Python promises the stream of `random()` for a whole number as seed; nothing else of that module is used.
    """

    def __init__(self, seed: int, name: str) -> None:
        key = hashlib.sha256(f"{name} {seed}".encode()).digest()
        self.random = random.Random(int.from_bytes(key, "big")).random

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1."""
        return int(self.random() * count)

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self.random() * (high - low + 1))

    def falls(self, share: float) -> bool:
        """Whether something happens that happens in this share of all cases."""
        return self.random() < share

    def spread(self, low: float, high: float) -> float:
        """A number between two, each order of magnitude as likely as the next."""
        return math.exp(math.log(low) + self.random() * (math.log(high) - math.log(low)))

    def pick(self, items: Sequence[Item]) -> Item:
        """One of several."""
        return items[int(self.random() * len(items))]

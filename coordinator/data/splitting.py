"""Split rows into training and held-out rows: a pure function of the seed.

Orders come from SHAKE-256, a frozen standard, so no version of a library changes them.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from coordinator.data.targets import Labels

Indices = NDArray[np.int64]


def keyed_order(count: int, key: str) -> Indices:
    """Return a permutation (count,) of 0..count-1 that depends only on `key`: the order of `count` 64-bit draws with this key."""
    draws = np.frombuffer(hashlib.shake_256(key.encode()).digest(8 * count), dtype="<u8")
    return np.argsort(draws, kind="stable").astype(np.int64)


def split(samples: int, labels: Labels | None, *, seed: int, test_fraction: float) -> tuple[Indices, Indices]:
    """Return the training rows and the held-out rows, each in ascending order.

    With `labels` (samples,) every class has the same share of held-out rows, and a class with two samples is in both parts.
    With a `test_fraction` of 0 no row is held out: the test rows are then the training rows.
    """
    everything = np.arange(samples, dtype=np.int64)
    if test_fraction == 0.0:
        return everything, everything
    order = keyed_order(samples, f"exmachina/split/{seed}")
    groups = np.zeros(samples, dtype=np.int64) if labels is None else labels
    held_out = np.zeros(samples, dtype=bool)
    sizes = np.bincount(groups)
    for group, count in enumerate(_held_out_counts(sizes, test_fraction)):
        members = order[groups[order] == group]
        held_out[members[:count]] = True
    if not held_out.any():
        # Every class has one sample: learn from all, and measure on all.
        return everything, everything
    return everything[~held_out], everything[held_out]


def _held_out_counts(sizes: Indices, test_fraction: float) -> list[int]:
    """Return the number of held-out rows of each class: largest remainders, then at least one row in each part."""
    exact = sizes * test_fraction
    counts = np.floor(exact).astype(np.int64)
    missing = int(np.floor(sizes.sum() * test_fraction + 0.5)) - int(counts.sum())
    by_remainder = np.argsort(-(exact - counts), kind="stable")
    counts[by_remainder[: max(missing, 0)]] += 1
    most = np.maximum(sizes - 1, 0)
    counts = np.minimum(np.maximum(counts, 1), most)
    return [int(count) for count in counts]

"""The samples of each step: a pure function of seed and step, so that a repeated step has the same samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from coordinator.data.splitting import Indices, keyed_order


@dataclass(frozen=True)
class Schedule:
    """Epochs over the training samples, in batches. The last batch of an epoch may be smaller."""

    seed: int
    samples: int
    batch_size: int
    epochs: int
    steps_at_most: int | None = None

    @property
    def steps_per_epoch(self) -> int:
        """The number of steps of an epoch."""
        return -(-self.samples // self.batch_size)

    @property
    def steps(self) -> int:
        """The number of steps of all epochs."""
        steps = self.steps_per_epoch * self.epochs
        return steps if self.steps_at_most is None else min(steps, self.steps_at_most)

    def epoch_of(self, step: int) -> int:
        """Return the epoch (from 1) of a step (from 0)."""
        return step // self.steps_per_epoch + 1

    def samples_of(self, step: int) -> Indices:
        """Return the indices of the training samples of a step (from 0)."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order = epoch_order(self.seed, epoch + 1, self.samples)
        return order[within * self.batch_size : (within + 1) * self.batch_size]


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, samples: int) -> Indices:
    """Return the order of the training samples in an epoch (from 1)."""
    return keyed_order(samples, f"exmachina/shuffle/{seed}/{epoch}")

"""Which samples a step holds: a pure function of (seed, step), so that a replayed step sees exactly what the first one saw."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from coordinator.data.splitting import Indices, keyed_order


@dataclass(frozen=True)
class Schedule:
    """Epochs over so many training samples, in batches; a last, smaller batch of an epoch is used as it is."""

    seed: int
    samples: int
    batch_size: int
    epochs: int
    steps_at_most: int | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass over the training samples."""
        return -(-self.samples // self.batch_size)

    @property
    def steps(self) -> int:
        """Steps in all."""
        steps = self.steps_per_epoch * self.epochs
        return steps if self.steps_at_most is None else min(steps, self.steps_at_most)

    def epoch_of(self, step: int) -> int:
        """The epoch, from 1, that the step numbered from 0 belongs to."""
        return step // self.steps_per_epoch + 1

    def samples_of(self, step: int) -> Indices:
        """The indices of the training samples of the step numbered from 0."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order = epoch_order(self.seed, epoch + 1, self.samples)
        return order[within * self.batch_size : (within + 1) * self.batch_size]


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, samples: int) -> Indices:
    """The order in which an epoch, from 1, goes through the training samples."""
    return keyed_order(samples, f"exmachina/shuffle/{seed}/{epoch}")

"""How far the training has come, and what it measures on the way. Metrics roll back with the snapshot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from coordinator.data.encoding import Encoding
from coordinator.schedule import Schedule
from coordinator.scores import batch_correct
from neuron_node.activations import Array


class Epoch(NamedTuple):
    """What was measured in one epoch: loss and accuracy while learning, and on the held-out samples after it."""

    epoch: int
    loss: float
    accuracy: float | None
    test_loss: float
    test_accuracy: float | None


@dataclass(frozen=True)
class Progress:
    """Where the training stands after so many steps. Immutable: a snapshot keeps one, a rollback takes it back."""

    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    recent: tuple[bool, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    seconds: float = 0.0
    """What the steps took, of those that count."""


@dataclass
class Training:
    """The schedule's next batch, and the losses and accuracies of what came back."""

    schedule: Schedule
    inputs: Array
    targets: Array
    encoding: Encoding
    loss: Callable[[Array, Array], float]
    recent_window: int
    progress: Progress = field(default_factory=Progress)
    last_accuracy: float | None = None
    """Of the last step's samples."""

    @property
    def epoch_to_measure(self) -> bool:
        """Whether an epoch (or, cut short, the last one) has ended and its held-out samples are to be looked at."""
        step, length = self.progress.step, self.schedule.steps_per_epoch
        ended = step > 0 and (step % length == 0 or step == self.schedule.steps)
        return ended and len(self.progress.epochs) * length < step

    def batch(self, step: int) -> tuple[Array, Array]:
        """Inputs and targets of a step, counted from 1."""
        samples = self.schedule.samples_of(step - 1)
        return self.inputs[samples], self.targets[samples]

    def learned(self, activities: Array, targets: Array, seconds: float = 0.0) -> float:
        """One step is done: count it once, with its loss and accuracy before the update; the loss."""
        now = self.progress
        correct = batch_correct(self.encoding, activities, targets)
        hits = () if correct is None else tuple(bool(hit) for hit in correct)
        self.last_accuracy = sum(hits) / len(hits) if hits else None
        loss = self.loss(activities, targets)
        self.progress = replace(
            now,
            step=now.step + 1,
            loss_sum=now.loss_sum + loss * len(targets),
            correct=now.correct + sum(hits),
            seen=now.seen + len(targets),
            recent=(now.recent + hits)[-self.recent_window :] if self.recent_window else (),
            seconds=now.seconds + seconds,
        )
        return loss

    def measured(self, activities: Array, targets: Array) -> Epoch:
        """The epoch's held-out samples have been looked at: begin the next epoch's sums."""
        now = self.progress
        epoch = Epoch(
            len(now.epochs) + 1,
            now.loss_sum / now.seen,
            self.running_accuracy,
            self.loss(activities, targets),
            self.accuracy(activities, targets),
        )
        self.progress = replace(now, loss_sum=0.0, correct=0, seen=0, epochs=(*now.epochs, epoch))
        return epoch

    @property
    def running_loss(self) -> float | None:
        """The mean loss of this epoch's samples so far."""
        return self.progress.loss_sum / self.progress.seen if self.progress.seen else None

    @property
    def running_accuracy(self) -> float | None:
        """Of the last so many predictions where the preset says so, else of this epoch's samples so far; None for numbers."""
        now = self.progress
        if self.encoding.classes is None:
            return None
        if self.recent_window:
            return sum(now.recent) / len(now.recent) if now.recent else None
        return now.correct / now.seen if now.seen else None

    def accuracy(self, activities: Array, targets: Array) -> float | None:
        """The share of samples whose class was found; None where targets are numbers."""
        correct = batch_correct(self.encoding, activities, targets)
        return None if correct is None else float(correct.mean())


def mean_squared_error_loss(activities: Array, targets: Array) -> float:
    """½ Σ (target - activity)² over the outputs, mean over the samples."""
    return float(0.5 * np.square(targets - activities).sum() / len(targets))


def mean_cross_entropy(activities: Array, targets: Array) -> float:
    """-Σ (t ln a + (1 - t) ln (1 - a)) over the outputs, mean over the samples; an activity of exactly 0 or 1 counts as 1e-300 off."""
    safe = np.clip(activities, 1e-300, None)
    rest = np.clip(1.0 - activities, 1e-300, None)
    return float(-(targets * np.log(safe) + (1.0 - targets) * np.log(rest)).sum() / len(targets))


LOSSES: dict[str, Callable[[Array, Array], float]] = {
    "squared_error": mean_squared_error_loss,
    "cross_entropy": mean_cross_entropy,
}

"""The progress of the training and its metrics. Metrics are rolled back with the snapshot."""

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
    """The metrics of one epoch: loss and accuracy during it, and those of the held-out samples after it."""

    epoch: int
    loss: float
    accuracy: float | None
    test_loss: float
    test_accuracy: float | None


@dataclass(frozen=True)
class Progress:
    """The progress after `step` steps. It is immutable: a snapshot keeps it, and a rollback restores it."""

    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    recent: tuple[bool, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    seconds: float = 0.0
    """The duration of all steps. A step that was repeated after a rollback counts once."""


@dataclass
class Training:
    """The batches of the schedule, and the losses and accuracies of their results."""

    schedule: Schedule
    inputs: Array
    targets: Array
    encoding: Encoding
    loss: Callable[[Array, Array], float]
    recent_window: int
    progress: Progress = field(default_factory=Progress)
    last_accuracy: float | None = None
    """The accuracy on the samples of the last step."""

    @property
    def epoch_to_measure(self) -> bool:
        """Whether an epoch has ended (the last one may be cut short) and its held-out samples must be measured."""
        step, length = self.progress.step, self.schedule.steps_per_epoch
        ended = step > 0 and (step % length == 0 or step == self.schedule.steps)
        return ended and len(self.progress.epochs) * length < step

    def batch(self, step: int) -> tuple[Array, Array]:
        """Return inputs and targets of a step (from 1)."""
        samples = self.schedule.samples_of(step - 1)
        return self.inputs[samples], self.targets[samples]

    def learned(self, activities: Array, targets: Array, seconds: float = 0.0) -> float:
        """Count a finished step, with loss and accuracy before its update; return the loss."""
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
        """Note the results of the held-out samples, and begin the sums of the next epoch."""
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
        """The mean loss of the samples of this epoch so far."""
        return self.progress.loss_sum / self.progress.seen if self.progress.seen else None

    @property
    def running_accuracy(self) -> float | None:
        """The accuracy of this epoch so far, or of the last `recent_window` predictions; None if the targets are numbers."""
        now = self.progress
        if self.encoding.classes is None:
            return None
        if self.recent_window:
            return sum(now.recent) / len(now.recent) if now.recent else None
        return now.correct / now.seen if now.seen else None

    def accuracy(self, activities: Array, targets: Array) -> float | None:
        """Return the share of samples with the right class; None if the targets are numbers."""
        correct = batch_correct(self.encoding, activities, targets)
        return None if correct is None else float(correct.mean())


def mean_squared_error_loss(activities: Array, targets: Array) -> float:
    """Return ½ Σ (target - activity)² over the outputs, as the mean over the samples."""
    return float(0.5 * np.square(targets - activities).sum() / len(targets))


def mean_cross_entropy(activities: Array, targets: Array) -> float:
    """Return -Σ (t ln a + (1 - t) ln (1 - a)) over the outputs, as the mean over the samples.

    Logarithms are taken of at least 1e-300.
    """
    safe = np.clip(activities, 1e-300, None)
    rest = np.clip(1.0 - activities, 1e-300, None)
    return float(-(targets * np.log(safe) + (1.0 - targets) * np.log(rest)).sum() / len(targets))


LOSSES: dict[str, Callable[[Array, Array], float]] = {
    "squared_error": mean_squared_error_loss,
    "cross_entropy": mean_cross_entropy,
}

"""How good a network is, in words: accuracy for classes, R² for numbers, and "held out" only if samples are held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from coordinator.cli.output import shown
from coordinator.data.prepared import PreparedData
from coordinator.data.table import Floats
from coordinator.errors import UserError
from coordinator.storage.run_folder import RunFolder


def percent(value: float | None) -> str:
    """Format an accuracy."""
    return "-" if value is None else f"{100 * value:.1f} %"


def _variance(targets: Floats) -> float | None:
    """Return the variance of the targets if there is one output, because then R² follows from the loss."""
    return float(targets.var()) or None if targets.shape[1] == 1 else None


@dataclass(frozen=True)
class Figures:
    """What the figures of a run mean: whether its targets are classes, and whether samples are held out."""

    classes: bool = True
    held_out: bool = True
    train_variance: float | None = None
    test_variance: float | None = None

    @classmethod
    def of(cls, data: PreparedData) -> Figures:
        """Return the figures that fit the data."""
        same = data.train_inputs.shape == data.test_inputs.shape and np.array_equal(data.train_inputs, data.test_inputs)
        held_out = not (same and np.array_equal(data.train_targets, data.test_targets))
        if data.encoding.classes is not None:
            return cls(True, held_out)
        return cls(False, held_out, _variance(data.train_targets), _variance(data.test_targets))

    @classmethod
    def of_run(cls, directory: RunFolder) -> Figures:
        """Return the figures of a run, also of one whose data can no longer be read."""
        try:
            return cls.of(PreparedData.load(directory.data))
        except UserError:
            return cls()

    def running(self, facts: Mapping[str, Any]) -> str:
        """Return the figure of the epoch so far, or nothing if there is none yet."""
        return self._quality(facts["accuracy"], facts["loss"], self.train_variance)

    def epoch(self, facts: Mapping[str, Any]) -> str:
        """Return the line of an epoch."""
        parts = [f"epoch {facts['epoch']}: loss {shown(facts['loss'])}", self.running(facts)]
        line = ", ".join(part for part in parts if part)
        if not self.held_out:
            return line
        quality = self._quality(facts["test_accuracy"], facts["test_loss"], self.test_variance)
        return f"{line}; held out: " + ", ".join(
            part for part in (f"loss {shown(facts['test_loss'])}", quality) if part
        )

    def result(self, result: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the lines of a finished run."""
        loss = f"loss {shown(result['test_loss'])}"
        train, test, balanced = (result.get(f"{key}_accuracy") for key in ("train", "test", "test_balanced"))
        if test is None:
            figures = f"{shown(result['test_r2'])}, mean absolute error {shown(result['test_mean_absolute_error'])}"
            where = "held out" if self.held_out else "on the training samples"
            return [("R²", f"{where} {figures}, {loss}")]
        if not self.held_out:
            return [("accuracy", f"on the training samples {test:.4f} (none held out; {loss})")]
        lines = [("accuracy", f"held out {test:.4f}, training {train:.4f} (held-out {loss})")]
        if balanced is not None:
            lines.append(("balanced accuracy", f"held out {balanced:.4f}"))
        return lines

    def trained(self, result: Mapping[str, Any]) -> str:
        """Return the figure of a finished run in a few words."""
        accuracy, r2 = result["test_accuracy"], result["test_r2"]
        figure = f"accuracy {percent(accuracy)}" if accuracy is not None else f"R² {shown(r2)}"
        return f"{figure} {'held out' if self.held_out else 'on the training samples'}"

    def _quality(self, accuracy: float | None, loss: float | None, variance: float | None) -> str:
        if self.classes:
            return "" if accuracy is None else f"accuracy {percent(accuracy)}"
        # The loss is half the mean squared error of scaled targets, and scaling does not change R².
        return "" if loss is None or variance is None else f"R² {1 - 2 * loss / variance:.3f}"

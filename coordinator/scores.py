"""Measures of the quality of predictions.

The measures of each epoch need only NumPy. scikit-learn takes a second to import, so it is imported only for a report.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.data.encoding import Encoding
from coordinator.data.table import Floats


def batch_correct(encoding: Encoding, activities: Floats, targets: Floats) -> NDArray[np.bool_] | None:
    """Return for each row whether its class is right (rows,), or None if the targets are numbers.

    `activities` (rows, outputs) are those of the output neurons, and `targets` (rows, outputs) the right ones.
    """
    if encoding.classes is None:
        return None
    return np.asarray(encoding.decode_labels(activities) == encoding.decode_labels(targets), dtype=np.bool_)


def accuracy(encoding: Encoding, activities: Floats, targets: Floats) -> float | None:
    """Return the share of rows with the right class, or None if the targets are numbers."""
    correct = batch_correct(encoding, activities, targets)
    return None if correct is None else float(np.mean(correct))


def balanced_accuracy(encoding: Encoding, activities: Floats, targets: Floats) -> float | None:
    """Return the mean recall of the classes that occur, or None if the targets are numbers."""
    correct = batch_correct(encoding, activities, targets)
    if correct is None:
        return None
    labels = encoding.decode_labels(targets)
    rows = np.bincount(labels)
    right = np.bincount(labels, weights=correct)
    return float(np.mean(right[rows > 0] / rows[rows > 0]))


def score(encoding: Encoding, activities: Floats, targets: Floats) -> dict[str, Any]:
    """Return the report of an evaluation as plain data.

    For classes, it has `accuracy`, `balanced_accuracy` (the mean recall of the classes that occur) and `classes` (name,
    precision, recall, f1 and support of each). For numbers, it has `r2` and `mean_absolute_error` in the units of the
    targets, as means over the outputs. The other keys are None, and so is R² with fewer than two rows.
    """
    report: dict[str, Any] = {
        "accuracy": accuracy(encoding, activities, targets),
        "balanced_accuracy": None,
        "classes": None,
        "r2": None,
        "mean_absolute_error": None,
    }
    if encoding.classes is not None:
        report["balanced_accuracy"] = balanced_accuracy(encoding, activities, targets)
        report["classes"] = _class_report(encoding, activities, targets)
    else:
        report |= _number_report(encoding, activities, targets)
    return report


def _class_report(encoding: Encoding, activities: Floats, targets: Floats) -> list[dict[str, Any]]:
    from sklearn.metrics import precision_recall_fscore_support  # noqa: PLC0415

    assert encoding.classes is not None
    columns = precision_recall_fscore_support(
        encoding.decode_labels(targets),
        encoding.decode_labels(activities),
        labels=range(len(encoding.classes)),
        zero_division=0.0,
    )
    return [
        {"name": name, "precision": float(precision), "recall": float(recall), "f1": float(f1), "support": int(support)}
        for name, precision, recall, f1, support in zip(encoding.classes, *columns, strict=True)
    ]


def _number_report(encoding: Encoding, activities: Floats, targets: Floats) -> dict[str, float | None]:
    from sklearn.metrics import mean_absolute_error, r2_score  # noqa: PLC0415

    right, given = encoding.decode_numbers(targets), encoding.decode_numbers(activities)
    return {
        "r2": float(r2_score(right, given)) if len(right) > 1 else None,
        "mean_absolute_error": float(mean_absolute_error(right, given)),
    }

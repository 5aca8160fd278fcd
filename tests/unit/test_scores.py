"""Metrics: what is reported of an evaluation."""

from __future__ import annotations

import json

import numpy as np
import pytest

from coordinator.data import Encoding
from coordinator.scores import accuracy, batch_correct, score

CLASSES = Encoding("d", ("a",), "t", "none", (0.0,), (1.0,), ("x", "y", "z"), 3)
NUMBERS = Encoding("d", ("a",), "t", "none", (0.0,), (1.0,), None, 1, (100.0,), (10.0,))
TARGETS = np.eye(3)[[0, 0, 1, 1]]
ACTIVITIES = np.array([[0.9, 0.1, 0.0], [0.2, 0.3, 0.1], [0.1, 0.8, 0.3], [0.0, 0.1, 0.05]])


def test_right_and_wrong_are_told_apart_row_by_row() -> None:
    """A row is right where its largest activity is the class's own; the accuracy is the share of right rows."""
    correct = batch_correct(CLASSES, ACTIVITIES, TARGETS)
    assert correct is not None
    assert correct.tolist() == [True, False, True, True]
    assert accuracy(CLASSES, ACTIVITIES, TARGETS) == 0.75


def test_the_report_of_classes_is_right() -> None:
    """Precision, recall and f1 by hand; a class that never occurs has zeros and not a warning."""
    report = score(CLASSES, ACTIVITIES, TARGETS)
    assert report["accuracy"] == report["balanced_accuracy"] == 0.75
    uneven = score(CLASSES, ACTIVITIES[:3], TARGETS[:3])
    assert uneven["accuracy"] == pytest.approx(2 / 3) and uneven["balanced_accuracy"] == 0.75
    assert report["r2"] is None and report["mean_absolute_error"] is None
    x, y, z = report["classes"]
    assert x == {"name": "x", "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}
    assert y == {"name": "y", "precision": pytest.approx(2 / 3), "recall": 1.0, "f1": pytest.approx(0.8), "support": 2}
    assert z == {"name": "z", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert json.loads(json.dumps(report)) == report


def test_the_report_of_numbers_is_in_their_own_units() -> None:
    """An error of 0.5 in the network's units is 5 in the target's; accuracy is null."""
    targets = np.array([[0.0], [1.0], [2.0]])
    report = score(NUMBERS, targets + 0.5, targets)
    assert report == {
        "accuracy": None,
        "balanced_accuracy": None,
        "classes": None,
        "r2": pytest.approx(1.0 - 3 * 0.25 / 2.0),
        "mean_absolute_error": pytest.approx(5.0),
    }
    assert batch_correct(NUMBERS, targets, targets) is None
    assert accuracy(NUMBERS, targets, targets) is None


def test_r2_of_one_row_is_not_defined() -> None:
    """With one row there is no variance to explain: null, and no warning."""
    assert score(NUMBERS, np.zeros((1, 1)), np.zeros((1, 1)))["r2"] is None

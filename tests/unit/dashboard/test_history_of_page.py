"""What the page remembers: curves and predictions of bounded length, evenly thinned, and without steps that were undone."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from coordinator.dashboard.history import LATEST, Curve, Prediction, Predictions


@given(st.integers(1, 3_000), st.integers(4, 50))
def test_a_curve_is_bounded_and_evenly_spread(steps: int, most: int) -> None:
    """It keeps the first and the last point, and the points between them at nearly equal distances."""
    curve = Curve(most)
    for step in range(steps):
        curve.add(step, step / 2, None)
    kept = [int(point[0] or 0) for point in curve.points]
    assert len(kept) <= most + 1
    assert kept[0] == 0 and kept[-1] == steps - 1
    gaps = {after - before for before, after in itertools.pairwise(kept[:-1])}
    assert len(gaps) <= 1
    assert curve.points == [[step, step / 2, None] for step in kept]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=80))
def test_a_curve_forgets_the_steps_that_a_rewind_undoes(steps: list[int]) -> None:
    """Its steps always grow, and its last point is the newest one."""
    curve = Curve(16)
    for step in steps:
        curve.add(step, float(step))
    kept = [int(point[0] or 0) for point in curve.points]
    assert kept == sorted(set(kept)) and kept[-1] == steps[-1]


def test_accuracy_is_that_of_the_latest_predictions() -> None:
    """Older ones do not count."""
    assert Predictions().accuracy is None
    predictions = Predictions()
    for step in range(LATEST):
        predictions.add(Prediction(step, (), 0, 1))
    assert predictions.accuracy == 0.0
    for step in range(LATEST // 2):
        predictions.add(Prediction(step, (), 1, 1))
    assert predictions.accuracy == 0.5 and predictions.count == LATEST
    assert [each.right for each in predictions.newest(3)] == [1, 1, 1]


def test_predicted_numbers_have_no_accuracy() -> None:
    """A value is seldom equal to the target."""
    predictions = Predictions()
    predictions.add(Prediction(1, (), 2.5, 2.5))
    assert predictions.accuracy is None

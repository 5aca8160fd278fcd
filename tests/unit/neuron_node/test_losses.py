"""Activations and losses against finite differences of what they say they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.training import LOSSES as MEASURED_LOSSES
from neuron_node.activations import ACTIVATIONS, Array, quiet
from neuron_node.losses import LOSSES, OutputError
from tests.networks import numbers

STEP = 1e-6


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@given(total=st.floats(-8.0, 8.0))
def test_a_derivative_is_the_slope_of_its_activation(name: str, total: float) -> None:
    """(f(x + h) - f(x - h)) / 2h for each activation; relu has a corner at 0, where it has no slope."""
    if name == "relu" and abs(total) <= STEP:
        return
    activation = ACTIVATIONS[name]
    at = np.array([[total]])
    slope = (activation.activity(at + STEP) - activation.activity(at - STEP)) / (2.0 * STEP)
    assert activation.derivative(activation.activity(at))[0, 0] == pytest.approx(slope[0, 0], abs=1e-8)


@pytest.mark.parametrize(
    ("name", "totals", "activities"),
    [
        ("logistic", [0.0, 1e4, -1e4], [0.5, 1.0, 0.0]),
        ("tanh", [0.0, 1e4, -1e4], [0.0, 1.0, -1.0]),
        ("relu", [0.0, 1e4, -1e4], [0.0, 1e4, 0.0]),
        ("identity", [0.0, 1e4, -1e4], [0.0, 1e4, -1e4]),
    ],
)
def test_activities_at_the_edges(name: str, totals: list[float], activities: list[float]) -> None:
    """Far out an activation reaches its bound, without a warning where whoever computes wants none."""
    with quiet():
        assert ACTIVATIONS[name].activity(np.array([totals])).tolist() == [activities]


def test_a_silent_relu_passes_no_error_back() -> None:
    """By convention its derivative at 0 is 0."""
    assert ACTIVATIONS["relu"].derivative(np.array([[0.0, 3.0]])).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_the_squared_error_of_an_output_is_the_gradient_of_the_measured_loss(activation: str) -> None:
    """d loss / d sum by central differences of the loss that the coordinator measures."""
    check_gradient(LOSSES["squared_error"], MEASURED_LOSSES["squared_error"], activation)


def test_the_cross_entropy_error_of_an_output_is_the_gradient_of_the_measured_loss() -> None:
    """The same for cross-entropy, which logistic outputs alone can have."""
    check_gradient(LOSSES["cross_entropy"], MEASURED_LOSSES["cross_entropy"], "logistic")


def check_gradient(error: OutputError, loss: Callable[[Array, Array], float], activation: str) -> None:
    activity = ACTIVATIONS[activation].activity
    totals, targets = numbers("totals", 5, 3, -2.0, 2.0), numbers("targets", 5, 3, 0.0, 1.0)
    found = error(activity(totals), targets, ACTIVATIONS[activation].derivative)
    for index in np.ndindex(totals.shape):
        moved = np.zeros_like(totals)
        moved[index] = STEP
        slope = (loss(activity(totals + moved), targets) - loss(activity(totals - moved), targets)) / (2.0 * STEP)
        # The measured loss is the mean over five samples, an error is one sample's own.
        assert found[index] == pytest.approx(5.0 * slope, rel=1e-5, abs=1e-8)


def test_the_measured_losses_by_hand() -> None:
    """½ Σ (t - a)² and -Σ (t ln a + (1 - t) ln (1 - a)), mean over the samples; certainty that is wrong stays finite."""
    activities, targets = np.array([[0.5, 0.25], [1.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert MEASURED_LOSSES["squared_error"](activities, targets) == 0.5 * (0.25 + 0.0625) / 2
    assert MEASURED_LOSSES["cross_entropy"](activities, targets) == pytest.approx(-(np.log(0.5) + np.log(0.75)) / 2)
    assert np.isfinite(MEASURED_LOSSES["cross_entropy"](np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])))

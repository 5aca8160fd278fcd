"""Losses: what an output neuron's own error is, given its activity and its target.

The own error is d loss / d (sum of signals + bias) for one sample; the mean over the batch is taken where the gradient is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OutputError = Callable[[Any, Any, Callable[[Any], Any]], Any]
"""Of activity and target, numbers or arrays of one shape, and the derivative of the activation."""


def squared_error(activity: Any, target: Any, derivative: Callable[[Any], Any]) -> Any:
    """Of ½ Σ (target - activity)²: (activity - target) × activation'(activity)."""
    return (activity - target) * derivative(activity)


def cross_entropy(activity: Any, target: Any, derivative: Callable[[Any], Any]) -> Any:  # noqa: ARG001 - one signature for all losses
    """Of -Σ (t ln a + (1 - t) ln (1 - a)) with logistic outputs: the derivative cancels, activity - target remains."""
    return activity - target


LOSSES: dict[str, OutputError] = {"squared_error": squared_error, "cross_entropy": cross_entropy}

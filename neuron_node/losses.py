"""The losses: each gives the own error of an output neuron from its activity and its target.

The own error is d loss / d (sum of signals + bias) for one sample. `learn` divides the gradient by the number of samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OutputError = Callable[[Any, Any, Callable[[Any], Any]], Any]
"""A function of activity and target (two numbers, or two arrays of one shape) and of the derivative of the activation."""


def squared_error(activity: Any, target: Any, derivative: Callable[[Any], Any]) -> Any:
    """Return (activity - target) × activation'(activity), the own error for the loss ½ Σ (target - activity)²."""
    return (activity - target) * derivative(activity)


def cross_entropy(activity: Any, target: Any, derivative: Callable[[Any], Any]) -> Any:  # noqa: ARG001 - one signature for all losses
    """Return activity - target, the own error for the loss -Σ (t ln a + (1 - t) ln (1 - a)) of logistic outputs.

    The derivative of the loss is (a - t) / (a (1 - a)); its denominator is the derivative of the logistic activation.
    """
    return activity - target


LOSSES: dict[str, OutputError] = {"squared_error": squared_error, "cross_entropy": cross_entropy}

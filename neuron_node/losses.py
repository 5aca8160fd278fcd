"""Losses: what an output neuron's own error is, given its activity and its target.

The own error is d loss / d (sum of signals + bias) for one sample; the mean over the batch is taken where the gradient is.
"""

from __future__ import annotations

from collections.abc import Callable

from neuron_node.activations import ACTIVATIONS, Array

OutputError = Callable[[Array, Array, str], Array]


def squared_error(activity: Array, target: Array, activation: str) -> Array:
    """Of ½ Σ (target - activity)²: (activity - target) × activation'(activity)."""
    return (activity - target) * ACTIVATIONS[activation].derivative(activity)


def cross_entropy(activity: Array, target: Array, activation: str) -> Array:  # noqa: ARG001 - one signature for all losses
    """Of -Σ (t ln a + (1 - t) ln (1 - a)) with logistic outputs: the derivative cancels, activity - target remains."""
    return activity - target


LOSSES: dict[str, OutputError] = {"squared_error": squared_error, "cross_entropy": cross_entropy}

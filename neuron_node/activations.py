"""Activations, each beside its derivative. The derivative is written in terms of the activity, not of the sum.

Arrays are float64 of shape (batch, neurons).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Activation(NamedTuple):
    """An activation and its derivative d activity / d sum, computed from the activity."""

    activity: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


def logistic(total: Array) -> Array:
    """1 / (1 + e^-sum); a sum so negative that e^-sum overflows gives 0, which is right."""
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-total))


def logistic_derivative(activity: Array) -> Array:
    """a (1 - a)."""
    return activity * (1.0 - activity)


def tanh(total: Array) -> Array:
    """The hyperbolic tangent."""
    return np.tanh(total)


def tanh_derivative(activity: Array) -> Array:
    """1 - a²."""
    return 1.0 - activity * activity


def relu(total: Array) -> Array:
    """max(0, sum)."""
    return np.maximum(total, 0.0)


def relu_derivative(activity: Array) -> Array:
    """1 where the neuron is active, 0 where it is silent (and, by convention, at 0)."""
    return (activity > 0.0).astype(np.float64)


def identity(total: Array) -> Array:
    """The sum itself."""
    return total


def identity_derivative(activity: Array) -> Array:
    """1 everywhere."""
    return np.ones_like(activity)


ACTIVATIONS: dict[str, Activation] = {
    "logistic": Activation(logistic, logistic_derivative),
    "tanh": Activation(tanh, tanh_derivative),
    "relu": Activation(relu, relu_derivative),
    "identity": Activation(identity, identity_derivative),
}


_every = np.logical_and.reduce


def all_finite(numbers: Array) -> bool:
    """Whether no number is a NaN or an infinity. The same as `np.isfinite(numbers).all()`, with less ado."""
    return bool(_every(np.isfinite(numbers), axis=None))

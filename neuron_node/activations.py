"""Activations, each beside its derivative. The derivative is written in terms of the activity, not of the sum.

Arrays are float64 of shape (batch, neurons).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from math import exp
from math import tanh as math_tanh
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def quiet() -> AbstractContextManager[Any]:
    """Suppress warnings of NumPy: the caller checks for numbers that are not finite.

    Enter it once around many steps: it costs as much as the arithmetic of a neuron.
    """
    return np.errstate(over="ignore", invalid="ignore")


class OfNumber(NamedTuple):
    """An activation of one number, and its derivative, computed from the activity."""

    activity: Callable[[float], float]
    derivative: Callable[[float], float]


class Activation(NamedTuple):
    """An activation of arrays, its derivative d activity / d sum, computed from the activity, and both for one number."""

    activity: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    of_number: OfNumber


def logistic_of_number(total: float) -> float:
    """1 / (1 + e^-sum), written so that nothing overflows: of -800 it is 0."""
    if total >= 0.0:
        return 1.0 / (1.0 + exp(-total))
    grown = exp(total)
    return grown / (1.0 + grown)


def logistic(total: Array) -> Array:
    """1 / (1 + e^-sum); a sum so negative that e^-sum overflows gives 0, which is right.

    The caller switches NumPy's warning about that off: see `quiet`.
    """
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
    "logistic": Activation(
        logistic, logistic_derivative, OfNumber(logistic_of_number, lambda activity: activity * (1.0 - activity))
    ),
    "tanh": Activation(tanh, tanh_derivative, OfNumber(math_tanh, lambda activity: 1.0 - activity * activity)),
    "relu": Activation(
        relu,
        relu_derivative,
        OfNumber(lambda total: max(total, 0.0), lambda activity: 1.0 if activity > 0.0 else 0.0),
    ),
    "identity": Activation(identity, identity_derivative, OfNumber(lambda total: total, lambda _activity: 1.0)),
}


def all_finite(numbers: Array) -> bool:
    """Whether no number is a NaN or an infinity."""
    return bool(np.isfinite(numbers).all())

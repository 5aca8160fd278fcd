"""The activations, each next to its derivative. A derivative is a function of the activity, not of the sum.

Arrays are float64 of shape (rows, neurons). To add an activation, write it with its derivative, for arrays and for plain
numbers, and add an entry to `ACTIVATIONS` below. The programs, the settings and the checks of messages read that table.
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
    """Suppress NumPy's warnings about overflow: the caller checks for numbers that are not finite.

    Enter the context once for many steps: entering it takes as long as the arithmetic of a neuron.
    """
    return np.errstate(over="ignore", invalid="ignore")


class OfNumber(NamedTuple):
    """An activation for one number: activity(sum), and derivative(activity)."""

    activity: Callable[[float], float]
    derivative: Callable[[float], float]


class Activation(NamedTuple):
    """An activation for arrays: activity(sums), and derivative(activities), which is d activity / d sum; both keep the shape.

    `of_number` holds the same two functions for one number.
    """

    activity: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    of_number: OfNumber


def logistic_of_number(total: float) -> float:
    """Return 1 / (1 + e^-sum) for one number. No intermediate result overflows: the result for -800 is 0."""
    if total >= 0.0:
        return 1.0 / (1.0 + exp(-total))
    grown = exp(total)
    return grown / (1.0 + grown)


def logistic(total: Array) -> Array:
    """Return 1 / (1 + e^-sum). If e^-sum overflows, the result is 0, which is correct.

    The caller suppresses NumPy's warning about the overflow: see `quiet`.
    """
    return 1.0 / (1.0 + np.exp(-total))


def logistic_derivative(activity: Array) -> Array:
    """Return a (1 - a) for activities a."""
    return activity * (1.0 - activity)


def tanh(total: Array) -> Array:
    """Return the hyperbolic tangent of the sum."""
    return np.tanh(total)


def tanh_derivative(activity: Array) -> Array:
    """Return 1 - a² for activities a."""
    return 1.0 - activity * activity


def relu(total: Array) -> Array:
    """Return max(0, sum)."""
    return np.maximum(total, 0.0)


def relu_derivative(activity: Array) -> Array:
    """Return 1 where the activity is positive, else 0. At 0 the derivative does not exist; 0 is the usual choice."""
    return (activity > 0.0).astype(np.float64)


def identity(total: Array) -> Array:
    """Return the sum itself."""
    return total


def identity_derivative(activity: Array) -> Array:
    """Return 1 for every activity."""
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
    """Return whether no number is a NaN or an infinity."""
    return bool(np.isfinite(numbers).all())

"""Activations, each beside its derivative. The derivative is written in terms of the activity, not of the sum.

Arrays are float64 of shape (batch, neurons).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_sum = np.add.reduce


def quiet() -> AbstractContextManager[Any]:
    """Numbers that overflow are looked for, and reported; NumPy's own warnings about them would only fill the log.

    To be entered once around much, for it costs as much as a neuron's arithmetic.
    """
    return np.errstate(over="ignore", invalid="ignore")


class Activation(NamedTuple):
    """An activation and its derivative d activity / d sum, computed from the activity."""

    activity: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


def logistic(total: Array) -> Array:
    """1 / (1 + e^-sum); a sum so negative that e^-sum overflows gives 0, which is right.

    Whoever computes has NumPy's warning about that switched off: see `quiet`.
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
    "logistic": Activation(logistic, logistic_derivative),
    "tanh": Activation(tanh, tanh_derivative),
    "relu": Activation(relu, relu_derivative),
    "identity": Activation(identity, identity_derivative),
}


def all_finite(numbers: Array) -> bool:
    """Whether no number is a NaN or an infinity.

    The same as `np.isfinite(numbers).all()`, mostly with one pass over the numbers: no sum with such a one in it is
    finite. Where the sum of finite numbers overflows, they are looked at one by one.
    """
    return isfinite(_sum(numbers, None)) or bool(np.isfinite(numbers).all())

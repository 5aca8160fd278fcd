"""The network as a textbook writes it: matrices, one formula per line.

Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986), with one sample per row.

`coordinator verify` compares this module with the neuron programs, so it shares no code with them: names, random numbers,
activations, losses and the update are written out here a second time. It shares only the description of a network
(`NetworkSettings`), which is plain data.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coordinator.defaults import NetworkSettings
from coordinator.errors import InternalError

Matrix = NDArray[np.float64]
Function = Callable[[Matrix], Matrix]


@dataclass(frozen=True)
class Trace:
    """One step: activities and errors of every layer (batch, neurons), and biases and weights after the update."""

    activities: tuple[Matrix, ...]
    errors: tuple[Matrix, ...]
    biases: tuple[Matrix, ...]
    weights: tuple[Matrix, ...]


class Textbook:
    """A whole network in one place."""

    def __init__(self, network: NetworkSettings, seed: int) -> None:
        """Draw the initial biases and weights. Raises `InternalError` for an activation or a loss that is not in this module."""
        self.network = network
        self.learning_rate = network.learning_rate
        self.silent: dict[int, list[int]] = {}
        """The silenced neurons of each layer. Their activities and errors are 0."""
        try:
            self._functions = [ACTIVATIONS[name] for name in network.activations]
            self._output_error = OUTPUT_ERRORS[network.loss]
        except KeyError as unknown:
            raise InternalError(f"the textbook has no formula for {unknown}; add it to verify/textbook.py") from None
        layers, last = network.layers, len(network.layers) - 1
        draws = [
            np.stack(
                [
                    uniform(seed, f"{word}.{index}", 1 + (0 if layer == last else layers[layer + 1]))
                    for index in range(size)
                ]
            )
            for layer, (word, size) in enumerate(zip(layer_words(len(layers)), layers, strict=True))
        ]
        low, high = network.biases
        self.biases = [low + (high - low) * numbers[:, 0] for numbers in draws]
        if not network.input_bias:
            self.biases[0] = np.zeros(layers[0])
        self.weights = []
        for layer, numbers in enumerate(draws[:-1]):
            if network.weights == "glorot":
                # Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).
                high = math.sqrt(6.0 / (layers[layer] + layers[layer + 1]))
                low = -high
            else:
                low, high = network.weights
            self.weights.append(low + (high - low) * numbers[:, 1:])

    def forward(self, inputs: Matrix) -> list[Matrix]:
        """Return the activities of every layer, (batch, neurons)."""
        activities = [self._quieted(0, self._functions[0][0](inputs + self.biases[0]))]
        for layer, weights in enumerate(self.weights, start=1):
            total = activities[-1] @ weights + self.biases[layer]
            activities.append(self._quieted(layer, self._functions[layer][0](total)))
        return activities

    def _quieted(self, layer: int, numbers: Matrix) -> Matrix:
        if self.silent.get(layer):
            mask = np.ones(numbers.shape[1])
            mask[self.silent[layer]] = 0.0
            return np.where(mask == 0.0, 0.0, numbers)
        return numbers

    def step(self, inputs: Matrix, targets: Matrix, *, input_errors: bool = True) -> Trace:
        """Run forward and back, and take one step down the gradient of the mean loss.

        Without `input_errors`, the own errors of the inputs are left out: no weight depends on them unless input biases
        are learned.
        """
        activities = self.forward(inputs)
        last = len(activities) - 1
        errors = [self._quieted(last, self._output_error(activities[-1], targets, self._functions[-1][1]))]
        for layer in range(len(self.weights) - 1, 0, -1):
            errors.insert(0, self._error(layer, activities[layer], errors[0]))
        errors.insert(0, self._error(0, activities[0], errors[0]) if input_errors else np.empty((len(inputs), 0)))
        rate, batch = self.learning_rate, len(inputs)
        self.weights = [
            weights - rate * activities[layer].T @ errors[layer + 1] / batch
            for layer, weights in enumerate(self.weights)
        ]
        if self.network.bias_learned:
            first = 0 if self.network.input_bias else 1
            for layer in range(first, len(self.biases)):
                self.biases[layer] = self.biases[layer] - rate * errors[layer].mean(axis=0)
        return Trace(tuple(activities), tuple(errors), tuple(self.biases), tuple(self.weights))

    def _error(self, layer: int, activity: Matrix, errors_below: Matrix) -> Matrix:
        own = errors_below @ self.weights[layer].T * self._functions[layer][1](activity)
        return self._quieted(layer, np.asarray(own))


def layer_words(count: int) -> list[str]:
    """Return the first word of the names of each layer's neurons."""
    hidden = ["hidden"] if count == 3 else [f"hidden{layer}" for layer in range(1, count - 1)]
    return ["input", *hidden, "output"]


def uniform(seed: int, name: str, count: int) -> Matrix:
    """Draw numbers in [0, 1): the upper 53 bits of each little-endian 64-bit word of SHAKE-256 over seed and name."""
    digest = hashlib.shake_256(f"exmachina {seed} {name}".encode()).digest(8 * count)
    return np.array([(word >> 11) / 2**53 for word in np.frombuffer(digest, dtype="<u8").tolist()])


def _squared_error(activity: Matrix, targets: Matrix, slope: Function) -> Matrix:
    return (activity - targets) * slope(activity)


def _cross_entropy(activity: Matrix, targets: Matrix, _slope: Function) -> Matrix:
    # The slope of the logistic function cancels.
    return activity - targets


ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "logistic": (lambda total: 0.5 * (1.0 + np.tanh(0.5 * total)), lambda activity: activity - activity**2),
    "tanh": (lambda total: np.sinh(total) / np.cosh(total), lambda activity: (1.0 - activity) * (1.0 + activity)),
    "relu": (
        lambda total: np.where(total > 0.0, total, 0.0),
        lambda activity: np.where(activity > 0.0, 1.0, 0.0),
    ),
    "identity": (lambda total: total, lambda activity: np.ones(activity.shape)),
}
"""Each activation, and its slope as a function of the activity."""

OUTPUT_ERRORS: dict[str, Callable[[Matrix, Matrix, Function], Matrix]] = {
    "squared_error": _squared_error,
    "cross_entropy": _cross_entropy,
}
"""The own error of the output neurons for each loss."""

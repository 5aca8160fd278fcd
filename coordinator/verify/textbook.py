"""The same network as any textbook writes it: matrices, one formula a line. It shares no arithmetic with `neuron_node.neuron`.

Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986), with a batch in the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coordinator.presets import NetworkSettings
from coordinator.topology import Parameters, layer_names, weight_range
from neuron_node.initial import uniform

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """One step: every layer's activities and errors (batch, neurons), and the numbers after the update."""

    activities: tuple[Matrix, ...]
    errors: tuple[Matrix, ...]
    parameters: Parameters


class Textbook:
    """A whole network in one place."""

    def __init__(self, network: NetworkSettings, seed: int) -> None:
        self.network = network
        layers = network.layers
        draws = [
            np.stack(
                [
                    uniform(seed, name, 1 + (layers[layer + 1] if layer + 1 < len(layers) else 0))
                    for name in layer_names(layers, layer)
                ]
            )
            for layer in range(len(layers))
        ]
        low, high = network.biases
        self.biases = [low + (high - low) * numbers[:, 0] for numbers in draws]
        if not network.input_bias:
            self.biases[0] = np.zeros(layers[0])
        self.weights = []
        for layer, numbers in enumerate(draws[:-1]):
            weight_low, weight_high = weight_range(network, layers[layer], layers[layer + 1])
            self.weights.append(weight_low + (weight_high - weight_low) * numbers[:, 1:])

    def forward(self, inputs: Matrix) -> list[Matrix]:
        """Every layer's activities, (batch, neurons)."""
        activities = [self._activation(0, inputs + self.biases[0])]
        for layer, weights in enumerate(self.weights, start=1):
            activities.append(self._activation(layer, activities[-1] @ weights + self.biases[layer]))
        return activities

    def step(self, inputs: Matrix, targets: Matrix, *, input_errors: bool = True) -> Trace:
        """Forward, back, and one step down the gradient of the mean loss.

        The inputs' own errors can be left out where no input bias is learned: no weight depends on them.
        """
        activities = self.forward(inputs)
        errors = [self._output_error(activities[-1], targets)]
        for layer in range(len(self.weights) - 1, 0, -1):
            errors.insert(0, self._error(layer, activities[layer], errors[0]))
        errors.insert(0, self._error(0, activities[0], errors[0]) if input_errors else np.empty((len(inputs), 0)))
        rate, batch = self.network.learning_rate, len(inputs)
        self.weights = [
            weights - rate * activities[layer].T @ errors[layer + 1] / batch
            for layer, weights in enumerate(self.weights)
        ]
        if self.network.bias_learned:
            first = 0 if self.network.input_bias else 1
            for layer in range(first, len(self.biases)):
                self.biases[layer] = self.biases[layer] - rate * errors[layer].mean(axis=0)
        return Trace(tuple(activities), tuple(errors), Parameters(tuple(self.biases), tuple(self.weights)))

    def _activation(self, layer: int, total: Matrix) -> Matrix:
        match self.network.activations[layer]:
            case "logistic":
                return np.asarray(0.5 * (1.0 + np.tanh(0.5 * total)))
            case "tanh":
                return np.asarray(np.sinh(total) / np.cosh(total))
            case "relu":
                return np.where(total > 0.0, total, 0.0)
            case _:
                return total

    def _slope(self, layer: int, activity: Matrix) -> Matrix:
        match self.network.activations[layer]:
            case "logistic":
                return activity - activity**2
            case "tanh":
                return (1.0 - activity) * (1.0 + activity)
            case "relu":
                return np.where(activity > 0.0, 1.0, 0.0)
            case _:
                return np.ones(activity.shape)

    def _error(self, layer: int, activity: Matrix, errors_below: Matrix) -> Matrix:
        return np.asarray(errors_below @ self.weights[layer].T * self._slope(layer, activity))

    def _output_error(self, activity: Matrix, targets: Matrix) -> Matrix:
        difference = activity - targets
        if self.network.loss == "cross_entropy":
            return difference
        return difference * self._slope(len(self.weights), activity)

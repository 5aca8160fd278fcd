"""The numbers of one pass through the network, layer by layer, from telemetry or from a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from coordinator.data.table import Floats
from coordinator.defaults import NetworkSettings
from coordinator.topology import Parameters
from coordinator.watching import Update

SLOPES: dict[str, Callable[[Floats], Floats]] = {
    "logistic": lambda activity: activity * (1.0 - activity),
    "tanh": lambda activity: 1.0 - activity * activity,
    "relu": lambda activity: (activity > 0.0).astype(float),
    "identity": np.ones_like,
}
"""The slope of each activation, as a function of the activity."""


class PassNumbers(NamedTuple):
    """What all neurons computed in one pass. Lists have one array for each layer."""

    parameters: Parameters
    """Biases and weights before the update."""
    gradients: Parameters
    sums: list[Floats]
    """(neurons,), of the first row; NaN where a sum is not known."""
    activities: list[Floats]
    """(rows, neurons)"""
    errors: list[Floats]
    """(rows, neurons)"""
    inputs: Floats
    """(rows, inputs)"""
    targets: Floats
    """(rows, outputs)"""


def numbers_of_update(update: Update, groups: Mapping[str, Any], network: NetworkSettings) -> PassNumbers:
    """Return the numbers of a marked step. `groups` is the description of the groups in the lease."""
    layers: list[list[int]] = [[] for _ in network.layers]
    for number in sorted(update.groups):
        layers[groups[str(number)]["layer"]].append(number)

    def joined(name: str, axis: int) -> list[Floats]:
        return [np.concatenate([getattr(update.groups[each], name) for each in layer], axis=axis) for layer in layers]

    activities, errors = joined("activity", 1), joined("own_error", 1)
    biases, weights = joined("bias", 0), joined("weights", 0)
    inputs, known = _inputs(activities[0], biases[0], network.input_activation)
    # Neurons report no sums: a sum is that of weight × activity, with the numbers that the neurons did report.
    sums = [known, *(before[0] @ axon for before, axon in zip(activities, weights, strict=False))][: len(layers)]
    return PassNumbers(
        Parameters(tuple(biases), tuple(weights[:-1])),
        Parameters(tuple(joined("bias_gradient", 0)), tuple(joined("gradients", 0)[:-1])),
        sums,
        activities,
        errors,
        inputs,
        _targets(activities[-1], errors[-1], network),
    )


def numbers_of_trace(facts: Mapping[str, Any], network: NetworkSettings) -> PassNumbers:
    """Return the numbers of a traced pass with one row."""
    layers: list[list[Mapping[str, Any]]] = [[] for _ in network.layers]
    for neuron in facts["neurons"]:
        layers[neuron["layer"]].append(neuron)

    def column(name: str) -> list[Floats]:
        return [np.array([neuron[name][0] for neuron in layer], dtype=float)[None, :] for layer in layers]

    def number(name: str) -> tuple[Floats, ...]:
        return tuple(np.array([neuron[name] for neuron in layer], dtype=float) for layer in layers)

    def synapses(name: str) -> tuple[Floats, ...]:
        return tuple(
            np.array([[synapse[name] for synapse in neuron["axon"]] for neuron in layer], dtype=float)
            for layer in layers[:-1]
        )

    return PassNumbers(
        Parameters(number("bias"), synapses("weight")),
        Parameters(number("bias_gradient"), synapses("gradient")),
        [row[0] for row in column("sum")],
        column("activity"),
        column("error"),
        np.array(facts["inputs"], dtype=float),
        np.array(facts["targets"], dtype=float),
    )


def _inputs(activity: Floats, bias: Floats, activation: str) -> tuple[Floats, Floats]:
    """Return the inputs that gave the activities of the input neurons, and those of the first row. Telemetry has no inputs."""
    if activation == "identity":
        inputs = activity - bias
    elif activation == "logistic":
        with np.errstate(divide="ignore"):
            inputs = np.log(activity / (1.0 - activity)) - bias
    else:
        inputs = np.full_like(activity, np.nan)
    return inputs, inputs[0]


def _targets(activity: Floats, error: Floats, network: NetworkSettings) -> Floats:
    """Return the targets that gave the errors of the output neurons: telemetry has no targets."""
    if network.loss == "cross_entropy":
        return activity - error
    slope = SLOPES[network.output_activation](activity)
    # Where the slope is 0 the error is 0 with every target; then the target counts as reached.
    return activity - np.divide(error, slope, out=np.zeros_like(error), where=slope != 0.0)


def float32(arrays: Sequence[Floats]) -> bytes:
    """Return all numbers as little-endian float32."""
    return np.concatenate([np.ravel(array) for array in arrays]).astype("<f4").tobytes()


def in_order(parameters: Parameters) -> list[Floats]:
    """Return biases and weights in the order of a picture: of each layer the biases, then the weights."""
    found: list[Floats] = []
    for layer, bias in enumerate(parameters.biases):
        found.append(bias)
        if layer < len(parameters.weights):
            found.append(parameters.weights[layer])
    return found

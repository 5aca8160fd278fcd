"""The numbers of the nine steps of a group, for a `TraceReport`.

The activity, the errors and the own error are those of the passes. The sums inside the formulas and the values after the update
come from the same methods of `Neuron` or `NeuronArray` that the passes used; a traced pass lets copies of the neurons learn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from neuron_node.activations import Array, all_finite
from neuron_node.neuron import Neuron, sum_of
from neuron_node.neuron_array import NeuronArray, running_total
from neuron_node.protocol import NamedArray, State
from neuron_node.role import Role


class PassNumbers(NamedTuple):
    """The numbers of a finished pass: signals (senders, rows, neurons), activity and own error (rows, neurons), and errors.

    `errors` (rows, synapses) are the errors of the receivers, or the targets of an output group.
    """

    signals: Array
    activity: Array
    errors: Array
    own_error: Array
    plain: bool
    """Whether the group computed in plain floats, for one neuron and one sample."""


def numbers_of_state(state: State) -> tuple[NamedArray, ...]:
    """Return the present bias and weights only."""
    return NamedArray("bias_after", state.bias), NamedArray("weights_after", state.weights)


def are_finite(numbers: Iterable[NamedArray]) -> bool:
    """Return whether no number is a NaN or an infinity."""
    return all(all_finite(array.values) for array in numbers)


def numbers_of_steps(
    role: Role, before: tuple[Any, Any], parts: Sequence[PassNumbers], after: State | None = None
) -> tuple[NamedArray, ...]:
    """Return the numbers of all steps of one pass, or of a training step with all its parts.

    `before` is the bias and the weights before step 9. `after` is the state after step 9; without it, copies of the neurons do
    step 9.
    """
    neurons = NeuronArray(role, *before)
    # A group of one neuron computes a part with one sample in plain floats, and learns a step of several parts in arrays.
    neuron = Neuron(role, float(neurons.bias[0]), neurons.weights[0].tolist())
    rows = [_of_number(role, neuron, part) if part.plain else _of_rows(role, neurons, part) for part in parts]
    found = {name: np.concatenate([each[name] for each in rows]) for name in rows[0]}
    activity, errors, own = found["activity"], found["errors"], found["own_error"]
    bias_gradient, gradients = gradients_of(activity, errors, own, is_output=role.is_output)
    found |= {
        "bias": neurons.bias[None, :],
        "weights": neurons.weights,
        "bias_gradient": bias_gradient[None, :],
        "gradients": gradients,
    }
    if after is not None:
        found |= {"bias_after": after.bias, "weights_after": after.weights}
    elif len(parts) == 1 and parts[0].plain:
        neuron.learn(float(activity[0, 0]), errors[0].tolist(), float(own[0, 0]))
        found |= {"bias_after": np.array([[neuron.bias]]), "weights_after": np.array([neuron.weights]).reshape(1, -1)}
    else:
        neurons.learn(activity, errors, own)
        found |= {"bias_after": neurons.bias[None, :], "weights_after": neurons.weights}
    return tuple(NamedArray(name, np.ascontiguousarray(values)) for name, values in found.items())


def gradients_of(activity: Array, errors: Array, own_error: Array, *, is_output: bool) -> tuple[Array, Array]:
    """Return the gradients of the biases (neurons,) and of the weights (neurons, synapses), means over all rows."""
    rows = len(activity)
    weights = np.empty((activity.shape[1], 0)) if is_output else activity.T @ errors / rows
    return own_error.sum(axis=0) / rows, weights


def _of_number(role: Role, neuron: Neuron, part: PassNumbers) -> dict[str, Array]:
    activity, errors = float(part.activity[0, 0]), part.errors[0].tolist()
    found: dict[str, Any] = {"sum": sum_of(part.signals[:, 0, 0].tolist()), "slope": neuron.slope(activity)}
    if not role.is_output:
        found |= {"fired": neuron.fire(activity), "error_sum": neuron.error_sum(errors)}
    return _given(part) | {name: np.array(values, dtype=np.float64).reshape(1, -1) for name, values in found.items()}


def _of_rows(role: Role, neurons: NeuronArray, part: PassNumbers) -> dict[str, Array]:
    found = _given(part) | {"sum": running_total(part.signals), "slope": neurons.slope(part.activity)}
    if not role.is_output:
        found |= {"fired": neurons.fire(part.activity), "error_sum": neurons.error_sum(part.errors)}
    return found


def _given(part: PassNumbers) -> dict[str, Array]:
    # A row of signals has one block of this group's neurons for each sender.
    signals = part.signals.transpose(1, 0, 2).reshape(part.signals.shape[1], -1)
    return {"signals": signals, "activity": part.activity, "errors": part.errors, "own_error": part.own_error}

"""The numbers of the nine steps of a group in one pass, for a `TraceReport`.

The activity, the errors and the own error are those of the pass. The sums inside the formulas, the gradients and the values
after the update come from the same methods of `Neuron` or `NeuronArray`; a traced pass lets a copy of the neurons learn.
"""

from __future__ import annotations

from copy import copy
from typing import Any, NamedTuple

import numpy as np

from neuron_node.activations import Array
from neuron_node.neuron import Neuron, sum_of
from neuron_node.neuron_array import NeuronArray, running_total
from neuron_node.protocol import NamedArray, State
from neuron_node.role import Role


class PassNumbers(NamedTuple):
    """The numbers of a finished pass: activity (rows, neurons), errors or targets (rows, synapses), and own error."""

    activity: Array
    errors: Array
    own_error: Array
    plain: bool
    """Whether the group computed in plain floats, for one neuron and one sample."""


def numbers_of_state(state: State) -> tuple[NamedArray, ...]:
    """Return the present bias and weights only."""
    return NamedArray("bias_after", state.bias), NamedArray("weights_after", state.weights)


def numbers_of_steps(
    role: Role, before: tuple[Any, Any], signals: Array, given: PassNumbers, after: State | None = None
) -> tuple[NamedArray, ...]:
    """Return the numbers of all steps of a pass.

    `before` is the bias and the weights before step 9, `signals` (senders, rows, neurons) are those of step 1. `after` is the
    state after step 9; without it, a copy of the neurons does step 9.
    """
    steps = _plain if given.plain else _arrays
    found = steps(role, before, signals, given, after)
    # A row of signals has one block of this group's neurons for each sender.
    by_row = signals.transpose(1, 0, 2).reshape(signals.shape[1], -1)
    common = {"signals": by_row, "activity": given.activity, "errors": given.errors, "own_error": given.own_error}
    return tuple(NamedArray(name, np.ascontiguousarray(values)) for name, values in {**common, **found}.items())


def _plain(
    role: Role, before: tuple[Any, Any], signals: Array, given: PassNumbers, after: State | None
) -> dict[str, Array]:
    neuron = Neuron(role, *before)
    activity, errors, own = float(given.activity[0, 0]), given.errors[0].tolist(), float(given.own_error[0, 0])
    learned = copy(neuron)
    if after is None:
        learned.learn(activity, errors, own)
    bias, weights = (learned.bias, learned.weights) if after is None else (after.bias, after.weights)
    found = {
        "sum": sum_of(signals[:, 0, 0].tolist()),
        "slope": neuron.slope(activity),
        "bias": neuron.bias,
        "weights": neuron.weights,
        "bias_gradient": own,
        "gradients": [] if role.is_output else [error * activity for error in errors],
        "bias_after": bias,
        "weights_after": weights,
    }
    if not role.is_output:
        found |= {"fired": neuron.fire(activity), "error_sum": neuron.error_sum(errors)}
    return {name: np.array(values, dtype=np.float64).reshape(1, -1) for name, values in found.items()}


def _arrays(
    role: Role, before: tuple[Any, Any], signals: Array, given: PassNumbers, after: State | None
) -> dict[str, Array]:
    neurons = NeuronArray(role, *before)
    activity, errors, own, _ = given
    learned = copy(neurons)
    if after is None:
        learned.learn(activity, errors, own)
    rows = len(activity)
    found = {
        "sum": running_total(signals),
        "slope": neurons.slope(activity),
        "bias": neurons.bias[None, :],
        "weights": neurons.weights,
        "bias_gradient": own.sum(axis=0)[None, :] / rows,
        "gradients": neurons.weights if role.is_output else activity.T @ errors / rows,
        "bias_after": learned.bias[None, :] if after is None else after.bias,
        "weights_after": learned.weights if after is None else after.weights,
    }
    if not role.is_output:
        found |= {"fired": neurons.fire(activity), "error_sum": neurons.error_sum(errors)}
    return found

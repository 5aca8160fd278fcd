"""The nine steps of `neuron.py` for a group of neurons and a batch of samples, in NumPy. The steps and their names are the same.

Arrays are float64 in C order. Each row is a sample. Activities and own errors have the shape (rows, neurons); signals and
errors at the synapses have the shape (rows, synapses).
"""

from __future__ import annotations

import numpy as np

from neuron_node.activations import ACTIVATIONS, Array, all_finite
from neuron_node.losses import LOSSES
from neuron_node.role import Role

ACCUMULATED_AT_MOST_BYTES = 64 * 1024
"""Up to this size, one call that also stores all partial sums is faster than a loop."""


class NeuronArray:
    """A group of neurons: their biases (neurons,), the weights (neurons, synapses) of their axons, and the nine steps."""

    def __init__(self, role: Role, bias: Array, weights: Array) -> None:
        self.bias = _one_layout(bias, (role.size,))
        self.weights = _one_layout(weights, (role.size, role.fan_out))
        self._activation = ACTIVATIONS[role.activation]
        self._loss = LOSSES[role.loss]
        self._is_output = role.is_output
        self._bias_learned = role.bias_learned
        self._learning_rate = role.learning_rate
        self._silent = list(role.silent)

    # 1. Wait until every dendrite has received its signal.
    # 2. Activity = activation(sum of the signals + bias).
    def activate(self, signals: Array) -> Array:
        """Return the activities (rows, neurons) for signals (senders, rows, neurons). Adds the signals in synapse order.

        The activity of a silenced neuron counts as 0.
        """
        activity: Array = self._activation.activity(running_total(signals) + self.bias)
        if self._silent:
            activity[:, self._silent] = 0.0
        return activity

    # 3. At every synapse of the axon, signal = weight × activity.
    # 4. Send each signal to the neuron at the other end of its synapse.
    def fire(self, activity: Array) -> Array:
        """Return the signals at all synapses (rows, synapses) for activities (rows, neurons)."""
        return activity @ self.weights

    # 5. Wait for the error of each of those neurons.
    # 6. Own error = Σ(weight × their error) × activation'(own activity), with the weights as they were when the signals were sent.
    # 7. Send the own error back to every sender of step 1.
    def own_error(self, activity: Array, errors: Array, weights: Array | None = None) -> Array:
        """Return the own errors (rows, neurons), d loss / d (sum of signals + bias).

        `errors` (rows, synapses) holds the errors of the receivers; for an output group it holds the targets (rows, neurons).
        `weights` are the weights that the signals were sent with; None stands for the present weights. The activity of a silenced
        neuron is constant, so its own error is 0.
        """
        error: Array
        if self._is_output:
            error = self._loss(activity, errors, self._activation.derivative)
        else:
            error = self.error_sum(errors, weights) * self.slope(activity)
        if self._silent:
            error[:, self._silent] = 0.0
        return error

    def error_sum(self, errors: Array, weights: Array | None = None) -> Array:
        """Return Σ(weight × their error), (rows, neurons)."""
        total: Array = errors @ (self.weights if weights is None else weights).T
        return total

    def slope(self, activity: Array) -> Array:
        """Return activation'(own activity), (rows, neurons)."""
        return self._activation.derivative(activity)

    # 8. Gradient of each synapse = their error × own activity; gradient of the bias = own error (mean over the batch).
    # 9. Update weights and bias.
    def learn(self, activity: Array, errors: Array, own_error: Array | None) -> bool:
        """Subtract learning rate × mean gradient from weights and biases; return whether all numbers are still finite.

        Activities and own errors are (rows, neurons), errors (rows, synapses). Makes new arrays and does not change the old
        ones: a snapshot may refer to them.
        """
        rate = self._learning_rate / len(activity)
        if not self._is_output:
            gradient = activity.T @ errors
            change = np.multiply(gradient, rate, out=gradient)
            # Reuse the gradient's buffer: allocating a new one takes longer than the subtraction.
            self.weights = np.subtract(self.weights, change, out=change)
        if self._bias_learned:
            assert own_error is not None
            self.bias = self.bias - rate * own_error.sum(axis=0)
        return all_finite(self.weights) and (not self._bias_learned or all_finite(self.bias))


def running_total(signals: Array) -> Array:
    """Add signals (senders, rows, neurons) one sender after the other; NumPy's `sum` may add in pairs, which changes bits."""
    total: Array = signals[0]
    if len(signals) > 1 and signals.nbytes <= ACCUMULATED_AT_MOST_BYTES:
        total = np.add.accumulate(signals)[-1]
    elif len(signals) > 1:
        # Do the same additions without an array of all partial sums.
        total = total + signals[1]
        for signal in signals[2:]:
            np.add(total, signal, out=total)
    return total


def _one_layout(array: Array, shape: tuple[int, ...]) -> Array:
    """Copy an array to C order and native float64: another memory layout would change the last bits of a product."""
    return np.ascontiguousarray(array, dtype=np.float64).reshape(shape).copy()

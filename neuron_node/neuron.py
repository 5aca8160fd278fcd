"""The nine steps of one neuron with one sample, in their order, in plain Python numbers. Read this first.

    dendrites                    neuron                       axon
    signal ─┐                                              ┌─ × weight ─ signal → neuron below
    signal ─┼─ Σ + bias ── activation ── activity ─────────┼─ × weight ─ signal → neuron below
    signal ─┘                                              └─ × weight ─ signal → neuron below
          ◀── own error (the same to all senders) ◀── Σ weight × their error ◀── errors

`neuron_array.py` has the same steps for a group of neurons and a batch of samples. Steps 1, 4, 5 and 7 are messages:
`group.py` waits for them and sends them. This file uses no message, socket or clock.

The formulas are back-propagation of errors with gradient descent (Rumelhart, Hinton and Williams, Nature 323, 1986).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from neuron_node.activations import ACTIVATIONS
from neuron_node.losses import LOSSES
from neuron_node.role import Role


class Neuron:
    """A neuron: its bias, the weights of its axon (one for each synapse), and the nine steps."""

    def __init__(self, role: Role, bias: float, weights: Sequence[float]) -> None:
        self.bias = bias
        self.weights = list(weights)
        self._activation, self.slope = ACTIVATIONS[role.activation].of_number
        self._loss = LOSSES[role.loss]
        self._is_output = role.is_output
        self._bias_learned = role.bias_learned
        self._learning_rate = role.learning_rate
        self._silent = bool(role.silent)

    # 1. Wait until every dendrite has received its signal (remember the sender of each signal).
    # 2. Activity = activation(sum of the signals + bias).
    def activate(self, signals: Sequence[float]) -> float:
        """Return the activity for the signals (one for each dendrite).

        Adds them in synapse order with `+`: the order determines the last bits, which the built-in `sum` would round otherwise in
        other versions of Python. The activity of a silenced neuron counts as 0.
        """
        return 0.0 if self._silent else self._activation(sum_of(signals) + self.bias)

    # 3. At every synapse of the axon, signal = weight × activity.
    # 4. Send each signal to the neuron at the other end of its synapse.
    def fire(self, activity: float) -> list[float]:
        """Return the signals at all synapses, in synapse order."""
        return [weight * activity for weight in self.weights]

    # 5. Wait for the error of each of those neurons.
    # 6. Own error = Σ(weight × their error) × activation'(own activity), with the weights as they were when the signals were sent.
    #    An output neuron's own error = d loss / d activity × activation'(own activity).
    # 7. Send the own error back to every sender of step 1: the same value to all.
    def own_error(self, activity: float, errors: Sequence[float], weights: Sequence[float] | None = None) -> float:
        """Return the own error, d loss / d (sum of signals + bias).

        `errors` holds the error of each receiver, in synapse order; for an output neuron it holds the target. `weights` are the
        weights that the signals were sent with; None stands for the present weights. A silenced neuron has the error 0.
        """
        if self._silent:
            return 0.0
        if self._is_output:
            return float(self._loss(activity, errors[0], self.slope))
        return self.error_sum(errors, weights) * self.slope(activity)

    def error_sum(self, errors: Sequence[float], weights: Sequence[float] | None = None) -> float:
        """Return Σ(weight × their error), in synapse order."""
        total = 0.0
        for weight, error in zip(self.weights if weights is None else weights, errors, strict=True):
            total += weight * error
        return total

    # 8. Gradient of each synapse = their error × own activity; gradient of the bias = own error.
    # 9. Update weights and bias.
    def learn(self, activity: float, errors: Sequence[float], own_error: float) -> bool:
        """Subtract learning rate × gradient from weights and bias; return whether all numbers are still finite.

        Replaces the list of weights and does not change the old list: a snapshot may refer to it."""
        rate = self._learning_rate
        if not self._is_output:
            self.weights = [
                weight - rate * (error * activity) for weight, error in zip(self.weights, errors, strict=True)
            ]
        if self._bias_learned:
            self.bias -= rate * own_error
        # Check the sum first, because it is fast: if any number is a NaN or an infinity, so is the sum.
        return isfinite(sum(self.weights) + self.bias) or all(map(isfinite, [self.bias, *self.weights]))


def sum_of(signals: Sequence[float]) -> float:
    """Add the signals in synapse order."""
    total = signals[0]
    for signal in signals[1:]:
        total += signal
    return total

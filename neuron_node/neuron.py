"""The nine steps of a neuron, for a group of n of them. A group of one is one neuron; the arithmetic is the same.

    dendrites                    neuron                       axon
    signal ─┐                                              ┌─ × weight ─ signal → neuron below
    signal ─┼─ Σ + bias ── activation ── activity ─────────┼─ × weight ─ signal → neuron below
    signal ─┘                                              └─ × weight ─ signal → neuron below
          ◀── own error (the same to all senders) ◀── Σ weight × their error ◀── errors

Weights live on the axon, at the sending neuron. Every array carries a batch: a group's signals, activities and errors
are float64 of shape (batch, neurons). Nothing here knows a message, a socket or a clock.
"""

from __future__ import annotations

import itertools

import numpy as np

from neuron_node.activations import ACTIVATIONS, Array, all_finite
from neuron_node.losses import LOSSES
from neuron_node.memory import Gradient, Memory
from neuron_node.role import OUTSIDE, Role

ACCUMULATED_AT_MOST_BYTES = 64 * 1024


class Neurons:
    """A group's bias (neurons,), its axons' weights (neurons, synapses), and the nine steps."""

    def __init__(self, role: Role, bias: Array, weights: Array) -> None:
        self.role = role
        self.bias = _one_layout(bias, (role.size,))
        self.weights = _one_layout(weights, (role.size, role.fan_out))
        self.activation = ACTIVATIONS[role.activation]
        self.senders = tuple(sender.group for sender in role.senders) or (OUTSIDE,)
        self.receivers = tuple(block.receiver for block in role.blocks) or (OUTSIDE,)
        edges = np.cumsum([0, *([block.size for block in role.blocks] or [role.size])]).tolist()
        self.columns = tuple(slice(start, stop) for start, stop in itertools.pairwise(edges))
        self._rows = {sender: row for row, sender in enumerate(self.senders)}
        self._columns = dict(zip(self.receivers, self.columns, strict=True))

    # 1. Wait until every dendrite has received its signal (remember who sent it).
    def receive_signal(self, memory: Memory, sender: int, signal: Array) -> bool:
        """Remember one sender's signal; whether every dendrite has received its own."""
        if memory.signals is None:
            memory.signals = np.empty((len(self.senders), memory.batch, self.role.size))
        memory.signals[self._rows[sender]] = signal
        memory.senders.add(sender)
        return len(memory.senders) == len(self.senders)

    # 2. Activity = activation(sum of the signals + bias).
    def activate(self, memory: Memory) -> Array:
        """Add up in synapse order, never in arrival order: the sum's last bits depend on it."""
        assert memory.signals is not None
        memory.activity = self.activation.activity(_running_total(memory.signals) + self.bias)
        return memory.activity

    # 3. At every synapse of the axon, signal = weight × activity.
    # 4. Send each signal to the neuron at the other end of its synapse.
    def fire(self, memory: Memory) -> Array:
        """The signals at all synapses, (batch, synapses): `columns[i]` of them are for the i-th block's receiver."""
        assert memory.activity is not None
        return memory.activity @ self.weights

    # 5. Wait for the error of each of those neurons.
    def receive_error(self, memory: Memory, sender: int, error: Array) -> bool:
        """Remember one receiver's error (for an output group: the target); whether all have come."""
        if memory.errors is None:
            memory.errors = np.empty((memory.batch, self.columns[-1].stop))
        memory.errors[:, self._columns[sender]] = error
        memory.repliers.add(sender)
        return len(memory.repliers) == len(self.receivers)

    # 6. Own error = Σ(weight × their error) × activation'(own activity), with the weights as they were when sent.
    # 7. Send the own error back to every sender of step 1: the same value to all.
    def reply(self, memory: Memory) -> Array:
        """The own error, (batch, neurons): d loss / d (sum of signals + bias)."""
        assert memory.activity is not None and memory.errors is not None
        if self.role.is_output:
            error = LOSSES[self.role.loss](memory.activity, memory.errors, self.role.activation)
        else:
            error = self.own_error(memory.activity, memory.errors, self.weights)
        memory.own_error = error
        return error

    def own_error(self, activity: Array, errors: Array, weights: Array) -> Array:
        """Step 6 above the outputs, with the weights as they were when sent."""
        error: Array = (errors @ weights.T) * self.activation.derivative(activity)
        return error

    # 8. Gradient of each synapse = their error × own activity; of the bias = own error (mean over the batch).
    def gradient(self, memory: Memory) -> Gradient:
        """Summed up over the samples; the mean is taken in step 9, since a batch may come in parts."""
        assert memory.activity is not None and memory.errors is not None
        weights = None if self.role.is_output else memory.activity.T @ memory.errors
        bias = None
        if self.role.bias_learned:
            assert memory.own_error is not None
            bias = memory.own_error.sum(axis=0)
        return Gradient(memory.batch, weights, bias)

    # 9. Update weights and bias.
    def update(self, gradient: Gradient) -> bool:
        """Take one step down the gradient, which is used up; whether all of the group's numbers are still finite."""
        rate = self.role.learning_rate / gradient.samples
        if gradient.weights is not None:
            change = np.multiply(gradient.weights, rate, out=gradient.weights)
            # Into memory that is there already: fresh memory for millions of weights takes longer than their arithmetic.
            self.weights = np.subtract(self.weights, change, out=change)
        if gradient.bias is not None:
            self.bias = self.bias - rate * gradient.bias
        return all_finite(self.weights) and (gradient.bias is None or all_finite(self.bias))


def _running_total(signals: Array) -> Array:
    """(senders, batch, neurons) added up one after the other, whatever the shape; `sum` may add in pairs."""
    total: Array = signals[0]
    if len(signals) > 1 and signals.nbytes <= ACCUMULATED_AT_MOST_BYTES:
        total = np.add.accumulate(signals)[-1]
    elif len(signals) > 1:
        # The same additions, without an array of all sums on the way.
        total = total + signals[1]
        for signal in signals[2:]:
            np.add(total, signal, out=total)
    return total


def _one_layout(array: Array, shape: tuple[int, ...]) -> Array:
    """C order and native float64: another memory layout would change the last bits of a product."""
    return np.ascontiguousarray(array, dtype=np.float64).reshape(shape).copy()

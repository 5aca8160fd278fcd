"""The NumPy calls of the nine steps, on arrays that are not sent: the cost of the arithmetic in a program of the bare wire.

The numbers are meaningless and depend on no message. The shapes and the order of the calls are those of a neuron program.
"""

from __future__ import annotations

import numpy as np

from coordinator.topology import Topology
from neuron_node.activations import Array

ACCUMULATED_AT_MOST_BYTES = 64 * 1024
"""Up to this size, one call that also stores all partial sums is faster than a loop."""
RATE = 1e-9


class NineSteps:
    """The arrays of one group, and the NumPy calls of its steps."""

    def __init__(self, topology: Topology, number: int, batch: int) -> None:
        group = topology.groups[number]
        senders = len(topology.senders[number])
        fan_out = sum(topology.groups[receiver].size for receiver in topology.receivers[number])
        self._is_input, self._is_output = senders == 0, fan_out == 0
        self._signals = np.full((max(1, senders), batch, group.size), 0.25)
        self._bias = np.full(group.size, 0.25)
        self._weights = np.full((group.size, fan_out), 0.25)
        self._errors = np.full((batch, fan_out or group.size), 0.25)
        self._activity = self._own_error = self._signals[0]

    def fire(self) -> None:
        """Do steps 2 and 3: sum, activation, weight × activity."""
        total = self._sum() + self._bias
        self._activity = total if self._is_input else 1.0 / (1.0 + np.exp(-total))
        if not self._is_output:
            self._activity @ self._weights

    def reply(self) -> None:
        """Do step 6: the own error, which input neurons do not need."""
        activity = self._activity
        if self._is_output:
            self._own_error = (activity - self._errors) * activity * (1.0 - activity)
        elif not self._is_input:
            self._own_error = (self._errors @ self._weights.T) * (activity * (1.0 - activity))

    def learn(self) -> None:
        """Do steps 8 and 9: the gradients, and the update."""
        if not self._is_output:
            change = self._activity.T @ self._errors
            np.multiply(change, RATE, out=change)
            self._weights = np.subtract(self._weights, change, out=change)
        if not self._is_input:
            self._bias = self._bias - RATE * self._own_error.sum(axis=0)

    def _sum(self) -> Array:
        total: Array = self._signals[0]
        if len(self._signals) == 1:
            return total
        if self._signals.nbytes <= ACCUMULATED_AT_MOST_BYTES:
            return np.asarray(np.add.accumulate(self._signals)[-1])
        total = total + self._signals[1]
        for signal in self._signals[2:]:
            np.add(total, signal, out=total)
        return total

"""A step whose batch comes in parts: each has a pass of its own, and what it is to teach is put together in order.

So layers work at the same time, one on the first part while another is at the second; and whichever part is done first,
the gradient is one product over all rows, the same to the bit.
"""

from __future__ import annotations

import numpy as np

from neuron_node.activations import Array
from neuron_node.memory import Memory


def _joined(errors: list[Array]) -> Array | None:
    """None for a group that does not need its own error."""
    return np.concatenate(errors) if errors else None


class Parts:
    """What one step's parts have left at one group."""

    def __init__(self, first_pass: int, count: int) -> None:
        self.first_pass = first_pass
        self._count = count
        self._memories: dict[int, Memory] = {}

    def add(self, part: int, memory: Memory) -> Memory | None:
        """Take a part's memory, each once; that of the whole batch with the last of them."""
        # A pass's memory is used again for another; its arrays are not.
        self._memories[part] = Memory(
            memory.batch, activity=memory.activity, errors=memory.errors, own_error=memory.own_error
        )
        if len(self._memories) < self._count:
            return None
        in_order = [self._memories.pop(part) for part in range(self._count)]
        return Memory(
            sum(memory.batch for memory in in_order),
            activity=np.concatenate([memory.activity for memory in in_order if memory.activity is not None]),
            errors=np.concatenate([memory.errors for memory in in_order if memory.errors is not None]),
            own_error=_joined([memory.own_error for memory in in_order if memory.own_error is not None]),
        )

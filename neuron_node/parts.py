"""A step whose batch comes in parts: each has a pass of its own, and its gradients are added up in order.

So layers work at the same time, one on the first part while another is at the second; and whichever part is done first,
the sum is the same to the bit.
"""

from __future__ import annotations

from neuron_node.memory import Gradient


class Parts:
    """The gradients of one step's parts at one group."""

    def __init__(self, first_pass: int, count: int) -> None:
        self.first_pass = first_pass
        self._count = count
        self._added = 0
        self._total: Gradient | None = None
        self._held: dict[int, Gradient] = {}
        """Of parts that were done before one that comes before them."""

    def add(self, part: int, gradient: Gradient) -> Gradient | None:
        """Take a part's gradient, each once; the whole batch's with the last of them."""
        self._held[part] = gradient
        while (next_one := self._held.pop(self._added, None)) is not None:
            self._total = next_one if self._total is None else self._total.plus(next_one)
            self._added += 1
        return self._total if self._added == self._count else None

"""The numbers of a group in one training step, for people who watch: one row of numbers with a fixed layout.

    activity       (rows, neurons)    of the first rows of the step, at most SHOWN_ROWS
    own_error      (rows, neurons)
    bias           (neurons)          before the update
    bias_gradient  (neurons)
    bias_after     (neurons)
    weights        (neurons, synapses) before the update
    gradients      (neurons, synapses)
    weights_after  (neurons, synapses)

Both sides know the numbers of neurons and synapses from the topology; the number of rows follows from the length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neuron_node.activations import Array
from neuron_node.errors import WrongShape
from neuron_node.frames import NUMBER_BYTES, NUMBERS_BEGIN

SHOWN_ROWS = 32
"""The most rows of a step whose activities and errors are shown. The gradients are those of all rows."""


class ShownNumbers(NamedTuple):
    """The numbers of one group, as the layout lists them; biases and their gradients (neurons,)."""

    activity: Array
    own_error: Array
    bias: Array
    bias_gradient: Array
    bias_after: Array
    weights: Array
    gradients: Array
    weights_after: Array


def packed(numbers: ShownNumbers) -> Array:
    """Return the numbers in one row (1, numbers), with at most SHOWN_ROWS rows of activities and errors."""
    few = numbers._replace(activity=numbers.activity[:SHOWN_ROWS], own_error=numbers.own_error[:SHOWN_ROWS])
    return np.concatenate([np.ravel(array) for array in few])[None, :]


def unpacked(row: Array, neurons: int, synapses: int) -> ShownNumbers:
    """Return the numbers of a row (numbers,) of a group with so many neurons, each with so many synapses.

    Raises:
        WrongShape: the row has another length.
    """
    fixed = 3 * neurons * (1 + synapses)
    rows, rest = divmod(len(row) - fixed, 2 * neurons)
    if rest or not 0 < rows <= SHOWN_ROWS:
        raise WrongShape(f"{len(row)} numbers of {neurons} neurons with {synapses} synapses each")
    shapes: Sequence[tuple[int, ...]] = [(rows, neurons)] * 2 + [(neurons,)] * 3 + [(neurons, synapses)] * 3
    parts, begin = [], 0
    for shape in shapes:
        end = begin + math.prod(shape)
        parts.append(row[begin:end].reshape(shape))
        begin = end
    return ShownNumbers(*parts)


def frame_bytes(neurons: int, synapses: int, rows: int) -> int:
    """Return the size of the frame of a group in a step of so many rows."""
    return NUMBERS_BEGIN + NUMBER_BYTES * (2 * min(rows, SHOWN_ROWS) * neurons + 3 * neurons * (1 + synapses))

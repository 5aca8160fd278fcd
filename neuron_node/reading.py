"""The numbers of all frames of a way at once, in synapse order, with as few copies as NumPy needs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import itemgetter

import numpy as np

from neuron_node.activations import Array, all_finite
from neuron_node.intake import Bin
from neuron_node.ways import Layout

ON_THE_WIRE = np.dtype("<f8")
AS_ON_THE_WIRE = sys.byteorder == "little"
Picker = Callable[[Bin], tuple[bytes, ...]]


def picker(heads: list[bytes]) -> Picker:
    """Takes the frames with these heads out of a bin, in order; raises `KeyError`."""
    if len(heads) > 1:
        return itemgetter(*heads)
    # Of one, `itemgetter` would give no tuple.
    return lambda frames: (frames[heads[0]],)


def numbers_of(frames: Bin, in_order: Picker, layout: Layout) -> Array | None:
    """The group's own numbers of all frames in synapse order; None if one is missing, or a number is not finite."""
    try:
        taken = in_order(frames)
    except KeyError:
        return None
    if len(taken) == 1:
        _, batch, columns = layout.block
        numbers = np.frombuffer(taken[0], ON_THE_WIRE, batch * columns, layout.begin)
    else:
        numbers = np.frombuffer(b"".join(map(layout.own, taken)), ON_THE_WIRE)
    if not AS_ON_THE_WIRE:
        numbers = numbers.astype(np.float64)
    return numbers if all_finite(numbers) else None


def side_by_side(block: Array) -> Array:
    """(senders, batch, columns) as (batch, synapses), in the layout that `receive_error` gives: another one would change bits."""
    senders, batch, columns = block.shape
    if senders == 1 or batch == 1:
        return block.reshape(batch, senders * columns)
    return np.ascontiguousarray(block.transpose(1, 0, 2).reshape(batch, senders * columns))

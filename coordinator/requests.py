"""The sizes of requests and replies with many rows."""

from __future__ import annotations

from collections.abc import Sequence

from neuron_node.frames import NUMBER_BYTES

ROWS_A_REQUEST = 4_096
"""The largest number of rows that the commands send in one request."""
BYTES_A_REQUEST = 4 * 1024 * 1024
"""The size of the rows of a request or reply, unless 256 rows are larger."""
ROWS_AT_LEAST = 256


def rows_a_request(layers: Sequence[int]) -> int:
    """Return the number of rows of one request to a network with these layers: a multiple of 256.

    A multiple of the rows of a forward pass keeps the last bits: they depend on the number of rows of a pass.
    """
    fitting = BYTES_A_REQUEST // (NUMBER_BYTES * row_width(layers))
    return max(ROWS_AT_LEAST, min(fitting // ROWS_AT_LEAST * ROWS_AT_LEAST, ROWS_A_REQUEST))


def row_width(layers: Sequence[int]) -> int:
    """Return the largest number of numbers for one row: its inputs, or its outputs and targets."""
    return max(layers[0], 2 * layers[-1])

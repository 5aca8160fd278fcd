"""The results of passes, sorted by their bytes as they come and read in one piece: the coordinator's short way.

The same idea as in a node (`neuron_node.intake`). Who hosts which group is known here, so a result's head is too, from the
moment at which the network is wired. What is not exactly as expected is decoded in full.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from coordinator.machine.passes import Flight
from coordinator.topology import Group, Topology
from neuron_node.activations import all_finite
from neuron_node.addresses import COORDINATOR
from neuron_node.codec import NUMBERS_BEGIN, data_head, data_mark, data_shape
from neuron_node.messages import Data, Header, InputError, Mode, Output


class Results:
    """Knows how each result begins, and reads those of a flight."""

    def __init__(self, topology: Topology, *, input_errors: bool = False) -> None:
        """With `input_errors`, input groups learn biases, and so send their own errors; else they say only that all is done."""
        self._topology = topology
        self._outputs: list[bytes] = []
        self._input_errors: list[bytes] = []
        self.heads: frozenset[bytes] = frozenset()
        """How each result begins that can come."""
        self._due = {False: len(topology.outputs), True: len(topology.outputs) + len(topology.inputs)}
        """Results of a pass, by whether it learns."""
        self._output_sizes = {group.size for group in topology.outputs}
        self._input_columns = [group.size if input_errors else 0 for group in topology.inputs]

    def expect_from(self, lives: Mapping[int, bytes], header: Header) -> None:
        """The network is wired: these lives host the groups, by number."""

        def heads(kind: type[Data], groups: list[Group]) -> list[bytes]:
            return [
                data_head(COORDINATOR, kind, header.run, header.generation, lives[group.number], group.number)
                for group in groups
            ]

        self._outputs = heads(Output, self._topology.outputs)
        self._input_errors = heads(InputError, self._topology.inputs)
        self.heads = frozenset((*self._outputs, *self._input_errors))

    def forget_all(self) -> None:
        """The network was rolled back."""
        self._outputs, self._input_errors = [], []
        self.heads = frozenset()

    def tails_of(self, flight: Flight) -> set[bytes]:
        """How the heads of a flight's results go on in its present attempt, where they can be read in one piece."""
        # Output groups of several sizes would have to be put together one by one; that is the long way's.
        if not self._outputs or len(self._output_sizes) > 1:
            return set()
        sizes = self._output_sizes if flight.mode is Mode.FORWARD else self._output_sizes.union(self._input_columns)
        batch = len(flight.inputs)
        mark = data_mark(flight.number, flight.attempt, flight.mode, flight.part, flight.parts, flight.chain)
        return {mark + data_shape(batch, size) for size in sizes}

    def lacking(self, flight: Flight) -> int:
        """How many results a flight waits for, if all that has come is right."""
        due = self._due[flight.mode is not Mode.FORWARD]
        return due - len(flight.outputs) - len(flight.input_errors) - len(flight.frames)

    def read(self, flight: Flight) -> bool:
        """Read all results of a flight; False if some have to take the long way."""
        frames, batch = flight.frames, len(flight.inputs)
        try:
            outputs = [frames[head] for head in self._outputs]
            errors = [] if flight.mode is Mode.FORWARD else [frames[head] for head in self._input_errors]
        except KeyError:
            return False
        [size] = self._output_sizes
        lengths = [NUMBERS_BEGIN + 8 * batch * columns for columns in self._input_columns] if errors else []
        if [*map(len, errors)] != lengths or {*map(len, outputs)} != {NUMBERS_BEGIN + 8 * batch * size}:
            return False
        numbers = np.frombuffer(b"".join([frame[NUMBERS_BEGIN:] for frame in (*outputs, *errors)]), dtype="<f8")
        if len(frames) != len(outputs) + len(errors) or not all_finite(numbers):
            return False
        block = numbers[: len(outputs) * batch * size].astype(np.float64, copy=False)
        by_sample = block.reshape(len(outputs), batch, size).transpose(1, 0, 2)
        flight.result = np.ascontiguousarray(by_sample.reshape(batch, -1))
        return True

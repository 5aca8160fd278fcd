"""Passes under way, from the coordinator's side: what is sent into the network, and who has still to answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from coordinator.topology import GroupSpec, Topology
from neuron_node.activations import Array
from neuron_node.errors import Unexpected
from neuron_node.frames import DataKind, Mode, data_head, mark_of
from neuron_node.inbox import Direction, Inbox, Slot
from neuron_node.role import OUTSIDE

NAMED_AT_MOST = 5


@dataclass(slots=True, eq=False)
class ForwardJob:
    """Rows to be sent forward through the network, a batch a pass; `done` gets the activities, (rows, outputs), in order."""

    rows: Array
    batch_size: int
    done: Callable[[Array], None]
    failed: Callable[[str], None] | None = None
    """Told why nothing comes of it; without it, the run fails."""
    waiting: deque[int] = field(default_factory=deque)
    activities: dict[int, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.restart()

    @property
    def batches(self) -> int:
        """How many passes the job takes."""
        return -(-len(self.rows) // self.batch_size)

    def restart(self) -> None:
        """Begin again: the network was rolled back."""
        self.waiting = deque(range(self.batches))
        self.activities = {}

    def next_batch(self) -> tuple[int, Array]:
        """The next batch that is not under way: its number and rows."""
        number = self.waiting.popleft()
        return number, self.rows[number * self.batch_size : (number + 1) * self.batch_size]

    def finish_batch(self, number: int, activities: Array) -> bool:
        """Take a batch's activities; whether the job is complete, in which case `done` was called."""
        self.activities[number] = activities
        if len(self.activities) < self.batches:
            return False
        self.done(np.concatenate([self.activities[batch] for batch in range(self.batches)]))
        return True


@dataclass(slots=True, eq=False)
class InFlightPass:
    """One pass under way."""

    number: int
    mode: Mode
    inputs: Array
    targets: Array | None
    sent_ms: float
    started_ms: float
    job: ForwardJob | None = None
    batch: int = 0
    part: int = 0
    parts: int = 1
    """Of a training step whose batch is cut into parts, each a pass of its own."""
    attempt: int = 0
    outputs: Inbox = field(init=False)
    input_errors: Inbox = field(init=False)

    confirmed: bool = False
    """Whether all outputs of a later step have come: every group has fired in it, so this pass is over everywhere."""

    @property
    def errors_are_due(self) -> bool:
        """Whether the input groups have to say that they are done: when training, unless a later step says so."""
        return self.mode is not Mode.FORWARD and not self.confirmed

    @property
    def missing(self) -> int:
        """How many results have not come."""
        return self.outputs.missing + (self.input_errors.missing if self.errors_are_due else 0)

    def activities(self) -> Array:
        """The outputs' activities, (rows, outputs), once all have come."""
        return self.outputs.side_by_side()

    def lacks(self) -> list[int]:
        """The groups whose results have not come."""
        return self.outputs.lacks() + (self.input_errors.lacks() if self.errors_are_due else [])

    def first_missing(self) -> tuple[int, str]:
        """The group whose result is waited for first, and what it is."""
        lacking = self.outputs.lacks()
        return (lacking[0], "activity") if lacking else (self.input_errors.lacks()[0], "error")

    def missing_names(self, topology: Topology) -> list[str]:
        """Whose results have not come, by name of their first neuron; the first few, and how many more."""
        names = [topology.groups[number].names[0] for number in self.lacks()]
        return names if len(names) <= NAMED_AT_MOST else [*names[:NAMED_AT_MOST], f"{len(names) - NAMED_AT_MOST} more"]


class Results:
    """The inboxes for the results of passes. Their heads follow from the topology and the generation."""

    def __init__(self, topology: Topology, run: bytes, *, input_errors: bool) -> None:
        """With `input_errors`, input groups learn biases, and so send their own errors; else they say only that all is done."""
        self._topology, self._run = topology, run
        self._error_columns = [group.size if input_errors else 0 for group in topology.inputs]
        self.begin_generation(0)

    def begin_generation(self, generation: int) -> None:
        """From now on only results of this generation belong."""
        self.generation = generation
        groups = self._topology.inputs
        self._outputs = self._direction(
            DataKind.OUTPUT, self._topology.outputs, [group.size for group in self._topology.outputs]
        )
        self._input_errors = self._direction(DataKind.INPUT_ERROR, groups, self._error_columns)
        self.slots = {head: (False, slot) for head, slot in self._outputs.slots.items()}
        self.slots |= {head: (True, slot) for head, slot in self._input_errors.slots.items()}

    def _direction(self, kind: DataKind, groups: list[GroupSpec], columns: list[int]) -> Direction:
        heads = [data_head(kind, self._run, self.generation, OUTSIDE, group.number) for group in groups]
        slots = {
            head: Slot(place, width, 0, width) for place, (head, width) in enumerate(zip(heads, columns, strict=True))
        }
        return Direction([group.number for group in groups], slots, columns)

    def give_inboxes(self, flight: InFlightPass) -> None:
        """Make the flight ready to receive."""
        mark, rows = mark_of(flight.number, flight.mode, flight.part, flight.parts), len(flight.inputs)
        flight.outputs = Inbox(self._outputs.layout(rows), flight.number, mark)
        flight.input_errors = Inbox(self._input_errors.layout(rows), flight.number, mark)

    def inbox(self, flight: InFlightPass, *, is_error: bool) -> Inbox:
        """Where a result of a flight belongs. Raises `Unexpected` for an error in a pass in which nothing is learned."""
        if is_error and flight.mode is Mode.FORWARD:
            raise Unexpected(f"an error in pass {flight.number}, in which nothing is learned")
        return flight.input_errors if is_error else flight.outputs

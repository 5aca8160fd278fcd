"""A pass in flight as the coordinator sees it: the rows that it sent, and the results that are missing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from coordinator.core.tracing import TraceJob
from coordinator.topology import GroupSpec, Topology
from neuron_node.activations import Array
from neuron_node.errors import Unexpected
from neuron_node.frames import DataKind, Mode, data_head, mark_of
from neuron_node.inbox import Direction, Inbox, Slot
from neuron_node.role import OUTSIDE

NAMED_AT_MOST = 5


@dataclass(slots=True, eq=False)
class ForwardJob:
    """Rows to send forward, one batch per pass. `done` gets the activities, (rows, outputs), in the order of the rows."""

    rows: Array
    batch_size: int
    done: Callable[[Array], None]
    failed: Callable[[str], None] | None = None
    """Gets the reason if the job can't be done. Without it, the run fails."""
    waiting: deque[int] = field(default_factory=deque)
    activities: dict[int, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.restart()

    @property
    def batches(self) -> int:
        """The number of passes of the job."""
        return -(-len(self.rows) // self.batch_size)

    def restart(self) -> None:
        """Begin again, because the network was rolled back."""
        self.waiting = deque(range(self.batches))
        self.activities = {}

    def next_batch(self) -> tuple[int, Array]:
        """Return the number and the rows of the next batch to send."""
        number = self.waiting.popleft()
        return number, self.rows[number * self.batch_size : (number + 1) * self.batch_size]

    def finish_batch(self, number: int, activities: Array) -> bool:
        """Note the activities of a batch. If the job is complete, call `done` and return True."""
        self.activities[number] = activities
        if len(self.activities) < self.batches:
            return False
        self.done(np.concatenate([self.activities[batch] for batch in range(self.batches)]))
        return True


@dataclass(slots=True, eq=False)
class InFlightPass:
    """One pass in flight."""

    number: int
    mode: Mode
    inputs: Array
    targets: Array | None
    sent_ms: float
    started_ms: float
    job: ForwardJob | None = None
    batch: int = 0
    part: int = 0
    trace: TraceJob | None = None
    """The job of a traced pass, which waits for the report of each group too."""
    parts: int = 1
    """The batch of a training step may be divided into parts, each with a pass of its own."""
    attempt: int = 0
    outputs: Inbox = field(init=False)
    input_errors: Inbox = field(init=False)

    confirmed: bool = False
    """Whether all outputs of a later step were received: every group has fired in it, so every group has done this pass."""

    @property
    def errors_are_due(self) -> bool:
        """Whether the input groups must report that they are done: in training, unless a later step confirms it."""
        return self.mode is not Mode.FORWARD and not self.confirmed

    @property
    def missing(self) -> int:
        """The number of missing results."""
        reports = len(self.trace.missing) if self.trace else 0
        return self.outputs.missing + (self.input_errors.missing if self.errors_are_due else 0) + reports

    def activities(self) -> Array:
        """Return the activities of the outputs, (rows, outputs), once all were received."""
        return self.outputs.side_by_side()

    def lacks(self) -> list[int]:
        """Return the groups whose results are missing."""
        lacking = self.outputs.lacks() + (self.input_errors.lacks() if self.errors_are_due else [])
        return lacking or (self.trace.missing if self.trace else [])

    def first_missing(self) -> tuple[int, str]:
        """Return the first group whose result is missing, and the kind of result."""
        lacking = self.outputs.lacks()
        if lacking:
            return lacking[0], "activity"
        lacking = self.input_errors.lacks()
        return (lacking[0], "error") if lacking else (self.lacks()[0], "report")

    def missing_names(self, topology: Topology) -> list[str]:
        """Return the groups whose results are missing, by the name of their first neuron: the first few, and how many more."""
        names = [topology.groups[number].names[0] for number in self.lacks()]
        return names if len(names) <= NAMED_AT_MOST else [*names[:NAMED_AT_MOST], f"{len(names) - NAMED_AT_MOST} more"]


class Results:
    """Inboxes for the results of passes. The heads of their frames follow from topology and generation."""

    def __init__(self, topology: Topology, run: bytes, *, input_errors: bool) -> None:
        """With `input_errors`, input groups learn biases and send their own errors; else they report only that a pass is done."""
        self._topology, self._run = topology, run
        self._error_columns = [group.size if input_errors else 0 for group in topology.inputs]
        self.begin_generation(0)

    def begin_generation(self, generation: int) -> None:
        """Accept only results of this generation from now on."""
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
        """Give a pass the inboxes for its results."""
        mark, rows = mark_of(flight.number, flight.mode, flight.part, flight.parts), len(flight.inputs)
        flight.outputs = Inbox(self._outputs.layout(rows), flight.number, mark)
        flight.input_errors = Inbox(self._input_errors.layout(rows), flight.number, mark)

    def inbox(self, flight: InFlightPass, *, is_error: bool) -> Inbox:
        """Return the inbox for a result of a pass. Raises `Unexpected` for an error in a forward pass."""
        if is_error and flight.mode is Mode.FORWARD:
            raise Unexpected(f"an error in pass {flight.number}, in which nothing is learned")
        return flight.input_errors if is_error else flight.outputs

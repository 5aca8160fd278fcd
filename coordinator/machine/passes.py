"""Passes under way, from the coordinator's side: what is sent into the network, and who has still to answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from coordinator.topology import Topology
from neuron_node.activations import Array
from neuron_node.errors import Stale, Unexpected, WrongShape
from neuron_node.intake import Bin
from neuron_node.messages import InputError, Mode, Output

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
class Flight:
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
    chain: int = 0
    """Whether the step follows another, or is followed, without a wait: see `neuron_node.chain`."""
    attempt: int = 0
    outputs: dict[int, Array] = field(default_factory=dict)
    input_errors: set[int] = field(default_factory=set)
    tails: set[bytes] = field(default_factory=set)
    """Of results that can be sorted: see `Results`."""
    frames: Bin = field(default_factory=dict)
    """Results that have been sorted and not been looked at."""
    result: Array | None = None
    """The outputs' activities, (batch, outputs), once all have come."""

    def hear(self, message: Output | InputError, topology: Topology) -> bool:
        """Take a result, each once; whether the pass is complete. Raises `PeerError`."""
        group = topology.groups.get(message.sender)
        layer = topology.last_layer if isinstance(message, Output) else 0
        if group is None or group.layer != layer:
            raise Unexpected(f"{type(message).__name__} from group {message.sender}")
        # An input group's own error is nobody's concern but its bias's: see `Role.needs_own_error`.
        columns = (0, group.size) if isinstance(message, InputError) else (group.size,)
        if message.values.shape not in [(len(self.inputs), count) for count in columns]:
            raise WrongShape(f"{message.values.shape} from {group.names[0]}")
        if message.attempt > self.attempt:
            raise Stale("a result of an attempt that was never made")
        if isinstance(message, Output):
            self.outputs.setdefault(message.sender, message.values)
        else:
            self.input_errors.add(message.sender)
        return self.complete(topology)

    def take_back(self) -> list[bytes]:
        """The results that have been sorted, to be heard in full instead."""
        frames = list(self.frames.values())
        self.frames.clear()
        return frames

    def complete(self, topology: Topology) -> bool:
        """Whether all outputs and, when training, all input errors have come."""
        errors_due = 0 if self.mode is Mode.FORWARD else len(topology.inputs)
        return len(self.outputs) == len(topology.outputs) and len(self.input_errors) == errors_due

    def activities(self, topology: Topology) -> Array:
        """The outputs' activities, (batch, outputs)."""
        if self.result is not None:
            return self.result
        return np.concatenate([self.outputs[group.number] for group in topology.outputs], axis=1)

    def first_missing(self, topology: Topology) -> int:
        """The group whose result is waited for first."""
        groups = [group.number for group in topology.outputs if group.number not in self.outputs]
        return next(
            iter(groups or [group.number for group in topology.inputs if group.number not in self.input_errors])
        )

    def missing(self, topology: Topology) -> list[str]:
        """Whose results have not come, by name of their first neuron; the first few, and how many more."""
        groups = [group for group in topology.outputs if group.number not in self.outputs]
        if self.mode is not Mode.FORWARD:
            groups += [group for group in topology.inputs if group.number not in self.input_errors]
        names = [group.names[0] for group in groups]
        return names if len(names) <= NAMED_AT_MOST else [*names[:NAMED_AT_MOST], f"{len(names) - NAMED_AT_MOST} more"]

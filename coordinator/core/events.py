"""The coordinator's own actions and events, besides those that every machine has. Durability is an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from coordinator.core.training import Progress
from neuron_node.protocol import GroupState, State


class Report(NamedTuple):
    """Something that a person or a program watching the run wants to know; plain data for JSON, `event` names its kind."""

    event: str
    facts: dict[str, Any]


class Row(NamedTuple):
    """The metrics of one step: its loss and accuracy before its update, and when and in which generation it was done."""

    step: int
    epoch: int
    loss: float
    accuracy: float | None
    seconds: float
    generation: int


class Snapshot(NamedTuple):
    """Every group's state after one step, whole, and where the training stood then."""

    step: int
    states: Mapping[int, State]
    progress: Progress


class Persist(NamedTuple):
    """A snapshot is complete: make it durable, and answer with `Persisted` or `PersistFailed`.

    `final` when it is the trained network; `rows` are the metrics of the steps since the snapshot before.
    """

    snapshot: Snapshot
    generation: int
    final: bool
    rows: tuple[Row, ...]


class PersistGeneration(NamedTuple):
    """Make a generation durable, and answer with `GenerationPersisted` or `PersistFailed`. Nothing is granted before."""

    generation: int


class Persisted(NamedTuple):
    """The snapshot after this step is on disk, synced."""

    step: int


class GenerationPersisted(NamedTuple):
    """This generation is on disk, synced."""

    generation: int


class PersistFailed(NamedTuple):
    """What was to be made durable is not, and why. It is tried again."""

    reason: str


class Inspected(NamedTuple):
    """After a step, everything that every group said of itself. Only where the plan asks to inspect every step."""

    step: int
    states: Mapping[int, GroupState]

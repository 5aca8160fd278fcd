"""Actions and events of the coordinator, besides those of every machine. That something is durable is an event too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from coordinator.core.access import Access
from coordinator.core.journal import Changes, Entry, Segment
from coordinator.core.training import Progress
from neuron_node.protocol import GroupState, Reply, Request, State


class Report(NamedTuple):
    """A report for the people and programs that watch the run. `event` names its kind; the facts are plain data for JSON."""

    event: str
    facts: dict[str, Any]


class Row(NamedTuple):
    """The metrics of one step: loss and accuracy before its update, and the time and generation in which it was done."""

    step: int
    epoch: int
    loss: float
    accuracy: float | None
    seconds: float
    generation: int


class Snapshot(NamedTuple):
    """The states of all groups after one step, the progress of the training at that step, and the interventions until then."""

    step: int
    states: Mapping[int, State]
    progress: Progress
    changes: Changes = Changes()


class Persist(NamedTuple):
    """Make a complete snapshot durable, and answer with `Persisted` or `PersistFailed`.

    `final` marks the trained network; `rows` are the metrics of the steps since the previous snapshot. `journal` has all entries
    if there is a new one. It must be durable before the snapshot. If the snapshot begins a branch, the run goes back: the metrics
    become those of the snapshot's origin, and the snapshots of later steps leave the last two.
    """

    snapshot: Snapshot
    generation: int
    final: bool
    rows: tuple[Row, ...]
    journal: tuple[Entry, ...] = ()


class LoadSnapshot(NamedTuple):
    """Load a kept snapshot for a rewind, and answer with `SnapshotLoaded`. `segments` are the branches to look in, in order."""

    request_id: bytes
    step: int
    segments: tuple[Segment, ...]


class SnapshotLoaded(NamedTuple):
    """The snapshot that a rewind has asked for, or the reason why there is none."""

    request_id: bytes
    snapshot: Snapshot | None
    reason: str = ""


class PrepareRun(NamedTuple):
    """Prepare another run, and answer with `RunPrepared`. `settings` are those that change, `nodes` are registered."""

    request_id: bytes
    settings: Mapping[str, Any]
    nodes: int


class RunPrepared(NamedTuple):
    """Another run is on disk, and the next coordinator begins it; or the reason why there is none."""

    request_id: bytes
    facts: Mapping[str, Any]
    reason: str = ""


class ListSnapshots(NamedTuple):
    """List the kept snapshots for a client, and answer with `SnapshotsListed`."""

    request_id: bytes


class SnapshotsListed(NamedTuple):
    """The branch and step of each kept snapshot, in order, or the reason why they can't be listed."""

    request_id: bytes
    kept: tuple[tuple[int, int], ...]
    reason: str = ""


class PersistGeneration(NamedTuple):
    """Make a generation durable, and answer with `GenerationPersisted` or `PersistFailed`. No group is granted before.

    `interventions` of the generations so far were begun by an intervention, and not by a recovery.
    """

    generation: int
    interventions: int = 0


class Persisted(NamedTuple):
    """The snapshot after this step is on disk and synced."""

    step: int


class GenerationPersisted(NamedTuple):
    """This generation is on disk and synced."""

    generation: int


class PersistFailed(NamedTuple):
    """A write has failed, and why. It will be tried again."""

    reason: str


class Inspected(NamedTuple):
    """The states of all groups after a step, if the plan asks to inspect every step."""

    step: int
    states: Mapping[int, GroupState]
    path: tuple[Entry, ...] = ()
    """The interventions until then."""


class Publish(NamedTuple):
    """Publish these frames at the front door, to the subscribers of a topic."""

    topic: bytes
    frames: tuple[bytes, ...]


class Asked(NamedTuple):
    """A request arrived at the front door. `access` says what its sender may do."""

    request: Request
    access: Access


class Answer(NamedTuple):
    """Answer the request with this id."""

    request_id: bytes
    reply: Reply

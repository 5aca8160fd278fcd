"""Compare the kept snapshots of a run with the textbook.

Each snapshot is compared with the textbook's steps and interventions since the snapshot before it on its path: the latest kept
one that led to it, or the initial network. So rounding has no more than the steps between two snapshots to grow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from coordinator.core.events import Snapshot
from coordinator.core.journal import Changes, Journal
from coordinator.core.run_plan import RunPlan
from coordinator.data.prepared import PreparedData
from coordinator.defaults import NetworkSettings
from coordinator.errors import Damaged, UserError
from coordinator.storage.disk import REAL_DISK
from coordinator.storage.history import Key, history_of
from coordinator.storage.journal_file import JournalFile
from coordinator.storage.resumption import checked_config
from coordinator.storage.run_folder import RunFolder
from coordinator.topology import Parameters
from coordinator.verify.comparison import TOLERANCE
from coordinator.verify.watching import Reader, places_of

BEGINNING = Key(0, 0)


class Compared(NamedTuple):
    """A snapshot and its difference from the textbook: relative to the largest number of its kind in the network.

    `since` is the branch and step that the textbook began from, and `interventions` the number of changes since then. `fault`
    says what is wrong, or is None.
    """

    branch: int
    step: int
    since: Key
    interventions: int
    difference: float | None
    fault: str | None


class KeptSnapshots:
    """The snapshots and the journal of a run, for comparison."""

    def __init__(self, directory: RunFolder) -> None:
        """Raises `UserError`: the run cannot be read, or its journal is damaged."""
        config = checked_config(directory)
        data = PreparedData.load(directory.data)
        if directory.prepared_sha256() != config["prepared_sha256"]:
            raise UserError(f"{directory.data} is not the data that the run was started with; put it back")
        self._plan = RunPlan(
            run=b"",
            incarnation=b"",
            seed=config["seed"],
            network=NetworkSettings.from_json(config["network"]),
            data=data,
            group_size=config["group_size"],
            fingerprint=config["fingerprint"],
            steps_at_most=config["steps_at_most"],
        )
        self._topology = self._plan.topology()
        self._history = history_of(directory, config)
        try:
            self.journal = Journal(JournalFile(directory.path, REAL_DISK).peek())
        except (Damaged, OSError) as fault:
            raise UserError(
                f"the journal of the run {directory.path.name} can't be used ({fault}); put it back"
            ) from None

    def compare(self) -> Iterator[Compared]:
        """Yield a comparison for each kept snapshot, in the order of branches and steps."""
        reader = Reader(self._plan)
        found: dict[Key, Snapshot] = {}
        keys = self._history.keys()
        for key in keys:
            try:
                snapshot = self._history.load(key.step, self._topology, key.branch).snapshot
            except UserError as fault:
                yield Compared(*key, BEGINNING, 0, None, str(fault))
                continue
            yield self._compared(key, snapshot, found, reader)
            found[key] = snapshot

    def _compared(self, key: Key, snapshot: Snapshot, found: dict[Key, Snapshot], reader: Reader) -> Compared:
        applied = snapshot.changes.applied
        if key.branch >= self.journal.branches or applied > len(self.journal.entries):
            return Compared(*key, BEGINNING, 0, None, "the journal does not have its changes")
        path = self.journal.path_of(key.branch)
        before = self._before(key, snapshot, found)
        since = Key(before.changes.branch, before.step) if before else BEGINNING
        reader.begin_at(before)
        changes = [entry for entry in path if (before.changes.applied if before else 0) < entry.number <= applied]
        reader.go_on_to(key.step, changes)
        book = Parameters(tuple(reader.textbook.biases), tuple(reader.textbook.weights))
        difference = largest_difference(self._topology.assemble(snapshot.states), book)
        fault = None if difference <= TOLERANCE else f"its numbers differ by {difference:.1e}"
        if _effects(reader, snapshot.changes) != (snapshot.changes.learning_rate, snapshot.changes.silent):
            fault = "its learning rate or its silent neurons are not those of the journal"
        return Compared(*key, since, len(changes), difference, fault)

    def _before(self, key: Key, snapshot: Snapshot, found: dict[Key, Snapshot]) -> Snapshot | None:
        """Return the latest snapshot before this one on its path."""
        segments = self.journal.segments_of(key.branch)
        earlier = [
            (known.step, known.branch)
            for known, kept in found.items()
            if known.step <= key.step
            and kept.changes.applied <= snapshot.changes.applied
            and any(segment.has(*known) for segment in segments)
        ]
        if not earlier:
            return None
        step, branch = max(earlier)
        return found[Key(branch, step)]


def largest_difference(one: Parameters, other: Parameters) -> float:
    """Return the largest difference of biases, relative to the largest bias, or of weights, relative to the largest weight."""
    differences = []
    for mine, theirs in ((one.biases, other.biases), (one.weights, other.weights)):
        largest = max((float(np.abs(array).max()) for array in theirs if array.size), default=0.0) or 1.0
        differences += [float(np.abs(a - b).max()) / largest for a, b in zip(mine, theirs, strict=True) if a.size]
    return float(np.nan_to_num(max(differences, default=0.0), nan=np.inf))


def _effects(reader: Reader, changes: Changes) -> tuple[float | None, tuple[str, ...]]:
    """Return the learning rate and the silent neurons of the textbook, as `Changes` has them."""
    book = reader.textbook
    silent = tuple(
        name for name, (layer, index) in places_of(book.network.layers).items() if index in book.silent.get(layer, ())
    )
    unchanged = book.learning_rate == book.network.learning_rate and changes.learning_rate is None
    return (None if unchanged else book.learning_rate), silent

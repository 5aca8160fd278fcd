"""Compare the kept snapshots of a run with the textbook.

Each snapshot is compared with the textbook's steps and interventions since the snapshot before it on its path: the latest kept
one that led to it, or the initial network. So rounding has no more than the steps between two snapshots to grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from coordinator.core.events import Snapshot
from coordinator.core.journal import Changes, Journal
from coordinator.core.run_plan import RunPlan
from coordinator.topology import Parameters
from coordinator.verify.comparison import TOLERANCE
from coordinator.verify.watching import Reader, places_of


class Place(NamedTuple):
    """The branch and the step of a snapshot."""

    branch: int
    step: int


BEGINNING = Place(0, 0)


class Compared(NamedTuple):
    """A snapshot and its difference from the textbook: relative to the largest number of its kind in the network.

    `since` is the branch and step that the textbook began from, and `interventions` the number of changes since then. `fault`
    says what is wrong, or is None.
    """

    branch: int
    step: int
    since: Place
    interventions: int
    difference: float | None
    fault: str | None


def compare_kept(plan: RunPlan, journal: Journal, kept: Iterable[tuple[Place, Snapshot | str]]) -> Iterator[Compared]:
    """Yield a comparison for each snapshot. They come in the order of branches and steps, or with the reason why they can't be used."""
    comparing = _Comparing(plan, journal)
    for place, snapshot in kept:
        if isinstance(snapshot, str):
            yield Compared(*place, BEGINNING, 0, None, snapshot)
        else:
            yield comparing.compare(place, snapshot)


class _Comparing:
    """The textbook, and the snapshots so far."""

    def __init__(self, plan: RunPlan, journal: Journal) -> None:
        self._journal = journal
        self._topology = plan.topology()
        self._reader = Reader(plan)
        self._found: dict[Place, Snapshot] = {}

    def compare(self, place: Place, snapshot: Snapshot) -> Compared:
        """Compare a snapshot with the textbook."""
        applied = snapshot.changes.applied
        if place.branch >= self._journal.branches or applied > len(self._journal.entries):
            return Compared(*place, BEGINNING, 0, None, "the journal does not have its changes")
        before = self._before(place, snapshot)
        self._found[place] = snapshot
        first = before.changes.applied if before else 0
        changes = [entry for entry in self._journal.path_of(place.branch) if first < entry.number <= applied]
        self._reader.begin_at(before)
        self._reader.go_on_to(place.step, changes)
        book = Parameters(tuple(self._reader.textbook.biases), tuple(self._reader.textbook.weights))
        difference = largest_difference(self._topology.assemble(snapshot.states), book)
        fault = None if difference <= TOLERANCE else f"its numbers differ by {difference:.1e}"
        if _effects(self._reader, snapshot.changes) != (snapshot.changes.learning_rate, snapshot.changes.silent):
            fault = "its learning rate or its silent neurons are not those of the journal"
        if missed := self._journal.missed(place.branch, place.step, applied):
            fault = f"it does not contain entry {missed.number} of the journal"
        since = Place(before.changes.branch, before.step) if before else BEGINNING
        return Compared(*place, since, len(changes), difference, fault)

    def _before(self, place: Place, snapshot: Snapshot) -> Snapshot | None:
        """Return the latest snapshot before this one on its path."""
        segments = self._journal.segments_of(place.branch)
        earlier = [
            (known.step, known.branch)
            for known, kept in self._found.items()
            if known.step <= place.step
            and kept.changes.applied <= snapshot.changes.applied
            and any(segment.has(*known) for segment in segments)
        ]
        if not earlier:
            return None
        step, branch = max(earlier)
        return self._found[Place(branch, step)]


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

"""The journal of a run: the changes that a person has made, each after which step of which branch.

The weights of a run follow from its settings, its seed and its journal. A snapshot states how many entries it contains
(`Changes.applied`); the later entries on the path are applied again at their steps.

A rewind begins a branch. Its entry names the snapshot that it starts from: the branch, the step, and the entries that the
snapshot contains. The path of a branch is the path of the branch before it up to that snapshot, and then its own entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

RATE, WEIGHT, BIAS, SILENCE, WAKE, REWIND = "rate", "weight", "bias", "silence", "wake", "rewind"
KINDS = (RATE, WEIGHT, BIAS, SILENCE, WAKE, REWIND)
ENTRIES_AT_MOST = 10_000


class Entry(NamedTuple):
    """One change, which takes effect after `step` of `branch`. Each kind uses the fields that it needs."""

    number: int
    """Counts all entries of the run, from 1."""
    branch: int
    step: int
    request: str
    """The client's name for the request, as hexadecimal digits: a repeated request is found by it."""
    kind: str
    neuron: str = ""
    to: str = ""
    """The receiver of the weight."""
    value: float = 0.0
    """The new rate, weight or bias."""
    origin: int = 0
    """The branch of the snapshot to which a rewind goes."""
    applied: int = 0
    """The last entry that this snapshot contains."""


class Changes(NamedTuple):
    """What the journal has made of a network besides its numbers. It belongs to a snapshot."""

    branch: int = 0
    applied: int = 0
    """The number of the last entry that the snapshot contains; 0 if it contains none."""
    learning_rate: float | None = None
    """None: the learning rate of the settings."""
    silent: tuple[str, ...] = ()
    """The neurons whose activity counts as 0, in the order of the topology."""


class Segment(NamedTuple):
    """The steps of the present path that were done in one branch. `last` is None for the present branch."""

    branch: int
    first: int
    last: int | None = None

    def has(self, branch: int, step: int) -> bool:
        """Whether a snapshot of a branch after a step belongs to this segment."""
        return branch == self.branch and self.first <= step and (self.last is None or step <= self.last)


class Journal:
    """The entries of a run, in the order of their numbers."""

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self.entries = tuple(entries)
        self._paths: dict[int, tuple[Entry, ...]] = {0: ()}
        self._by_request = {entry.request: entry for entry in self.entries}
        for entry in self.entries:
            if entry.kind == REWIND:
                before = self._paths[entry.origin]
                self._paths[entry.branch] = tuple(one for one in before if one.number <= entry.applied)
            else:
                self._paths[entry.branch] += (entry,)

    @property
    def branch(self) -> int:
        """The present branch."""
        return next((entry.branch for entry in reversed(self.entries) if entry.kind == REWIND), 0)

    @property
    def branches(self) -> int:
        """How many branches the run has. They are numbered from 0."""
        return 1 + sum(entry.kind == REWIND for entry in self.entries)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The branches that the present path has passed, the present one first."""
        return self.segments_of(self.branch)

    def segments_of(self, branch: int) -> tuple[Segment, ...]:
        """Return the branches that the path of a branch has passed, the branch itself first."""
        begun = {entry.branch: entry for entry in self.entries if entry.kind == REWIND}
        found, last = list[Segment](), None
        while branch in begun:
            entry = begun[branch]
            found.append(Segment(branch, entry.step, last))
            branch, last = entry.origin, entry.step
        return (*found, Segment(branch, 0, last))

    @property
    def path(self) -> tuple[Entry, ...]:
        """The changes that have led to the present branch and in it, in order, without those that a rewind has undone."""
        return self.path_of(self.branch)

    def path_of(self, branch: int) -> tuple[Entry, ...]:
        """Return the changes that have led to a branch and in it, in order."""
        return self._paths[branch]

    def due(self, applied: int) -> Entry | None:
        """Return the first change on the path that a snapshot with these entries does not contain."""
        return next((entry for entry in self.path if entry.number > applied), None)

    def due_after(self, step: int, applied: int) -> tuple[Entry, ...]:
        """Return the changes after this step that a snapshot with these entries does not contain."""
        return tuple(entry for entry in self.path if entry.number > applied and entry.step == step)

    def missed(self, branch: int, step: int, applied: int) -> Entry | None:
        """Return the first change on the path of a branch that a snapshot after this step should contain, but does not.

        The change after the snapshot's own step may follow.
        """
        return next((entry for entry in self.path_of(branch) if entry.number > applied and entry.step < step), None)

    def of_request(self, request: str) -> Entry | None:
        """Return the entry of a request; None if the request was not carried out."""
        return self._by_request.get(request)

    def leads_from(self, changes: Changes, step: int) -> bool:
        """Whether the present branch continues from a snapshot after this step with these changes."""
        branch, last_step, last_entry = self.branch, step, changes.applied
        while branch != changes.branch:
            begun = next((one for one in self.entries if one.kind == REWIND and one.branch == branch), None)
            if begun is None:
                return False
            branch, last_step, last_entry = begun.origin, begun.step, begun.applied
        return step <= last_step and changes.applied <= last_entry

    @staticmethod
    def is_whole(entries: Sequence[Entry]) -> bool:
        """Whether numbers, branches and steps are those of a journal, so that a path can be made of them."""
        ends: dict[int, int] = {0: 0}
        for number, entry in enumerate(entries, start=1):
            if entry.number != number or entry.kind not in KINDS or entry.step < 0:
                return False
            if entry.kind == REWIND:
                if entry.branch in ends or entry.origin not in ends or not 0 <= entry.applied < number:
                    return False
            elif entry.branch not in ends or entry.step < ends[entry.branch]:
                return False
            ends[entry.branch] = entry.step
        return True

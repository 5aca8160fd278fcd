"""Bugs of interventions to be planted, like those of `plants.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import coordinator.core.editing as editing_module
import coordinator.core.interventions as interventions_module
from coordinator.core.interventions import Interventions
from coordinator.core.journal import Entry, Journal
from coordinator.storage.run_store import RunStore
from tests.simulation.reached import reach


def journal_after_grant(patch: pytest.MonkeyPatch) -> None:
    """The journal is written with the first snapshot after the change, when the change is granted already."""
    real = RunStore.persist

    def persist(self: RunStore, action: Any) -> Any:
        late = getattr(self, "_late", ())
        if len(action.journal) > self._entries:
            reach("journal_after_grant")
            self._late = action.journal  # type: ignore[attr-defined]
        return real(self, action._replace(journal=late))

    patch.setattr(RunStore, "persist", persist)


def snapshot_not_edited(patch: pytest.MonkeyPatch) -> None:
    """The change is in the journal, and its snapshot says so, but has the numbers of before."""
    real = editing_module.edited

    def edited(snapshot: Any, *rest: Any) -> Any:
        made = real(snapshot, *rest)
        if made.states != snapshot.states:
            reach("snapshot_not_edited")
        return made._replace(states=snapshot.states)

    patch.setattr(interventions_module, "edited", edited)


def applied_twice_after_a_crash(patch: pytest.MonkeyPatch) -> None:
    """A coordinator that begins again does not look for a repeated request in the journal."""
    real = Interventions.known

    def known(self: Interventions, request_id: bytes) -> bool:
        entry = self.journal.of_request(request_id.hex())
        if entry is not None and entry in self._run.plan.journal:
            reach("applied_twice_after_a_crash")
            return False
        return real(self, request_id)

    patch.setattr(Interventions, "known", known)


def entry_of_another_branch_replayed(patch: pytest.MonkeyPatch) -> None:
    """After a rewind, the entries that it has undone are carried out again when their steps come."""
    real = Journal.__init__

    def init(self: Journal, entries: Any = ()) -> None:
        everything = [
            entry._replace(applied=entry.number) if entry.kind == "rewind" else entry
            for entry in map(Entry._make, entries)
        ]
        real(self, everything)
        wrong, self.entries = self._paths, tuple(entries)
        real(self, self.entries)
        if wrong != self._paths:
            reach("entry_of_another_branch_replayed")
        self._paths = wrong

    patch.setattr(Journal, "__init__", init)


PLANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    plant.__name__: plant
    for plant in (
        journal_after_grant,
        snapshot_not_edited,
        applied_twice_after_a_crash,
        entry_of_another_branch_replayed,
    )
}

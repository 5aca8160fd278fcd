"""Bugs of interventions to be planted, like those of `plants.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import coordinator.core.editing as editing_module
import coordinator.core.interventions as interventions_module
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


PLANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    plant.__name__: plant
    for plant in (
        journal_after_grant,
        snapshot_not_edited,
    )
}

"""The durable state of a run: generation, snapshots and metrics, kept consistent on disk."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

from coordinator.core.events import (
    GenerationPersisted,
    Persist,
    Persisted,
    PersistFailed,
    PersistGeneration,
    Snapshot,
)
from coordinator.core.journal import Entry, Journal
from coordinator.errors import Damaged, UserError
from coordinator.storage.disk import REAL_DISK, Disk
from coordinator.storage.generation_record import GenerationRecord
from coordinator.storage.history import History
from coordinator.storage.journal_file import JournalFile
from coordinator.storage.run_log import MetricsFile
from coordinator.storage.snapshots import Saved, SnapshotStore
from coordinator.topology import Topology

BEYOND_ANY = 2**32
"""Added to the last known generation if the record is lost. No run has as many recoveries."""

logger = logging.getLogger("exmachina")


class Standing(NamedTuple):
    """The state of a run: the highest generation that it may have used, and its last good snapshot."""

    generation: int
    snapshot: Snapshot | None
    interventions: int = 0
    """How many of these generations were begun by an intervention."""
    journal: tuple[Entry, ...] = ()


class RunStore:
    """Carries out `Persist` and `PersistGeneration` of the coordinator machine, and loads the state of earlier processes."""

    def __init__(self, folder: Path, identity: str, disk: Disk = REAL_DISK, history: History | None = None) -> None:
        """Without a `history`, only the last two snapshots are kept."""
        self.metrics = MetricsFile(folder / "metrics.csv", disk)
        self._folder = folder
        self._record = GenerationRecord(folder, disk)
        self._journal = JournalFile(folder, disk)
        self._entries = 0
        """Entries of the journal that are durable."""
        self._snapshots = SnapshotStore(folder, identity, disk, history.take if history else None)
        self._durable_step = 0
        self._half_done = False
        self.damage: list[str] = []
        """One line for each damaged file that `standing` found, with its replacement."""

    def standing(self, topology: Topology) -> Standing:
        """Load the state that an earlier process left, and cut the metrics after its snapshot. Raises `OSError`.

        Raises:
            UserError: the journal is damaged. The run cannot be repeated without it.
        """
        damaged: list[str] = []
        journal = self._read_journal()
        self._entries = len(journal)
        path = Journal(journal)
        saved = self._snapshots.latest(
            topology, damaged.append, lambda snapshot: path.leads_from(snapshot.changes, snapshot.step)
        )
        if saved and saved.snapshot.changes.applied > len(journal):
            raise UserError(
                f"the journal of the run has {len(journal)} entries, and its snapshot contains {saved.snapshot.changes.applied}; "
                "put journal.0 and journal.1 back, or begin another run"
            )
        instead = f"continuing after step {saved.snapshot.step:,}" if saved else "starting again with the first step"
        self.damage = [f"{line}; {instead}" for line in damaged]
        snapshots_generation = saved.generation if saved else 0
        try:
            recorded, interventions = self._record.read()
        except Damaged as fault:
            recorded, interventions = snapshots_generation + BEYOND_ANY, 0
            self.damage.append(f"the record of the generation is damaged ({fault}); continuing with {recorded:,}")
            logger.error("%s", self.damage[-1])
        self._durable_step = saved.snapshot.step if saved else 0
        self._check_metrics(saved)
        self.metrics.cut(self._durable_step)
        generation = max(recorded, snapshots_generation)
        return Standing(generation, saved.snapshot if saved else None, interventions, journal)

    def _read_journal(self) -> tuple[Entry, ...]:
        try:
            return self._journal.read()
        except Damaged as fault:
            raise UserError(
                f"the journal of the run is damaged ({fault}), so its interventions can't be repeated; put it back, or begin "
                "another run"
            ) from None

    def _check_metrics(self, saved: Saved | None) -> None:
        """Rename metrics that are damaged, so that no command shows them. Raises `OSError`."""
        wrong = self.metrics.check(saved.metrics) if saved and saved.metrics else None
        if wrong is None:
            return
        if "missing" not in wrong:
            self.metrics.put_aside()
            wrong += "; it is kept as metrics.csv.damaged"
        self.damage.append(
            f"{wrong}; metrics.csv has rows from step {self._durable_step + 1:,} on; no weight depends on it"
        )
        logger.error("%s", self.damage[-1])

    @property
    def durable_step(self) -> int:
        """The step of the last snapshot that is durable; 0 if there is none."""
        return self._durable_step

    def persist(self, action: Persist) -> Persisted | PersistFailed:
        """Write the journal, then the metrics, then the snapshot.

        Rows without a snapshot can be cut, missing rows cannot be made again.
        """
        snapshot = action.snapshot
        try:
            if len(action.journal) > self._entries:
                self._journal.write(action.journal)
                self._entries = len(action.journal)
            if self._half_done:
                self.metrics.cut(self._durable_step)
            self._half_done = True
            self.metrics.append(action.rows)
            self._snapshots.write(snapshot, action.generation, self.metrics.extent())
        except OSError as fault:
            return PersistFailed(f"the snapshot after step {snapshot.step} can't be saved: {fault.strerror or fault}")
        self._durable_step, self._half_done = snapshot.step, False
        return Persisted(snapshot.step)

    def persist_generation(self, action: PersistGeneration) -> GenerationPersisted | PersistFailed:
        """Make a generation durable."""
        try:
            self._record.write(action.generation, action.interventions)
        except OSError as fault:
            return PersistFailed(f"generation {action.generation} can't be saved: {fault.strerror or fault}")
        return GenerationPersisted(action.generation)

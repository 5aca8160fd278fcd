"""The durable state of a run: generation, snapshots and metrics, kept consistent on disk."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

from coordinator.core.editing import fault_of_entries
from coordinator.core.events import (
    GenerationPersisted,
    ListSnapshots,
    LoadSnapshot,
    Persist,
    Persisted,
    PersistFailed,
    PersistGeneration,
    Snapshot,
    SnapshotLoaded,
    SnapshotsListed,
)
from coordinator.core.journal import REWIND, Entry, Journal
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

PUT_BACK = "put journal.0 and journal.1 back, or begin another run"

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
        self._history = history
        self._branch = 0
        """The branch whose rows metrics.csv has."""
        self._origin: Saved | None = None
        """The snapshot that was loaded last for a rewind."""
        self._durable_step = 0
        self._half_done = False
        self.damage: list[str] = []
        """One line for each damaged file that `standing` found, with its replacement."""

    def standing(self, topology: Topology) -> Standing:
        """Load the state that an earlier process left, and cut the metrics after its snapshot. Raises `OSError`.

        Raises:
            UserError: the journal is damaged, or is not that of this run. The run cannot be repeated without it.
        """
        damaged: list[str] = []
        journal = self._read_journal()
        if fault := fault_of_entries(journal, topology):
            raise UserError(f"the journal is not that of this run: {fault}; {PUT_BACK}")
        self._entries = len(journal)
        path = Journal(journal)
        self._branch = path.branch
        saved = self._snapshots.latest(
            topology, damaged.append, lambda snapshot: path.leads_from(snapshot.changes, snapshot.step)
        )
        if saved and saved.snapshot.changes.applied > len(journal):
            raise UserError(
                f"the journal of the run has {len(journal)} entries, and its snapshot contains {saved.snapshot.changes.applied}; "
                f"{PUT_BACK}"
            )
        if saved and (missed := path.missed(path.branch, saved.snapshot.step, saved.snapshot.changes.applied)):
            raise UserError(
                f"the journal is not that of this run: the snapshot after step {saved.snapshot.step:,} does not contain entry "
                f"{missed.number:,}, a change after step {missed.step:,}; {PUT_BACK}"
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
        snapshot, rewind = action.snapshot, self._rewind_in(action)
        try:
            if len(action.journal) > self._entries:
                if rewind and self._history:
                    self._history.keep_metrics(self._branch, self.metrics.content())
                self._journal.write(action.journal)
                self._entries = len(action.journal)
            if rewind:
                self._turn_back(rewind)
            elif self._half_done:
                self.metrics.cut(self._durable_step)
            self._half_done = True
            self.metrics.append(action.rows)
            self._snapshots.write(snapshot, action.generation, self.metrics.extent())
        except OSError as fault:
            return PersistFailed(f"the snapshot after step {snapshot.step:,} can't be saved: {fault.strerror or fault}")
        self._durable_step, self._half_done = snapshot.step, False
        self._branch = snapshot.changes.branch
        return Persisted(snapshot.step)

    def _rewind_in(self, action: Persist) -> Entry | None:
        """Return the rewind that begins the branch of this snapshot; None if metrics.csv has the rows of the branch already."""
        branch = action.snapshot.changes.branch
        if branch == self._branch:
            return None
        return next(entry for entry in action.journal if entry.kind == REWIND and entry.branch == branch)

    def _turn_back(self, rewind: Entry) -> None:
        """Give metrics.csv the rows up to the snapshot that the run goes back to. Raises `OSError`."""
        if rewind.step == 0 or self._history is None or self._origin is None:
            self.metrics.cut(0)
            return
        extent = self._origin.metrics
        try:
            content = self._history.metrics_of(rewind.origin)
        except FileNotFoundError:
            content = b""
        if extent is None or extent.begins(content):
            self.metrics.replace(content if extent is None else content[: extent.size_bytes])
            self.metrics.cut(rewind.step)
            return
        self.metrics.cut(0)
        logger.error(
            "the metrics of branch %s are damaged or missing; metrics.csv has rows from step %s on; no weight depends on it",
            rewind.origin,
            f"{rewind.step + 1:,}",
        )

    def load(self, action: LoadSnapshot, topology: Topology) -> SnapshotLoaded:
        """Load a kept snapshot for a rewind."""
        if self._history is None:
            return SnapshotLoaded(action.request_id, None, "this run keeps no history, so it can't go back")
        try:
            self._origin = self._history.find(action.step, action.segments, topology)
        except UserError as fault:
            return SnapshotLoaded(action.request_id, None, str(fault))
        except OSError as fault:
            return SnapshotLoaded(
                action.request_id, None, f"the history can't be read: {fault.strerror or fault}; try again"
            )
        return SnapshotLoaded(action.request_id, self._origin.snapshot)

    def kept(self, action: ListSnapshots) -> SnapshotsListed:
        """List the kept snapshots."""
        if self._history is None:
            return SnapshotsListed(action.request_id, (), "this run keeps no history")
        try:
            return SnapshotsListed(action.request_id, tuple(self._history.keys()))
        except OSError as fault:
            return SnapshotsListed(
                action.request_id, (), f"the history can't be read: {fault.strerror or fault}; try again"
            )

    def persist_generation(self, action: PersistGeneration) -> GenerationPersisted | PersistFailed:
        """Make a generation durable."""
        try:
            self._record.write(action.generation, action.interventions)
        except OSError as fault:
            return PersistFailed(f"generation {action.generation} can't be saved: {fault.strerror or fault}")
        return GenerationPersisted(action.generation)

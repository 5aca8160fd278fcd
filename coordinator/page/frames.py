"""The kept snapshots of a run, measured on the held-out samples: what picture and report show over time.

The measurements use the matrices of the textbook, not the programs of the neurons, so they need no running network.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from coordinator.core.journal import Journal
from coordinator.core.training import LOSSES, Epoch
from coordinator.data.prepared import PreparedData
from coordinator.data.table import Floats
from coordinator.defaults import NetworkSettings
from coordinator.errors import Damaged, UserError
from coordinator.page.picture_state import Frame, most_frames, spread
from coordinator.scores import accuracy
from coordinator.storage.disk import REAL_DISK
from coordinator.storage.history import Kept, Key, history_of
from coordinator.storage.journal_file import JournalFile
from coordinator.storage.resumption import checked_config
from coordinator.storage.run_folder import RunFolder
from coordinator.topology import Parameters, Topology
from coordinator.verify.textbook import Textbook
from coordinator.verify.watching import silent_in

logger = logging.getLogger("exmachina")


class Measured(NamedTuple):
    """A frame, and the activities of the outputs (rows, outputs) for the held-out samples."""

    frame: Frame
    outputs: Floats


class RunFrames:
    """The snapshots of one run."""

    def __init__(self, directory: RunFolder) -> None:
        """Raises `UserError`: the run cannot be read, or has no snapshot that can be used."""
        self.directory = directory
        self.config: dict[str, Any] = checked_config(directory)
        self.network = NetworkSettings.from_json(self.config["network"])
        self.result = directory.result() or {}
        self.data = PreparedData.load(directory.data)
        if (self.data.encoding.features, self.data.encoding.outputs) != (
            self.network.layers[0],
            self.network.layers[-1],
        ):
            raise UserError(f"{directory.data} does not fit the network of the run; put the run's own file back")
        self._topology = Topology(self.network.layers, self.config["group_size"])
        self._history = history_of(directory, self.config)
        self.kept = self._on_path(self._history.kept(self._topology, self.result.get("test_loss")))
        self.good = [row for row in self.kept if row.fault is None]
        if not self.good:
            why = f"; of those it has, {self.kept[-1].file} is damaged ({self.kept[-1].fault})" if self.kept else ""
            raise UserError(
                f"the run {directory.path.name} has no snapshot that can be drawn{why}; "
                "a run has one after its first steps, and keeps more with --history"
            )
        last = self.good[-1]
        self.epochs: Sequence[Epoch] = self._history.load(
            last.step, self._topology, last.branch
        ).snapshot.progress.epochs
        steps = self.config.get("steps")
        self.steps = steps if isinstance(steps, int) and steps > 0 else last.step
        self.steps_per_epoch = max(1, self.steps // self.network.epochs)

    def _on_path(self, rows: Sequence[Kept]) -> list[Kept]:
        """Return the snapshots that led to the present branch, in the order of their steps; one for each step."""
        try:
            journal = Journal(JournalFile(self.directory.path, REAL_DISK).peek())
        except (Damaged, OSError) as fault:
            raise UserError(f"the journal of the run {self.directory.path.name} can't be used ({fault})") from None
        # The snapshot that begins a branch takes the place of the one that it comes from.
        steps = {
            row.step: row for segment in reversed(journal.segments) for row in rows if segment.has(row.branch, row.step)
        }
        return [row for _, row in sorted(steps.items())]

    def measured(self) -> Iterator[Measured]:
        """Return the network before the first step and at each kept snapshot, as many as a picture can hold."""
        book = Textbook(self.network, self.config["seed"])
        most = most_frames(self.network.layers)
        best = next((row.step for row in self.good if row.best), None)
        begun = [Key(0, 0)] if most > 1 else []
        for key in spread([*begun, *(Key(row.branch, row.step) for row in self.good)], most):
            row = next((row for row in self.good if row.step == key.step), None)
            if row is not None:
                try:
                    saved = self._history.load(key.step, self._topology, key.branch)
                except UserError as fault:
                    # The run goes on, and has thinned its history in the meantime.
                    logger.warning("%s", fault)
                    continue
                parameters = self._topology.assemble(saved.snapshot.states)
                book.biases, book.weights = list(parameters.biases), list(parameters.weights)
                book.silent = silent_in(self.network.layers, saved.snapshot.changes)
            parameters = Parameters(tuple(book.biases), tuple(book.weights))
            with np.errstate(over="ignore"):
                outputs = book.forward(self.data.test_inputs)[-1]
            targets = self.data.test_targets
            frame = Frame(
                step=key.step,
                epoch=row.epoch if row else None,
                loss=row.loss if row else None,
                held_out_loss=LOSSES[self.network.loss](outputs, targets),
                held_out_accuracy=accuracy(self.data.encoding, outputs, targets),
                best=key.step == best,
                sha256=parameters.sha256(),
                parameters=parameters,
            )
            yield Measured(frame, outputs)

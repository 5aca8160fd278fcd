"""The history of a run on disk: older snapshots, spread evenly over its steps, and the best by held-out loss.

    history/branch-000-step-000000150.snapshot    a snapshot, as in `snapshots`
    history/branch-000.metrics.csv                metrics.csv as it was when a rewind left the branch

A snapshot that is no longer among the last two is renamed into this folder, so nothing is written twice and a kill leaves no
half file. Which snapshots are kept depends on steps, sizes and losses only, never on a clock. The history is not needed to
continue a run: its folder is not synced, and a power failure may lose the latest names in it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coordinator.core.journal import Segment
from coordinator.core.training import Epoch
from coordinator.defaults import HISTORY_BYTES, NetworkSettings
from coordinator.errors import Damaged, UserError
from coordinator.storage.disk import REAL_DISK, Disk, write_whole
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.run_log import LARGEST_METRICS_BYTES
from coordinator.storage.snapshots import LARGEST_SNAPSHOT_BYTES, Saved, decode_snapshot, header_of, steps_in
from coordinator.topology import Topology

MOST_KEPT = 50
FOLDER = "history"
NAME = re.compile(r"branch-(\d{3,9})-step-(\d{9,18})\.snapshot")

METRICS_NAME = re.compile(r"branch-(\d{3,9})\.metrics\.csv")

logger = logging.getLogger("exmachina")


class Key(NamedTuple):
    """The branch and the step of a snapshot. A run begins with branch 0."""

    branch: int
    step: int


class Fact(NamedTuple):
    """The size of a snapshot, and the held-out loss after the last epoch that ended at or before its step."""

    size_bytes: int
    held_out_loss: float | None = None


class Kept(NamedTuple):
    """A kept snapshot. `fault` says why it cannot be used; then only branch, step and size are known.

    `epoch` is the number of whole epochs, `loss` the mean loss of the present epoch (or of the last one, at its end), and
    `held_out_loss` that after the last whole epoch. `sha256` is the digest of the weights, as in result.json.
    """

    branch: int
    step: int
    epoch: int | None
    loss: float | None
    held_out_loss: float | None
    size_bytes: int
    best: bool
    sha256: str | None
    file: str
    fault: str | None


def best_of(facts: Mapping[Key, Fact]) -> Key | None:
    """Return the key with the lowest held-out loss, the earliest of equals; None if no loss is known."""
    known = [(fact.held_out_loss, key) for key, fact in facts.items() if fact.held_out_loss is not None]
    return min(known)[1] if known else None


def thinned(facts: Mapping[Key, Fact], most: int, most_bytes: int) -> list[Key]:
    """Return the keys to keep, in order: at most `most`, with at most `most_bytes` in all.

    While there are too many, the snapshot whose two neighbours in its branch are closest goes (the earliest of equals). The
    newest and the best are removed last, the best after the newest.
    """
    kept = sorted(facts)
    best = best_of(facts)
    total = sum(facts[key].size_bytes for key in kept)
    while kept and (len(kept) > most or total > most_bytes):
        others = [number for number, key in enumerate(kept[:-1]) if key != best]
        number = min(others, key=lambda number: (_gap(kept, number), kept[number])) if others else len(kept) - 1
        total -= facts[kept.pop(number)].size_bytes
    return kept


def _gap(kept: Sequence[Key], number: int) -> int:
    """Return the gap in steps that the removal of a snapshot would leave. Every branch counts from step 0."""
    key = kept[number]
    before = kept[number - 1] if number and kept[number - 1].branch == key.branch else Key(key.branch, 0)
    after = kept[number + 1] if kept[number + 1].branch == key.branch else key
    return after.step - before.step


class History:
    """The history of one run."""

    def __init__(
        self,
        folder: Path,
        identity: str,
        disk: Disk = REAL_DISK,
        *,
        most_bytes: int,
        most: int = MOST_KEPT,
        steps_per_epoch: int | None = None,
    ) -> None:
        """`most_bytes` of 0 keeps nothing. Without `steps_per_epoch`, no held-out loss is known."""
        self._run = folder
        self._folder = folder / FOLDER
        self._identity = identity
        self._disk = disk
        self._most, self._most_bytes = most, most_bytes
        self._steps_per_epoch = steps_per_epoch
        self._facts: dict[Key, Fact] | None = None

    def take(self, path: Path, step: int, epochs: Sequence[Epoch], branch: int = 0) -> None:
        """Move the snapshot at `path` into the history, or remove it; `epochs` are the latest metrics of the branch.

        A file that cannot be moved is removed. Raises `OSError` if that fails too.
        """
        key = Key(branch, step)
        try:
            if self._most_bytes:
                if self._facts is None:
                    self._facts = self._found()
                sizes = {
                    old: fact.size_bytes
                    for old, fact in self._facts.items()
                    if old.branch == branch and old.step <= step
                }
                sizes[key] = self._disk.size(path)
                # After a restart, the newest file of the history may lack the metrics of the last epochs.
                facts = self._facts | {
                    old: Fact(size, self._loss_after(old.step, epochs)) for old, size in sizes.items()
                }
                keys = thinned(facts, self._most, self._most_bytes)
                for old in self._facts.keys() - set(keys):
                    self._disk.remove(self._path(old))
                    del self._facts[old]
                    self._remove_metrics(old.branch, keys)
                if key in keys:
                    self._disk.make_folder(self._folder)
                    self._disk.rename(path, self._path(key))
                    self._facts[key] = facts[key]
                    return
        except OSError as fault:
            self._facts = None
            logger.error("the snapshot after step %s can't be kept: %s", f"{step:,}", fault.strerror or fault)
        self._disk.remove(path)

    def keep_metrics(self, branch: int, content: bytes) -> None:
        """Keep metrics.csv of a branch that a rewind leaves: a later rewind may go back to the branch. Raises `OSError`."""
        self._disk.make_folder(self._folder)
        self._disk.sync_folder(self._run)
        write_whole(self._metrics_path(branch), content, self._disk)

    def metrics_of(self, branch: int) -> bytes:
        """Return the metrics of a branch that a rewind has left. Raises `OSError`."""
        return self._disk.read(self._metrics_path(branch), LARGEST_METRICS_BYTES)

    def check_metrics(self, name: str, topology: Topology) -> str | None:
        """Return the fault of the metrics of a left branch, or None: they must begin as each snapshot of the branch says."""
        match = METRICS_NAME.fullmatch(name)
        assert match is not None, "the caller knows the name"
        branch, files = int(match[1]), self._files()
        try:
            content = self.metrics_of(branch)
        except OSError as fault:
            return str(fault.strerror or fault)
        for key in sorted(files, reverse=True):
            found = self._read(key, files[key], topology) if key.branch == branch else None
            if isinstance(found, Saved) and found.metrics is not None:
                return None if found.metrics.begins(content) else "it is not as it was written"
        return None

    def _remove_metrics(self, branch: int, kept: Sequence[Key]) -> None:
        """Remove the metrics of a branch that has no snapshot left."""
        if not any(key.branch == branch for key in (*kept, *self._files())):
            self._disk.remove(self._metrics_path(branch))

    def _metrics_path(self, branch: int) -> Path:
        return self._folder / f"branch-{branch:03d}.metrics.csv"

    def keys(self) -> list[Key]:
        """Return the branch and step of each snapshot in the history and of the last two, damaged or not, in order."""
        return sorted(self._files())

    def kept(self, topology: Topology, final_loss: float | None = None) -> list[Kept]:
        """Return all kept snapshots, in order. `final_loss` is the held-out loss after the last step of a finished run."""
        files = self._files()
        saved: dict[Key, Saved | str] = {}
        rows = []
        for key in sorted(files):
            saved[key] = self._read(key, files[key], topology)
        epochs: dict[int, tuple[Epoch, ...]] = {}
        for key, found in saved.items():
            if isinstance(found, Saved):
                epochs[key.branch] = found.snapshot.progress.epochs
        losses: dict[Key, Fact] = {}
        for key, found in saved.items():
            if isinstance(found, Saved):
                loss = self._loss_after(key.step, epochs[key.branch])
                losses[key] = Fact(0, loss)
        if final_loss is not None and losses:
            losses[max(losses)] = Fact(0, final_loss)
        best = best_of(losses)
        for key, found in saved.items():
            name = files[key].relative_to(self._run).as_posix()
            try:
                size = self._disk.size(files[key])
            except FileNotFoundError:
                # The run has removed this file in the meantime.
                continue
            except OSError:
                size = 0
            if isinstance(found, str):
                rows.append(Kept(*key, None, None, None, size, best=False, sha256=None, file=name, fault=found))
                continue
            now = found.snapshot.progress
            loss = now.loss_sum / now.seen if now.seen else (now.epochs[-1].loss if now.epochs else None)
            ended = len(now.epochs) if self._steps_per_epoch is None else key.step // self._steps_per_epoch
            digest = topology.assemble(found.snapshot.states).sha256()
            held_out = losses[key].held_out_loss
            rows.append(Kept(*key, ended, loss, held_out, size, key == best, digest, name, None))
        return rows

    def load(self, step: int, topology: Topology, branch: int = 0) -> Saved:
        """Return the snapshot after a step. Raises `UserError`: it is not kept (the message says which are), or damaged."""
        files = self._files()
        key = Key(branch, step)
        if key not in files:
            steps = [f"{known.step:,}" for known in sorted(files) if known.branch == branch]
            there = f"kept are: {', '.join(steps)}" if steps else "none is kept"
            raise UserError(f"no snapshot after step {step:,} is kept; {there}")
        found = self._read(key, files[key], topology)
        if isinstance(found, str):
            raise UserError(f"the snapshot after step {step:,} can't be used ({found})")
        return found

    def find(self, step: int, segments: Sequence[Segment], topology: Topology) -> Saved:
        """Return the snapshot after a step in the first segment that has one. Raises `UserError`, as `load` does."""
        files = self._files()
        for segment in segments:
            if Key(segment.branch, step) in files and segment.has(segment.branch, step):
                return self.load(step, topology, segment.branch)
        steps = {key.step for key in files if any(segment.has(*key) for segment in segments)}
        lines = [", ".join(f"{known:,}" for known in sorted({0, *steps}))]
        others: dict[int, list[str]] = {}
        for key in sorted(files):
            if not any(segment.has(*key) for segment in segments):
                others.setdefault(key.branch, []).append(f"{key.step:,}")
        lines += [f"{', '.join(known)} of branch {branch}" for branch, known in others.items()]
        raise UserError(f"no snapshot after step {step:,} is kept; kept are: {'; '.join(lines)}")

    def check(self, name: str, topology: Topology) -> str | None:
        """Return the fault of a file in the history, or None."""
        match = NAME.fullmatch(name)
        assert match is not None, "the caller knows the name"
        found = self._read(Key(int(match[1]), int(match[2])), self._folder / name, topology)
        return found if isinstance(found, str) else None

    def _read(self, key: Key, path: Path, topology: Topology) -> Saved | str:
        try:
            saved = decode_snapshot(self._disk.read(path, LARGEST_SNAPSHOT_BYTES), self._identity, topology)
        except OSError as fault:
            return str(fault.strerror or fault)
        except Damaged as fault:
            return str(fault)
        if saved.snapshot.changes.branch != key.branch:
            return f"it is of branch {saved.snapshot.changes.branch}"
        return saved if saved.snapshot.step == key.step else f"it holds step {saved.snapshot.step}"

    def _files(self) -> dict[Key, Path]:
        """Return the files of all kept snapshots; a file among the last two takes precedence."""
        found = {key: self._path(key) for key in _keys_in(self._disk.names(self._folder))}
        folder = self._run / "snapshots"
        paths = {step: folder / f"step-{step:09d}.snapshot" for step in steps_in(self._disk.names(folder))}
        return found | {Key(self._branch_of(path), step): path for step, path in paths.items()}

    def _branch_of(self, path: Path) -> int:
        """Return the branch of one of the last two snapshots; 0 if it cannot be read."""
        try:
            return header_of(self._disk, path).branch
        except (OSError, Damaged):
            return 0

    def _found(self) -> dict[Key, Fact]:
        """Return the facts of the snapshots that earlier processes have kept; remove the damaged ones. Raises `OSError`."""
        found: dict[Key, Fact] = {}
        epochs: dict[int, tuple[Epoch, ...]] = {}
        for key in sorted(_keys_in(self._disk.names(self._folder))):
            path = self._path(key)
            try:
                epochs[key.branch] = header_of(self._disk, path).epochs
            except Damaged:
                self._disk.remove(path)
                continue
            found[key] = Fact(self._disk.size(path))
        return {
            key: Fact(fact.size_bytes, self._loss_after(key.step, epochs[key.branch])) for key, fact in found.items()
        }

    def _loss_after(self, step: int, epochs: Sequence[Epoch]) -> float | None:
        """Return the held-out loss after the last epoch that ended at or before a step; None if none was measured."""
        if self._steps_per_epoch is None:
            return None
        ended = min(step // self._steps_per_epoch, len(epochs))
        return epochs[ended - 1].test_loss if ended else None

    def _path(self, key: Key) -> Path:
        return self._folder / f"branch-{key.branch:03d}-step-{key.step:09d}.snapshot"


def history_of(directory: RunFolder, config: Mapping[str, Any]) -> History:
    """Return the history of a run with this config. A run that is cut short, as by `verify`, has none."""
    most_bytes = config["settings"].get("history", HISTORY_BYTES) if config["steps_at_most"] is None else 0
    epochs = NetworkSettings.from_json(config["network"]).epochs
    steps = config.get("steps")
    each = steps // epochs if config["steps_at_most"] is None and isinstance(steps, int) else 0
    return History(
        directory.path, directory.identity(config), most_bytes=most_bytes, steps_per_epoch=each if each > 0 else None
    )


def _keys_in(names: Sequence[str]) -> list[Key]:
    found = (NAME.fullmatch(name) for name in names)
    return [Key(int(match[1]), int(match[2])) for match in found if match]

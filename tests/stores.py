"""Snapshots and rows of a small run, and disks that fail or lose power at any call."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from coordinator.core.events import Persist, Persisted, PersistFailed, Row
from coordinator.core.events import Snapshot as SnapshotAfter
from coordinator.core.training import Epoch, Progress
from coordinator.storage.disk import RealDisk
from coordinator.storage.run_store import RunStore
from coordinator.topology import Topology
from neuron_node.protocol import state_of

TOPOLOGY = Topology((2, 1), 1)


def snapshot(step: int) -> SnapshotAfter:
    """Return a snapshot of three groups of one neuron; its numbers depend on the step."""
    states = {
        group.number: state_of(
            np.full((1, 1), step + group.number / 8),
            np.full((1, 1 if group.layer == 0 else 0), -step - group.number / 16),
        )
        for group in TOPOLOGY.groups.values()
    }
    progress = Progress(step, 0.1 + step, step, 4 * step, (True, False), (Epoch(1, 0.5, None, 0.25, 0.75),))
    return SnapshotAfter(step, states, progress)


def rows(first: int, last: int) -> tuple[Row, ...]:
    """Return one row per step."""
    return tuple(Row(step, 1, 1.0 / step, None, step / 10, 3) for step in range(first, last + 1))


def persist(store: RunStore, last: int, first: int) -> Persisted | PersistFailed:
    """Save the snapshot after a step, with its rows."""
    return store.persist(Persist(snapshot(last), 3, False, rows(first, last)))


def check_is(found: SnapshotAfter, step: int) -> None:
    """Check that a snapshot is, to the last bit, the snapshot after this step."""
    wanted = snapshot(step)
    assert (found.step, found.progress) == (step, wanted.progress)
    assert {number: (state.bias.tobytes(), state.weights.tobytes()) for number, state in found.states.items()} == {
        number: (state.bias.tobytes(), state.weights.tobytes()) for number, state in wanted.states.items()
    }


class FailingDisk(RealDisk):
    """The machine's disk with one failing call; after it, all calls fail while `broken` is true."""

    def __init__(self, fails_at: int, code: int = errno.EIO, *, for_good: bool = False) -> None:
        self.calls = 0
        self.broken = True
        self._fails_at = fails_at
        self._code = code
        self._for_good = for_good

    def _call(self) -> None:
        self.calls += 1
        now = self.calls == self._fails_at or (self._for_good and self.calls > self._fails_at)
        if self.broken and now:
            raise OSError(self._code, "made to fail")

    def read(self, path: Path, most: int) -> bytes:
        self._call()
        return super().read(path, most)

    def size(self, path: Path) -> int:
        self._call()
        return super().size(path)

    def write(self, path: Path, content: bytes) -> None:
        self._half(super().write, path, content)

    def append(self, path: Path, content: bytes) -> None:
        self._half(super().append, path, content)

    def _half(self, write: Callable[[Path, bytes], None], path: Path, content: bytes) -> None:
        """Return the part that a failed write has written."""
        try:
            self._call()
        except OSError:
            write(path, content[: len(content) // 2])
            raise
        write(path, content)

    def sync(self, path: Path) -> None:
        self._call()
        super().sync(path)

    def sync_folder(self, folder: Path) -> None:
        self._call()
        super().sync_folder(folder)

    def rename(self, path: Path, target: Path) -> None:
        self._call()
        super().rename(path, target)

    def remove(self, path: Path) -> None:
        self._call()
        super().remove(path)

    def make_folder(self, folder: Path) -> None:
        self._call()
        super().make_folder(folder)

    def names(self, folder: Path) -> list[str]:
        self._call()
        return super().names(folder)


class PowerCut(BaseException):
    """Power is lost; the disk does nothing more."""


class _File:
    def __init__(self) -> None:
        self.content = b""
        self.durable = b""


class ForgetfulDisk:
    """A disk in memory that loses power before call `cut_at`, and whose calls `fails_at` fail. `after_the_cut` returns the
    contents after the power is back.
    """

    def __init__(self, cut_at: int | None = None, fails_at: tuple[int, ...] = ()) -> None:
        self.calls = 0
        self._cut_at = cut_at
        self._fails_at = fails_at
        self._names: dict[Path, _File] = {}
        self._durable_names: dict[Path, _File] = {}

    def after_the_cut(self, *, names_kept: bool, content_kept: bool) -> ForgetfulDisk:
        """Return the contents after the cut. Unsynced names and unsynced contents may each be present or missing."""
        later = ForgetfulDisk()
        for path, file in (self._names if names_kept else self._durable_names).items():
            copy = _File()
            copy.content = copy.durable = file.content if content_kept else file.durable
            later._names[path] = later._durable_names[path] = copy
        return later

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self._cut_at:
            raise PowerCut
        if self.calls in self._fails_at:
            raise OSError(errno.EIO, "made to fail")

    def read(self, path: Path, most: int) -> bytes:
        self._call()
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return self._names[path].content[:most]

    def size(self, path: Path) -> int:
        return len(self.read(path, 1 << 62))

    def write(self, path: Path, content: bytes) -> None:
        self._call()
        self._names.setdefault(path, _File()).content = content

    def append(self, path: Path, content: bytes) -> None:
        self._call()
        self._names.setdefault(path, _File()).content += content

    def sync(self, path: Path) -> None:
        self._call()
        self._names[path].durable = self._names[path].content

    def sync_folder(self, folder: Path) -> None:
        self._call()
        kept = {path: file for path, file in self._durable_names.items() if path.parent != folder}
        self._durable_names = kept | {path: file for path, file in self._names.items() if path.parent == folder}

    def rename(self, path: Path, target: Path) -> None:
        self._call()
        self._names[target] = self._names.pop(path)

    def remove(self, path: Path) -> None:
        self._call()
        self._names.pop(path, None)

    def make_folder(self, folder: Path) -> None:
        self._call()

    def names(self, folder: Path) -> list[str]:
        self._call()
        return sorted(path.name for path in self._names if path.parent == folder)


def all_calls(attempt: Callable[[int], Any]) -> int:
    """Try with the fault at call 1, 2, … until an attempt meets no fault (it returns None); return the number of calls."""
    at = 1
    while attempt(at) is not None:
        at += 1
    return at - 1

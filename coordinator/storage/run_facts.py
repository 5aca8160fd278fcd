"""The facts about a run in its folder, for `coordinator runs`. Nothing is changed, except by `remove`."""

from __future__ import annotations

import os
import shutil
import stat
import time
from pathlib import Path
from typing import Any, NamedTuple

from coordinator.errors import UserError
from coordinator.storage.disk import REAL_DISK
from coordinator.storage.resumption import checked_config
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.run_log import LARGEST_TAIL_BYTES, events_of
from coordinator.storage.run_names import LOCKS, is_ours, is_without_config, owner_note
from coordinator.storage.snapshots import SnapshotStore

EVENTS_SHOWN = 10
RECOVERIES_SHOWN = 50
OF_RECOVERIES = (
    "recovery",
    "recovered",
    "regrouped",
    "stalled",
    "ended",
    "put_aside",
    "unsaved",
    "damaged",
    "delayed",
    "continued",
    "struck",
    "released",
)
"""The events of failures and recoveries."""


class RunFacts(NamedTuple):
    """A run in one row; unknown facts are None.

    `state` is running, answering, finished, failed, interrupted, damaged, or unfinished for a folder without a config.
    """

    name: str
    dataset: str | None
    layers: list[int] | None
    state: str
    step: int | None
    steps: int | None
    accuracy: float | None
    begun: str
    size_bytes: int


def facts_of(directory: RunFolder) -> RunFacts:
    """Return the row of a run, also of a damaged one."""
    name, size = directory.path.name, size_of(directory.path)
    try:
        config = checked_config(directory)
    except UserError:
        state = "unfinished" if is_without_config(directory.path) else "damaged"
        return RunFacts(name, None, None, state, None, None, None, _begun(directory, {}), size)
    result = directory.result() or {}
    step, accuracy = result.get("step"), result.get("test_accuracy")
    if not result:
        step, accuracy = _last_step(directory), _last_accuracy(directory)
    return RunFacts(
        name,
        config.get("dataset"),
        config["network"]["layers"],
        state_of(directory),
        step,
        config.get("steps"),
        accuracy,
        _begun(directory, config),
        size,
    )


def state_of(directory: RunFolder) -> str:
    """Return the state of a run with a good config."""
    finished = directory.result() is not None
    if directory.holder():
        return "answering" if finished else "running"
    if finished:
        return "finished"
    if (directory.path / "result.json").exists():
        # The file is damaged.
        return "damaged"
    return "failed" if directory.failure() else "interrupted"


def details_of(directory: RunFolder) -> dict[str, Any]:
    """Return config, figures, snapshots and events of one run. Raises `UserError`."""
    config = checked_config(directory)
    log = directory.path / "events.jsonl"
    events = events_of(log.with_suffix(".jsonl.1")) + events_of(log)
    return {
        **facts_of(directory)._asdict(),
        "failure": directory.failure(),
        "config": config,
        "figures": directory.result(),
        "snapshots": [
            {"step": step, "size_bytes": size, "whole": whole} for step, size, whole in _store(directory).kept()
        ],
        "recoveries": [event for event in events if event["event"] in OF_RECOVERIES][-RECOVERIES_SHOWN:],
        "events": events[-EVENTS_SHOWN:],
    }


def size_of(folder: Path) -> int:
    """Return the size of all files in a folder, without following links."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                size += (Path(place) / name).lstat().st_size
            except FileNotFoundError:
                # The run has renamed this file in the meantime.
                continue
    return size


def removable(base: Path, name: str) -> RunFolder:
    """Return the folder of a run that may be removed: not a link, and not in use. Raises `UserError`."""
    path = base / name
    without_config = Path(name).name == name and path.is_dir() and is_without_config(path)
    directory = RunFolder(path) if without_config else RunFolder.existing(base, name)
    if directory.path.is_symlink():
        raise UserError(f"{directory.path} is a link to a folder elsewhere; remove the link itself, with rm")
    try:
        checked_config(directory)
    except UserError as fault:
        # Without a good config, only the names of its files show that the folder is a run.
        foreign = sorted(path.name for path in directory.path.iterdir() if not is_ours(path.name))
        if foreign or not directory.logs.is_dir():
            what = f"; {foreign[0]} in it is no run's" if foreign else ""
            raise UserError(f"{fault}{what}; remove the folder itself, with rm") from None
    _remove_irregular_locks(directory)
    directory.check_free()
    return directory


def remove(directory: RunFolder) -> None:
    """Remove a run, its config last, so that the rest after a crash can be removed too. Raises `UserError`."""
    last = {"logs": 1, "config.json": 2, **dict.fromkeys(LOCKS, 3)}
    try:
        with directory.claimed():
            for path in sorted(directory.path.iterdir(), key=lambda path: last.get(path.name, 0)):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            directory.path.rmdir()
    except OSError as fault:
        why = f"{fault.strerror or fault}{owner_note(directory.path)}"
        raise UserError(f"{directory.path} can't be removed: {why}") from None


def _remove_irregular_locks(directory: RunFolder) -> None:
    """Remove locks that are no regular files: no program can hold them. Raises `UserError`."""
    for name in LOCKS:
        path = directory.path / name
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        except FileNotFoundError:
            continue
        except OSError as fault:
            raise UserError(f"{path} can't be removed: {fault.strerror or fault}") from None


def _store(directory: RunFolder) -> SnapshotStore:
    return SnapshotStore(directory.path, "", REAL_DISK)


def _begun(directory: RunFolder, config: dict[str, Any]) -> str:
    try:
        written = (directory.path / "config.json").stat().st_mtime
    except OSError:
        written = 0.0
    return str(config.get("begun") or time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(written)))


def _last_step(directory: RunFolder) -> int:
    """Return the step of the last snapshot, from which the run would continue."""
    return max(_store(directory).steps(), default=0)


def _last_accuracy(directory: RunFolder) -> float | None:
    """Return the accuracy of the held-out samples after the last measured epoch."""
    events = events_of(directory.path / "events.jsonl", LARGEST_TAIL_BYTES)
    return next((event.get("test_accuracy") for event in reversed(events) if event["event"] == "epoch"), None)

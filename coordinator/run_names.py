"""What a run has in its folder, by name, and folders that are a run's but were never made to their end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

LOCKS = ("lock", "launcher.lock")
"""Who works in a folder: its coordinator, and the command line of `learn`, which outlives a coordinator that is killed."""


NAMES = frozenset({
    "config.json", "data.npz", "snapshots", "generation.0", "generation.1", "metrics.csv", "metrics.csv.damaged",
    "events.jsonl", "events.jsonl.1", "placements.json", "endpoints.json", "model.safetensors", "result.json",
    "failure.json", "comparison.json", "logs", *LOCKS,
})  # fmt: skip
"""All that a run has in its folder."""
FOLDERS = frozenset({"snapshots", "logs"})
OF_A_BEGINNING = frozenset({"data.npz", "logs", *LOCKS})
"""What is there before a run's config is."""


def is_without_config(path: Path) -> bool:
    """Whether a folder is a run's, by what is in it, but has no config: it was never made to its end, or lost it."""
    try:
        names = set(os.listdir(path)) if not path.is_symlink() else set()  # noqa: PTH208 - of names alone
    except OSError:
        return False
    return "logs" in names and not (path / "config.json").is_file() and all(is_ours(name) for name in names)


def is_ours(name: str) -> bool:
    """Whether a run has a file of this name in its folder, or one that is to become it."""
    return name in NAMES or (name.startswith(".") and name.endswith(".new"))


def remove_unfinished(path: Path) -> bool:
    """Remove a folder in which no run was ever begun, unless somebody makes it now; whether it is gone. Raises `OSError`."""
    try:
        names = set() if path.is_symlink() else {name for name in os.listdir(path) if not name.endswith(".new")}  # noqa: PTH208
        if path.is_symlink() or not names <= OF_A_BEGINNING:
            return False
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except (NotADirectoryError, FileNotFoundError):
        return False
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
    except BlockingIOError:
        return False
    finally:
        os.close(folder)
    return True


def hold_folder(path: Path) -> int:
    """An open folder that is locked, so that no other command takes it for one that was left unfinished; -1 if it can't be."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return -1
    with contextlib.suppress(OSError):
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return folder

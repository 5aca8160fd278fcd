"""The names of the files of a run, and folders of runs that were never completed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
from pathlib import Path

LOCKS = ("lock", "launcher.lock")
"""The locks of a folder: of its coordinator, and of the command line of `learn`, which outlives a killed coordinator."""

NAMES = frozenset({
    "config.json", "data.npz", "snapshots", "history", "generation.0", "generation.1", "journal.0", "journal.1",
    "metrics.csv", "metrics.csv.damaged",
    "events.jsonl", "events.jsonl.1", "placements.json", "endpoints.json", "model.safetensors", "result.json",
    "failure.json", "comparison.json", "logs", *LOCKS,
})  # fmt: skip
"""The names of all files and folders of a run."""
FOLDERS = frozenset({"snapshots", "history", "logs"})
OF_A_BEGINNING = frozenset({"data.npz", "logs", *LOCKS})
"""The names that exist before the config of a run."""


def has_config(path: Path) -> bool:
    """Whether a folder has a config that this user may see."""
    try:
        return (path / "config.json").is_file()
    except OSError:
        # Another user's folder.
        return False


def owner_note(path: Path) -> str:
    """Say whose folder this is, if it is another user's: the end of a message."""
    try:
        owner = path.stat().st_uid
    except OSError:
        return ""
    if owner == os.geteuid():
        return ""
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"user {owner}"
    return f"; the run belongs to {name}"


def is_without_config(path: Path) -> bool:
    """Whether a folder has only files of a run, but no config: it was never completed, or the config was lost."""
    try:
        names = set(os.listdir(path)) if not path.is_symlink() else set()  # noqa: PTH208 - of names alone
    except OSError:
        return False
    return "logs" in names and not has_config(path) and all(is_ours(name) for name in names)


def is_ours(name: str) -> bool:
    """Whether a file of a run, or a temporary file, may have this name."""
    return name in NAMES or (name.startswith(".") and name.endswith(".new"))


def remove_unfinished(path: Path) -> bool:
    """Remove a folder in which no run was started; return False if another program may use it. Raises `OSError`."""
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
    """Open and lock a folder, so that no other command removes it as unfinished; return -1 if that is impossible."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return -1
    with contextlib.suppress(OSError):
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return folder

"""Set up a forked process: it gets a name and a log, and dies with its parent, even after kill -9."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from coordinator.storage.disk import open_regular

LARGEST_LOG_BYTES = 8 * 1024 * 1024
MEGABYTE = 1024 * 1024
_SET_PARENT_DEATH_SIGNAL = 1
_SET_NAME = 15


def _prctl(option: int, value: int | bytes) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> Callable[[], bool]:
    """Ask the kernel for a signal when the parent dies (Linux). The returned function says whether the parent has died."""
    _prctl(_SET_PARENT_DEATH_SIGNAL, number)
    if os.getppid() != parent:
        # The parent died before the request.
        os._exit(1)
    return lambda: os.getppid() != parent


def name_process(name: str) -> None:
    """Set the name that `ps` and `top` show, if the kernel allows it."""
    _prctl(_SET_NAME, name.encode()[:15])


def log_to_append(path: Path) -> int:
    """Open the log of a program; a log that is too large is renamed to `.1` first.

    If the log cannot be written, as on a read-only disk, the program starts without it.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > LARGEST_LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))
        with open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as file:
            return os.dup(file.fileno())
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def limit_of_memory() -> str:
    """Return the memory limit of a process as the end of a message; empty without a limit."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    return "" if most == resource.RLIM_INFINITY else f" (one process may use {most // MEGABYTE:,} MB: ulimit -v)"

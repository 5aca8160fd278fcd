"""Processes that die with the one that started them, kill -9 included."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_SET_PARENT_DEATH_SIGNAL = 1
_SET_NAME = 15


def _prctl(option: int, value: int | bytes) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> Callable[[], bool]:
    """Ask the kernel for a signal when the parent dies (Linux); elsewhere ask what is returned, at every tick, if it has."""
    _prctl(_SET_PARENT_DEATH_SIGNAL, number)
    if os.getppid() != parent:
        # It died before we asked.
        os._exit(1)
    return lambda: os.getppid() != parent


def name_process(name: str) -> None:
    """The name that `ps` and `top` show, where the kernel lets a process choose it."""
    _prctl(_SET_NAME, name.encode()[:15])

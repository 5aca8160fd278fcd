"""Processes that die with their parent, even after kill -9."""

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
    """Ask the kernel for a signal when the parent dies (Linux). The returned function says whether the parent has died."""
    _prctl(_SET_PARENT_DEATH_SIGNAL, number)
    if os.getppid() != parent:
        # The parent died before the request.
        os._exit(1)
    return lambda: os.getppid() != parent


def name_process(name: str) -> None:
    """Set the name that `ps` and `top` show, if the kernel allows it."""
    _prctl(_SET_NAME, name.encode()[:15])

"""The memory of this program, and how free memory goes back to the kernel."""

from __future__ import annotations

import contextlib
import ctypes
import os

RETURNED_FROM_BYTES = 8 * 1024 * 1024
RETURNED_AFTER_MS = 4_000.0


def own_bytes() -> int:
    """Return the resident memory of this program without files, or 0 if the kernel does not say: only Linux does."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - called often
            _, resident, shared, *_ = file.read().split()
        return os.sysconf("SC_PAGE_SIZE") * (int(resident) - int(shared))
    except (OSError, ValueError):
        return 0


def release_memory() -> None:
    """Return free memory to the kernel, if the C library has a function for it."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


class MemoryReturn:
    """Returns free memory to the kernel after the program has grown, because the allocator would keep it."""

    def __init__(self) -> None:
        self._least = own_bytes()
        self._due_ms = float("-inf")

    def check(self, now_ms: float) -> None:
        """Return free memory if there may be much of it, but not often: the program may have to allocate it again."""
        if now_ms < self._due_ms:
            return
        self._due_ms = now_ms + RETURNED_AFTER_MS
        if own_bytes() - self._least >= RETURNED_FROM_BYTES:
            release_memory()
            self._least = min(self._least, own_bytes())

"""Which planted bugs have been run."""

from __future__ import annotations

reached: set[str] = set()
"""The plants whose changed code has been run."""


def reach(name: str) -> bool:
    """Note that a plant's changed code is run."""
    reached.add(name)
    return True

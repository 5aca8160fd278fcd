"""Names in error messages: a suggestion for a misspelled name, and lists of names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from coordinator.data.limits import shown


def listed(names: Sequence[str], most: int) -> str:
    """List the first names on one line; long names are cut, and dots stand for further names."""
    return ", ".join(shown(name)[1:-1] for name in names[:most]) + (", ..." if len(names) > most else "")


def closest(name: str, known: Sequence[str], most: int = 12) -> str:
    """Return `did you mean 'x'?` if a known name is similar, else the known names, as the end of a sentence."""
    matches = difflib.get_close_matches(name, known, n=1)
    if matches:
        return f"did you mean {shown(matches[0])}?"
    return f"known are: {listed(known, most)}"

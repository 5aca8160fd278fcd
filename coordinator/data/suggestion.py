"""Names in error messages: the one that was probably meant, and lists of them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from coordinator.data.limits import shown


def listed(names: Sequence[str], most: int) -> str:
    """The first names, each on one line and cut where it is long, with dots where there are more."""
    return ", ".join(shown(name)[1:-1] for name in names[:most]) + (", ..." if len(names) > most else "")


def closest(name: str, known: Sequence[str], most: int = 12) -> str:
    """`did you mean 'x'?` where a known name is close, and otherwise the known names, as the end of a sentence."""
    matches = difflib.get_close_matches(name, known, n=1)
    if matches:
        return f"did you mean {shown(matches[0])}?"
    return f"known are: {listed(known, most)}"

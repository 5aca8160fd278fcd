"""Names in error messages: a suggestion for a misspelled name, and lists of names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from coordinator.data.limits import shown


def listed(names: Sequence[str], most: int) -> str:
    """List the first names on one line; long names are cut, and dots stand for further names."""
    return ", ".join(shown(name)[1:-1] for name in names[:most]) + (", ..." if len(names) > most else "")


def match(name: str, known: Iterable[str], other_names: Mapping[str, str] | None = None) -> str | None:
    """Return the known name that a misspelled name, or a name of another program, probably means; None if there is none."""
    words = list(known)
    folded = {word.lower().replace("-", "_"): word for word in reversed(words)}
    asked = name.strip().lower().replace("-", "_").replace(" ", "_")
    usual = (other_names or {}).get(asked) or (other_names or {}).get(asked.replace("_", ""))
    if usual in words:
        return usual
    found = difflib.get_close_matches(asked, list(folded), n=1)
    return folded[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str], other_names: Mapping[str, str] | None = None) -> str:
    """Return `; did you mean 'x'?`, or nothing, as the end of a message. A known name was meant as it is."""
    found = match(name, known, other_names)
    return f"; did you mean {shown(found)}?" if found not in (None, name) else ""


def closest(name: str, known: Sequence[str], most: int = 12) -> str:
    """Return `did you mean 'x'?` if a known name is similar, else the known names, as the end of a sentence."""
    if found := match(name, known):
        return f"did you mean {shown(found)}?"
    return f"known are: {listed(known, most)}"

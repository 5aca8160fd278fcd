"""The table "Where to look" of docs/architecture.md: each row names files that define the names next to them."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs/architecture.md"
ROW = re.compile(r"^\| (?P<question>[^|]+\?) \| (?P<files>[^|]+) \| (?P<names>[^|]+) \|$", re.MULTILINE)
FILE = re.compile(r"\]\((?P<path>[^)]+)\)")


def test_each_name_is_defined_in_a_file_of_its_row() -> None:
    """A name is a function, a class or a constant of one of the files; no row needs more than three files."""
    rows = list(ROW.finditer(DOCUMENT.read_text(encoding="utf-8")))
    assert len(rows) >= 7
    for row in rows:
        paths = [DOCUMENT.parent / match["path"] for match in FILE.finditer(row["files"])]
        assert 1 <= len(paths) <= 3, row[0]
        text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
        for name in re.findall(r"[`.](\w+)(?=[`.])", row["names"]):
            assert re.search(rf"^ *(?:(?:def|class) {name}\b|{name}(?:: [^=]+)? = )", text, re.MULTILINE), (
                row[0],
                name,
            )

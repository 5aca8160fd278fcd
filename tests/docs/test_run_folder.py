"""What the documents say of a run's folder: each event in its log is explained."""

from __future__ import annotations

import re
from pathlib import Path

from coordinator.cli.learn import NOTED_HERE
from coordinator.storage.run_log import NOT_LOGGED

CHECKOUT = Path(__file__).parents[2]
REPORTED = re.compile(r"""\breport\(\s*"(\w+)\"""")
ROW = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \|", re.MULTILINE)


def test_every_event_is_explained() -> None:
    """architecture.md has a row for each event that events.jsonl can hold, and for no other."""
    sources = (CHECKOUT / "coordinator" / "core").glob("*.py")
    reported = {name for path in sources for name in REPORTED.findall(path.read_text(encoding="utf-8"))}
    assert {"wired", "finished", "epoch"} <= reported
    text = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index("| event | what happened |") :].partition("\n\n")[0]
    told = [name for row in ROW.findall(table) for name in re.findall(r"\w+", row)]
    assert sorted(told) == sorted((reported | set(NOTED_HERE) | {"damaged"}) - set(NOT_LOGGED))

"""docs/reliability.md says of chaos what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from coordinator.cli.chaos import compared
from coordinator.local.chaos import KINDS, Chaos, ChaosSchedule, parse_counts

from .tables import marked

CHECKOUT = Path(__file__).parents[2]
TEXT = (CHECKOUT / "docs/reliability.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?P<keys>`[\w-]+`(?:, `[\w-]+`)*) \| (?P<meaning>.+) \|$", re.MULTILINE)
OF_EVERY_RUN = {"stale_messages"}


def rows(text: str) -> dict[str, str]:
    """What stands in backticks in the first column, and what is said of it."""
    return {key: match["meaning"] for match in ROW.finditer(text) for key in re.findall(r"[\w-]+", match["keys"])}


def test_the_kinds_are_the_codes() -> None:
    """Each with what is done, in the same words and order."""
    told = rows(marked(TEXT)["chaos"])
    assert list(told.items()) == list(KINDS.items())


def test_every_key_is_explained() -> None:
    """Those of a disturbed result that an undisturbed one does not have, and no others."""
    disturbed = ChaosSchedule(Chaos({"kill": 1}), 0, dict).figures()
    run = {"weights_sha256": "", "run": "", "seconds_training": 0.0}
    keys = (disturbed.keys() - OF_EVERY_RUN) | compared(run, run).keys()
    text = TEXT.partition("has these keys too")[2].partition("## Figures")[0]
    assert rows(text).keys() == keys


def test_the_commands_can_be_typed() -> None:
    """Every --chaos that a document shows is one that the command line takes."""
    documents = [CHECKOUT / "docs/how-to/chaos.md", CHECKOUT / "docs/tutorial.md", CHECKOUT / "docs/reliability.md"]
    shown = [
        match["chaos"]
        for document in documents
        for match in re.finditer(r'--chaos "?(?P<chaos>[a-z-]+=\d[a-z=,\d-]*)', document.read_text(encoding="utf-8"))
    ]
    assert shown
    for text in shown:
        assert parse_counts(text)

"""What is said of a run while it goes on."""

from __future__ import annotations

import pytest

from coordinator.cli.progress import PlainLines


def test_failure_to_save_is_said_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried twice a second: one line, until another reason comes."""
    said: list[str] = []
    monkeypatch.setattr("coordinator.cli.progress.errors.print", lambda line, **_: said.append(line))
    watch = PlainLines()
    for reason in ("the disk is full", "the disk is full", "the disk is broken", "the disk is full"):
        watch("unsaved", {"reason": reason})
    assert said == [f"the disk is {how}; trying again" for how in ("full", "broken", "full")]

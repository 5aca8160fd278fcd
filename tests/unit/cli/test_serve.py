"""`serve` says what a user who starts it should know."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.cli.serve import _say_latest
from coordinator.job import Job


def test_a_new_run_beside_another_names_that_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forgotten setting begins another run; without an earlier run, nothing is said."""
    monkeypatch.setenv("EXMACHINA_COMMAND", "docker compose exec coordinator coordinator")
    _say_latest(tmp_path)
    assert capsys.readouterr().err == ""
    directory = Job.from_flags({"dataset": "xor", "name": "first"}, None).create_run(tmp_path)
    _say_latest(tmp_path)
    said = " ".join(capsys.readouterr().err.split())
    assert said == (
        "this is a new run with other settings than first (xor 2-3-1, interrupted); to see its settings: "
        "docker compose exec coordinator coordinator runs show first"
    )
    (directory.path / "config.json").write_text("{")
    _say_latest(tmp_path)
    assert "than first (damaged)" in " ".join(capsys.readouterr().err.split())

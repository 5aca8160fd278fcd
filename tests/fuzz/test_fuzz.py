"""A small sample of `python -m tests.fuzz`, which takes as many wrong frames as one likes."""

from __future__ import annotations

import pytest

from tests.fuzz import disturb, plans
from tests.fuzz.__main__ import main

FRAMES = 2_000


@pytest.mark.parametrize("index", range(len(plans())))
def test_wrong_frames_change_no_weight(index: int) -> None:
    """No exception, and the bits of the undisturbed run; wrong frames were dropped, alone and joined."""
    outcome = disturb(plans()[index], FRAMES, seed=index)
    assert outcome.sha256 == outcome.should_be
    assert outcome.frames >= FRAMES and outcome.dropped > FRAMES / 2


def test_the_command_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each run."""
    assert main(["--frames", "400", "--seed", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(plans()) and all("sha256" in line for line in lines)

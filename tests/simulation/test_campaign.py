"""Many seeds keep every promise, and try what they should; one seed is one run, with any hash seed of Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.campaign import ENOUGH_SEEDS, report, run_campaign, story_of
from tests.simulation.plans import know_all_references
from tests.simulation.plants import PLANTS
from tests.simulation.reached import reached
from tests.simulation.run_seed import run_seed

SEEDS = 100
TRACED = (1, 2, 3, 5, 8, 13)


def test_a_hundred_seeds_keep_every_promise() -> None:
    """Each run ends as the undisturbed one, after enough steps and snapshots."""
    campaign = run_campaign(0, SEEDS)
    assert not campaign.failing, report(campaign, 0.0)
    assert campaign.missing == []


@pytest.mark.slow
def test_a_thousand_seeds_keep_every_promise_and_try_everything() -> None:
    """Faults of every kind, every row of both tables, three recoveries in the median; each run ends as the undisturbed one."""
    campaign = run_campaign(0, ENOUGH_SEEDS, processes=2)
    assert not campaign.failing, report(campaign, 0.0)
    assert campaign.missing == []


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_a_seed_is_the_same_run_in_every_process(hash_seed: str) -> None:
    """The digest of every event that was delivered is that of this process, whose hash seed is another."""
    program = (
        f"from tests.simulation.run_seed import run_seed\nprint(*[run_seed(seed).trace_sha256 for seed in {TRACED}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.split() == [run_seed(seed).trace_sha256 for seed in TRACED]


def test_a_seed_that_fails_is_told_and_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bug planted: the report names the seed and how to replay it, and the replay is the same to the last event."""
    know_all_references()
    PLANTS["generation_forgotten"](monkeypatch)
    campaign = run_campaign(0, 5)
    assert "generation_forgotten" in reached
    failed = campaign.failing[0]
    again = run_seed(failed.seed)
    assert (again.trouble, again.trace_sha256, again.story) == (failed.trouble, failed.trace_sha256, failed.story)
    assert f"make simulate SEED={failed.seed}" in report(campaign, 1.0)
    assert again.trouble is not None and again.trouble in story_of(again)


def test_different_seeds_are_different_runs() -> None:
    """No two of them are the same run."""
    assert len({run_seed(seed).trace_sha256 for seed in TRACED}) == len(TRACED)

"""The simulator can fail: every planted bug is found within a thousand seeds, and the same seeds pass without it."""

from __future__ import annotations

import functools

import pytest

from tests.simulation.plans import know_all_references
from tests.simulation.plants import PLANTS, reached
from tests.simulation.run_seed import run_seed

SEEDS = 1_000


@functools.cache
def passes(seed: int) -> bool:
    """Whether a seed passes without any plant."""
    return run_seed(seed).trouble is None


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    """Some seed breaks a promise with it, and keeps all of them without it; and the planted code was run."""
    reached.discard(name)
    know_all_references()
    with pytest.MonkeyPatch.context() as patch:
        PLANTS[name](patch)
        found = next((seed for seed in range(SEEDS) if run_seed(seed).trouble is not None), None)
    assert found is not None
    assert name in reached
    assert passes(found)

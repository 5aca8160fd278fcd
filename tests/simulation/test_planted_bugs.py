"""The simulator can fail: it finds every planted bug, and the same seeds pass without the bug."""

from __future__ import annotations

import pytest

from tests.simulation.pinned import first_seed, is_found, passes, pinned_seeds
from tests.simulation.plants import PLANTS


def test_every_planted_bug_has_a_pinned_seed() -> None:
    """If not: `python -m tests.simulation.pinned`."""
    assert pinned_seeds().keys() == PLANTS.keys()


@pytest.mark.parametrize(("name", "seed"), pinned_seeds().items())
def test_planted_bug_is_found_by_its_pinned_seed(name: str, seed: int) -> None:
    """The seed breaks a promise with the bug, and keeps all of them without it. If not: `python -m tests.simulation.pinned`."""
    assert is_found(name, seed)
    assert passes(name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTS)
def test_planted_bug_is_found_by_a_search(name: str) -> None:
    """Among a thousand seeds, without knowing which."""
    assert first_seed(name) is not None

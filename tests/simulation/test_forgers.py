"""A forger at the broker changes nothing: no weight, no metric, and no node is stopped, sent back or given other groups."""

from __future__ import annotations

import pytest

from tests.simulation.forgers import FORGERIES
from tests.simulation.run_seed import run_seed


@pytest.mark.parametrize("seed", [3, 4])
def test_forged_and_replayed_messages_change_nothing(seed: int) -> None:
    """With every kind of forgery among the events, all seeds keep every promise."""
    outcome = run_seed(seed)
    assert outcome.trouble is None
    assert all(outcome.counts[kind] for kind in FORGERIES)


def test_a_jump_of_the_clock_before_the_first_tick_gives_no_node_up() -> None:
    """The clock of every program jumps before the coordinator's first tick, and a message wakes it."""
    outcome = run_seed(706)
    assert outcome.trouble is None
    assert outcome.counts["clock jumps"]

"""How often a snapshot is taken: as its cost allows, whatever the machine does in between."""

from __future__ import annotations

import pytest

from coordinator.core.snapshot_interval import FIRST_STEPS, GROWTH_AT_MOST, LEAST_STEPS, SHARE_AT_MOST, SnapshotInterval


def go_on(pace: SnapshotInterval, snapshots: int, usual_ms: float, cost_ms: float) -> None:
    """Snapshots at the chosen interval, each of which slows two steps."""
    for _ in range(snapshots):
        for _ in range(pace.interval_steps):
            pace.step_done(usual_ms, slowed=False)
        for _ in range(2):
            pace.step_done(usual_ms + cost_ms / 2, slowed=True)
        pace.step_done(usual_ms, slowed=False)


@pytest.mark.parametrize(("usual_ms", "cost_ms"), [(25.0, 8.0), (1.0, 2.0), (500.0, 90.0)])
def test_the_cost_stays_below_its_share(usual_ms: float, cost_ms: float) -> None:
    """Once the cost is known the interval is the shortest that keeps it so."""
    pace = SnapshotInterval(None)
    go_on(pace, 12, usual_ms, cost_ms)
    assert cost_ms / (pace.interval_steps * usual_ms) <= SHARE_AT_MOST
    assert cost_ms / ((pace.interval_steps - 1) * usual_ms) > SHARE_AT_MOST


def test_cheap_snapshots_are_taken_often_but_not_at_every_step() -> None:
    """But not at every step."""
    pace = SnapshotInterval(None)
    assert pace.interval_steps == FIRST_STEPS
    go_on(pace, 3, 10.0, 0.0)
    assert pace.interval_steps == LEAST_STEPS


def test_one_hiccup_does_not_keep_snapshots_away() -> None:
    """A cost a hundred times the usual doubles the interval at most, and is outvoted by the next ones."""
    pace = SnapshotInterval(None)
    go_on(pace, 1, 10.0, 1_000.0)
    assert pace.interval_steps == GROWTH_AT_MOST * FIRST_STEPS
    go_on(pace, 4, 10.0, 2.0)
    assert pace.interval_steps == 8


def test_a_set_interval_is_kept() -> None:
    """Whatever it costs."""
    pace = SnapshotInterval(7)
    go_on(pace, 3, 10.0, 500.0)
    assert pace.interval_steps == 7


def test_noise_is_not_taken_for_cost() -> None:
    """Snapshots that cost nothing stay frequent on a machine whose steps take now longer, now shorter."""
    pace = SnapshotInterval(None)
    for number in range(40):
        for _ in range(pace.interval_steps):
            pace.step_done(20.0, slowed=False)
        pace.step_done(20.0 + (-15.0, 12.0, 3.0, -9.0)[number % 4], slowed=True)
        pace.step_done(20.0, slowed=False)
    assert pace.interval_steps == LEAST_STEPS

"""Which samples a step holds."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coordinator.schedule import Schedule, epoch_order

FROZEN: dict[tuple[int, int], list[int]] = {(0, 1): [3, 1, 5, 4, 7, 6, 0, 2], (5, 2): [3, 0, 7, 4, 6, 5, 2, 1]}


@given(seed=st.integers(0, 2**63 - 1), samples=st.integers(1, 60), batch=st.integers(1, 70), epochs=st.integers(1, 4))
def test_every_epoch_holds_every_sample_once(seed: int, samples: int, batch: int, epochs: int) -> None:
    """In batches of the given size, of which the last may be smaller; none is empty."""
    schedule = Schedule(seed, samples, batch, epochs)
    steps = [schedule.samples_of(step).tolist() for step in range(schedule.steps)]
    assert schedule.steps == epochs * schedule.steps_per_epoch
    for epoch in range(epochs):
        batches = steps[epoch * schedule.steps_per_epoch : (epoch + 1) * schedule.steps_per_epoch]
        assert sorted(itertools.chain.from_iterable(batches)) == list(range(samples))
        assert all(len(one) == min(batch, samples) for one in batches[:-1]) and 0 < len(batches[-1]) <= batch


@given(seed=st.integers(0, 2**63 - 1), step=st.integers(0, 500))
def test_a_step_is_a_pure_function_of_seed_and_number(seed: int, step: int) -> None:
    """Whatever was asked before, and in whatever order: a replayed step sees what the first one saw."""
    forward, alone = Schedule(seed, 23, 4, 100), Schedule(seed, 23, 4, 100)
    for earlier in range(0, 600, 7):
        forward.samples_of(earlier)
    epoch_order.cache_clear()
    assert forward.samples_of(step).tolist() == alone.samples_of(step).tolist()


def test_orders_never_change() -> None:
    """Known orders: a run of an earlier version can be replayed."""
    assert epoch_order(0, 1, 8).tolist() == FROZEN[0, 1]
    assert epoch_order(5, 2, 8).tolist() == FROZEN[5, 2]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    """Forty orders of thirty samples, none like another."""
    orders = {tuple(epoch_order(seed, epoch, 30).tolist()) for seed in range(8) for epoch in range(1, 6)}
    assert len(orders) == 40


def test_steps_at_most_cut_the_schedule_and_never_lengthen_it() -> None:
    """And steps know their epoch."""
    assert Schedule(0, 10, 4, 3).steps == 9
    assert Schedule(0, 10, 4, 3, steps_at_most=5).steps == 5
    assert Schedule(0, 10, 4, 3, steps_at_most=50).steps == 9
    assert [Schedule(0, 10, 4, 3).epoch_of(step) for step in range(9)] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_the_order_is_shuffled() -> None:
    """An order that was not would be learned from."""
    assert not np.array_equal(epoch_order(0, 1, 50), np.arange(50))

"""Coordinator and nodes on a simulated network that reorders, loses and doubles messages: the end is the same to the bit."""

from __future__ import annotations

import functools

import pytest

from coordinator.core.run_plan import RunPlan
from coordinator.defaults import NetworkSettings
from tests.networks import made_data, plan_of, seed_settings, settings_of, trained, weights_sha256, xor_data
from tests.simulation.scenario import Scenario

SEEDS = [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 25))]


@functools.cache
def small() -> RunPlan:
    """Ten groups, 18 steps in three epochs, a snapshot every five steps."""
    return plan_of(settings_of((2, 5, 3), epochs=3), snapshot_interval_steps=5)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_of_delivery_gives_the_same_weights(seed: int) -> None:
    """Half of all messages are overtaken by others; metrics, too, are the same."""
    scenario = Scenario(small(), seed)
    scenario.conditions.delayed, scenario.conditions.delay_at_most_ms = 0.5, 20.0
    scenario.finish()
    assert scenario.counts["frame delayed"] > 100 and scenario.counts["frames joined"] > 10
    assert scenario.watch.recoveries == 0


@functools.cache
def other_plans() -> list[RunPlan]:
    """Shapes, losses and group sizes."""
    networks: list[NetworkSettings] = [
        settings_of((2, 1), epochs=4),
        settings_of((2, 3, 2, 1), hidden_activation="tanh", loss="cross_entropy"),
        seed_settings((2, 3, 1)),
    ]
    return [
        plan_of(network, made_data(9, 2, 1), group_size=group_size) for network in networks for group_size in (1, 2)
    ]


@pytest.mark.parametrize(
    "number",
    range(6),
    ids=["no hidden layer", "no hidden layer, 2", "two hidden layers", "two hidden layers, 2", "preset", "preset, 2"],
)
def test_order_does_not_matter_to_other_networks(number: int) -> None:
    """Shapes, losses and group sizes, in five orders each."""
    for seed in range(5):
        scenario = Scenario(other_plans()[number], seed)
        scenario.conditions.delayed, scenario.conditions.delay_at_most_ms = 0.5, 20.0
        scenario.finish()


def test_weights_depend_on_seed_and_learning_rate() -> None:
    """Otherwise the comparisons here would show nothing: the digest can differ."""
    plans = [plan_of(settings_of((2, 4, 1)), xor_data(), seed=seed) for seed in (1, 2)]
    plans.append(plan_of(settings_of((2, 4, 1), learning_rate=0.25), xor_data()))
    assert len({weights_sha256(trained(plan)) for plan in plans}) == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_lost_and_doubled_messages_change_nothing(seed: int) -> None:
    """Of a hundred messages three are lost and three come twice, control and data alike; repetition is enough, no rollback."""
    scenario = Scenario(small(), seed, lost=0.03, doubled=0.03)
    scenario.finish()
    assert scenario.counts["frame lost"] > 10 and scenario.counts["frame doubled"] > 10
    assert scenario.watch.recoveries == 0


@pytest.mark.parametrize("seed", range(5))
def test_every_twentieth_message_lost_changes_nothing(seed: int) -> None:
    """It takes longer; every tenth comes twice besides."""
    Scenario(small(), seed, lost=0.05, doubled=0.1).finish()

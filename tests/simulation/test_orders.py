"""Coordinator and nodes as machines on a network in memory: whatever happens on the way, the end is the same to the bit."""

from __future__ import annotations

import functools

import pytest

from coordinator.core.run_plan import RunPlan
from coordinator.core.training import Epoch
from coordinator.defaults import NetworkSettings
from tests.networks import made_data, plan_of, seed_settings, settings_of, trained, weights_sha256, xor_data
from tests.simulator import Simulator

SEEDS = range(25)


@functools.cache
def small() -> RunPlan:
    """Ten groups, 18 steps in three epochs, a snapshot every five steps."""
    return plan_of(settings_of((3, 4, 3), epochs=3), snapshot_interval_steps=5)


@functools.cache
def undisturbed(plan: RunPlan) -> tuple[str, tuple[Epoch, ...]]:
    """What the run comes to when nothing happens to it."""
    coordinator = trained(plan)
    return weights_sha256(coordinator), coordinator.trainer.training.progress.epochs


def check_same_end(simulator: Simulator) -> None:
    """The same weights and the same metrics of every epoch, as an undisturbed run."""
    sha256, epochs = undisturbed(simulator.plan)
    assert simulator.sha256() == sha256
    assert simulator.coordinator.trainer.training.progress.epochs == epochs


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_of_delivery_gives_the_same_weights(seed: int) -> None:
    """Which program gets its next frame is thrown with dice; metrics, too, are the same."""
    simulator = Simulator(small(), seed)
    simulator.run()
    assert simulator.messages_joined > 100
    assert simulator.coordinator.recoveries == 0
    check_same_end(simulator)


@pytest.mark.parametrize(
    "network",
    [
        settings_of((2, 1), epochs=4),
        settings_of((2, 3, 2, 1), hidden_activation="tanh", loss="cross_entropy"),
        seed_settings((2, 3, 1)),
    ],
    ids=["no hidden layer", "two hidden layers", "exmachina"],
)
@pytest.mark.parametrize("group_size", [1, 2])
def test_other_networks_know_no_order_either(network: NetworkSettings, group_size: int) -> None:
    """Shapes, losses and group sizes."""
    plan = plan_of(network, made_data(9, 2, 1), group_size=group_size)
    assert len({run_of(plan, seed) for seed in range(5)} | {weights_sha256(trained(plan))}) == 1


def run_of(plan: RunPlan, seed: int) -> str:
    simulator = Simulator(plan, seed)
    simulator.run()
    return simulator.sha256()


def test_the_end_depends_on_what_it_should() -> None:
    """Another seed, group size or learning rate is another end: the digest can differ."""
    plans = [
        plan_of(settings_of((2, 4, 1)), xor_data(), seed=seed, group_size=group_size)
        for seed, group_size in ((1, 1), (2, 1))
    ]
    plans.append(plan_of(settings_of((2, 4, 1), learning_rate=0.25), xor_data()))
    assert len({weights_sha256(trained(plan)) for plan in plans}) == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_lost_and_doubled_frames_change_nothing(seed: int) -> None:
    """Three in a hundred frames are lost and three come twice, control and data alike: repetition mends it, without a rollback."""
    simulator = Simulator(small(), seed, lost=3.0, doubled=3.0)
    simulator.run()
    assert simulator.frames_lost > 10 and simulator.frames_doubled > 10
    check_same_end(simulator)
    assert simulator.coordinator.recoveries == 0


@pytest.mark.parametrize("seed", range(5))
def test_every_twentieth_frame_lost_is_mended_too(seed: int) -> None:
    """However long it takes."""
    simulator = Simulator(small(), seed, lost=5.0, doubled=10.0)
    simulator.run()
    check_same_end(simulator)

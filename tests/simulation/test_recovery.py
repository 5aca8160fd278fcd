"""Programs die, hang, lose their links and come back, and the run ends as if nothing had happened."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from coordinator.core.events import Persist
from neuron_node.addresses import DATA_LETTERS
from neuron_node.identity import BEGIN_AGAIN
from tests.networks import plan_of, settings_of
from tests.simulation.test_orders import SEEDS, check_same_end, small
from tests.simulator import Dice, Simulator

NAMES = [f"node-{number}" for number in range(1, 11)]


@pytest.mark.parametrize("name", NAMES)
def test_a_node_that_dies_and_comes_back_leaves_no_trace(name: str) -> None:
    """Each of the ten in turn, in the eighth step: back to the snapshot of step 5, and on to the same end."""
    simulator = Simulator(small(), seed=7)
    simulator.disturb({8: lambda: simulator.replace(name)})
    check_same_end(simulator)
    assert simulator.coordinator.recoveries == 1 and simulator.coordinator.outbox.generation == 2
    assert simulator.coordinator.trainer.steps_done == 18 + 3


@pytest.mark.parametrize("seed", SEEDS)
def test_nodes_that_die_at_any_moment_leave_no_trace(seed: int) -> None:
    """Three deaths at moments, of nodes and between deliveries, that dice choose; frames get lost besides."""
    dice = Dice(seed, "deaths")
    simulator = Simulator(small(), seed, lost=1.0, doubled=1.0)
    for _ in range(3):
        moment = simulator.deliveries + 1 + dice.below(1_500)
        simulator.run(functools.partial(come_to, simulator, moment))
        if simulator.coordinator.finished is None:
            simulator.replace(NAMES[dice.below(10)])
    simulator.run()
    check_same_end(simulator)


def come_to(simulator: Simulator, moment: int) -> bool:
    """Whether so many frames have been delivered, or the run is over."""
    return simulator.deliveries >= moment or simulator.coordinator.finished is not None


@pytest.mark.parametrize("every", [5, 100], ids=["with a snapshot", "before the first snapshot"])
@pytest.mark.parametrize("step", [6, 12, 18])
def test_a_node_lost_while_an_epoch_is_measured_leaves_no_trace(step: int, every: int) -> None:
    """What was being measured belonged to weights that are gone: it is measured again when they have come back."""
    plan = plan_of(settings_of((3, 4, 3), epochs=3), snapshot_interval_steps=every)
    simulator = Simulator(plan, seed=3)
    trainer = simulator.coordinator.trainer
    simulator.run(lambda: trainer.steps_done >= step and bool(trainer.in_flight.flights))
    assert trainer.training.progress.step == step
    simulator.replace("node-5")
    simulator.run()
    check_same_end(simulator)


def test_a_node_that_dies_before_it_is_ready_is_replaced() -> None:
    """While the network is being wired."""
    simulator = Simulator(small(), seed=2)
    simulator.run(lambda: simulator.coordinator.state.value == "wiring")
    simulator.replace("node-4")
    simulator.run()
    check_same_end(simulator)


def test_a_spare_takes_the_place_of_a_node_that_never_comes_back() -> None:
    """It does not answer, which is known long before its silence would be; the spare gets the last snapshot's state."""
    simulator = Simulator(small(), seed=4)
    simulator.start_node("spare-1")

    def die() -> None:
        simulator.nodes["node-6"].dead = True

    simulator.disturb({7: die})
    check_same_end(simulator)
    hosts = {member.name for member in simulator.coordinator.membership.hosting()}
    assert "spare-1" in hosts and "node-6" not in hosts
    assert simulator.now_ms < simulator.plan.silence_ms


def test_too_few_nodes_are_waited_for() -> None:
    """The run stands still, says how many it has and needs, and goes on when one comes."""
    simulator = Simulator(small(), seed=4)

    def die() -> None:
        simulator.nodes["node-6"].dead = True

    def waits() -> bool:
        return any(getattr(action, "event", "") == "waiting" for action in simulator.actions)

    simulator.run(lambda: simulator.coordinator.trainer.steps_done >= 7)
    die()
    simulator.run(waits)
    [facts] = [action.facts for action in simulator.actions if getattr(action, "event", "") == "waiting"]
    assert facts == {"have": 9, "need": 10}
    simulator.start_node("newcomer")
    simulator.run()
    check_same_end(simulator)


def test_a_node_that_wakes_up_after_it_was_replaced_counts_for_nothing() -> None:
    """It hung for longer than the coordinator waits; its group has moved, and it begins another life as a spare."""
    simulator = Simulator(replace(small(), stop_when_finished=False), seed=9)
    simulator.start_node("spare-1")
    trainer = simulator.coordinator.trainer
    simulator.run(lambda: trainer.steps_done >= 7)
    zombie = simulator.nodes["node-6"]
    zombie.hung = True
    simulator.run(lambda: simulator.coordinator.recoveries == 1 and trainer.steps_done >= 10)
    zombie.hung = False
    simulator.run()
    check_same_end(simulator)
    assert simulator.coordinator.recoveries == 1
    simulator.run(lambda: simulator.now_ms > 60_000 + simulator.plan.silence_ms or zombie.ended is not None)
    assert zombie.ended == BEGIN_AGAIN


@pytest.mark.parametrize("seed", range(8))
def test_a_program_that_loses_its_link_misses_nothing(seed: int) -> None:
    """A node and then the coordinator get new sockets in the middle of a step: no rollback, the same end."""
    dice = Dice(seed, "links")
    simulator = Simulator(small(), seed)
    victims: list[Callable[[], None]] = [
        simulator.nodes[NAMES[dice.below(10)]].lose_link,
        simulator.coordinator_life.lose_link,
    ]
    simulator.disturb({4 + dice.below(4): victims[0], 10 + dice.below(4): victims[1]})
    check_same_end(simulator)
    assert simulator.coordinator.recoveries == 0


def test_everybody_loses_the_link_at_once() -> None:
    """The broker died and came back."""
    simulator = Simulator(small(), seed=1)

    def lose_all() -> None:
        for life in (simulator.coordinator_life, *simulator.nodes.values()):
            life.lose_link()

    simulator.disturb({3: lose_all, 9: lose_all, 15: lose_all})
    check_same_end(simulator)


def test_a_snapshot_is_whole_or_not_there() -> None:
    """Every one that was kept holds all groups at its step, and the last is final; a death in between breaks none."""
    simulator = Simulator(small(), seed=5)
    simulator.disturb({6: lambda: simulator.replace("node-2"), 13: lambda: simulator.replace("node-9")})
    kept = [action for action in simulator.actions if isinstance(action, Persist)]
    groups = set(simulator.coordinator.topology.groups)
    assert all(set(keep.snapshot.states) == groups for keep in kept)
    assert [keep.final for keep in kept] == [False] * (len(kept) - 1) + [True]
    assert kept[-1].snapshot.step == 18 and {keep.snapshot.step for keep in kept} == {5, 10, 15, 18}
    assert all(keep.snapshot.progress.step == keep.snapshot.step for keep in kept)


def test_a_node_that_never_answers_ends_the_run_with_its_name() -> None:
    """It beats, registers and proves its links, but passes no data on: after three generations the run says who is missing."""
    simulator = Simulator(small(), seed=5)
    machine = simulator.nodes["node-5"].machine
    receive = machine.receive
    simulator.run(lambda: simulator.coordinator.trainer.steps_done >= 3)

    def deaf_to_data(messages: Sequence[bytes], now_ms: float) -> Sequence[object]:
        return receive([message for message in messages if message[0] not in DATA_LETTERS], now_ms)

    machine.receive = deaf_to_data  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="no answer from"):
        simulator.run()
    assert simulator.coordinator.failure is not None
    assert "step" in simulator.coordinator.failure and "output.0" in simulator.coordinator.failure

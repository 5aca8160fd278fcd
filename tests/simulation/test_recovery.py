"""Programs die, hang, lose their links and come back, and the run ends as if nothing had happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from neuron_node.addresses import DATA_LETTERS
from neuron_node.identity import BEGIN_AGAIN
from tests.networks import plan_of, settings_of
from tests.simulation.dice import Dice
from tests.simulation.scenario import Scenario
from tests.simulation.test_orders import SEEDS, small

NAMES = [f"node-{number}" for number in range(1, 11)]


@pytest.mark.parametrize("name", NAMES)
def test_node_that_dies_and_comes_back_leaves_no_trace(name: str) -> None:
    """Each of the ten in turn, in the eighth step: back to the snapshot of step 5, and on to the same end."""
    scenario = Scenario(small(), seed=7)
    scenario.run_to(8)
    scenario.replace(name)
    scenario.finish()
    assert scenario.machine.recoveries == 1 and scenario.machine.outbox.generation == 2
    assert scenario.steps_done == 18 + 3


@pytest.mark.parametrize("seed", SEEDS)
def test_nodes_that_die_at_any_moment_leave_no_trace(seed: int) -> None:
    """Three deaths at moments, of nodes and between deliveries, that dice choose; messages are lost besides."""
    dice = Dice(seed, "deaths")
    scenario = Scenario(small(), seed, lost=0.01, doubled=0.01)
    for _ in range(3):
        moment = scenario.happened + 1 + dice.below(1_500)
        scenario.run(lambda: scenario.happened >= moment or scenario.code is not None)  # noqa: B023
        if scenario.code is None and scenario.nodes[name := dice.pick(NAMES)].alive:
            scenario.replace(name)
    scenario.finish()


@pytest.mark.parametrize("every", [5, 100], ids=["with a snapshot", "before the first snapshot"])
@pytest.mark.parametrize("step", [6, 12, 18])
def test_node_lost_while_an_epoch_is_measured_leaves_no_trace(step: int, every: int) -> None:
    """The measurement belonged to weights that are gone: it is repeated when they have come back."""
    scenario = Scenario(plan_of(settings_of((2, 5, 3), epochs=3), snapshot_interval_steps=every), seed=3)
    scenario.run(lambda: scenario.steps_done >= step and scenario.passes_under_way > 0)
    assert scenario.trainer.training.progress.step == step
    scenario.replace("node-5")
    scenario.finish()
    assert scenario.machine.recoveries == 1


def test_node_that_dies_before_it_is_ready_is_replaced() -> None:
    """While the network is being wired."""
    scenario = Scenario(small(), seed=2)
    scenario.run(lambda: scenario.machine.state.value == "wiring")
    scenario.replace("node-4")
    scenario.finish()


def test_spare_takes_the_place_of_a_node_that_never_comes_back() -> None:
    """The node does not answer, which is known long before its silence would be; the spare gets the last snapshot's state."""
    scenario = Scenario(small(), seed=4)
    scenario.start_spare()
    scenario.run_to(7)
    scenario.lose("node-6")
    scenario.run(lambda: scenario.watch.finished is not None)
    assert "spare-1" in scenario.hosts and "node-6" not in scenario.hosts
    assert scenario.now_ms < scenario.plan.silence_ms
    scenario.finish()


def test_run_with_too_few_nodes_waits_for_another() -> None:
    """It says how many nodes it has and needs, and goes on when one comes."""
    scenario = Scenario(small(), seed=4)
    scenario.run_to(7)
    scenario.lose("node-6")
    scenario.run(lambda: any(line.startswith("waiting: ") for line in scenario.story_lines))
    assert [line for line in scenario.story_lines if line.startswith("waiting: ")] == ["waiting: have 9, need 10"]
    scenario.start_spare()
    scenario.finish()


def test_node_that_wakes_up_after_it_was_replaced_begins_again() -> None:
    """It hung for longer than the coordinator waits; its group has moved, its messages count for nothing."""
    scenario = Scenario(replace(small(), stop_when_finished=False), seed=9)
    scenario.start_spare()
    scenario.run_to(7)
    zombie = scenario.nodes["node-6"]
    scenario.pause(zombie)
    scenario.run(lambda: scenario.machine.recoveries == 1 and scenario.steps_done >= 10)
    scenario.resume(zombie)
    scenario.run(lambda: scenario.watch.finished is not None and not zombie.alive)
    assert f"node-6 ({zombie.number}) ends with {BEGIN_AGAIN}" in scenario.story_lines
    assert scenario.machine.recoveries == 1


@pytest.mark.parametrize("seed", range(8))
def test_program_that_loses_its_link_misses_nothing(seed: int) -> None:
    """A node and then the coordinator get new sockets in the middle of a step: no rollback, the same end."""
    dice = Dice(seed, "links")
    scenario = Scenario(small(), seed)
    assert scenario.coordinator is not None
    for step, life in ((4, scenario.nodes[dice.pick(NAMES)]), (10, scenario.coordinator)):
        scenario.run_to(step + dice.below(4))
        scenario.lose_link(life, for_ms=10.0)
    scenario.finish()
    assert scenario.machine.recoveries == 0


def test_all_programs_may_lose_their_links_at_once() -> None:
    """The broker dies and comes back, three times."""
    scenario = Scenario(small(), seed=1)
    for step in (3, 9, 15):
        scenario.run_to(step)
        scenario.kill_broker(for_ms=10.0)
    scenario.finish()


def test_snapshot_is_whole_and_only_the_last_is_final() -> None:
    """Every one that was kept holds all groups at its step; a death in between breaks none."""
    scenario = Scenario(small(), seed=5)
    for step, name in ((6, "node-2"), (13, "node-9")):
        scenario.run_to(step)
        scenario.replace(name)
    scenario.finish()
    groups = set(scenario.topology.groups)
    assert all(set(kept.snapshot.states) == groups for kept in scenario.kept)
    assert [kept.final for kept in scenario.kept] == [False] * (len(scenario.kept) - 1) + [True]
    assert all(kept.snapshot.progress.step == kept.snapshot.step for kept in scenario.kept)


def test_node_that_never_answers_ends_the_run_with_its_name() -> None:
    """It beats, registers and proves its links, but passes no data on: after three generations the run says who is missing."""
    scenario = Scenario(small(), seed=5)
    scenario.run_to(3)
    machine = scenario.nodes["node-5"].machine
    receive = machine.receive

    def deaf_to_data(messages: Sequence[bytes], now_ms: float) -> Sequence[object]:
        answer: Sequence[object] = receive([one for one in messages if one[0] not in DATA_LETTERS], now_ms)
        return answer

    machine.receive = deaf_to_data
    scenario.run()
    assert scenario.code == 1 and scenario.watch.failure is not None
    assert "no answer from" in scenario.watch.failure
    assert "step" in scenario.watch.failure and "output.0" in scenario.watch.failure

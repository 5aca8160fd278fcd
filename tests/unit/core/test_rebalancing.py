"""Groups that went to other nodes move to free nodes on request, and no bit changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from neuron_node.protocol import NOBODY, Header, Request
from tests.networks import plan_of, settings_of, xor_data
from tests.roles import NO_ROWS
from tests.simulation.scenario import Scenario


def scenario_of(epochs: int = 200, **changes: Any) -> Scenario:
    """A run in which one node takes the group of a lost one at once."""
    network = settings_of((2, 3, 1), epochs=epochs)
    plan = plan_of(network, xor_data(), grace_ms=0, silence_ms=3_000, snapshot_interval_steps=5, **changes)
    return Scenario(plan, seed=4)


def ask(scenario: Scenario, number: int) -> tuple[bool, dict[str, Any]]:
    """Ask for the groups to move; return whether it was granted, and the facts."""
    name = bytes([number]) * 8
    scenario.ask(Request(Header(NOBODY, 0, 0, NOBODY), name, "rebalance", "{}", NO_ROWS))
    scenario.run(lambda: name in scenario.answers)
    reply = scenario.answers[name]
    facts: dict[str, Any] = json.loads(reply.result)
    return reply.good, facts


def lose_one(scenario: Scenario) -> None:
    """Let a node be lost for good, and wait until another one hosts its group."""
    scenario.run_to(8)
    scenario.lose("node-3")
    scenario.run(lambda: scenario.machine.recoveries > 0 and scenario.machine.running)
    assert len(scenario.hosts) == 5


def test_groups_move_to_a_free_node() -> None:
    """A node that comes later gets the groups after the command; that is no recovery, and the run ends with the same bits."""
    scenario = scenario_of()
    scenario.run_to(3)
    good, facts = ask(scenario, 1)
    assert not good and "there is nothing to move" in facts["error"]
    lose_one(scenario)
    good, facts = ask(scenario, 2)
    assert not good and "no node is free" in facts["error"]
    recoveries = scenario.machine.recoveries
    scenario.nodes["node-9"] = scenario.start_node("node-9")
    scenario.run(lambda: any(member.name == "node-9" for member in scenario.machine.membership.in_order()))
    good, facts = ask(scenario, 3)
    assert good and (facts["moved"], facts["remaining"]) == (1, 0)
    scenario.run(lambda: scenario.machine.running)
    assert len(scenario.hosts) == 6 and "node-9" in scenario.hosts
    assert scenario.machine.recoveries == recoveries
    scenario.finish()


@pytest.mark.slow
def test_auto_moves_them_by_itself() -> None:
    """With `rebalance` auto, a free node gets the groups without a command, once."""
    scenario = scenario_of(epochs=1_000, rebalances=True)
    lose_one(scenario)
    recoveries = scenario.machine.recoveries
    scenario.nodes["node-9"] = scenario.start_node("node-9")
    scenario.run(lambda: "node-9" in scenario.hosts)
    generation = scenario.machine.outbox.generation
    scenario.run(lambda: scenario.machine.running)
    scenario.finish()
    assert (scenario.machine.recoveries, scenario.machine.outbox.generation) == (recoveries, generation)


@pytest.mark.parametrize("seed", range(4))
def test_a_crash_in_the_midst_loses_nothing(seed: int) -> None:
    """If the coordinator dies while the groups move, or the new node does, the run goes on and ends with the same bits."""
    scenario = scenario_of()
    lose_one(scenario)
    scenario.nodes["node-9"] = scenario.start_node("node-9")
    scenario.run(lambda: any(member.name == "node-9" for member in scenario.machine.membership.in_order()))
    ask(scenario, 1)
    for _ in range(seed):
        scenario.run_next()
    assert scenario.coordinator is not None
    scenario.kill(scenario.nodes["node-9"] if seed % 2 else scenario.coordinator)
    scenario.finish()

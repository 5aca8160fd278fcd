"""What a network will need is what it takes: the numbers of `plan` are those of a real topology."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from coordinator.errors import UserError
from coordinator.local.launcher import descriptors_needed
from coordinator.needs import (
    BESIDES,
    Machine,
    Needs,
    broker_descriptors,
    check_needs,
    lacks,
    needs_of,
    suggested_group_size,
    this_machine,
)
from coordinator.topology import Topology
from coordinator.traffic import Pass, coordinators_part, groups_part, load_of
from tests.commands import Terminal

BOUNDLESS = Machine(None, None, None)
LAYERS = [(64, 12, 10), (5, 3), (3, 7, 4, 2), (130, 140, 3)]


@pytest.mark.parametrize("batch_size", [1, 64, 400])
@pytest.mark.parametrize("group_size", [1, 2, 3, 5, 300])
@pytest.mark.parametrize("layers", LAYERS)
def test_the_numbers_are_a_real_topologys(layers: tuple[int, ...], group_size: int, batch_size: int) -> None:
    """Neurons, synapses, groups, and every message and byte of a step, without building the topology."""
    needs, topology, one = needs_of(layers, group_size, batch_size), Topology(layers, group_size), Pass(batch_size)
    assert (needs.neurons, needs.synapses) == (topology.neurons, topology.synapses)
    assert (needs.groups, needs.processes) == (len(topology.groups), len(topology.groups) + BESIDES)
    load = load_of(topology, one)
    assert (needs.messages_per_step, needs.bytes_per_step) == (load.messages, load.message_bytes)
    assert (needs.deliveries_per_step, needs.delivered_bytes_per_step) == (load.deliveries, load.delivered_bytes)
    parts = [coordinators_part(topology, one), *(groups_part(topology, number, one) for number in topology.groups)]
    assert needs.most_heard_per_step == max(part.heard_first + part.heard_then for part in parts)
    assert needs.largest_message_bytes == max(message.size for part in parts for message in part.sent)


def test_the_broker_gets_the_open_files_that_were_planned() -> None:
    """`learn` and `plan` count them alike."""
    assert [broker_descriptors(nodes) for nodes in (1, 86, 5_000)] == [
        descriptors_needed(nodes) for nodes in (1, 86, 5_000)
    ]


def test_spares_need_what_a_node_needs() -> None:
    """Programs, sockets and memory, but no messages of a step; they are counted in the line that refuses them."""
    without, with_spares = needs_of((4, 3, 2)), needs_of((4, 3, 2), spares=5)
    assert with_spares.processes == without.processes + 5
    assert with_spares.descriptors_broker == descriptors_needed(14)
    assert with_spares.memory_megabytes > without.memory_megabytes
    assert (with_spares.groups, with_spares.messages_per_step) == (without.groups, without.messages_per_step)
    with pytest.raises(UserError, match="14 nodes need"):
        check_needs(with_spares, Machine(150, None, None))


def test_a_huge_network_is_planned_without_being_built() -> None:
    """Twenty million synapses between single neurons are a sum of products, not a list."""
    needs = needs_of((784, 4096, 4096, 10), 1, 64)
    assert needs.synapses == 784 * 4096 + 4096 * 4096 + 4096 * 10
    assert needs.groups == needs.neurons == 8_986


@pytest.mark.parametrize(
    ("machine", "what"),
    [
        (Machine(200, None, None), "86 nodes need 300 open files, this machine allows 200"),
        (Machine(None, 100, None), "86 nodes need 265 processes and threads, 100 are allowed"),
        (Machine(None, None, 300.0), "86 nodes need about 68"),
    ],
)
def test_what_is_missing_is_said_with_a_group_size_that_would_do(machine: Machine, what: str) -> None:
    """One line names the limit, and the smallest group size with which the same network fits."""
    layers = (64, 12, 10)
    with pytest.raises(UserError, match=what) as raised:
        check_needs(needs_of(layers, 1, 1), machine)
    line = str(raised.value)
    assert "\n" not in line
    size = suggested_group_size(needs_of(layers), machine)
    assert size is not None and size > 1 and line.endswith(f"it fits with --group-size {size}")
    assert not lacks(needs_of(layers, size, 1), machine)
    assert lacks(needs_of(layers, size - 1, 1), machine)


def test_where_nothing_helps_nothing_is_suggested() -> None:
    """A machine that can hold no group size gets no advice that would not help."""
    needs = needs_of((64, 12, 10), 1, 1)
    with pytest.raises(UserError) as raised:
        check_needs(needs, Machine(None, None, 1.0))
    assert "--group-size" not in str(raised.value)
    check_needs(needs, BOUNDLESS)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"most_heard_per_step": 100_001}, "100,001 messages a step"),
        ({"largest_message_bytes": 268_435_457}, "take a smaller --batch-size"),
    ],
)
def test_the_protocols_own_limits_are_known(change: dict[str, Any], what: str) -> None:
    """A queue or a frame that would overflow is foreseen, whatever the machine."""
    needs: Needs = replace(needs_of((4, 3, 2)), **change)
    assert [what in line for line in lacks(needs, BOUNDLESS)] == [True]


def test_this_machine_is_known() -> None:
    """The kernel tells its limits; the tests would not run on a machine without any of these."""
    machine = this_machine()
    for number in (machine.descriptors, machine.tasks, machine.memory_megabytes):
        assert number is None or number > 0


def test_plan_prints_a_table(capfd: pytest.CaptureFixture[str]) -> None:
    """Each need stands beside the limit it is held against."""
    said = Terminal(capfd).type("plan", "--layers", "64,12,10")
    assert (said.code, said.err) == (0, "")
    for line in ("synapses                             888", "messages a step                      246"):
        assert line in said.out


def test_plan_gives_json(capfd: pytest.CaptureFixture[str]) -> None:
    """One object with all needs, the limits, and whether they are kept."""
    said = Terminal(capfd).type("plan", "--layers", "64-12-10", "--group-size", "layer", "--batch-size", "64", "--json")
    plan = json.loads(said.out)
    assert (said.code, plan["groups"], plan["fits"], plan["lacks"]) == (0, 3, True, [])
    assert plan.keys() == {*Needs.__dataclass_fields__, "limits", "fits", "lacks", "suggested_group_size"}


def test_plan_says_when_a_network_does_not_fit(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2, one line on stderr, and the table all the same."""
    monkeypatch.setattr("coordinator.cli.plan.this_machine", lambda: Machine(200, None, None))
    said = Terminal(capfd).type("plan", "--layers", "64,12,10")
    assert said.code == 2 and said.err.count("\n") == 1
    assert said.err.startswith("coordinator: 86 nodes need 300 open files, this machine allows 200; it fits with")
    said = Terminal(capfd).type("plan", "--layers", "64,12,10", "--json")
    assert (said.code, json.loads(said.out)["fits"], json.loads(said.out)["suggested_group_size"]) == (2, False, 3)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--layers", "64"], "--layers needs 2 to 64 sizes"),
        (["--layers", "64,x"], "'x' is not a whole number from 1 to 65,536"),
        (["--layers", "64,0"], "'0' is not a whole number"),
        (["--layers", "4,2", "--group-size", "two"], "'two' is not a whole number from 1 to 65,536 or layer"),
        (["--layers", "4,2", "--group-size", "1,2"], "one --group-size"),
        (["--layers", "4,2", "--batch-size", "-1"], "--batch-size: '-1'"),
    ],
)
def test_what_is_wrong_is_said(capfd: pytest.CaptureFixture[str], arguments: list[str], what: str) -> None:
    """One line, exit 2, nothing on stdout."""
    said = Terminal(capfd).type("plan", *arguments)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert what in said.err

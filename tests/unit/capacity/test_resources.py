"""What a network will need is what it takes: the numbers of `plan` are those of a real topology."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from coordinator.capacity.host import Host, this_machine
from coordinator.capacity.resources import (
    BESIDES,
    Needs,
    check_needs,
    lacks,
    largest_group_size,
    needs_of,
    suggested_group_size,
)
from coordinator.cli.learn import check_machine
from coordinator.core.traffic import Pass, load_of, messages_of
from coordinator.errors import UserError
from coordinator.local.descriptors import broker_descriptors, most_descriptors
from coordinator.local.relay import DESCRIPTORS_A_NODE
from coordinator.topology import Topology
from tests.commands import Terminal

BOUNDLESS = Host(None, None, None)
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
    heard = [len(topology.inputs) + len(topology.outputs)]
    # The input and the target come from the coordinator.
    neighbours = [(topology.senders[number], topology.receivers[number]) for number in topology.groups]
    heard += [max(1, len(senders)) + max(1, len(receivers)) for senders, receivers in neighbours]
    assert needs.most_heard_per_step == max(heard)
    assert needs.largest_message_bytes == max(message.size for message in messages_of(topology, one))


@pytest.mark.parametrize("relayed", [False, True])
def test_programs_get_the_open_files_that_were_planned(relayed: bool) -> None:
    """What a run's programs are given is what the plan holds against the machine, with a relay and without one."""
    needs = needs_of((64, 12, 10), spares=3, relayed=relayed)
    given = most_descriptors(89, relayed=relayed)
    assert given == max(needs.descriptors_broker, needs.descriptors_relay)
    check_needs(needs, Host(given, None, None))
    with pytest.raises(UserError, match=f"need {given:,} open files, this machine allows {given - 1:,}"):
        check_needs(needs, Host(given - 1, None, None))


def test_a_relay_is_a_program_of_its_own() -> None:
    """With its process, its thread, and six sockets a node; the messages of a step stay what they are."""
    direct, relayed = needs_of((4, 3, 2), spares=1), needs_of((4, 3, 2), spares=1, relayed=True)
    assert (relayed.processes, relayed.threads) == (direct.processes + 1, direct.threads + 1)
    assert relayed.sockets == direct.sockets + DESCRIPTORS_A_NODE * 10
    assert relayed.connections == direct.connections + 2 * 10
    assert relayed.memory_megabytes > direct.memory_megabytes
    assert (direct.descriptors_relay, relayed.descriptors_broker) == (0, direct.descriptors_broker)
    assert relayed.deliveries_per_step == direct.deliveries_per_step


def test_direct_wiring_needs_outlets_and_connections() -> None:
    """A socket more for every program but the broker, two connections a pair that hear each other, and the open files of
    whoever has most peers; the messages of a step stay what they are. Where that is too much the line says so.
    """
    layers = (64, 12, 10)
    broker, direct = needs_of(layers), needs_of(layers, wiring="direct")
    assert direct.sockets == broker.sockets + 86 + 1
    assert direct.connections == broker.connections + 2 * (64 * 12 + 12 * 10 + 64 + 10)
    assert direct.descriptors_a_program == broker.descriptors_a_program + 2 * (64 + 10)
    assert direct.memory_megabytes > broker.memory_megabytes
    assert (direct.threads, direct.deliveries_per_step) == (broker.threads, broker.deliveries_per_step)
    large = (1_000, 100, 10)
    enough = needs_of(large, wiring="direct")
    few = Host(enough.descriptors_broker - 1, None, None)
    with pytest.raises(UserError, match="open files"):
        check_needs(enough, few)


@pytest.mark.parametrize("relayed", [False, True])
def test_a_run_is_held_against_the_machine_as_a_plan_is(relayed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check before a run and the check of a plan are one: the same line, with the same suggestion."""
    machine = Host(290, None, None)
    monkeypatch.setattr("coordinator.cli.learn.this_machine", lambda: machine)
    needs = needs_of((64, 12, 10), relayed=relayed)
    with pytest.raises(UserError) as planned:
        check_needs(needs, machine)
    with pytest.raises(UserError) as run:
        check_machine(needs)
    assert str(run.value) == str(planned.value)
    size = suggested_group_size(needs, machine)
    assert size is not None
    check_machine(needs_of((64, 12, 10), size, relayed=relayed))
    assert lacks(needs_of((64, 12, 10), size - 1, relayed=relayed), machine)


def test_spares_need_what_a_node_needs() -> None:
    """Programs, sockets and memory, but no messages of a step; they are counted in the line that refuses them."""
    without, with_spares = needs_of((4, 3, 2)), needs_of((4, 3, 2), spares=5)
    assert with_spares.processes == without.processes + 5
    assert with_spares.descriptors_broker == broker_descriptors(14)
    assert with_spares.memory_megabytes > without.memory_megabytes
    assert (with_spares.groups, with_spares.messages_per_step) == (without.groups, without.messages_per_step)
    with pytest.raises(UserError, match="14 nodes need"):
        check_needs(with_spares, Host(150, None, None))


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("group_size", [1, 3, 300])
@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_fewer_nodes_than_groups_need_no_more(layers: tuple[int, ...], group_size: int, nodes: int) -> None:
    """Programs, sockets and messages; a step is reckoned at the most that it takes, and with one node exactly."""
    one_a_group = needs_of(layers, group_size, 4)
    needs = needs_of(layers, group_size, 4, nodes=min(nodes, one_a_group.groups))
    assert needs.groups == one_a_group.groups and needs.processes == needs.nodes + BESIDES
    assert needs.messages_per_step <= one_a_group.messages_per_step
    assert needs.delivered_bytes_per_step <= one_a_group.delivered_bytes_per_step
    ends = len(Topology(layers[:1], group_size).groups) + len(Topology(layers[-1:], group_size).groups)
    if nodes == 1:
        # All inputs and all targets, and of each group an input's error or an output.
        assert needs.messages_per_step == needs.deliveries_per_step == 2 + ends
        assert needs.most_heard_per_step == ends


def test_suggested_group_size_leaves_a_group_for_each_node() -> None:
    """Larger groups help against too many messages for one program, but not beyond what leaves no group for a node."""
    assert largest_group_size((64, 12, 10)) == 64
    assert [largest_group_size((64, 12, 10), nodes) for nodes in (1, 3, 4, 8, 86)] == [64, 64, 63, 12, 1]


def test_a_node_that_would_host_too_much_is_refused() -> None:
    """A grant is one message: so many groups, and so many bytes, are what it can bring."""
    boundless = needs_of((5000, 2), nodes=1)
    assert lacks(boundless, BOUNDLESS) == [
        "a node would host 5,002 groups with 120,016 bytes of numbers, 4,096 and 268,435,456 are allowed: take more --nodes"
    ]
    assert lacks(needs_of((5000, 2), nodes=2), BOUNDLESS) == []
    assert "take more --nodes" in lacks(needs_of((784, 8192, 8192, 10), 1024, nodes=1), BOUNDLESS)[0]


def test_more_nodes_than_groups_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    """In one line, with exit 2."""
    said = Terminal(capfd).type("plan", "--layers", "4,3,2", "--nodes", "10")
    assert (said.code, said.err) == (
        2,
        "coordinator: nodes must be a whole number from 1 to 9, the number of groups, not 10: each node hosts at least one\n",
    )


def test_a_huge_network_is_planned_without_being_built() -> None:
    """Twenty million synapses between single neurons are a sum of products, not a list."""
    needs = needs_of((784, 4096, 4096, 10), 1, 64)
    assert needs.synapses == 784 * 4096 + 4096 * 4096 + 4096 * 10
    assert needs.groups == needs.neurons == 8_986


@pytest.mark.parametrize(
    ("machine", "what"),
    [
        (Host(200, None, None), "86 nodes need 300 open files, this machine allows 200"),
        (Host(None, 100, None), "86 nodes need 265 processes and threads, 100 are allowed"),
        (Host(None, None, 300.0), "86 nodes need about 72"),
    ],
)
def test_missing_resource_is_said_with_a_group_size_that_fits(machine: Host, what: str) -> None:
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
        check_needs(needs, Host(None, None, 1.0))
    assert "--group-size" not in str(raised.value)
    check_needs(needs, BOUNDLESS)


def test_a_size_is_suggested_whose_messages_are_not_too_large() -> None:
    """Whole layers may be too large for a message, and single neurons too many for the machine: what lies between is found."""
    layers, batch, machine = (60_000, 10), 1_024, Host(2_000, None, None)
    assert lacks(needs_of(layers, 1, batch), machine) and lacks(needs_of(layers, 60_000, batch), machine)
    between = suggested_group_size(needs_of(layers, 60_000, batch), machine)
    assert between is not None and not lacks(needs_of(layers, between, batch), machine)
    with pytest.raises(UserError, match=f"it fits with --group-size {between}$"):
        check_needs(needs_of(layers, 60_000, batch), machine)


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


def test_limits_of_this_host_are_read() -> None:
    """The kernel tells its limits; the tests would not run on a machine without any of these."""
    machine = this_machine()
    for number in (machine.descriptors, machine.tasks, machine.memory_megabytes):
        assert number is None or number > 0


def test_plan_prints_a_table(capfd: pytest.CaptureFixture[str]) -> None:
    """Each need stands beside the limit it is held against."""
    said = Terminal(capfd).type("plan", "--layers", "64,12,10")
    assert (said.code, said.err) == (0, "")
    for line in ("synapses                             888", "messages per step                    174"):
        assert line in said.out


def test_plan_gives_json(capfd: pytest.CaptureFixture[str]) -> None:
    """One object with all needs, the limits, and whether they are kept."""
    said = Terminal(capfd).type("plan", "--layers", "64-12-10", "--group-size", "layer", "--batch-size", "64", "--json")
    plan = json.loads(said.out)
    assert (said.code, plan["groups"], plan["fits"], plan["lacks"]) == (0, 3, True, [])
    assert plan.keys() == {*Needs.__dataclass_fields__, "limits", "fits", "lacks", "suggested_group_size"}


def test_plan_knows_both_wirings(capfd: pytest.CaptureFixture[str]) -> None:
    """`auto` as `learn` would pick it."""
    for size, picked in (("layer", "direct"), ("1", "broker")):
        said = Terminal(capfd).type("plan", "--layers", "64,12,10", "--group-size", size, "--wiring", "auto", "--json")
        assert json.loads(said.out)["wiring"] == picked


def test_plan_counts_spares(capfd: pytest.CaptureFixture[str]) -> None:
    """As `learn` would start them."""
    said = Terminal(capfd).type("plan", "--layers", "64,12,10", "--spares", "4", "--json")
    plan = json.loads(said.out)
    assert (said.code, plan["spares"], plan["groups"], plan["processes"]) == (0, 4, 86, 86 + 4 + BESIDES)


def test_plan_places_as_learn_would(capfd: pytest.CaptureFixture[str]) -> None:
    """`auto` says on stderr what it picked, and plans for that."""
    said = Terminal(capfd).type("plan", "--layers", "64,12,10", "--group-size", "auto", "--json")
    assert (said.code, json.loads(said.out)["group_size"]) == (0, 64)
    assert said.err.startswith("group size auto: 64, one group per layer (3 nodes) for ")
    assert said.err.count("\n") == 1


def test_plan_says_when_a_network_does_not_fit(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2, one line on stderr, and the table all the same."""
    monkeypatch.setattr("coordinator.cli.plan.this_machine", lambda: Host(200, None, None))
    said = Terminal(capfd).type("plan", "--layers", "64,12,10")
    assert said.code == 2 and said.err.count("\n") == 1
    assert said.err.startswith("coordinator: 86 nodes need 300 open files, this machine allows 200: raise")
    assert said.err.endswith(" the limit (ulimit -n 300); it fits with --group-size 3\n")
    said = Terminal(capfd).type("plan", "--layers", "64,12,10", "--json")
    assert (said.code, json.loads(said.out)["fits"], json.loads(said.out)["suggested_group_size"]) == (2, False, 3)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--layers", "64"], "--layers needs 2 to 64 sizes"),
        (["--layers", "64,x"], "'x' is not a whole number from 1 to 65,536"),
        (["--layers", "64,0"], "'0' is not a whole number"),
        (["--layers", "4,2", "--group-size", "two"], "'two' is not a whole number from 1 to 65,536, layer or auto"),
        (["--layers", "4,2", "--group-size", "1,2"], "one --group-size"),
        (["--layers", "4,2", "--batch-size", "-1"], "--batch-size: '-1'"),
        (["--layers", "4,2", "--group-size", "auto,1"], "one --group-size"),
    ],
)
def test_wrong_arguments_of_plan_are_refused(
    capfd: pytest.CaptureFixture[str], arguments: list[str], what: str
) -> None:
    """One line, exit 2, nothing on stdout."""
    said = Terminal(capfd).type("plan", *arguments)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert what in said.err

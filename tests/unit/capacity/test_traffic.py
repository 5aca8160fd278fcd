"""What `coordinator.core.traffic` says of a step is what real programs send in it, message by message."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest

from coordinator.bench.pattern import Part, PassShape, coordinators_part, groups_part
from coordinator.core.traffic import Load, Pass, load_of, messages_of
from coordinator.in_memory import network_of
from coordinator.topology import Topology
from neuron_node.addresses import ADDRESS_LENGTH, DATA_LETTERS
from neuron_node.frames import DataFrame, DataKind, Mode, parse, split
from tests import networks

NETWORKS = [
    ((5, 3, 2), 1, 4),
    ((5, 3, 2), 2, 4),
    ((5, 3, 2), 5, 1),
    ((4, 3), 1, 3),
    ((3, 4, 3, 2), 2, 2),
    ((130, 2, 3), 1, 2),
]
WHOLE = {DataKind.AXON, DataKind.TARGETS}
"""For all groups of a stage."""


class Heard(NamedTuple):
    """One message of a real network, its frame, and how many programs received it."""

    message: bytes
    frame: DataFrame
    hearers: int


def heard_in(layers: tuple[int, ...], group_size: int, batch: int) -> list[Heard]:
    """All data messages of a network in memory that learns two epochs of two batches."""
    data = networks.made_data(2 * batch, layers[0], layers[-1])
    plan = networks.plan_of(networks.settings_of(layers, batch_size=batch), data, group_size=group_size)
    network, coordinator = network_of(plan)
    found: list[Heard] = []
    send = network.send

    def record(message: bytes) -> None:
        if message[0] in DATA_LETTERS:
            [data_frame] = split(message)
            found.append(Heard(message, parse(data_frame), len(network._subscribers.get(message[:ADDRESS_LENGTH], ()))))
        send(message)

    network.send = record  # type: ignore[method-assign]
    network.run_until(lambda: coordinator.finished is not None)
    return found


def check(found: list[Heard], topology: Topology, one: Pass) -> None:
    """The messages of one pass, by address, size and receivers."""
    told = Counter((message.address, message.size, message.receivers) for message in messages_of(topology, one))
    assert told == Counter((heard.message[:ADDRESS_LENGTH], len(heard.message), heard.hearers) for heard in found)
    assert load_of(topology, one) == Load(
        messages=len(found),
        message_bytes=sum(len(heard.message) for heard in found),
        deliveries=sum(heard.hearers for heard in found),
        delivered_bytes=sum(heard.hearers * len(heard.message) for heard in found),
    )


@pytest.mark.parametrize("axons_up_to", [None, 0], ids=["axons at once", "signals one by one"])
@pytest.mark.parametrize(("layers", "group_size", "batch"), NETWORKS)
def test_a_step_is_the_real_networks(
    layers: tuple[int, ...], group_size: int, batch: int, axons_up_to: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Count, addresses, sizes and receivers of a training step, and of a forward pass, are those of a network in memory."""
    if axons_up_to is not None:
        for module in ("coordinator.core.traffic", "coordinator.core.launching", "neuron_node.group"):
            monkeypatch.setattr(f"{module}.AXON_AT_ONCE_BYTES", axons_up_to)
    found, topology = heard_in(layers, group_size, batch), Topology(layers, group_size)
    assert axons_up_to is None or not {heard.frame.kind for heard in found} & WHOLE
    training = {heard.frame.pass_number for heard in found if heard.frame.mode != Mode.FORWARD}
    assert len(training) == 4
    forward = {heard.frame.pass_number for heard in found} - training
    assert forward
    for number in training | forward:
        of_pass = [heard for heard in found if heard.frame.pass_number == number]
        # Each epoch has two steps, and the second one is not followed at once.
        followed = number + 1 in training
        check(of_pass, topology, Pass(len(of_pass[0].frame.values), learning=number in training, followed=followed))


def parts_of(topology: Topology, one: PassShape) -> list[Part]:
    return [coordinators_part(topology, one), *(groups_part(topology, number, one) for number in topology.groups)]


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize(("layers", "group_size", "batch"), NETWORKS)
def test_every_frame_of_the_bare_wire_has_a_receiver(
    layers: tuple[int, ...], group_size: int, batch: int, learning: bool
) -> None:
    """Each program waits for exactly the messages that others send to the addresses it subscribes to, so none waits for ever."""
    topology, one = Topology(layers, group_size), PassShape(batch, learning)
    parts = parts_of(topology, one)
    sent = Counter(message.address for part in parts for message in part.sent)
    for part in parts:
        assert part.heard_first + part.heard_then == sum(sent[address] for address in part.subscriptions)
    for message in (message for part in parts for message in part.sent):
        assert sum(message.address in part.subscriptions for part in parts) == message.receivers
        assert len(message.frame()) == message.size


@pytest.mark.parametrize(("layers", "group_size", "batch"), NETWORKS)
def test_the_bare_wire_has_a_message_for_each_frame(layers: tuple[int, ...], group_size: int, batch: int) -> None:
    """Its figures are comparable over all versions: one message for each input, signal, error, target and result."""
    topology = Topology(layers, group_size)
    sent = [message for part in parts_of(topology, PassShape(batch)) for message in part.sent]
    ends, inner = len(topology.inputs) + len(topology.outputs), len(topology.groups) - len(topology.inputs)
    fan_outs = [len(topology.receivers[number]) for number in topology.groups if topology.receivers[number]]
    assert len(sent) == 2 * ends + inner + sum(fan_outs) - sum(fan_out - 1 for fan_out in fan_outs if fan_out > 1)

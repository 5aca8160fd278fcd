"""What `coordinator.traffic` says of a step is what real programs send in it, message by message."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest

from coordinator.memory_network import MemoryNetwork, network_of
from coordinator.topology import Topology
from coordinator.traffic import Load, Part, Pass, coordinators_part, groups_part, load_of
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.codec import decode
from neuron_node.messages import Axon, Data, Error, Input, InputError, Output, Signal, Target
from tests import networks

KINDS = (Input, Target, Signal, Axon, Error, Output, InputError)
NETWORKS = [
    ((5, 3, 2), 1, 4),
    ((5, 3, 2), 2, 4),
    ((5, 3, 2), 5, 1),
    ((4, 3), 1, 3),
    ((3, 4, 3, 2), 2, 2),
    ((130, 2, 3), 1, 2),
]


class Heard(NamedTuple):
    """One frame of a real network, and how many programs heard it."""

    frame: bytes
    message: Data
    hearers: int


def heard_in(layers: tuple[int, ...], group_size: int, batch: int) -> list[Heard]:
    """All data messages of a network in memory that learns two epochs of two batches."""
    data = networks.made_data(2 * batch, layers[0], layers[-1])
    plan = networks.plan_of(networks.settings_of(layers, batch_size=batch), data, group_size=group_size)
    network, coordinator = network_of(plan)
    found: list[Heard] = []
    send = network.send

    def record(frame: bytes) -> None:
        message = decode(frame)
        if isinstance(message, KINDS):
            found.append(Heard(frame, message, len(network._hearers.get(frame[:ADDRESS_LENGTH], ()))))
        send(frame)

    network.send = record  # type: ignore[method-assign]
    assert isinstance(network, MemoryNetwork)
    network.run_until(lambda: coordinator.finished is not None)
    return found


def parts_of(topology: Topology, one: Pass) -> list[Part]:
    return [coordinators_part(topology, one), *(groups_part(topology, number, one) for number in topology.groups)]


def check(found: list[Heard], topology: Topology, one: Pass) -> None:
    """The frames of one pass, by address, size and hearers."""
    sent = [message for part in parts_of(topology, one) for message in part.sent]
    told = Counter((message.address, message.size, message.hearers) for message in sent)
    assert told == Counter((heard.frame[:ADDRESS_LENGTH], len(heard.frame), heard.hearers) for heard in found)
    load = load_of(topology, one)
    assert load == Load(
        messages=len(found),
        message_bytes=sum(len(heard.frame) for heard in found),
        deliveries=sum(heard.hearers for heard in found),
        delivered_bytes=sum(heard.hearers * len(heard.frame) for heard in found),
    )


@pytest.mark.parametrize("axons_up_to", [None, 0], ids=["axons at once", "signals one by one"])
@pytest.mark.parametrize(("layers", "group_size", "batch"), NETWORKS)
def test_a_step_is_the_real_networks(
    layers: tuple[int, ...], group_size: int, batch: int, axons_up_to: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Count, addresses, sizes and hearers of a training step, and of a forward pass, are those of a network in memory."""
    if axons_up_to is not None:
        for module in ("coordinator.traffic", "neuron_node.worker"):
            monkeypatch.setattr(f"{module}.AXON_AT_ONCE_BYTES", axons_up_to)
    found, topology = heard_in(layers, group_size, batch), Topology(layers, group_size)
    kinds = {type(heard.message) for heard in found}
    assert (Axon in kinds) <= (axons_up_to is None)
    training = {heard.message.header.pass_number for heard in found if isinstance(heard.message, Target)}
    assert len(training) == 4
    forward = {heard.message.header.pass_number for heard in found} - training
    assert forward
    for number in training | forward:
        of_pass = [heard for heard in found if heard.message.header.pass_number == number]
        rows = len(of_pass[0].message.values)
        check(of_pass, topology, Pass(rows, learning=number in training, number=number))


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize(("layers", "group_size", "batch"), NETWORKS)
def test_everything_sent_is_heard(layers: tuple[int, ...], group_size: int, batch: int, learning: bool) -> None:
    """Each program waits for exactly the messages that others send to the addresses it subscribes to, so none waits for ever."""
    topology, one = Topology(layers, group_size), Pass(batch, learning)
    parts = parts_of(topology, one)
    sent = Counter(message.address for part in parts for message in part.sent)
    for part in parts:
        assert part.heard_first + part.heard_then == sum(sent[address] for address in part.subscriptions)
    for message in (message for part in parts for message in part.sent):
        assert sum(message.address in part.subscriptions for part in parts) == message.hearers
        assert len(message.frame()) == message.size

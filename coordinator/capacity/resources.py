"""Estimates the resources of a network before it is started, and compares them with the machine.

The estimates follow from the sizes of layers and groups, layer by layer, because a topology of twenty million synapses would
itself take gigabytes. The memory of a program was measured; see `docs/performance.md`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from coordinator.capacity.host import Host, this_machine
from coordinator.capacity.wiring import most_peers_of, pairs_of
from coordinator.core.traffic import Load, Message, Pass
from coordinator.defaults import NetworkSettings, Wiring
from coordinator.local.descriptors import (
    SOCKETS_A_PROGRAM,
    broker_descriptors,
    most_descriptors,
    relay_descriptors,
)
from coordinator.local.relay import DESCRIPTORS_A_NODE as RELAY_DESCRIPTORS_A_NODE
from neuron_node.addresses import group_address, stage_address
from neuron_node.direct import DESCRIPTORS_A_PEER
from neuron_node.errors import UserError
from neuron_node.frames import MAX_FRAME_BYTES, NUMBER_BYTES
from neuron_node.protocol import MAX_HOSTED
from neuron_node.role import OUTSIDE
from neuron_node.transport import DESCRIPTORS_A_PROGRAM, QUEUED_MESSAGES

__all__ = ["Host", "Needs", "check_needs", "lacks", "needs_of", "suggested_group_size", "this_machine"]

THREADS_A_PROGRAM = 3
"""The threads of a program: its own, and two of ZeroMQ."""
BESIDES = 3
"""The other programs of a local run: broker, coordinator, supervisor."""
NODE_MEGABYTES = 6.0
"""The memory of a forked node (its proportional share), without the numbers of its neurons."""
BESIDES_MEGABYTES = 200.0
"""The memory of all other programs, with about 60 MB of samples, and without the share for each node."""
MEGABYTES_A_CONNECTION = 0.05
COPIES_OF_NUMBERS = 10
"""The copies of the weights. At the node: old and new weights, two copies for snapshots, one in a message, and the weights of
the previous step (of an input group, but counted for all). At the coordinator: the last snapshot, the next one, its messages,
and its file."""
COPIES_OF_MESSAGES = 3
"""The copies of delivered messages: at the receivers, while they are read, and in ZeroMQ."""
MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Needs:
    """The resources of a network. Bytes and messages are those of one training step."""

    layers: tuple[int, ...]
    group_size: int
    batch_size: int
    spares: int
    relayed: bool
    """Whether nodes connect through a relay, so that chaos can disconnect them."""
    wiring: Wiring
    neurons: int
    synapses: int
    groups: int
    nodes: int
    """Programs that host all groups."""
    shared: bool
    """Whether the number of nodes was given. If so, the figures of a step are upper limits."""
    processes: int
    threads: int
    sockets: int
    connections: int
    """Connections to the broker, and in direct wiring to each other."""
    descriptors_broker: int
    descriptors_relay: int
    """Open files of the relay, or 0 without one."""
    descriptors_a_program: int
    memory_megabytes: float
    messages_per_step: int
    bytes_per_step: int
    deliveries_per_step: int
    delivered_bytes_per_step: int
    most_heard_per_step: int
    """The largest number of messages for one program."""
    largest_message_bytes: int
    most_hosted: int
    """The largest number of groups of one node. `hosted_bytes` is the size of their numbers, which one message must carry."""
    hosted_bytes: int


class _Layer(NamedTuple):
    """The groups of one layer: the number of the first, their count, the size of all but the last, and the size of the last."""

    first: int
    groups: int
    size: int
    rest: int

    def kinds(self) -> Iterator[tuple[int, int, int]]:
        """Return (count, size, number of an example) for groups whose messages have the same length."""
        last = self.first + self.groups - 1
        # From these numbers on, msgpack needs another byte.
        edges = [self.first, *(edge for edge in (128, 256, 65_536) if self.first < edge < last), last]
        for begin, end in itertools.pairwise(edges):
            if end > begin:
                yield end - begin, self.size, begin
        yield 1, self.rest, last

    def sizes(self) -> list[tuple[int, int]]:
        """(groups, size)."""
        return [(self.groups - 1, self.size), (1, self.rest)]


def needs_of(
    layers: Sequence[int],
    group_size: int = 1,
    batch_size: int = 1,
    *,
    nodes: int | None = None,
    spares: int = 0,
    relayed: bool = False,
    wiring: Wiring = "broker",
) -> Needs:
    """Estimate the resources of a network with groups of at most this size and with spare nodes.

    `nodes` programs host all groups; by default, there is one per group.
    """
    neurons, synapses = sum(layers), sum(above * below for above, below in itertools.pairwise(layers))
    rows = _layers(layers, group_size)
    groups = sum(row.groups for row in rows)
    load, largest = _load(rows, layers, Pass(batch_size), nodes)
    started = (groups if nodes is None else nodes) + spares
    programs = started + 2
    # The connections of a node end at the relay, which has two more to the broker for each node.
    connections = SOCKETS_A_PROGRAM * (started + 1 + started * relayed)
    sockets, peers = SOCKETS_A_PROGRAM, 0
    if wiring == "direct":
        sockets, peers = SOCKETS_A_PROGRAM + 1, most_peers_of(layers, group_size, nodes)
        connections += 2 * pairs_of(layers, group_size, nodes)
    copied_bytes = NUMBER_BYTES * COPIES_OF_NUMBERS * (neurons + synapses) + COPIES_OF_MESSAGES * load.delivered_bytes
    return Needs(
        layers=tuple(layers),
        group_size=group_size,
        batch_size=batch_size,
        spares=spares,
        relayed=relayed,
        wiring=wiring,
        neurons=neurons,
        synapses=synapses,
        groups=groups,
        nodes=started - spares,
        shared=nodes is not None,
        processes=started + BESIDES + relayed,
        # Supervisor and relay do not use ZeroMQ.
        threads=programs * THREADS_A_PROGRAM + 1 + relayed,
        sockets=SOCKETS_A_PROGRAM + sockets * (programs - 1) + RELAY_DESCRIPTORS_A_NODE * started * relayed,
        connections=connections,
        descriptors_broker=broker_descriptors(started),
        descriptors_relay=relay_descriptors(started) if relayed else 0,
        descriptors_a_program=DESCRIPTORS_A_PROGRAM + DESCRIPTORS_A_PEER * peers,
        memory_megabytes=BESIDES_MEGABYTES
        + NODE_MEGABYTES * (started + relayed)
        + MEGABYTES_A_CONNECTION * connections
        + copied_bytes / MEGABYTE,
        messages_per_step=load.messages,
        bytes_per_step=load.message_bytes,
        deliveries_per_step=load.deliveries,
        delivered_bytes_per_step=load.delivered_bytes,
        most_heard_per_step=_most_heard(rows, nodes),
        largest_message_bytes=largest,
        most_hosted=1 if nodes is None else sum(math.ceil(row.groups / nodes) for row in rows),
        hosted_bytes=_hosted_bytes(rows, layers, nodes),
    )


def needs_of_run(config: Mapping[str, Any], *, spares: int = 0, relayed: bool = False) -> Needs:
    """Estimate the resources of a run from its checked config."""
    network = NetworkSettings.from_json(config["network"])
    return needs_of(
        network.layers,
        config["group_size"],
        network.batch_size,
        nodes=config["nodes"],
        spares=spares,
        relayed=relayed,
        wiring=config["wiring"],
    )


def lacks(needs: Needs, machine: Host) -> list[str]:
    """Return the resources that this machine lacks, each in a few words."""
    nodes = needs.nodes + needs.spares
    network, found = f"{nodes:,} nodes{' behind a relay' if needs.relayed else ''}", []
    descriptors = max(most_descriptors(nodes, relayed=needs.relayed), needs.descriptors_a_program)
    if machine.descriptors is not None and descriptors > machine.descriptors:
        found.append(
            f"{network} need {descriptors:,} open files, this machine allows {machine.descriptors:,}: "
            f"raise the limit (ulimit -n {descriptors})"
        )
    if machine.tasks is not None and needs.threads > machine.tasks:
        found.append(f"{network} need {needs.threads:,} processes and threads, {machine.tasks:,} are allowed")
    if machine.memory_megabytes is not None and needs.memory_megabytes > machine.memory_megabytes:
        found.append(
            f"{network} need about {needs.memory_megabytes:,.0f} MB of memory, "
            f"{machine.memory_megabytes:,.0f} MB are free"
        )
    if needs.most_heard_per_step > QUEUED_MESSAGES:
        found.append(f"a program would get {needs.most_heard_per_step:,} messages a step, {QUEUED_MESSAGES:,} can wait")
    if needs.most_hosted > MAX_HOSTED or (needs.shared and needs.hosted_bytes > MAX_FRAME_BYTES):
        found.append(
            f"a node would host {needs.most_hosted:,} groups with {needs.hosted_bytes:,} bytes of numbers, "
            f"{MAX_HOSTED:,} and {MAX_FRAME_BYTES:,} are allowed: take more --nodes"
        )
    return found + _too_large(needs)


def suggested_group_size(needs: Needs, machine: Host) -> int | None:
    """Return the smallest group size with which the network fits, or None."""
    nodes = needs.nodes if needs.shared else None

    def lacking(group_size: int) -> tuple[list[str], list[str]]:
        other = needs_of(
            needs.layers,
            group_size,
            needs.batch_size,
            nodes=nodes,
            spares=needs.spares,
            relayed=needs.relayed,
            wiring=needs.wiring,
        )
        too_large = _too_large(other)
        return [line for line in lacks(other, machine) if line not in too_large], too_large

    # Larger groups need fewer resources, but larger messages: the smallest size that fits decides.
    smallest, largest = 1, largest_group_size(needs.layers, nodes)
    if lacking(largest)[0]:
        return None
    while smallest < largest:
        middle = (smallest + largest) // 2
        if lacking(middle)[0]:
            smallest = middle + 1
        else:
            largest = middle
    return None if lacking(smallest)[1] else smallest


def check_nodes(nodes: int | None, groups: int) -> None:
    """Raise `UserError` if there are more nodes than groups."""
    if nodes is not None and nodes > groups:
        raise UserError(
            f"nodes must be a whole number from 1 to {groups:,}, the number of groups, not {nodes:,}: "
            "each node hosts at least one"
        )


def check_needs(needs: Needs, machine: Host, advice: str = "it fits with") -> None:
    """Raise `UserError` if a resource is missing, with a group size that fits."""
    missing = lacks(needs, machine)
    if not missing:
        return
    size = suggested_group_size(needs, machine)
    hint = f"; {advice} --group-size {size}" if size and size != needs.group_size else ""
    raise UserError(f"{missing[0]}{hint}")


def _too_large(needs: Needs) -> list[str]:
    """Return limits of messages that smaller groups help against."""
    if needs.largest_message_bytes <= MAX_FRAME_BYTES:
        return []
    return [
        f"a message would have {needs.largest_message_bytes:,} bytes, {MAX_FRAME_BYTES:,} are allowed; "
        "take a smaller --batch-size"
    ]


def _layers(layers: Sequence[int], group_size: int) -> list[_Layer]:
    rows, first = [], 1
    for neurons in layers:
        size = min(group_size, neurons)
        groups = math.ceil(neurons / size)
        rows.append(_Layer(first, groups, size, neurons - (groups - 1) * size))
        first += groups
    return rows


def largest_group_size(layers: Sequence[int], nodes: int | None = None) -> int:
    """Return the largest group size with at least one group per node; without a number of nodes, a whole layer."""
    sizes = range(max(layers), 1, -1) if nodes is not None and nodes > len(layers) else (max(layers),)
    return next((size for size in sizes if sum(math.ceil(one / size) for one in layers) >= (nodes or 1)), 1)


def _load(rows: list[_Layer], layers: Sequence[int], one: Pass, nodes: int | None) -> tuple[Load, int]:
    """Return the load of all messages of a step, and the size of the largest; with `nodes`, an upper limit."""
    load, largest = Load(), 0
    others = sum(layers) if nodes is None else nodes - 1
    for message, times in _messages(rows, layers, one, others):
        load = load.plus(message, times)
        largest = max(largest, message.size) if times else largest
    return load, largest


def _messages(rows: list[_Layer], layers: Sequence[int], one: Pass, others: int) -> Iterator[tuple[Message, int]]:
    """Iterate over the messages of a step, as pairs (message, count), for at most this many other nodes."""
    for layer in (0, len(rows) - 1):
        yield from _to_layer(rows[layer], layers[layer], one, 1, others + 1)
    outside = stage_address(OUTSIDE)
    for layer, row in enumerate(rows):
        for groups, size, _ in row.kinds():
            if layer == 0:
                yield one.message(outside, 0), groups
            elif others:
                above = rows[layer - 1]
                yield one.message(stage_address(layer), size, min(above.groups, others)), groups
            if layer == len(rows) - 1:
                yield one.message(outside, size), groups
        if layer < len(rows) - 1 and others:
            yield from _to_layer(rows[layer + 1], layers[layer + 1], one, row.groups, others)


def _to_layer(row: _Layer, neurons: int, one: Pass, senders: int, others: int) -> Iterator[tuple[Message, int]]:
    """Iterate over the messages of these senders to all groups of a layer: one for the layer, or one per group."""
    if one.sent_at_once(row.groups, neurons):
        yield one.message(stage_address(1), neurons, min(row.groups, others)), senders
        return
    for receivers, columns in row.sizes():
        yield one.message(group_address(row.first), columns), receivers * senders


def _hosted_bytes(rows: list[_Layer], layers: Sequence[int], nodes: int | None) -> int:
    """Return an upper limit for the bytes of biases and weights of one node."""
    fans = [*layers[1:], 0]
    parts = [NUMBER_BYTES * row.size * (fan + 1) for row, fan in zip(rows, fans, strict=True)]
    if nodes is None:
        return max(parts)
    return sum(part * math.ceil(row.groups / nodes) for part, row in zip(parts, rows, strict=True))


def _most_heard(rows: list[_Layer], nodes: int | None) -> int:
    """Return the largest number of messages of a step for one program; an upper limit if nodes host several groups."""
    heard = [rows[0].groups + rows[-1].groups]
    for layer, row in enumerate(rows):
        above = rows[layer - 1].groups if layer else 1
        heard.append(above + (rows[layer + 1].groups if row is not rows[-1] else 1))
    if nodes is None:
        return max(heard)
    # A node has a part of the groups of every layer, and each of these may receive from all other nodes.
    parts = [math.ceil(row.groups / nodes) for row in rows]
    said = sum(heard[1 + layer] * part for layer, part in enumerate(parts))
    return max(heard[0], said if nodes > 1 else heard[0])

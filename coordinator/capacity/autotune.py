"""The choice of the group size `auto`: a rough estimate of the time of a step for each group size.

    a step = hops × latency of a hop
           + deliveries beyond one per hop × work of a delivery / cores
           + bytes delivered / rate of the wire
           + synapses × work of memory for a synapse
           + sum over layers of operations × share of the layer that the busiest core has / rate of a core

Layers wait for each other, groups of one layer share the cores. So larger groups save messages, and a layer with as many groups
as cores saves time for arithmetic. The better choice depends on network, batch and machine. All cores share the memory, so that
more groups do not make it faster. The estimate puts group sizes in order; it does not predict a speed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.capacity.host import Host
from coordinator.capacity.resources import Needs, check_needs, lacks, largest_group_size, needs_of

MOST_PARTS = 64
"""The largest number of parts of a layer: each part receives all activities or errors."""


@dataclass(frozen=True)
class Costs:
    """The costs of the parts of a step on one core.

    Measured with `coordinator bench`, and with NumPy alone and one BLAS thread, on two busy cores of an AMD EPYC. 64-12-10
    took 1.3 ms per step in 3 programs (6 hops) and 24 ms in 86 (1,924 deliveries). 784-512-512-10 in groups of 784, 512, 392
    and 256 neurons took 50, 44, 44 and 52 ms per step at batch 256, for 7.5, 9.6, 11.7 and 15.9 MB; in groups of 784 and 392,
    it took 8.6 and 10.0 ms at batch 16, and 7.4 and 6.6 ms at batch 1. Products of 256 × 784 and
    784 × 512 numbers ran at 40 to 50 GFLOP/s.
    """

    hop_seconds: float = 150e-6
    """From one program to the next through the broker, with the work of both."""
    delivery_seconds: float = 25e-6
    """For a message that arrives together with others, without a wake-up of its own."""
    bytes_per_second: float = 0.5e9
    """Through the broker, and in and out of arrays."""
    synapse_seconds: float = 8e-9
    """For each batch size: weight, gradient and new weight are read and written, mostly from memory."""
    operations_per_second: float = 40e9
    """Of multiplications and additions in large products."""


BROKER = Costs()
"""Messages go through the broker."""


@dataclass(frozen=True)
class Placement:
    """A group size, the needs of the network with it, and the reason for the choice."""

    needs: Needs
    cores: int
    seconds: float
    """The estimated time of a step."""
    passed_over: tuple[int, str] | None
    """The fastest size if this machine had more resources, and the missing resource."""

    @property
    def group_size(self) -> int:
        """The largest number of neurons per group."""
        return self.needs.group_size

    @property
    def told(self) -> str:
        """Return one line with the choice and its reason."""
        most = max(math.ceil(size / self.group_size) for size in self.needs.layers)
        cut = "one group per layer" if most == 1 else f"layers in up to {most:,} groups"
        cores = f"{self.cores:,} core{'s' if self.cores > 1 else ''}"
        line = f"group size auto: {self.group_size:,}, {cut} ({self.needs.nodes:,} nodes) for {cores}"
        if self.passed_over:
            size, missing = self.passed_over
            line += f"; {size:,} might be faster, but {missing}"
        return line


def place(
    layers: Sequence[int],
    batch_size: int,
    machine: Host,
    *,
    nodes: int | None = None,
    spares: int = 0,
    relayed: bool = False,
    costs: Costs = BROKER,
) -> Placement:
    """Return the group size with the lowest estimate that fits this machine. Raises `UserError` if none fits."""
    largest = largest_group_size(layers, nodes)
    sizes = {min(size, largest) for size in _sizes(layers, machine.cores)}
    needs = [needs_of(layers, size, batch_size, nodes=nodes, spares=spares, relayed=relayed) for size in sorted(sizes)]
    # With equal estimates, take the larger groups: fewer programs.
    in_order = sorted(needs, key=lambda one: (step_seconds(one, machine.cores, costs), -one.group_size))
    quickest = in_order[0]
    for one in in_order:
        if not lacks(one, machine):
            passed_over = None if one is quickest else (quickest.group_size, lacks(quickest, machine)[0])
            return Placement(one, machine.cores, step_seconds(one, machine.cores, costs), passed_over)
    check_needs(quickest, machine)
    raise AssertionError("sizes that do not fit are refused")


def step_seconds(needs: Needs, cores: int, costs: Costs = BROKER) -> float:
    """Return the estimated time of a step."""
    # Down to the outputs and the coordinator, back to the inputs and the coordinator.
    hops = 2 * len(needs.layers)
    # Signals, errors and gradients: three products, of a multiplication and an addition each.
    operations = 6 * needs.batch_size
    busiest = sum(
        above * below * operations * _busiest(above, needs.group_size, min(cores, needs.nodes))
        for above, below in itertools.pairwise(needs.layers)
    )
    return (
        hops * costs.hop_seconds
        + (needs.deliveries_per_step - hops) * costs.delivery_seconds / cores
        + needs.delivered_bytes_per_step / costs.bytes_per_second
        + needs.synapses * costs.synapse_seconds
        + busiest / costs.operations_per_second
    )


def _busiest(neurons: int, group_size: int, cores: int) -> float:
    """Return the largest share of a layer on one core."""
    groups = math.ceil(neurons / group_size)
    return math.ceil(groups / cores) / groups


def _sizes(layers: Sequence[int], cores: int) -> list[int]:
    """Return the sizes to compare: whole layers, layers in 2, 3, … parts up to the number of cores, and smaller ones down to 1."""
    sizes = {max(layers)}
    for neurons in set(layers):
        sizes |= {math.ceil(neurons / parts) for parts in _parts(min(cores, MOST_PARTS))}
    size = max(sizes)
    while size > 1:
        size = math.ceil(size / 2)
        sizes.add(size)
    return sorted(sizes)


def _parts(most: int) -> list[int]:
    """Return 1, 2, 3, 4, 6, 8, 12, … and the largest."""
    steps = [start << doubled for start in (1, 3) for doubled in range(most.bit_length())]
    return sorted({parts for parts in steps if parts <= most} | {most})

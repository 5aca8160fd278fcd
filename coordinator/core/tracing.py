"""Requests for the numbers of one pass: of a traced sample, or of the last training step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from coordinator.topology import Topology
from neuron_node.activations import Array
from neuron_node.codec import encode
from neuron_node.errors import Duplicate, Unexpected, WrongShape
from neuron_node.events import Send
from neuron_node.frames import NUMBER_BYTES
from neuron_node.group import REPLIES_FIRST_FROM_BYTES
from neuron_node.protocol import Header, TraceReport, TraceRequest

Reports = Mapping[int, TraceReport]
STATE = ("bias_after", "weights_after")
"""The numbers that every report has."""
REQUESTS = 8
"""The most requests for one report. A group that does not report must not keep the next step waiting."""


@dataclass(slots=True, eq=False)
class TraceJob:
    """The wanted reports of one pass, and those that were received. With `sample`, its inputs and targets make a traced pass."""

    topology: Topology
    groups: frozenset[int]
    done: Callable[[Reports], None]
    failed: Callable[[str], None]
    sample: tuple[Array, Array] | None = None
    """Inputs (rows, inputs) and targets (rows, outputs); None for the last training step."""
    reports: dict[int, TraceReport] = field(default_factory=dict)
    requested: int = 0
    """How often the missing reports of the last training step were requested."""

    def restart(self) -> None:
        """Begin again, because the network was rolled back."""
        self.reports.clear()
        self.requested = 0

    @property
    def missing(self) -> list[int]:
        """The groups whose report is missing."""
        return sorted(self.groups - self.reports.keys())

    def requests(self, header: Header, addresses: Mapping[int, bytes]) -> Iterator[Send]:
        """Request the missing reports of the last training step; `addresses` has the node of each group."""
        self.requested += 1
        for number in self.missing:
            if number in addresses:
                yield Send(addresses[number] + encode(TraceRequest(header, number)))

    def refuse(self, group: int) -> None:
        """Give the reason to `failed`: a result of this group is missing, although it was requested often."""
        name = self.topology.groups[group].names[0]
        self.failed(f"{name} did not report its numbers, though it was asked {REQUESTS} times; ask again")

    def receive(self, message: TraceReport) -> None:
        """Keep a report that is missing. Raises `PeerError`."""
        if message.group not in self.groups:
            raise Unexpected(f"a report of group {message.group}")
        if message.group in self.reports:
            raise Duplicate(0)
        self._check(message)
        self.reports[message.group] = message

    def _check(self, message: TraceReport) -> None:
        """Raise `WrongShape` for arrays whose shape does not follow from the topology."""
        group = self.topology.groups[message.group]
        found = {array.name: array.values.shape for array in message.numbers}
        rows = found.get("activity", (0, 0))[0]
        if self.sample is not None and rows != len(self.sample[0]):
            raise WrongShape(f"the report of {group.names[0]} has {rows} rows")
        expected = shapes(self.topology, message.group, rows)
        names = expected if "activity" in found else STATE
        if len(found) != len(message.numbers) or any(found.get(name) != expected[name] for name in names):
            raise WrongShape(f"the report of {group.names[0]}")


def shapes(topology: Topology, number: int, rows: int) -> dict[str, tuple[int, int]]:
    """Return the shape of each array in the report of a group."""
    group, receivers = topology.groups[number], topology.receivers[number]
    size, fan_out = group.size, sum(topology.groups[below].size for below in receivers)
    each = dict.fromkeys(("activity", "own_error", "sum", "slope"), (rows, size))
    each |= dict.fromkeys(("bias", "bias_gradient", "bias_after"), (1, size))
    each |= dict.fromkeys(("weights", "gradients", "weights_after"), (size, fan_out))
    each["signals"] = rows, size * max(1, len(topology.senders[number]))
    each["errors"] = rows, fan_out or size
    if receivers:
        each |= {"fired": (rows, fan_out), "error_sum": (rows, size)}
    return each


def last_step_bytes(topology: Topology, number: int, rows: int) -> int:
    """Return the bytes of the numbers in the report of a group of the last training step, which had so many rows."""
    expected = shapes(topology, number, rows)
    size, fan_out = expected["weights"]
    names: Iterable[str] = STATE if NUMBER_BYTES * size * fan_out > REPLIES_FIRST_FROM_BYTES else expected
    return NUMBER_BYTES * sum(height * width for height, width in map(expected.__getitem__, names))

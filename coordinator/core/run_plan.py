"""What a coordinator is to do, as data: the network, the samples and the habits of one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from coordinator.core.events import Snapshot
from coordinator.data.encoding import Encoding
from coordinator.defaults import NetworkSettings
from coordinator.schedule import Schedule
from coordinator.topology import Topology
from neuron_node.activations import Array
from neuron_node.role import Role

HEARTBEAT_MS_A_NODE = 5


class Samples(Protocol):
    """The samples of a run, scaled and encoded; `coordinator.data.PreparedData` has these attributes.

    The core knows only them, because reading and preparing a data set needs files.
    """

    @property
    def dataset(self) -> str:
        """The name of the data set."""

    @property
    def encoding(self) -> Encoding:
        """The conversion between numbers of the network and units of the data."""

    @property
    def train_inputs(self) -> Array:
        """The inputs to learn from, (samples, features)."""

    @property
    def train_targets(self) -> Array:
        """The targets to learn from, (samples, outputs)."""

    @property
    def test_inputs(self) -> Array:
        """The held-out inputs, (samples, features)."""

    @property
    def test_targets(self) -> Array:
        """The held-out targets, (samples, outputs)."""


@dataclass(frozen=True)
class RunPlan:
    """One run. `run` and `incarnation` are random names drawn by the shell."""

    run: bytes
    incarnation: bytes
    seed: int
    network: NetworkSettings
    data: Samples
    group_size: int
    fingerprint: str
    nodes: int | None = None
    """Nodes that host all groups; None: one a group."""
    snapshot_interval_steps: int | None = 50
    """None: as often as costs little."""
    microbatches: int = 1
    """Parts that the batch of a step is cut into, which are under way at the same time."""
    steps_at_most: int | None = None
    heartbeat_interval_ms: int = 1_000
    silence_ms: int = 10_000
    """For a network of usual size; see `in_proportion`."""
    grace_ms: int = 30_000
    """How long a group waits for a node to come back before it moves in with another."""
    mixed_arithmetic: bool = False
    inspect_every_step: bool = False
    stop_when_finished: bool = True
    model_path: str | None = None
    """Where the shell keeps the trained network; the machine only tells."""
    generation: int = 0
    """The highest generation that an earlier life of the coordinator may have used."""
    restart: Snapshot | None = None
    """Where an earlier life of the coordinator had come to."""
    figures: Mapping[str, Any] | None = None
    """What an earlier life of the coordinator measured of the network that has learned."""
    trained: Snapshot | None = None
    """A network that has learned already: nothing is trained, it only answers."""

    def in_proportion(self) -> RunPlan:
        """With heartbeats so rare, and silence so long, that a large network is not kept busy by being alive."""
        interval_ms = max(self.heartbeat_interval_ms, HEARTBEAT_MS_A_NODE * self.node_count())
        times = interval_ms / self.heartbeat_interval_ms
        return replace(self, heartbeat_interval_ms=interval_ms, silence_ms=round(self.silence_ms * times))

    def topology(self) -> Topology:
        """Groups and synapse blocks."""
        return Topology(self.network.layers, self.group_size)

    def node_count(self) -> int:
        """Return the number of nodes that host all groups."""
        return len(self.topology().groups) if self.nodes is None else self.nodes

    def roles(self, topology: Topology) -> dict[int, Role]:
        """What each group is told to be."""
        return {number: topology.role(number, self.network, self.seed) for number in topology.groups}

    def schedule(self) -> Schedule:
        """Which samples each step holds."""
        return Schedule(
            self.seed, len(self.data.train_inputs), self.network.batch_size, self.network.epochs, self.steps_at_most
        )

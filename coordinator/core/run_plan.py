"""The plan of one run, as data: network, samples and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from coordinator.core.events import Snapshot
from coordinator.core.journal import Changes, Entry
from coordinator.data.encoding import Encoding
from coordinator.defaults import NetworkSettings
from coordinator.schedule import Schedule
from coordinator.topology import Topology
from neuron_node.activations import Array
from neuron_node.role import Role

HEARTBEAT_MS_A_NODE = 5
UNCHANGED = Changes()


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
    """Plan of one run. `run` and `incarnation` are random names that the shell draws."""

    run: bytes
    incarnation: bytes
    seed: int
    network: NetworkSettings
    data: Samples
    group_size: int
    fingerprint: str
    nodes: int | None = None
    """The number of nodes that host all groups; None for one node per group."""
    snapshot_interval_steps: int | None = 50
    """None: as often as snapshots cost little; see `snapshot_interval.py`."""
    microbatches: int = 1
    """The number of parts of a batch, which are in flight at the same time."""
    steps_at_most: int | None = None
    heartbeat_interval_ms: int = 1_000
    silence_ms: int = 10_000
    """The time after which a silent node is dead. For large networks, see `in_proportion`."""
    grace_ms: int = 30_000
    """The time that a group waits for a missing node before another node hosts it."""
    rebalances: bool = False
    """Whether groups that moved to other nodes move to nodes of their own as soon as there are any."""
    mixed_arithmetic: bool = False
    inspect_every_step: bool = False
    stop_when_finished: bool = True
    claims_broker: bool = False
    """Whether nodes are taken only when no other coordinator at the broker has objected: see `claim.py`."""
    restarts: bool = False
    """Whether a client may ask for another run in the place of this one, because the shell can prepare it."""
    begun_by: tuple[bytes, Mapping[str, Any]] | None = None
    """The request that began this run, and its answer."""
    label: str = ""
    """The name of the run, its process and host, for another coordinator at the broker."""
    model_path: str | None = None
    """Where the shell saves the trained network. The machine only reports it."""
    generation: int = 0
    """The highest generation that an earlier life of the coordinator may have used."""
    interventions: int = 0
    """How many of these generations were begun by an intervention."""
    journal: tuple[Entry, ...] = ()
    """The interventions so far. Those that the snapshot does not contain are carried out again at their steps."""
    restart: Snapshot | None = None
    """The last snapshot of an earlier life of the coordinator."""
    figures: Mapping[str, Any] | None = None
    """The figures of the trained network, from an earlier life of the coordinator."""
    trained: Snapshot | None = None
    """A trained network, which only answers requests."""

    def in_proportion(self) -> RunPlan:
        """Return a plan with fewer heartbeats and longer silence, so that heartbeats do not keep a large network busy."""
        interval_ms = max(self.heartbeat_interval_ms, HEARTBEAT_MS_A_NODE * self.node_count())
        times = interval_ms / self.heartbeat_interval_ms
        return replace(self, heartbeat_interval_ms=interval_ms, silence_ms=round(self.silence_ms * times))

    def topology(self) -> Topology:
        """Return the groups and the synapses between them."""
        return Topology(self.network.layers, self.group_size)

    def node_count(self) -> int:
        """Return the number of nodes that host all groups."""
        return len(self.topology().groups) if self.nodes is None else self.nodes

    def roles(self, topology: Topology, changes: Changes = UNCHANGED) -> dict[int, Role]:
        """Return the role of each group after these interventions."""
        rate, silent = changes.learning_rate, set(changes.silent)
        network = self.network if rate is None else replace(self.network, learning_rate=rate)
        roles = {number: topology.role(number, network, self.seed) for number in topology.groups}
        for number in {topology.group_of[name] for name in silent}:
            names = roles[number].names
            rows = tuple(row for row, name in enumerate(names) if name in silent)
            roles[number] = roles[number]._replace(silent=rows)
        return roles

    def schedule(self) -> Schedule:
        """Return the samples of each step."""
        return Schedule(
            self.seed, len(self.data.train_inputs), self.network.batch_size, self.network.epochs, self.steps_at_most
        )

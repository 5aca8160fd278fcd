"""Assign groups to nodes, and grant them."""

from __future__ import annotations

from coordinator.core.connectivity import Connectivity
from coordinator.core.events import PersistGeneration, Snapshot
from coordinator.core.inflight import InFlight
from coordinator.core.journal import Changes
from coordinator.core.membership import Member
from coordinator.core.run import Run
from coordinator.topology import Topology
from neuron_node.addresses import node_address
from neuron_node.protocol import Grant, Placement
from neuron_node.snapshot_cache import digest_of

UNCHANGED_MS = 1_000
LOADING_BYTES_A_MS = 20_000
"""The slowest expected speed at which a node draws or decodes the numbers of a grant."""


def groups_by_node(topology: Topology, nodes: int | None) -> list[list[int]]:
    """Divide the groups among nodes: the numbers of the groups of each node. With None, each node gets one group.

    The groups of each layer are cut into as many consecutive runs as there are nodes, as evenly as possible, so that all
    nodes work at the same time. If a layer has fewer groups than nodes, each group goes to the node with the fewest groups.
    """
    if nodes is None:
        return [[group] for group in topology.groups]
    shares: list[list[int]] = [[] for _ in range(nodes)]
    for layer in range(len(topology.layers)):
        groups = [group.number for group in topology.groups.values() if group.layer == layer]
        if len(groups) < nodes:
            for group in groups:
                min(shares, key=len).append(group)
            continue
        for node in range(nodes):
            shares[node] += groups[node * len(groups) // nodes : (node + 1) * len(groups) // nodes]
    return shares


class Assignment:
    """Waits for enough nodes, and gives each of them its groups."""

    def __init__(self, run: Run, connectivity: Connectivity, in_flight: InFlight) -> None:
        plan = run.plan
        self._run = run
        self._connectivity = connectivity
        self._in_flight = in_flight
        self._roles = plan.roles(run.topology)
        self._roles_of = Changes()
        self._shares = groups_by_node(run.topology, plan.nodes)
        self._durable_generation = -1
        self._digests_of: Snapshot | None = None
        self._digests: dict[int, bytes] = {}
        self._loading_ms = {
            number: 8 * role.size * (role.fan_out + 1) / LOADING_BYTES_A_MS for number, role in self._roles.items()
        }
        self._have = -1
        self._since_ms: float | None = None
        self._short_since_ms: float | None = None
        self._assigned_before = plan.generation > 0
        self._able = 0
        """How many shares could move to a node of their own, at the last look."""
        self._able_since_ms = 0.0

    @property
    def durable(self) -> bool:
        """Whether the current generation is on disk."""
        return self._durable_generation == self._run.outbox.generation

    @property
    def nodes_needed(self) -> int:
        """The number of nodes that host all groups."""
        return len(self._shares)

    def begin_generation(self, generation: int) -> None:
        """Send all messages in this generation from now on; grant nothing in it before it is durable."""
        self._run.outbox.generation = generation
        self.persist()

    def persisted(self, generation: int) -> None:
        """Note that a generation is on disk."""
        self._durable_generation = max(self._durable_generation, generation)

    def persist(self) -> None:
        """Request that the generation is made durable, unless it is."""
        if not self.durable:
            self._run.outbox.act(PersistGeneration(self._run.outbox.generation, self._run.interventions))

    def assign(self) -> bool:
        """Assign every group to a node. Return False if there are too few nodes, or the generation is not durable."""
        if not self.durable:
            return False
        members = self._run.membership.members
        if self._run.membership.assign(self._shares) or self._regroup():
            for member in members.values():
                member.ready = False
            self._short_since_ms, self._assigned_before = None, True
            return True
        if len(members) != self._have:
            self._have, self._since_ms = len(members), self._run.now_ms
        return False

    def _regroup(self) -> bool:
        """After the grace period, assign the groups of missing nodes to the nodes that are there; whether that was done.

        A network that never ran waits for all its nodes.
        """
        run = self._run
        if self._short_since_ms is None:
            self._short_since_ms = run.now_ms
        grace_is_over = run.now_ms - self._short_since_ms >= run.plan.grace_ms
        if not self._assigned_before or not run.membership.members or not grace_is_over:
            return False
        for group, member in run.membership.regroup(list(run.topology.groups)):
            run.outbox.report("regrouped", neuron=run.topology.groups[group].names[0], node=member.name)
        return True

    def doubled(self) -> tuple[int, int]:
        """Return how many shares could move to a node of their own, and how many nodes host nothing."""
        return self._run.membership.doubled(self._shares)

    def release_doubled(self) -> int:
        """Take shares from nodes that host several, for the nodes that host nothing; return how many."""
        return self._run.membership.release_doubled(self._shares)

    def spread_when_due(self) -> bool:
        """Release shares, if the plan says so and no node has come for a while; return whether there were any."""
        run = self._run
        doubled, spares = self.doubled() if run.plan.rebalances else (0, 0)
        able = min(doubled, spares)
        if able != self._able:
            self._able, self._able_since_ms = able, run.now_ms
        if not able or run.now_ms - self._able_since_ms < UNCHANGED_MS:
            return False
        return self.release_doubled() > 0

    def report_missing_nodes(self, *, again: bool) -> bool:
        """Report how many nodes are missing, and return whether it did.

        It reports a number when no further node has registered for a while, and any number if `again` is true.
        """
        unchanged = self._since_ms is not None and self._run.now_ms - self._since_ms >= UNCHANGED_MS
        if not unchanged and not again:
            return False
        if unchanged:
            self._since_ms = None
        self._run.outbox.report("waiting", have=len(self._run.membership.members), need=self.nodes_needed)
        return True

    def grant(self, snapshot: Snapshot | None) -> None:
        """Grant every node that is not ready its groups, as of the snapshot."""
        for member in self._run.membership.hosting():
            if not member.ready:
                self.grant_to(member, snapshot)

    def grant_to(self, member: Member, snapshot: Snapshot | None) -> None:
        """Grant one node its groups. A state is sent only to a node that keeps no copy of it."""
        changes = snapshot.changes if snapshot else Changes()
        if changes != self._roles_of:
            self._roles_of, self._roles = changes, self._run.plan.roles(self._run.topology, changes)
        placements = tuple(self._placement(group, member, snapshot) for group in member.groups)
        header = self._run.outbox.header(self._in_flight.low)
        self._run.outbox.send(
            node_address(member.incarnation), Grant(header, placements, self._connectivity.peers_of(member))
        )

    def _placement(self, group: int, member: Member, snapshot: Snapshot | None) -> Placement:
        if snapshot is None:
            return Placement(self._roles[group], 0, None)
        if member.may_keep_snapshots and group not in member.missing_snapshots:
            return Placement(self._roles[group], snapshot.step, None, self._digest(group, snapshot))
        return Placement(self._roles[group], snapshot.step, snapshot.states[group])

    def _digest(self, group: int, snapshot: Snapshot) -> bytes:
        if self._digests_of is not snapshot:
            self._digests_of, self._digests = snapshot, {}
        if group not in self._digests:
            self._digests[group] = digest_of(snapshot.states[group])
        return self._digests[group]

    def loading_ms(self, member: Member) -> float:
        """Return how long a node may be too busy with the numbers of its grant to answer."""
        return sum(map(self._loading_ms.__getitem__, member.groups))

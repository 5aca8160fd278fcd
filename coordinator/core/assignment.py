"""Until the network stands: who is missing, and what each node that is there is told to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinator.core.events import PersistGeneration, Snapshot
from coordinator.core.membership import Member
from neuron_node.addresses import node_address
from neuron_node.protocol import Grant, Placement
from neuron_node.role import Role
from neuron_node.snapshot_cache import digest_of

if TYPE_CHECKING:
    from coordinator.core.machine import CoordinatorMachine

UNCHANGED_MS = 1_000
TAKEN_IN_BYTES_A_MS = 20_000
"""How fast, at the least, a node is expected to draw or take in the numbers that it is granted."""


class Assignment:
    """Gives groups to nodes."""

    def __init__(self, machine: CoordinatorMachine, roles: dict[int, Role]) -> None:
        """After the plan's grace without enough nodes, groups that were hosted before move in with others."""
        plan = machine.plan
        self._topology, self._roles = machine.topology, roles
        self._shares = plan.shares(machine.topology)
        self._membership, self._outbox, self._connectivity = machine.membership, machine.outbox, machine.connectivity
        self._in_flight = machine.trainer.in_flight
        self._durable_generation = -1
        self._digests_of: Snapshot | None = None
        self._digests: dict[int, bytes] = {}
        self._taking_in_ms = {
            number: 8 * role.size * (role.fan_out + 1) / TAKEN_IN_BYTES_A_MS for number, role in roles.items()
        }
        self._have = -1
        self._since_ms: float | None = None
        self._grace_ms = plan.grace_ms
        self._short_since_ms: float | None = None
        self._stood_before = plan.generation > 0

    @property
    def durable(self) -> bool:
        """Whether the present generation is on disk."""
        return self._durable_generation == self._outbox.generation

    @property
    def nodes_needed(self) -> int:
        """How many nodes it takes to host all groups."""
        return len(self._shares)

    def begin_generation(self, generation: int) -> None:
        """From now on everything is said in this generation; nothing is granted in it before it is durable."""
        self._outbox.generation = generation
        self._in_flight.begin_generation(generation)
        self.persist_again()

    def persisted(self, generation: int) -> None:
        """A generation is on disk."""
        self._durable_generation = max(self._durable_generation, generation)

    def persist_again(self) -> None:
        """Make the generation durable, unless it is."""
        if not self.durable:
            self._outbox.act(PersistGeneration(self._outbox.generation))

    def place(self, now_ms: float) -> bool:
        """Give every group a node; whether there are enough, and the generation is durable."""
        if not self.durable:
            return False
        if self._membership.place(self._shares) or self._crowd(list(self._topology.groups), now_ms):
            for member in self._membership.members.values():
                member.ready = False
            self._short_since_ms, self._stood_before = None, True
            return True
        if len(self._membership.members) != self._have:
            self._have, self._since_ms = len(self._membership.members), now_ms
        return False

    def _crowd(self, groups: list[int], now_ms: float) -> bool:
        """Whether the grace is over, and the groups whose node did not come back were given to nodes that are there.

        A network that has never stood waits for all its nodes.
        """
        if self._short_since_ms is None:
            self._short_since_ms = now_ms
        if not self._stood_before or not self._membership.members or now_ms - self._short_since_ms < self._grace_ms:
            return False
        for group, member in self._membership.crowd(groups):
            self._outbox.report("regrouped", neuron=self._topology.groups[group].names[0], node=member.name)
        return True

    def lacking(self, member: Member, groups: tuple[int, ...]) -> None:
        """A node keeps no such copy of these groups: its next grant carries their states."""
        member.lacking.update(groups)

    def say_what_is_missing(self, now_ms: float) -> None:
        """Report how many nodes are waited for; not while they keep coming, and each number once."""
        if self._since_ms is not None and now_ms - self._since_ms >= UNCHANGED_MS:
            self._since_ms = None
            self._outbox.report("waiting", have=self._have, need=self.nodes_needed)

    def grant(self, snapshot: Snapshot | None) -> None:
        """Give every node that has not said that it is ready its groups, as they were at the snapshot."""
        for member in self._membership.hosting():
            if not member.ready:
                self.grant_to(member, snapshot)

    def grant_to(self, member: Member, snapshot: Snapshot | None) -> None:
        """The grant of one node. State travels only to where there is no copy of it."""
        placements = tuple(self._placement(group, member, snapshot) for group in member.groups)
        self._outbox.send(
            node_address(member.incarnation),
            Grant(self._outbox.header(self._in_flight.low), placements, self._connectivity.peers_of(member)),
        )

    def _placement(self, group: int, member: Member, snapshot: Snapshot | None) -> Placement:
        if snapshot is None:
            return Placement(self._roles[group], 0, None)
        if member.keeps_copies and group not in member.lacking:
            return Placement(self._roles[group], snapshot.step, None, self._digest(group, snapshot))
        return Placement(self._roles[group], snapshot.step, snapshot.states[group])

    def _digest(self, group: int, snapshot: Snapshot) -> bytes:
        if self._digests_of is not snapshot:
            self._digests_of, self._digests = snapshot, {}
        if group not in self._digests:
            self._digests[group] = digest_of(snapshot.states[group])
        return self._digests[group]

    def taking_in_ms(self, member: Member) -> float:
        """How long a node may be too busy with the numbers of its grant to answer."""
        return sum(map(self._taking_in_ms.__getitem__, member.groups))

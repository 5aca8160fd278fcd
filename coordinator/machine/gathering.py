"""Until the network stands: who is missing, and what each node that is there is told to be."""

from __future__ import annotations

from coordinator.machine.events import PersistGeneration, Snapshot
from coordinator.machine.outbox import Outbox
from coordinator.machine.roster import Roster
from coordinator.topology import Topology
from neuron_node.addresses import node_address
from neuron_node.messages import Grant, Placement
from neuron_node.role import Role

UNCHANGED_MS = 1_000


class Gathering:
    """Gives groups to nodes."""

    def __init__(self, topology: Topology, roles: dict[int, Role], roster: Roster, outbox: Outbox) -> None:
        self._topology = topology
        self._roles = roles
        self._roster = roster
        self._outbox = outbox
        self._durable_generation = -1
        self._have = -1
        self._since_ms: float | None = None

    def begin_generation(self, generation: int) -> None:
        """From now on everything is said in this generation; nothing is granted in it before it is durable."""
        self._outbox.generation = generation
        self.persist_again()

    def persisted(self, generation: int) -> None:
        """A generation is on disk."""
        self._durable_generation = max(self._durable_generation, generation)

    def persist_again(self) -> None:
        """Make the generation durable, unless it is."""
        if self._durable_generation != self._outbox.generation:
            self._outbox.act(PersistGeneration(self._outbox.generation))

    def place(self, now_ms: float) -> bool:
        """Give every group a node; whether there are enough, and the generation is durable."""
        if self._durable_generation != self._outbox.generation:
            return False
        if self._roster.place(list(self._topology.groups)):
            for member in self._roster.members.values():
                member.ready = False
            return True
        if len(self._roster.members) != self._have:
            self._have, self._since_ms = len(self._roster.members), now_ms
        return False

    def say_what_is_missing(self, now_ms: float) -> None:
        """Report how many nodes are waited for; not while they keep coming, and each number once."""
        if self._since_ms is not None and now_ms - self._since_ms >= UNCHANGED_MS:
            self._since_ms = None
            self._outbox.report("waiting", have=self._have, need=len(self._topology.groups))

    def grant(self, snapshot: Snapshot | None) -> None:
        """Give every node that has not said that it is ready its groups, as they were at the snapshot."""
        for member in self._roster.hosting():
            if not member.ready:
                placements = tuple(self._placement(group, snapshot) for group in member.groups)
                self._outbox.send(node_address(member.incarnation), Grant(self._outbox.header(), placements))

    def _placement(self, group: int, snapshot: Snapshot | None) -> Placement:
        if snapshot is None:
            return Placement(self._roles[group], 0, None)
        return Placement(self._roles[group], snapshot.step, snapshot.states[group])

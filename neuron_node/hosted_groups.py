"""The groups that a node hosts, the copies of their states, and the node's subscriptions."""

from __future__ import annotations

from collections.abc import Callable

from neuron_node.addresses import EVERY_NODE, node_address
from neuron_node.events import Action, Connect, Disconnect, Send, Subscribe, Unsubscribe
from neuron_node.group import Group
from neuron_node.local_delivery import LocalDelivery
from neuron_node.protocol import Grant, Placement
from neuron_node.snapshot_cache import SnapshotCache


class HostedGroups:
    """The groups of one node. The copies stay after a grant, a lost link or a new registration, but not for another run."""

    def __init__(
        self, incarnation: bytes, send_copy: Callable[[Group, int], Send], now_ms: Callable[[], float] = lambda: 0.0
    ) -> None:
        """Begin without groups. `send_copy` returns the message that brings a new copy to the coordinator; for `now_ms` see `Group`."""
        self.groups: dict[int, Group] = {}
        self.receiver: Group | LocalDelivery | None = None
        """The receiver of data frames: the only group, or all groups; None while the node takes no data frames."""
        self.subscriptions: list[bytes] = [node_address(incarnation), EVERY_NODE]
        self.unproved = False
        """Whether there is a new subscription or connection since the links were last proved."""
        self.peers: dict[bytes, str] = {}
        """In direct wiring: the endpoint of each peer's outlet, by the peer's incarnation."""
        self.copies = SnapshotCache()
        self._incarnation = incarnation
        self._send_copy = send_copy
        self._now_ms = now_ms

    def begin_run(self) -> None:
        """Drop the copies of the earlier run."""
        self.copies = SnapshotCache()

    def lacking(self, grant: Grant) -> tuple[int, ...]:
        """Return the groups that the grant places with a digest for which the node keeps no copy."""
        return tuple(
            place.role.group
            for place in grant.placements
            if place.digest is not None
            and place.state is None
            and self.copies.matching(place.role.group, place.step, place.digest) is None
        )

    def host(self, grant: Grant) -> list[Action]:
        """Replace the hosted groups by those of a grant. `lacking` must be empty for the grant."""
        connect = self._connect({peer.incarnation: peer.endpoint for peer in grant.peers})
        take = self._take([self._group(place, grant) for place in grant.placements])
        self.copies.retain(self.groups)
        return [*connect, *take]

    def let_go(self) -> list[Action]:
        """Drop all groups and connections to peers; keep the copies."""
        return [*self._connect({}), *self._take([])]

    def rest(self) -> None:
        """Take no more data frames."""
        self.receiver = None

    def subscribe_again(self) -> list[Action]:
        """Return the actions that make all connections and subscriptions again, on new sockets."""
        self.unproved = True
        return [*map(Connect, self.peers.values()), *map(Subscribe, self.subscriptions)]

    def _connect(self, peers: dict[bytes, str]) -> list[Action]:
        before, self.peers = set(self.peers.values()), peers
        fresh = [endpoint for endpoint in peers.values() if endpoint not in before]
        self.unproved = self.unproved or bool(fresh)
        return [*map(Connect, fresh), *map(Disconnect, sorted(before - set(peers.values())))]

    def _group(self, place: Placement, grant: Grant) -> Group:
        number, state = place.role.group, place.state
        if state is None and place.digest is not None:
            state = self.copies.of(number, place.step)
        self.copies.roll_back(number, place.step)
        if state is not None:
            self.copies.keep(number, place.step, state)
        return Group(
            place._replace(state=state), grant.header, self._incarnation, self.copies, self._send_copy, self._now_ms
        )

    def _take(self, groups: list[Group]) -> list[Action]:
        self.groups = {group.role.group: group for group in groups}
        self.receiver = LocalDelivery(groups) if len(groups) > 1 else groups[0] if groups else None
        before = self.subscriptions
        self.subscriptions = [node_address(self._incarnation), EVERY_NODE]
        self.subscriptions += self.receiver.addresses if self.receiver else ()
        known, kept = set(before), set(self.subscriptions)
        fresh = [address for address in self.subscriptions if address not in known]
        self.unproved = self.unproved or bool(fresh)
        return [*map(Subscribe, fresh), *(Unsubscribe(address) for address in before if address not in kept)]

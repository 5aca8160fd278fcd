"""What a node hosts: its groups' workers, the copies it keeps of them, and the addresses at which it must hear."""

from __future__ import annotations

from collections.abc import Callable

from neuron_node.addresses import EVERY_NODE, axon_address, error_address, group_address, node_address
from neuron_node.copies import Copies
from neuron_node.events import Action, Connect, Disconnect, Send, Subscribe, Unsubscribe
from neuron_node.household import Hear, Household
from neuron_node.intake import Intake, OneByOne
from neuron_node.messages import Grant, Placement
from neuron_node.worker import Worker


class Hosting:
    """The groups of one node. Copies outlive a grant, a lost link and a new registration, but not another run."""

    def __init__(self, incarnation: bytes, tell_copy: Callable[[Worker, int], Send], hear: Hear) -> None:
        """`tell_copy` sends a fresh copy to the coordinator; `hear` lets groups hear a frame in full."""
        self.workers: dict[int, Worker] = {}
        self.hearers: dict[bytes, list[Worker]] = {}
        """Workers by the addresses at which they hear."""
        self.only_worker: Worker | None = None
        self.household: Household | None = None
        """Several workers."""
        self.intake: Intake = OneByOne()
        """The only worker, or the household."""
        self.subscriptions: list[bytes] = [node_address(incarnation), EVERY_NODE]
        self.unproved = False
        """Whether an address was subscribed to, or a peer connected to, after the links were last proved."""
        self.peers: dict[bytes, str] = {}
        """In direct wiring: whose data are heard where they send them, by incarnation."""
        self.copies = Copies()
        self._incarnation = incarnation
        self._tell_copy, self._hear = tell_copy, hear

    def begin_run(self) -> None:
        """Copies of another run are of no use."""
        self.copies = Copies()

    def lacking(self, grant: Grant) -> tuple[int, ...]:
        """The groups that a grant names by a digest, and of which no such copy is here."""
        return tuple(
            place.role.group
            for place in grant.placements
            if place.digest is not None
            and place.state is None
            and self.copies.matching(place.role.group, place.step, place.digest) is None
        )

    def host(self, grant: Grant) -> list[Action]:
        """Host the groups of a grant, of which none is lacking, in place of those before."""
        meet = self._meet({peer.incarnation: peer.endpoint for peer in grant.peers})
        take = self._take([self._worker(place, grant) for place in grant.placements])
        self.copies.retain(self.workers)
        return [*meet, *take]

    def let_go(self) -> list[Action]:
        """Host nothing; the copies are kept."""
        return [*self._meet({}), *self._take([])]

    def rest(self) -> None:
        """Take no data the short way."""
        self.only_worker = self.household = None
        self.intake = OneByOne()

    def subscribe_again(self) -> list[Action]:
        """All connections and subscriptions once more, on new sockets."""
        self.unproved = True
        return [*map(Connect, self.peers.values()), *map(Subscribe, self.subscriptions)]

    def _meet(self, peers: dict[bytes, str]) -> list[Action]:
        before, self.peers = set(self.peers.values()), peers
        fresh = [endpoint for endpoint in peers.values() if endpoint not in before]
        self.unproved = self.unproved or bool(fresh)
        return [*map(Connect, fresh), *map(Disconnect, sorted(before - set(peers.values())))]

    def _worker(self, place: Placement, grant: Grant) -> Worker:
        group, state = place.role.group, place.state
        if state is None and place.digest is not None:
            state = self.copies.of(group, place.step)
        self.copies.roll_back(group, place.step)
        if state is not None:
            self.copies.keep(group, place.step, state)
        header, place = grant.header, place._replace(state=state)
        return Worker(place, header.run, header.generation, self._incarnation, self.copies, self._tell_copy)

    def _take(self, workers: list[Worker]) -> list[Action]:
        self.workers = {worker.role.group: worker for worker in workers}
        self.hearers = {}
        for worker in workers:
            role = worker.role
            for address in (
                group_address(role.group),
                *(axon_address(sender.group) for sender in role.senders if sender.fan_out),
                *(error_address(block.receiver) for block in role.blocks),
            ):
                self.hearers.setdefault(address, []).append(worker)
        self.rest()
        if len(workers) == 1:
            self.only_worker = self.intake = workers[0]
        elif workers:
            self.household = self.intake = Household(workers, self.hearers, self._hear)
        before = self.subscriptions
        self.subscriptions = [node_address(self._incarnation), EVERY_NODE, *self._heard_from_outside()]
        known, kept = set(before), set(self.subscriptions)
        fresh = [address for address in self.subscriptions if address not in known]
        self.unproved = self.unproved or bool(fresh)
        return [*map(Subscribe, fresh), *(Unsubscribe(address) for address in before if address not in kept)]

    def _heard_from_outside(self) -> list[bytes]:
        """Where groups here hear others; what one of them publishes for several is handed to the others without the link."""
        here = {address(group) for group in self.workers for address in (axon_address, error_address)}
        return [address for address in self.hearers if address not in here]

"""The coordinator's connections and their proof and, in direct wiring, the peers of each node.

Synapses connect groups, and the membership says which node hosts each group. So each grant names the peers of its node, and
the coordinator connects to the hosts of input and output groups. Through the broker, no node has peers.
"""

from __future__ import annotations

from coordinator.core.claim import Claim
from coordinator.core.membership import Member
from coordinator.core.run import Run
from neuron_node.addresses import COORDINATOR, EVERY_NODE, stage_address
from neuron_node.events import Connect, Disconnect, Subscribe
from neuron_node.link_probe import LinkProbe
from neuron_node.peer import Peer
from neuron_node.protocol import Echo, Probe, Reregister
from neuron_node.role import OUTSIDE


class Connectivity:
    """Connects, and proves that messages arrive."""

    def __init__(self, run: Run, claim: Claim) -> None:
        self.claim = claim
        self.proof = LinkProbe(run.plan.incarnation, run.outbox.header)
        self._run = run
        self._called = False
        self._peers: dict[bytes, str] = {}

    def reconnect(self) -> None:
        """Connect new sockets, subscribe to all addresses again, and prove it."""
        outbox = self._run.outbox
        for member in self._run.membership.members.values():
            # A node that lost its connection too reports that its links are proved again.
            member.linked = False
        outbox.act_all(map(Connect, self._peers.values()))
        outbox.act(Subscribe(COORDINATOR))
        outbox.act(Subscribe(stage_address(OUTSIDE)))
        outbox.act_all(self.proof.begin(self._peers))

    def connect_to_hosts(self) -> None:
        """Connect to the current hosts of input and output groups, in direct wiring."""
        run = self._run
        if not run.endpoint:
            return
        hosts = self._hosts()
        ends = [hosts[group.number] for group in (*run.topology.inputs, *run.topology.outputs)]
        before, self._peers = self._peers, {host.incarnation: host.endpoint for host in ends}
        run.outbox.act_all(Connect(self._peers[new]) for new in self._peers if new not in before)
        run.outbox.act_all(Disconnect(before[old]) for old in before if old not in self._peers)
        if self._peers.keys() - before.keys() or not self.proof.complete:
            run.outbox.act_all(self.proof.begin(self._peers))

    def disconnect(self) -> None:
        """Disconnect from all peers: the run ends, and a peer that closes its endpoint is not a lost connection."""
        self._run.outbox.act_all(map(Disconnect, self._peers.values()))
        self._peers = {}

    def peers_of(self, member: Member) -> tuple[Peer, ...]:
        """Return the peers of a node: the other hosts of groups above and below its own, and the coordinator."""
        run = self._run
        if not run.endpoint:
            return ()
        hosts, peers = self._hosts(), {}
        for group in member.groups:
            senders, receivers = run.topology.senders[group], run.topology.receivers[group]
            if not senders or not receivers:
                peers[run.plan.incarnation] = run.endpoint
            for host in (hosts[other] for other in (*senders, *receivers)):
                if host is not member:
                    peers[host.incarnation] = host.endpoint
        return tuple(Peer(*peer) for peer in peers.items())

    def unready(self) -> list[Member]:
        """Return the hosts that have not reported that their links are proved, or have not echoed our probe."""
        missing, hosting = self.proof.missing, self._run.membership.hosting()
        return [host for host in hosting if not host.ready or host.incarnation in missing]

    def receive_probe(self, message: Probe) -> None:
        """Receive our own probe from the broker. Raises `Stale`."""
        outbox = self._run.outbox
        outbox.act_all(self.proof.returned(message))
        if not self._called:
            self._called = True
            self.call_nodes()

    def call_nodes(self) -> None:
        """Tell all nodes to register: nodes of an earlier life of the coordinator are silent until their next heartbeat."""
        if not self.claim.pending:
            self._run.outbox.send(EVERY_NODE, Reregister(self._run.outbox.header()))

    def receive_echo(self, address: bytes, message: Echo) -> None:
        """Receive a peer's echo of our probe. Raises `Stale`."""
        self._run.outbox.act_all(self.proof.echoed(address, message))

    def probe_again(self) -> None:
        """Send again what has not been answered."""
        self._run.outbox.act_all(self.proof.again())

    def _hosts(self) -> dict[int, Member]:
        return {group: member for member in self._run.membership.members.values() for group in member.groups}

"""The coordinator's own links, and, in direct wiring, whom everybody must hear where he sends.

Which groups are joined by synapses is known, and so is who hosts them: each grant names the peers of its node, and the
coordinator hears the hosts of input and output groups. Through the broker nobody has peers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinator.core.state import CoordinatorState
from neuron_node.addresses import COORDINATOR, EVERY_NODE, stage_address
from neuron_node.events import Connect, Disconnect, Subscribe
from neuron_node.link_probe import LinkProbe
from neuron_node.peer import Peer
from neuron_node.protocol import Echo, Probe, Reregister
from neuron_node.role import OUTSIDE

if TYPE_CHECKING:
    from coordinator.core.machine import CoordinatorMachine
    from coordinator.core.membership import Member


class Connectivity:
    """Connections and their proof."""

    def __init__(self, machine: CoordinatorMachine) -> None:
        self.endpoint = ""
        """Where the coordinator's data can be heard without the broker; empty: all wiring is through the broker."""
        self.proof = LinkProbe(machine.plan.incarnation, machine.outbox.header)
        self._machine = machine
        self._called = False
        self._peers: dict[bytes, str] = {}

    def lost(self) -> None:
        """New sockets: connect and subscribe to everything again, and prove it."""
        machine, outbox = self._machine, self._machine.outbox
        if machine.state is CoordinatorState.TRAINING:
            machine.recovery_stats.begin(
                "a connection broke", outbox.generation, machine.trainer.step_due, machine.now_ms
            )
        for member in machine.membership.members.values():
            # A node that lost its connection too says so when its links are proved again.
            member.linked = False
        outbox.act_all(map(Connect, self._peers.values()))
        outbox.act(Subscribe(COORDINATOR))
        outbox.act(Subscribe(stage_address(OUTSIDE)))
        outbox.act_all(self.proof.begin(self._peers))

    def meet(self) -> None:
        """Groups have been placed: hear those that now host inputs and outputs."""
        if not self.endpoint:
            return
        topology, hosts = self._machine.topology, self._hosts()
        ends = [hosts[group.number] for group in (*topology.inputs, *topology.outputs)]
        before, self._peers = self._peers, {host.incarnation: host.endpoint for host in ends}
        outbox = self._machine.outbox
        outbox.act_all(Connect(self._peers[new]) for new in self._peers if new not in before)
        outbox.act_all(Disconnect(before[old]) for old in before if old not in self._peers)
        if self._peers.keys() - before.keys() or not self.proof.complete:
            outbox.act_all(self.proof.begin(self._peers))

    def part(self) -> None:
        """The run ends: whose peer closes his outlet has lost nothing."""
        self._machine.outbox.act_all(map(Disconnect, self._peers.values()))
        self._peers = {}

    def peers_of(self, member: Member) -> tuple[Peer, ...]:
        """Whom a node must hear: whoever else hosts groups above and below its own, and the coordinator."""
        if not self.endpoint:
            return ()
        topology, hosts, peers = self._machine.topology, self._hosts(), {}
        for group in member.groups:
            senders, receivers = topology.senders[group], topology.receivers[group]
            if not senders or not receivers:
                peers[self._machine.plan.incarnation] = self.endpoint
            for host in (hosts[other] for other in (*senders, *receivers)):
                if host is not member:
                    peers[host.incarnation] = host.endpoint
        return tuple(Peer(*peer) for peer in peers.items())

    def unready(self) -> list[Member]:
        """The hosts of groups that have not said that their links are proved, or have not echoed a probe of ours."""
        missing, hosting = self.proof.missing, self._machine.membership.hosting()
        return [host for host in hosting if not host.ready or host.incarnation in missing]

    def returned(self, message: Probe) -> None:
        """The probe has come back from the broker. Raises `Stale`."""
        outbox = self._machine.outbox
        outbox.act_all(self.proof.returned(message))
        if not self._called:
            # Nodes of an earlier life of ours are out there, and would not speak before their next heartbeat.
            self._called = True
            outbox.send(EVERY_NODE, Reregister(outbox.header()))

    def echoed(self, address: bytes, message: Echo) -> None:
        """A peer has echoed the probe. Raises `Stale`."""
        self._machine.outbox.act_all(self.proof.echoed(address, message))

    def again(self) -> None:
        """Ask once more for what has not come."""
        self._machine.outbox.act_all(self.proof.again())

    def _hosts(self) -> dict[int, Member]:
        return {group: member for member in self._machine.membership.members.values() for group in member.groups}

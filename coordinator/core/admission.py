"""Who may speak: every message is looked at here before the table, and every node comes in through `register`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_node.addresses import node_address
from neuron_node.errors import Stale
from neuron_node.protocol import (
    Echo,
    Header,
    Heartbeat,
    Message,
    NodeStatus,
    Probe,
    Register,
    Reject,
    Request,
    Reregister,
    Stopped,
    Superseded,
    Welcome,
)

if TYPE_CHECKING:
    from coordinator.core.machine import CoordinatorMachine


class Admission:
    """The door of a coordinator machine."""

    def __init__(self, machine: CoordinatorMachine) -> None:
        self._machine = machine

    def check(self, message: Message) -> None:
        """Nothing of another run, generation or life gets past this, but a registration, a request, the own probe and its echoes.

        Raises `PeerError`.
        """
        machine, header = self._machine, message.header
        if isinstance(message, Request | Probe | Echo):
            return
        if header.incarnation in machine.membership.gone:
            machine.outbox.send(node_address(header.incarnation), Superseded(machine.outbox.header()))
            raise Stale("of a life that is over")
        if isinstance(message, Register):
            return
        member = machine.membership.members.get(header.incarnation)
        if member is None:
            machine.outbox.send(node_address(header.incarnation), Reregister(machine.outbox.header()))
            raise Stale("from nobody of this run")
        member.heard_ms = machine.now_ms
        if isinstance(message, Heartbeat | Stopped | NodeStatus):
            return
        if (header.run, header.generation) != (machine.plan.run, machine.outbox.generation):
            raise Stale(f"generation {header.generation}, this is {machine.outbox.generation}")

    def register(self, message: Register) -> None:
        """Take a node in, or refuse it; one that comes back has lost what it hosted."""
        machine, plan, header = self._machine, self._machine.plan, message.header
        if message.fingerprint != plan.fingerprint and not plan.mixed_arithmetic:
            reason = f"its arithmetic is {message.fingerprint!r}, this run's {plan.fingerprint!r}"
            self.refuse(header.incarnation, reason)
            return
        if machine.connectivity.endpoint and not message.endpoint:
            self.refuse(
                header.incarnation, "this run is wired directly, and it listens nowhere: start it with --listen"
            )
            return
        if header.run == plan.run and header.generation > machine.outbox.generation:
            # A node has seen more of this run than our records hold, which were lost with a disk: never go below it.
            machine.outbox.generation = header.generation
            machine.recover(f"{message.name} has seen generation {header.generation}")
        known = header.incarnation in machine.membership.members
        member, earlier = machine.membership.register(message, machine.now_ms)
        if not known:
            member.keeps_copies = header.run == plan.run
            member.dropped_before = None if member.keeps_copies else 0
        welcome = Welcome(Header(plan.run, 0, 0, plan.incarnation), plan.heartbeat_interval_ms)
        machine.outbox.send(node_address(header.incarnation), welcome)
        if earlier and earlier.groups:
            machine.recover(f"{earlier.name} ended and came back")
        elif member.groups and (header.run, header.generation) == (plan.run, machine.outbox.generation):
            # It has hosted in this generation, and does no more. (An earlier one says that this was under way for long.)
            machine.recover(f"{member.name} has lost its groups")

    def refuse(self, incarnation: bytes, reason: str) -> None:
        """Tell a node why it can't take part, and our own log, once."""
        machine = self._machine
        machine.outbox.send(node_address(incarnation), Reject(machine.outbox.header(), reason))
        machine.outbox.act_all(machine.drops.tell_once(incarnation, f"refused node {incarnation.hex()}: {reason}"))

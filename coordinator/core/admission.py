"""Filter control messages before the table of transitions, and register nodes."""

from __future__ import annotations

from coordinator.core.membership import Member
from coordinator.core.run import Run
from coordinator.core.verdicts import Recover
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
    Reregister,
    Stopped,
    Superseded,
    Welcome,
)


class Admission:
    """Decides which messages and which nodes take part in the run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def check(self, message: Message) -> None:
        """Raise `PeerError` for a message of another run or generation, or of a node that is no member.

        Registrations, the coordinator's own probe and its echoes belong to no generation.
        """
        run, header = self._run, message.header
        if isinstance(message, Probe) and header.run != run.plan.run:
            raise Stale("a probe of another run")
        if isinstance(message, Probe | Echo):
            return
        if header.incarnation in run.membership.gone:
            run.outbox.send(node_address(header.incarnation), Superseded(run.outbox.header(run.control_check)))
            raise Stale("of a life that is over")
        if isinstance(message, Register):
            return
        member = run.membership.members.get(header.incarnation)
        if member is None:
            run.outbox.send(node_address(header.incarnation), Reregister(run.outbox.header()))
            raise Stale("from a node that is no member of this run")
        if header.run != run.plan.run:
            raise Stale("of another run")
        member.received_ms = run.now_ms
        if isinstance(message, Heartbeat | Stopped | NodeStatus):
            return
        if (header.run, header.generation) != (run.plan.run, run.outbox.generation):
            raise Stale(f"generation {header.generation}, this is {run.outbox.generation}")

    def objection(self, message: Register) -> str | None:
        """Return the reason to reject a node; None if it may take part."""
        plan = self._run.plan
        if message.fingerprint != plan.fingerprint and not plan.mixed_arithmetic:
            return f"its arithmetic is {message.fingerprint!r}, this run's {plan.fingerprint!r}"
        if self._run.endpoint and not message.endpoint:
            return "this run is wired directly, and it listens nowhere: start it with --listen"
        return self._objection_to_key(message)

    def _objection_to_key(self, message: Register) -> str | None:
        """Return the reason to reject the key of a node; None if the key may take part, and has a place."""
        key_of, membership = self._run.key_of, self._run.membership
        if key_of is None:
            return None
        key = key_of(message)
        if key is None:
            return "its registration does not prove that it has a valid key of this network"
        named = membership.named(message.name)
        if named is not None and named.key != key.name:
            return f"the name {message.name} is that of a node with another key"
        # A node that comes back takes its own place.
        taken = sum(member.key == key.name for member in membership.members.values() if member is not named)
        if taken >= key.places:
            places = "its only place is" if key.places == 1 else f"its {key.places:,} places are"
            return f"the key {key.name} is in use: {places} taken"
        return None

    def namesake(self, message: Register) -> Member | None:
        """Return the member under whose name another program registers without knowing the run; None if there is none."""
        run, header = self._run, message.header
        member = run.membership.named(message.name)
        unproved = member is not None and member.incarnation != header.incarnation and header.run != run.plan.run
        return member if unproved else None

    def newer_generation(self, message: Register) -> Recover | None:
        """Recover if a node has seen a later generation of this run.

        The record of that generation was lost with a disk, but the generation must never be used a second time.
        """
        header = message.header
        if header.run == self._run.plan.run and header.generation > self._run.outbox.generation:
            return Recover(f"{message.name} has seen generation {header.generation}", header.generation)
        return None

    def register(self, message: Register) -> Recover | None:
        """Register a node; recover if an earlier life of it, or this one, has lost the groups that it hosted."""
        run, plan, header = self._run, self._run.plan, message.header
        known = header.incarnation in run.membership.members
        member, earlier = run.membership.register(message, run.now_ms)
        if not known:
            member.may_keep_snapshots = header.run == plan.run and header.generation > 0
            member.dropped_before = None if member.may_keep_snapshots else 0
        welcome = Welcome(Header(plan.run, 0, run.control_check, plan.incarnation), plan.heartbeat_interval_ms)
        run.outbox.send(node_address(header.incarnation), welcome)
        if earlier and earlier.groups:
            return Recover(f"{run.shown(earlier)} ended and came back")
        if member.groups and (header.run, header.generation) == (plan.run, run.outbox.generation):
            # It hosted groups in this generation and no longer does. A registration of an earlier generation was delayed.
            return Recover(f"{run.shown(member)} has lost its groups")
        return None

    def reject(self, incarnation: bytes, reason: str) -> None:
        """Tell a node why it can't take part, and log it once."""
        run = self._run
        run.outbox.send(node_address(incarnation), Reject(run.outbox.header(run.control_check), reason))
        run.outbox.act_all(run.drops.tell_once(incarnation, f"refused node {incarnation.hex()}: {reason}"))

"""The state of a run that the parts of the coordinator share.

The parts read it, append messages and reports to its outbox, and return verdicts (`verdicts.py`). Only the machine applies
verdicts: it alone changes state, generation and membership. No part knows the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from coordinator.core.access import KeyOf
from coordinator.core.membership import Member, Membership
from coordinator.core.outbox import Outbox
from coordinator.core.run_plan import RunPlan
from coordinator.core.state import RUNNING, CoordinatorState
from coordinator.topology import Topology
from neuron_node.drop_counter import DropCounter
from neuron_node.errors import Stale
from neuron_node.signing import Sign


@dataclass(eq=False)
class Run:
    """Plain data; the properties are sums over it."""

    plan: RunPlan
    topology: Topology
    outbox: Outbox
    """Who sends, in which generation, and the actions of the current transition."""
    endpoint: str = ""
    """Where peers connect to receive the coordinator's data without the broker; empty if all data passes the broker."""
    key_of: KeyOf | None = None
    """Finds the key of a node that registers; None without keys."""
    membership: Membership = field(default_factory=Membership)
    state: CoordinatorState = CoordinatorState.GATHERING
    now_ms: float = 0.0
    control_check: int = 0
    """The CRC-32 of the present control frame. Answers that welcome or end a node state it."""
    drops: DropCounter = field(default_factory=DropCounter)
    finished: dict[str, Any] | None = None
    """The figures of the run when its training finished."""
    failure: str | None = None
    interventions: int = 0
    """How many generations were begun by an intervention."""
    unsaved: str | None = None
    """Why the last write to disk failed; None if it succeeded."""

    @classmethod
    def of(cls, plan: RunPlan, endpoint: str, sign: Sign | None = None, key_of: KeyOf | None = None) -> Run:
        """Return the state before the first event.

        With `sign`, the messages to nodes are signed. With `key_of`, a node must prove which key it has.
        """
        outbox = Outbox(plan.run, plan.incarnation, plan.generation, sign)
        return cls(plan, plan.topology(), outbox, endpoint, key_of, interventions=plan.interventions)

    @property
    def running(self) -> bool:
        """Whether every group has a node and passes may be in flight."""
        return self.state in RUNNING

    def shown(self, member: Member) -> str:
        """Return the name of a node for people: after its neurons, if it hosts any, as they know those."""
        names = [name for group in sorted(member.groups) for name in self.topology.groups[group].names]
        if not names:
            return member.name
        neurons = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"
        return f"{neurons} ({member.name})"

    @property
    def recoveries(self) -> int:
        """How often the network was rolled back or the coordinator restarted: each has its own generation.

        An intervention has one too, but is no recovery.
        """
        return self.outbox.generation - 1 - self.interventions

    @property
    def stale_messages(self) -> int:
        """Stale messages that the coordinator dropped, and messages that nodes dropped, as last reported."""
        return self.drops.counts[Stale.reason] + self.membership.dropped

    @property
    def messages(self) -> int:
        """Messages that all programs of the run have sent, as last counted."""
        return self.outbox.messages_sent + self.membership.sent

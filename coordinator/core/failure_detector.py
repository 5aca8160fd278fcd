"""Who is alive. Nothing follows from a clock but that it is time to look: who is late is asked, who does not answer is lost.

Any message says that a node was there, but only an answer says that it hears us too: a node whose heartbeats come while
our messages do not reach it is as good as dead. All limits grow with the steps' own time, and double while recoveries
follow each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinator.core.membership import Member
from coordinator.core.state import CoordinatorState
from neuron_node.addresses import node_address
from neuron_node.protocol import Header, NodeStatus, NodeStatusRequest

if TYPE_CHECKING:
    from coordinator.core.machine import CoordinatorMachine

ASK_AGAIN_MS = 125.0
ASK_MS_A_NODE = 2.0
LEAST_ANSWER_MS = 500.0
FIRST_ANSWER_MS = 4_000.0
ANSWER_IN_STEPS = 10.0
LEAST_WIRING_MS = 2_000.0
FIRST_WIRING_MS = 10_000.0
WIRING_TIMES_LAST = 5.0
BUSY_MS_A_NODE = 20.0
"""While a network gathers and is wired, coordinator and broker have this much to do for every node: nobody answers sooner."""


class FailureDetector:
    """Asks the nodes that matter, and says which are lost."""

    def __init__(self, machine: CoordinatorMachine) -> None:
        self._machine = machine
        self._wiring_since_ms = 0.0
        self._last_wiring_ms: float | None = None

    def wiring_begins(self) -> None:
        """Grants are on their way."""
        self._wiring_since_ms = self._machine.now_ms

    def wired(self) -> None:
        """Everybody is ready."""
        self._last_wiring_ms = self._machine.now_ms - self._wiring_since_ms
        self.everybody_anew()

    def everybody_anew(self) -> None:
        """Nobody owes an answer, everybody was just heard: after a gap that was ours, not theirs."""
        for member in self._machine.membership.members.values():
            member.heard_ms = max(member.heard_ms, self._machine.now_ms)
            member.asked_since_ms = None

    def answered(self, member: Member, message: NodeStatus) -> None:
        """A node has answered."""
        member.asked_since_ms = None
        member.answered_ms = self._machine.now_ms
        member.waits, member.waits_pass = message.waits, message.header.pass_number

    def ask(self, member: Member) -> None:
        """Ask a node whom it waits for, not more often than makes sense."""
        machine = self._machine
        if machine.now_ms - member.asked_ms < max(ASK_AGAIN_MS, ASK_MS_A_NODE * len(machine.membership.members)):
            return
        member.asked_ms = machine.now_ms
        if member.asked_since_ms is None:
            member.asked_since_ms = machine.now_ms
        header = Header(
            machine.plan.run, machine.outbox.generation, machine.trainer.in_flight.oldest, machine.plan.incarnation
        )
        machine.outbox.send(node_address(member.incarnation), NodeStatusRequest(header))

    def look(self, suspects: list[Member]) -> None:
        """Ask suspects, and let go of the first that has owed an answer for too long; nobody else owes one."""
        machine = self._machine
        suspected = {member.incarnation for member in suspects}
        for member in machine.membership.members.values():
            if member.incarnation not in suspected:
                member.asked_since_ms = None
        for member in suspects:
            since_ms = member.asked_since_ms
            if since_ms is not None and machine.now_ms - since_ms > self.answer_ms(member):
                machine.lose(member, f"has not answered for {(machine.now_ms - since_ms) / 1000:.1f} s")
                return
            self.ask(member)

    def answer_ms(self, member: Member) -> float:
        """How long a node may take to answer."""
        machine = self._machine
        recent_ms = machine.trainer.in_flight.recent_ms
        usual_ms = FIRST_ANSWER_MS if recent_ms is None else max(LEAST_ANSWER_MS, ANSWER_IN_STEPS * recent_ms)
        busy_ms = 0.0 if member.ready else machine.assignment.taking_in_ms(member)
        if recent_ms is None or not member.ready:
            busy_ms += self._wiring_everybody_ms()
        return usual_ms * machine.recovery_stats.patience + busy_ms

    def _wiring_everybody_ms(self) -> float:
        return BUSY_MS_A_NODE * len(self._machine.membership.members)

    def too_long_wiring(self) -> bool:
        """Whether nodes that answer have nevertheless not become ready in a time that is many times the usual one."""
        last_ms = self._last_wiring_ms
        usual_ms = FIRST_WIRING_MS if last_ms is None else max(LEAST_WIRING_MS, WIRING_TIMES_LAST * last_ms)
        busy_ms = max(map(self._machine.assignment.taking_in_ms, self._machine.membership.hosting()), default=0.0)
        busy_ms += self._wiring_everybody_ms()
        waited_ms = self._machine.now_ms - self._wiring_since_ms
        return waited_ms > usual_ms * self._machine.recovery_stats.patience + busy_ms

    def lose_the_silent(self) -> None:
        """Let go of nodes that have not been heard for very long, whatever they were doing."""
        machine = self._machine
        busy_ms = 0.0 if machine.running else self._wiring_everybody_ms()
        since_ms = machine.now_ms - machine.plan.silence_ms - busy_ms
        gone = [member for member in machine.membership.in_order() if member.heard_ms < since_ms]
        if gone:
            # All at once: a generation for each would keep everybody busy with nothing else.
            seconds = (machine.now_ms - min(member.heard_ms for member in gone)) / 1000
            who = f"{gone[0].name} and {len(gone) - 1} more were" if len(gone) > 1 else f"{gone[0].name} was"
            self.lose_all(gone, f"{who} not heard for {seconds:.1f} s")

    def lose_all(self, members: list[Member], reason: str) -> None:
        """Nodes are gone, all for one reason; if they hosted groups, the network goes back."""
        machine = self._machine
        for member in members:
            machine.membership.lose(member)
        if any(member.groups for member in members) and machine.state is not CoordinatorState.STOPPING:
            machine.recover(reason)

"""Detect dead nodes. A timeout only triggers a question: a node that is late is asked, and one that does not answer is dead.

Any message shows that a node is alive, but only an answer shows that it also receives our messages. A node whose heartbeats
arrive while it receives nothing is as good as dead. All timeouts grow with the recent duration of a pass, and double with
each recovery until a step is done.
"""

from __future__ import annotations

from coordinator.core.assignment import Assignment
from coordinator.core.inflight import InFlight
from coordinator.core.membership import Member
from coordinator.core.recovery_stats import RecoveryStats
from coordinator.core.run import Run
from coordinator.core.verdicts import Dead
from neuron_node.addresses import EVERY_NODE, node_address
from neuron_node.protocol import Header, NodeStatus, NodeStatusRequest, Reregister

ASK_AGAIN_MS = 125.0
ASK_MS_A_NODE = 2.0
LEAST_ANSWER_MS = 500.0
FIRST_ANSWER_MS = 4_000.0
ANSWER_IN_STEPS = 10.0
LEAST_WIRING_MS = 2_000.0
FIRST_WIRING_MS = 10_000.0
WIRING_TIMES_LAST = 5.0
BUSY_MS_A_NODE = 20.0
"""While a network gathers and is wired, coordinator and broker are busy for this long per node, so no answer comes sooner."""


class FailureDetector:
    """Asks the nodes that the run waits for, and reports the dead ones."""

    def __init__(self, run: Run, in_flight: InFlight, assignment: Assignment, recovery_stats: RecoveryStats) -> None:
        self._run = run
        self._in_flight = in_flight
        self._assignment = assignment
        self._recovery_stats = recovery_stats
        self._wiring_since_ms = 0.0
        self._last_wiring_ms: float | None = None
        self._doubted: set[bytes] = set()
        """Members to ask because another program has registered under their name, or another run has called them."""

    def begin_wiring(self) -> None:
        """Note that grants are sent now."""
        self._wiring_since_ms = self._run.now_ms

    def finish_wiring(self) -> None:
        """Note that every node is ready."""
        self._last_wiring_ms = self._run.now_ms - self._wiring_since_ms
        self.restart()

    def restart(self) -> None:
        """Restart the timeout of every node, after a gap that was the coordinator's own."""
        for member in self._run.membership.members.values():
            member.received_ms = max(member.received_ms, self._run.now_ms)
            member.asked_since_ms = None

    def receive_status(self, member: Member, message: NodeStatus) -> None:
        """Note the answer of a node."""
        self._doubted.discard(member.incarnation)
        member.asked_since_ms = None
        member.answered_ms = self._run.now_ms
        member.waits, member.waits_pass = message.waits, message.header.pass_number

    def doubt(self, member: Member) -> None:
        """Ask a member until it answers or is dead."""
        self._doubted.add(member.incarnation)

    def ask(self, member: Member) -> None:
        """Ask a node which messages it waits for, unless it was asked a moment ago."""
        run = self._run
        if run.now_ms - member.asked_ms < max(ASK_AGAIN_MS, ASK_MS_A_NODE * len(run.membership.members)):
            return
        member.asked_ms = run.now_ms
        if member.asked_since_ms is None:
            member.asked_since_ms = run.now_ms
        header = Header(run.plan.run, run.outbox.generation, self._in_flight.oldest, run.plan.incarnation)
        run.outbox.send(node_address(member.incarnation), NodeStatusRequest(header))

    def poll(self, suspects: list[Member]) -> Dead | None:
        """Ask the suspects, and return the first whose answer is overdue. Forget the questions to all others."""
        now_ms = self._run.now_ms
        doubted = [member for member in self._run.membership.in_order() if member.incarnation in self._doubted]
        self._doubted = {member.incarnation for member in doubted}
        suspects = [*suspects, *(member for member in doubted if member not in suspects)]
        suspected = {member.incarnation for member in suspects}
        for member in self._run.membership.members.values():
            if member.incarnation not in suspected:
                member.asked_since_ms = None
        for member in suspects:
            since_ms = member.asked_since_ms
            if since_ms is not None and now_ms - since_ms > self.answer_ms(member):
                if member.incarnation in self._doubted:
                    # A program with the member's name may register now.
                    self._run.outbox.send(EVERY_NODE, Reregister(self._run.outbox.header()))
                return Dead(
                    (member,), f"{self._run.shown(member)} has not answered for {(now_ms - since_ms) / 1000:.1f} s"
                )
            self.ask(member)
        return None

    def answer_ms(self, member: Member) -> float:
        """Return the timeout of a question to a node."""
        recent_ms = self._in_flight.recent_ms
        usual_ms = FIRST_ANSWER_MS if recent_ms is None else max(LEAST_ANSWER_MS, ANSWER_IN_STEPS * recent_ms)
        busy_ms = 0.0 if member.ready else self._assignment.loading_ms(member)
        if recent_ms is None or not member.ready:
            busy_ms += self._wiring_all_ms()
        return usual_ms * self._recovery_stats.timeout_factor + busy_ms

    def _wiring_all_ms(self) -> float:
        return BUSY_MS_A_NODE * len(self._run.membership.members)

    def wiring_timed_out(self) -> bool:
        """Whether nodes that answer have not become ready within many times the usual time."""
        last_ms = self._last_wiring_ms
        usual_ms = FIRST_WIRING_MS if last_ms is None else max(LEAST_WIRING_MS, WIRING_TIMES_LAST * last_ms)
        busy_ms = max(map(self._assignment.loading_ms, self._run.membership.hosting()), default=0.0)
        busy_ms += self._wiring_all_ms()
        waited_ms = self._run.now_ms - self._wiring_since_ms
        return waited_ms > usual_ms * self._recovery_stats.timeout_factor + busy_ms

    def poll_silent(self) -> Dead | None:
        """Return the nodes that have sent nothing for longer than the plan's silence, in any state of the run."""
        run = self._run
        busy_ms = 0.0 if run.running else self._wiring_all_ms()
        since_ms = run.now_ms - run.plan.silence_ms - busy_ms
        silent = tuple(member for member in run.membership.in_order() if member.received_ms < since_ms)
        if not silent:
            return None
        # All in one verdict: a recovery for each of them would keep every other node busy.
        seconds = (run.now_ms - min(member.received_ms for member in silent)) / 1000
        first = run.shown(silent[0])
        who = f"{first} and {len(silent) - 1} more were" if len(silent) > 1 else f"{first} was"
        return Dead(silent, f"{who} not heard for {seconds:.1f} s")

"""The coordinator as a state machine. What a message does in which state stands in `TRANSITIONS`, at the end.

    gathering ── enough nodes ──▶ wiring ── all links proved ──▶ training ── all measured ──▶ idle
        ▲                           │                               │                          │
        └───────── a node is lost: generation + 1, back to the last snapshot ─────────────────┘
    any ── stop, interrupted, diverged ──▶ stopping ── all nodes have ended ──▶ ended

Results of passes go to the inboxes of their pass (`inflight.py`). Before the table every control frame is decoded and
filtered: a malformed frame, and one of another run, generation or ended life, is counted and dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from coordinator.core.admission import Admission
from coordinator.core.assignment import Assignment
from coordinator.core.connectivity import Connectivity
from coordinator.core.events import GenerationPersisted, Persisted, PersistFailed
from coordinator.core.failure_detector import FailureDetector
from coordinator.core.membership import Member, Membership
from coordinator.core.outbox import Outbox
from coordinator.core.queries import Queries
from coordinator.core.recovery_stats import RecoveryStats
from coordinator.core.run_plan import RunPlan
from coordinator.core.run_stats import RunStats, summary
from coordinator.core.state import ALIVE, OPEN, RUNNING, CoordinatorState
from coordinator.core.timers import TICK_MS, Timers
from coordinator.core.trainer import Trainer
from coordinator.core.wait_graph import WaitGraph
from neuron_node.addresses import ADDRESS_LENGTH, node_address, stage_address
from neuron_node.codec import decode
from neuron_node.drop_counter import DropCounter
from neuron_node.errors import InternalError, PeerError, Stale, Unexpected, WrongVersion
from neuron_node.events import Interrupted, LinkLost, Received, Tick
from neuron_node.frames import PROTOCOL_VERSION, parse, split
from neuron_node.group import Rejection
from neuron_node.protocol import (
    Diverged,
    Echo,
    GroupState,
    Heartbeat,
    Message,
    NodeStatus,
    Probe,
    Ready,
    Register,
    Request,
    SnapshotMissing,
    Stop,
    Stopped,
)
from neuron_node.role import OUTSIDE


class CoordinatorMachine:
    """`handle` takes an event and the time in milliseconds, and returns what is to be done, in order."""

    tick_interval_ms = TICK_MS

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.state = CoordinatorState.GATHERING
        self.topology = plan.topology()
        self.outbox = Outbox(plan.run, plan.incarnation, plan.generation)
        self.membership = Membership()
        self.trainer = Trainer(plan, self.topology, self.outbox, self.membership)
        self.queries = Queries(self)
        self.run_stats = RunStats()
        self.finished: dict[str, Any] | None = None
        self.failure: str | None = None
        self.unsaved: str | None = None
        """Why the last attempt to make something durable failed."""
        self.drops = DropCounter()
        self.now_ms = 0.0
        self.connectivity = Connectivity(self)
        self.assignment = Assignment(self, plan.roles(self.topology))
        self.recovery_stats = RecoveryStats()
        self.failure_detector = FailureDetector(self)
        self.wait_graph = WaitGraph(self)
        self._address = b""
        self._admission = Admission(self)
        self.exit_code = 0
        self._timers = Timers(self)

    def start(self, now_ms: float) -> list[Any]:
        """The first actions of a life."""
        self.run_stats.started_ms = now_ms
        self.assignment.begin_generation(self.plan.generation + 1)
        return self.handle(LinkLost(), now_ms)

    def handle(self, event: Any, now_ms: float) -> list[Any]:
        """Take one event; the actions must be performed in order."""
        self.now_ms = now_ms
        self.trainer.catch_up()
        match event:
            case Received(message):
                actions = self.receive([message], now_ms)
                return actions + self.run_deferred(now_ms) if self.has_deferred_work else actions
            case Tick():
                self._timers.tick()
            case LinkLost():
                self.connectivity.lost()
                self._timers.control_sent()
            case Persisted(step):
                self.unsaved = None
                self.trainer.persisted(step)
            case GenerationPersisted(generation):
                self.assignment.persisted(generation)
            case PersistFailed(reason):
                self.unsaved = reason
                self.outbox.report("unsaved", reason=reason)
            case Interrupted(by_hand):
                self.stop(130 if by_hand else 0)
            case _:
                raise InternalError(f"a coordinator takes no {event!r}")
        return self._taken()

    def _taken(self) -> list[Any]:
        """What is to be done now that something has been taken in."""
        self._proceed()
        self.trainer.persist()
        return self.outbox.take()

    # Messages.

    @property
    def wanted(self) -> int:
        """Frames that are worth waiting for before the next `receive`."""
        return self.trainer.in_flight.wanted

    @property
    def has_deferred_work(self) -> bool:
        """Whether `run_deferred` has something to do once the last actions are performed."""
        return self.trainer.has_deferred_work

    def receive(self, messages: Sequence[bytes], now_ms: float) -> list[Any]:
        """Take messages, each an address and frames."""
        self.now_ms = now_ms
        self.trainer.catch_up()
        changed = False
        for message in messages:
            if message.startswith(_RESULTS):
                rejections = (
                    self.trainer.in_flight.receive(message) if self.running else list(map(_early, split(message)))
                )
                for frame, fault in rejections:
                    self.outbox.act_all(self.drops.note(fault, frame))
                continue
            # Whatever a control message brings, a rollback too, comes after the passes that are done.
            changed = self._finish_passes() or changed
            self._address = message[:ADDRESS_LENGTH]
            for frame in split(message):
                self.trainer.catch_up()
                self._receive(frame)
                changed = True
        changed = self._finish_passes() or changed
        return self._taken() if changed else self.outbox.take()

    def _finish_passes(self) -> bool:
        """Take the passes that are complete; whether there were any."""
        if not self.running or not self.trainer.finish_passes(self.now_ms):
            return False
        self.membership.everybody_was_heard(self.now_ms)
        self._recovered()
        return True

    def run_deferred(self, now_ms: float) -> list[Any]:
        """Do what was put off until the last actions were performed."""
        self.now_ms = now_ms
        self.trainer.catch_up()
        self._recovered()
        return self._taken()

    def _receive(self, frame: bytes) -> None:
        try:
            message = decode(frame)
            self._admission.check(message)
            transition = TRANSITIONS.get((self.state, type(message)))
            if transition is None:
                raise Unexpected(f"{type(message).__name__} while {self.state.value}")
            transition(self, message)
        except PeerError as fault:
            # A member has registered in our version: its frame was damaged.
            if isinstance(fault, WrongVersion) and fault.sender and fault.sender not in self.membership.members:
                self._admission.refuse(
                    fault.sender, f"it speaks protocol version {fault.version}, this run {PROTOCOL_VERSION}"
                )
            self.outbox.act_all(self.drops.note(fault, frame))

    def _register(self, message: Register) -> None:
        self._admission.register(message)

    def _register_late(self, message: Register) -> None:
        self.outbox.send(node_address(message.header.incarnation), Stop(self.outbox.header()))

    def _lacking(self, message: SnapshotMissing) -> None:
        member = self.membership.members[message.header.incarnation]
        self.assignment.lacking(member, message.groups)
        self.assignment.grant_to(member, self.trainer.snapshot)

    def _waiting(self, message: NodeStatus) -> None:
        member = self.membership.members[message.header.incarnation]
        self.failure_detector.answered(member, message)
        hosted = sorted(wait.group for wait in message.waits)
        if member.ready and message.header.generation == self.outbox.generation and hosted != member.groups:
            self.recover(f"{member.name} has lost its groups")
            return
        self.wait_graph.answered()

    def _heartbeat(self, message: Heartbeat) -> None:
        member = self.membership.members[message.header.incarnation]
        member.state = message.state
        member.count(message.traffic, self.now_ms)

    def _ready(self, message: Ready) -> None:
        member = self.membership.members[message.header.incarnation]
        member.count(message.traffic, self.now_ms)
        member.state = "working"
        member.ready = member.keeps_copies = True
        member.lacking.clear()
        if self.running and not member.linked:
            # After a gap in the connections: when all are back, what was lost in it comes again at once.
            member.linked = True
            if all(host.linked for host in self.membership.hosting()):
                self.trainer.in_flight.repeat(self.now_ms, all_of_them=True)
        self._begin_if_wired()

    def _begin_if_wired(self) -> None:
        if self.state is not CoordinatorState.WIRING or not self.connectivity.proof.complete:
            return
        if not all(member.ready for member in self.membership.members.values() if member.groups):
            return
        self.failure_detector.wired()
        hosting = self.membership.hosting()
        self.run_stats.wired(self.now_ms, self.messages, [(host.host, host.process) for host in hosting])
        self.enter(CoordinatorState.IDLE if self.trainer.done else CoordinatorState.TRAINING)
        self.outbox.report("wired", nodes=len(hosting), seconds=self.run_stats.seconds_starting)
        if self.trainer.step_due is None:
            self._recovered()

    def _recovered(self) -> None:
        for facts in self.recovery_stats.done(self.trainer.training.progress.step, self.now_ms):
            self.outbox.report("recovered", **facts)

    def _group_state(self, message: GroupState) -> None:
        self.membership.members[message.header.incarnation].count(message.traffic, self.now_ms)
        self.queries.hear(message)
        self.trainer.state(message)

    def _diverged(self, message: Diverged) -> None:
        if not self.trainer.diverged(message):
            return
        rate = self.plan.network.learning_rate
        self.fail(
            f"diverged: the numbers of neuron {message.neuron} were no longer finite at step {message.step}; "
            f"try a smaller learning rate (it is {rate:g}), or inputs scaled to a smaller range"
        )

    def _node_stopped(self, message: Stopped) -> None:
        member = self.membership.members[message.header.incarnation]
        member.count(message.traffic, self.now_ms)
        self.lose(member, "was stopped")

    def _request(self, message: Request) -> None:
        self.queries.take(message)

    def _probed(self, message: Probe) -> None:
        self.connectivity.returned(message)
        self.failure_detector.everybody_anew()
        self._proved()

    def _echoed(self, message: Echo) -> None:
        self.connectivity.echoed(self._address, message)
        self._proved()

    def _proved(self) -> None:
        if self.connectivity.proof.complete:
            self.trainer.in_flight.repeat(self.now_ms, all_of_them=True)
            self._begin_if_wired()

    def _late(self, message: Message) -> None:
        raise Stale(f"a late {type(message).__name__}")

    def _proceed(self) -> None:
        if self.connectivity.proof.pending:
            return
        if self.state is CoordinatorState.GATHERING and self.assignment.place(self.now_ms):
            self.enter(CoordinatorState.WIRING)
            self.failure_detector.wiring_begins()
            self.connectivity.meet()
            self.grant()
        if self.state in (CoordinatorState.TRAINING, CoordinatorState.IDLE):
            self.trainer.advance(self.now_ms)
            if self.trainer.contradiction:
                self.fail(self.trainer.contradiction)
            elif self.trainer.done and self.state is CoordinatorState.TRAINING:
                self._finish()

    def grant(self) -> None:
        """Grant whoever is not ready its groups, for the first time or again."""
        self.assignment.grant(self.trainer.snapshot)
        self._timers.control_sent()

    def _finish(self) -> None:
        self.finished = summary(self)
        self.outbox.report("finished", **self.finished)
        self.enter(CoordinatorState.IDLE)
        if self.plan.stop_when_finished:
            self.stop(0)

    def lose(self, member: Member, how: str) -> None:
        """A node is gone; if it hosted groups, the network goes back."""
        self.failure_detector.lose_all([member], f"{member.name} {how}")

    def recover(self, reason: str) -> None:
        """Another generation: whatever was under way counts for nothing, and the steps since the last snapshot come again."""
        if self.state in (CoordinatorState.STOPPING, CoordinatorState.ENDED):
            return
        self.assignment.begin_generation(self.outbox.generation + 1)
        self.recovery_stats.begin(reason, self.outbox.generation, self.trainer.step_due, self.now_ms)
        self.trainer.roll_back()
        self.queries.roll_back()
        self.enter(CoordinatorState.GATHERING)
        self.outbox.report(
            "recovery", reason=reason, generation=self.outbox.generation, step=self.trainer.training.progress.step
        )

    def fail(self, line: str) -> None:
        """The run can't go on: say why in one line, and stop with exit 1."""
        if self.failure is None:
            self.failure = line
            self.outbox.report("failed", reason=line)
            self.stop(1)

    def stop(self, code: int) -> None:
        """Ask every node to end, and end when they have."""
        if self.state in (CoordinatorState.STOPPING, CoordinatorState.ENDED):
            return
        self.exit_code = code
        self.enter(CoordinatorState.STOPPING)
        self.connectivity.part()
        self.ask_to_stop()

    def ask_to_stop(self) -> None:
        """Tell every node to end."""
        for member in self.membership.in_order():
            self.outbox.send(node_address(member.incarnation), Stop(self.outbox.header()))
        self._timers.control_sent()

    def enter(self, state: CoordinatorState) -> None:
        """Another state, with its limits of time."""
        self.state = state
        self._timers.entered(state)
        self.outbox.report("state", state=state.value)

    @property
    def recoveries(self) -> int:
        """How often the network was rolled back, or the coordinator began another life: each has its generation."""
        return self.outbox.generation - 1

    @property
    def stale_messages(self) -> int:
        """Messages that came to the coordinator or, as far as they have told, to nodes, and were not accepted."""
        return self.drops.counts[Stale.reason] + self.membership.dropped

    @property
    def running(self) -> bool:
        """Whether every group has its place and passes may be under way."""
        return self.state in RUNNING

    @property
    def dropped(self) -> Counter[str]:
        """How many messages could not be used, by reason."""
        return self.drops.counts

    @property
    def messages(self) -> int:
        """Messages that all programs of the run have sent, as last counted."""
        return self.outbox.messages_sent + self.membership.sent


_RESULTS = stage_address(OUTSIDE)


def _early(frame: bytes) -> Rejection:
    """A result that comes while no pass is under way, and why it is of no use."""
    try:
        parse(frame)
    except PeerError as fault:
        return frame, fault
    return frame, Stale("no pass is under way")


TRANSITIONS: dict[tuple[CoordinatorState, type], Callable[[CoordinatorMachine, Any], None]] = {
    **{(state, Register): CoordinatorMachine._register for state in OPEN},
    **{(CoordinatorState.STOPPING, Register): CoordinatorMachine._register_late},
    **{(state, Heartbeat): CoordinatorMachine._heartbeat for state in ALIVE},
    **{(state, Ready): CoordinatorMachine._ready for state in OPEN},
    **{(CoordinatorState.WIRING, SnapshotMissing): CoordinatorMachine._lacking},
    **{(state, NodeStatus): CoordinatorMachine._waiting for state in OPEN},
    **{(state, SnapshotMissing): CoordinatorMachine._late for state in OPEN if state is not CoordinatorState.WIRING},
    **{(state, GroupState): CoordinatorMachine._group_state for state in RUNNING},
    **{(state, Diverged): CoordinatorMachine._diverged for state in RUNNING},
    **{(state, Stopped): CoordinatorMachine._node_stopped for state in ALIVE},
    **{(state, Request): CoordinatorMachine._request for state in ALIVE},
    **{(state, Probe): CoordinatorMachine._probed for state in ALIVE},
    **{(state, Echo): CoordinatorMachine._echoed for state in OPEN},
    **{
        (CoordinatorState.STOPPING, kind): CoordinatorMachine._late
        for kind in (Ready, SnapshotMissing, NodeStatus, GroupState, Diverged)
    },
}

"""The coordinator as a state machine: events in, actions out. The table `TRANSITIONS`, at the end, maps messages to methods.

    gathering ── enough nodes ──▶ wiring ── all links proved ──▶ training ── all measured ──▶ idle
        ▲                           │                               │                          │
        └───────── a node is lost: generation + 1, back to the last snapshot ─────────────────┘
    any ── stop, interrupted, diverged ──▶ stopping ── all nodes have ended ──▶ ended

Results of passes go to the inboxes of their pass (`inflight.py`). Control frames are decoded and filtered before the table:
malformed frames, and frames of another run, generation or ended life, are counted and dropped.

The parts read the shared state of `run.py` and return verdicts; only the machine applies them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

from coordinator.core.access import Access, KeyOf
from coordinator.core.admission import Admission
from coordinator.core.assignment import Assignment
from coordinator.core.claim import Claim
from coordinator.core.connectivity import Connectivity
from coordinator.core.events import (
    Asked,
    GenerationPersisted,
    Persisted,
    PersistFailed,
    RunPrepared,
    SnapshotLoaded,
    SnapshotsListed,
)
from coordinator.core.failure_detector import FailureDetector
from coordinator.core.queries import Queries
from coordinator.core.recovery_stats import RecoveryStats
from coordinator.core.run import Run
from coordinator.core.run_plan import RunPlan
from coordinator.core.run_stats import RunStats
from coordinator.core.state import ALIVE, OPEN, RUNNING, CoordinatorState
from coordinator.core.timers import STALLS_IN_A_ROW, TICK_MS, Timers
from coordinator.core.trainer import Trainer
from coordinator.core.verdicts import Dead, LeaveNodes, Recover, Spread, StopRun, Verdict
from coordinator.core.wait_graph import WaitGraph
from neuron_node.addresses import ADDRESS_LENGTH, COORDINATOR, node_address, stage_address
from neuron_node.codec import decode
from neuron_node.errors import InternalError, PeerError, Stale, Unexpected, WrongVersion
from neuron_node.events import End, Interrupted, LinkLost, Received, Tick
from neuron_node.frames import PROTOCOL_VERSION, parse, split
from neuron_node.inbox import rejected
from neuron_node.protocol import (
    CALLED,
    Diverged,
    Echo,
    GroupState,
    Heartbeat,
    Message,
    NodeStatus,
    Probe,
    Ready,
    Register,
    Reject,
    Request,
    SnapshotMissing,
    Stop,
    Stopped,
    TraceReport,
)
from neuron_node.role import OUTSIDE
from neuron_node.signing import Sign


class CoordinatorMachine:
    """`handle` takes an event and the time in milliseconds, and returns the actions to perform, in order."""

    tick_interval_ms = TICK_MS

    def __init__(
        self, plan: RunPlan, endpoint: str = "", sign: Sign | None = None, key_of: KeyOf | None = None
    ) -> None:
        """`endpoint` is where peers connect to receive the coordinator's data in direct wiring; empty: through the broker.

        With `sign`, the messages to nodes are signed. With `key_of`, a node must prove which key it has.
        """
        run = self.run = Run.of(plan, endpoint, sign, key_of)
        self.topology = run.topology
        self.outbox = run.outbox
        self.membership = run.membership
        self.drops = run.drops
        self.exit_code = 0
        self.recovery_stats = RecoveryStats()
        self.trainer = Trainer(run)
        self.claim = Claim(run)
        self.connectivity = Connectivity(run, self.claim)
        self.assignment = Assignment(run, self.connectivity, self.trainer.in_flight)
        self.failure_detector = FailureDetector(run, self.trainer.in_flight, self.assignment, self.recovery_stats)
        self.wait_graph = WaitGraph(run, self.connectivity, self.assignment, self.trainer, self.failure_detector)
        self.run_stats = RunStats(run, self.trainer, self.recovery_stats)
        self.queries = Queries(run, self.trainer, self.assignment, self.run_stats, self.wait_graph)
        self._admission = Admission(run)
        self._timers = Timers(run)
        self._address = b""

    def start(self, now_ms: float) -> list[Any]:
        """Return the first actions of a life."""
        self.run.now_ms = self.run_stats.started_ms = now_ms
        self._timers.start()
        self._begin_generation()
        return self.handle(LinkLost(), now_ms)

    def handle(self, event: Any, now_ms: float) -> list[Any]:
        """Handle one event; return the actions, which must be performed in order."""
        self.run.now_ms = now_ms
        self.trainer.catch_up()
        match event:
            case Received(message):
                actions = self.receive([message], now_ms)
                return actions + self.run_deferred(now_ms) if self.has_deferred_work else actions
            case Tick():
                self._tick()
            case LinkLost():
                self._link_lost()
            case Asked(request, access):
                self._asked(request, access)
            case Persisted(step):
                self.run.unsaved = None
                if self.trainer.persisted(step):
                    self._grant_changes()
            case SnapshotLoaded() | SnapshotsListed() | RunPrepared():
                self.apply(self.queries.receive_prepared(event))
            case GenerationPersisted(generation):
                self.assignment.persisted(generation)
            case PersistFailed(reason):
                self.run.unsaved = reason
                self.outbox.report("unsaved", reason=reason)
            case Interrupted(by_hand):
                self.apply(StopRun(130 if by_hand else 0))
            case _:
                raise InternalError(f"a coordinator takes no {event!r}")
        return self._advance()

    def apply(self, verdict: Verdict | None) -> None:
        """Apply what a part of the coordinator has concluded."""
        match verdict:
            case Dead(members, reason):
                for member in members:
                    self.membership.remove(member)
                if any(member.groups for member in members) and self.state is not CoordinatorState.STOPPING:
                    self._recover(reason)
            case Recover(reason, seen_generation):
                self.outbox.generation = max(self.outbox.generation, seen_generation)
                self._recover(reason)
            case Spread():
                self.outbox.report("rebalanced", generation=self.outbox.generation + 1)
                self._grant_changes()
            case StopRun(exit_code):
                self._stop(exit_code)
            case LeaveNodes(exit_code):
                self.outbox.act(End(exit_code))

    @property
    def state(self) -> CoordinatorState:
        """The state of the run."""
        return self.run.state

    @property
    def failure(self) -> str | None:
        """Why the run has failed; None if it has not."""
        return self.run.failure

    @property
    def finished(self) -> dict[str, Any] | None:
        """The figures of the run when its training finished; None before."""
        return self.run.finished

    @property
    def running(self) -> bool:
        """Whether every group has a node and passes may be in flight."""
        return self.run.running

    @property
    def recoveries(self) -> int:
        """How often the network was rolled back or the coordinator restarted."""
        return self.run.recoveries

    @property
    def dropped(self) -> Counter[str]:
        """How many messages were dropped, by reason."""
        return self.drops.counts

    # Messages.

    @property
    def wanted(self) -> int:
        """The number of frames to wait for before the next `receive`."""
        return self.trainer.in_flight.wanted

    @property
    def busy(self) -> bool:
        """Whether passes are in flight, so that messages will arrive soon."""
        return bool(self.trainer.in_flight.flights)

    @property
    def has_deferred_work(self) -> bool:
        """Whether `run_deferred` has something to do once the last actions are performed."""
        return self.trainer.has_deferred_work

    def receive(self, messages: Sequence[bytes], now_ms: float) -> list[Any]:
        """Receive messages, each an address and frames; return the actions."""
        self.run.now_ms = now_ms
        self.trainer.catch_up()
        changed = False
        for message in messages:
            if message.startswith(_RESULTS):
                rejections = (
                    self.trainer.in_flight.receive(message)
                    if self.running
                    else rejected(split(message), _receive_early)
                )
                for frame, fault in rejections:
                    self.outbox.act_all(self.drops.note(fault, frame))
                continue
            # A control message may roll the network back: first finish the passes that earlier messages completed.
            changed = self._finish_passes() or changed
            self._address = message[:ADDRESS_LENGTH]
            for frame in split(message):
                self.trainer.catch_up()
                self._receive_control(frame)
                changed = True
        changed = self._finish_passes() or changed
        return self._advance() if changed else self.outbox.drain()

    def run_deferred(self, now_ms: float) -> list[Any]:
        """Do the work that waited until the last actions were performed."""
        self.run.now_ms = now_ms
        self.trainer.catch_up()
        self._report_recovered()
        return self._advance()

    def _finish_passes(self) -> bool:
        """Finish the passes that are complete; whether there were any."""
        if not self.running or not self.trainer.finish_passes():
            return False
        self.membership.hosts_received(self.run.now_ms)
        self._report_recovered()
        return True

    def _receive_control(self, frame: bytes) -> None:
        self.run.control_check = crc32(frame)
        try:
            if self.running and self.trainer.receive_telemetry(frame):
                return
            message = decode(frame)
            if self._is_of_coordinators(message):
                self._receive_coordinator(message)
                return
            if self.claim.pending and not isinstance(message, Probe):
                raise Stale("another coordinator may work at the broker")
            self._admission.check(message)
            transition = TRANSITIONS.get((self.state, type(message)))
            if transition is None:
                raise Unexpected(f"{type(message).__name__} while {self.state.value}")
            transition(self, message)
        except PeerError as fault:
            # A member has registered in our version: its frame was damaged.
            if isinstance(fault, WrongVersion) and fault.sender and fault.sender not in self.membership.members:
                self._admission.reject(
                    fault.sender, f"it speaks protocol version {fault.version}, this run {PROTOCOL_VERSION}"
                )
            self.outbox.act_all(self.drops.note(fault, frame))

    def _is_of_coordinators(self, message: Message) -> bool:
        """Whether a message is one of those by which coordinators share a broker."""
        return isinstance(message, Reject) or (isinstance(message, Probe) and self._address == COORDINATOR)

    def _receive_coordinator(self, message: Message) -> None:
        if self.state is CoordinatorState.ENDED:
            raise Unexpected(f"{type(message).__name__} while {self.state.value}")
        if isinstance(message, Probe):
            self.claim.receive(message)
        elif isinstance(message, Reject) and message.header.incarnation != self.run.plan.incarnation:
            # Another coordinator works at the broker: end, and leave its nodes alone.
            self.outbox.report("refused", reason=self.claim.receive_rejection(message))
            self._enter(CoordinatorState.ENDED)
            self.outbox.act(End(2))

    def _register(self, message: Register) -> None:
        objection = self._admission.objection(message)
        if objection is not None:
            self._admission.reject(message.header.incarnation, objection)
            return
        namesake = self._admission.namesake(message)
        if namesake is not None:
            # Any program can take a name. The member is dead only if it does not answer.
            self.failure_detector.doubt(namesake)
            raise Unexpected(f"{message.name} is a member already")
        self.apply(self._admission.newer_generation(message))
        self.apply(self._admission.register(message))

    def _register_late(self, message: Register) -> None:
        self.outbox.send(node_address(message.header.incarnation), Stop(self.outbox.header(self.run.control_check)))

    def _snapshot_missing(self, message: SnapshotMissing) -> None:
        member = self.membership.members[message.header.incarnation]
        member.missing_snapshots.update(message.groups)
        self.assignment.grant_to(member, self.trainer.snapshot)

    def _node_status(self, message: NodeStatus) -> None:
        member = self.membership.members[message.header.incarnation]
        self.failure_detector.receive_status(member, message)
        hosted = sorted(wait.group for wait in message.waits)
        if member.ready and message.header.generation == self.outbox.generation and hosted != member.groups:
            self.apply(Recover(f"{self.run.shown(member)} has lost its groups"))
            return
        self._answer_questions()

    def _heartbeat(self, message: Heartbeat) -> None:
        member = self.membership.members[message.header.incarnation]
        member.count(message.traffic, self.run.now_ms)
        if message.state == CALLED:
            self.failure_detector.doubt(member)
        else:
            member.state = message.state

    def _ready(self, message: Ready) -> None:
        member = self.membership.members[message.header.incarnation]
        member.count(message.traffic, self.run.now_ms)
        member.state = "working"
        member.ready = member.may_keep_snapshots = True
        member.missing_snapshots.clear()
        if self.running and not member.linked:
            # After a gap in the connections: when all nodes are linked again, send at once what was lost in the gap.
            member.linked = True
            if all(host.linked for host in self.membership.hosting()):
                self.trainer.in_flight.repeat(self.run.now_ms, all_passes=True)
        self._begin_if_wired()

    def _group_state(self, message: GroupState) -> None:
        self.membership.members[message.header.incarnation].count(message.traffic, self.run.now_ms)
        self.trainer.receive_state(message)

    def _trace_report(self, message: TraceReport) -> None:
        self.trainer.receive_report(message)
        # The report may complete a traced pass. The next control message must not find a pass that lacks nothing.
        self._finish_passes()

    def _diverged(self, message: Diverged) -> None:
        if not self.trainer.diverged(message):
            return
        changed = self.trainer.changes.learning_rate
        rate = self.run.plan.network.learning_rate if changed is None else changed
        self._fail(
            f"diverged: the numbers of neuron {message.neuron} were no longer finite at step {message.step:,}; "
            f"try a smaller learning rate (it is {rate:g}), or inputs scaled to a smaller range"
        )

    def _node_stopped(self, message: Stopped) -> None:
        member = self.membership.members[message.header.incarnation]
        member.count(message.traffic, self.run.now_ms)
        self.apply(Dead((member,), f"{self.run.shown(member)} was stopped"))

    def _asked(self, request: Request, access: Access) -> None:
        if self.state is CoordinatorState.ENDED:
            return
        self.apply(self.queries.receive(request, access))
        self._answer_questions()

    def _probed(self, message: Probe) -> None:
        self.connectivity.receive_probe(message)
        self.failure_detector.restart()
        self.claim.send()
        self._continue_if_proved()

    def _echoed(self, message: Echo) -> None:
        self.connectivity.receive_echo(self._address, message)
        self._continue_if_proved()

    def _late(self, message: Message) -> None:
        raise Stale(f"a late {type(message).__name__}")

    def _answer_questions(self) -> None:
        for request_id, chain in self.wait_graph.poll():
            if request_id is None:
                self.outbox.report("stalled", why=" → ".join(chain.sentences))
            else:
                self.queries.receive_chain(request_id, chain)

    # States.

    def _advance(self) -> list[Any]:
        """Begin what has become possible, and return all actions."""
        self._begin_what_is_due()
        self.trainer.persist()
        self.queries.answer_interventions()
        return self.outbox.drain()

    def _begin_what_is_due(self) -> None:
        if self.connectivity.proof.pending:
            return
        if self.state is CoordinatorState.GATHERING and self.assignment.assign():
            self._enter(CoordinatorState.WIRING)
            self.failure_detector.begin_wiring()
            self.connectivity.connect_to_hosts()
            self._grant()
        if self.running:
            self.trainer.advance()
            if self.trainer.contradiction:
                self._fail(self.trainer.contradiction)
            elif self.trainer.done and self.state is CoordinatorState.TRAINING:
                self._finish()

    def _begin_generation(self) -> None:
        self.assignment.begin_generation(self.outbox.generation + 1)
        self.trainer.in_flight.begin_generation(self.outbox.generation)

    def _grant(self) -> None:
        """Grant every node that is not ready its groups, for the first time or again."""
        self.assignment.grant(self.trainer.snapshot)
        self._timers.control_sent()

    def _continue_if_proved(self) -> None:
        if self.connectivity.proof.complete:
            self.trainer.in_flight.repeat(self.run.now_ms, all_passes=True)
            self._begin_if_wired()

    def _begin_if_wired(self) -> None:
        if self.state is not CoordinatorState.WIRING or not self.connectivity.proof.complete:
            return
        if not all(member.ready for member in self.membership.members.values() if member.groups):
            return
        self.failure_detector.finish_wiring()
        hosting = self.membership.hosting()
        self.run_stats.wired([(host.host, host.process) for host in hosting])
        self._enter(CoordinatorState.IDLE if self.trainer.done else CoordinatorState.TRAINING)
        self.outbox.report("wired", nodes=len(hosting), seconds=self.run_stats.seconds_starting)
        if self.trainer.step_due is None:
            self._report_recovered()

    def _report_recovered(self) -> None:
        for facts in self.recovery_stats.step_done(self.trainer.training.progress.step, self.run.now_ms):
            self.outbox.report("recovered", **facts)

    def _finish(self) -> None:
        self.run.finished = self.run_stats.summary()
        self.outbox.report("finished", **self.run.finished)
        self._enter(CoordinatorState.IDLE)
        if self.run.plan.stop_when_finished:
            self._stop(0)

    def _recover(self, reason: str) -> None:
        """Begin another generation: all passes in flight are void, and the steps since the last snapshot are repeated."""
        if self.state in (CoordinatorState.STOPPING, CoordinatorState.ENDED):
            return
        self._begin_generation()
        self._note_interruption(reason)
        self.trainer.roll_back()
        self._enter(CoordinatorState.GATHERING)
        self.outbox.report(
            "recovery", reason=reason, generation=self.outbox.generation, step=self.trainer.training.progress.step
        )

    def _grant_changes(self) -> None:
        """Begin another generation with the edited snapshot. Every node keeps its groups; only a rewind repeats steps."""
        if self.state in (CoordinatorState.STOPPING, CoordinatorState.ENDED):
            return
        self.run.interventions += 1
        self._begin_generation()
        self.trainer.roll_back()
        self.recovery_stats.rewound(self.trainer.training.progress.step)
        self._enter(CoordinatorState.GATHERING)

    def _note_interruption(self, reason: str) -> None:
        self.recovery_stats.begin(reason, self.outbox.generation, self.trainer.step_due, self.run.now_ms)

    def _link_lost(self) -> None:
        if self.state is CoordinatorState.TRAINING:
            self._note_interruption("a connection broke")
        self.connectivity.reconnect()
        self._timers.control_sent()

    def _fail(self, line: str) -> None:
        """Stop the run with exit code 1; the line is the reason."""
        if self.run.failure is None:
            self.run.failure = line
            self.outbox.report("failed", reason=line)
            self._stop(1)

    def _stop(self, exit_code: int) -> None:
        """Tell every node to stop, and end when all have stopped."""
        if self.state in (CoordinatorState.STOPPING, CoordinatorState.ENDED):
            return
        self.exit_code = exit_code
        self.trainer.interventions.refuse_all("the run is stopping, so nothing was changed")
        self._enter(CoordinatorState.STOPPING)
        self.connectivity.disconnect()
        self._send_stop()

    def _send_stop(self) -> None:
        for member in self.membership.in_order():
            self.outbox.send(node_address(member.incarnation), Stop(self.outbox.header()))
        self._timers.control_sent()

    def _enter(self, state: CoordinatorState) -> None:
        self.run.state = state
        if state is CoordinatorState.STOPPING:
            self._timers.stop_began()
        self.outbox.report("state", state=state.value)

    # Time.

    def _tick(self) -> None:
        due = self._timers.poll(probing=self.connectivity.proof.pending)
        if due.jumped:
            # The coordinator was suspended, not the nodes.
            self.failure_detector.restart()
        if due.probe:
            self.connectivity.probe_again()
            self.claim.send()
        if self.claim.poll():
            self.connectivity.call_nodes()
        if self.connectivity.proof.pending and self._timers.poll_start_report():
            self.outbox.report("no_broker")
        # While its own connection is not proved, the coordinator knows nothing about the nodes.
        if not self.connectivity.proof.pending and self.state in PERIODIC:
            PERIODIC[self.state](self, due.control)
        self._answer_questions()

    def _tick_gathering(self, control_due: bool) -> None:
        self.apply(self.failure_detector.poll([]))
        self.apply(self.failure_detector.poll_silent())
        if self.assignment.report_missing_nodes(again=self._timers.poll_start_report()):
            self._timers.start_reported()
        if control_due:
            self.assignment.persist()

    def _tick_wiring(self, control_due: bool) -> None:
        if control_due:
            self._grant()
        unready = self.connectivity.unready()
        if unready and self.failure_detector.wiring_timed_out():
            self.apply(Dead((unready[0],), f"{self.run.shown(unready[0])} does not get its links proved"))
            return
        if self._timers.poll_start_report():
            hosting = len(self.membership.hosting())
            self.outbox.report("wiring", nodes=hosting, ready=hosting - len(unready))
        self.apply(self.failure_detector.poll(unready))
        self.apply(self.failure_detector.poll_silent())

    def _tick_running(self, control_due: bool) -> None:
        if control_due:
            self.trainer.request_again()
        if control_due and not self.trainer.changing and self.assignment.spread_when_due():
            self.apply(Spread())
            return
        if self.state is CoordinatorState.TRAINING and self._timers.poll_report():
            rate, stale = self.membership.rate, self.run.stale_messages
            self.outbox.report("progress", **self.trainer.facts(), messages_per_second=rate, stale_messages=stale)
        stall = self.trainer.repeat_late_passes()
        self.apply(self.failure_detector.poll(self.membership.hosting() if self.trainer.in_flight.late else []))
        self.apply(self.failure_detector.poll_silent())
        if not self.running:
            return
        self.wait_graph.ask_about_stall()
        self._answer_questions()
        if stall and stall.times < STALLS_IN_A_ROW:
            self._recover(stall.line)
        elif stall:
            self._fail(f"{stall.line}, in {stall.times} generations, though no node died")

    def _tick_stopping(self, control_due: bool) -> None:
        if not self.membership.members or self._timers.stop_timed_out:
            self._enter(CoordinatorState.ENDED)
            self.outbox.act(End(self.exit_code))
        elif control_due:
            self._send_stop()


_RESULTS = stage_address(OUTSIDE)


def _receive_early(frame: bytes) -> None:
    """Raise `PeerError` for a result that arrives while no pass is in flight."""
    parse(frame)
    raise Stale("no pass is under way")


TRANSITIONS: dict[tuple[CoordinatorState, type], Callable[[CoordinatorMachine, Any], None]] = {
    **{(state, Register): CoordinatorMachine._register for state in OPEN},
    **{(CoordinatorState.STOPPING, Register): CoordinatorMachine._register_late},
    **{(state, Heartbeat): CoordinatorMachine._heartbeat for state in ALIVE},
    **{(state, Ready): CoordinatorMachine._ready for state in OPEN},
    **{(CoordinatorState.WIRING, SnapshotMissing): CoordinatorMachine._snapshot_missing},
    **{(state, NodeStatus): CoordinatorMachine._node_status for state in OPEN},
    **{(state, SnapshotMissing): CoordinatorMachine._late for state in OPEN if state is not CoordinatorState.WIRING},
    **{(state, GroupState): CoordinatorMachine._group_state for state in RUNNING},
    **{(state, TraceReport): CoordinatorMachine._trace_report for state in RUNNING},
    **{(state, Diverged): CoordinatorMachine._diverged for state in RUNNING},
    **{(state, Stopped): CoordinatorMachine._node_stopped for state in ALIVE},
    **{(state, Probe): CoordinatorMachine._probed for state in ALIVE},
    **{(state, Echo): CoordinatorMachine._echoed for state in OPEN},
    **{
        (CoordinatorState.STOPPING, kind): CoordinatorMachine._late
        for kind in (Ready, SnapshotMissing, NodeStatus, GroupState, TraceReport, Diverged)
    },
}

PERIODIC: dict[CoordinatorState, Callable[[CoordinatorMachine, bool], None]] = {
    CoordinatorState.GATHERING: CoordinatorMachine._tick_gathering,
    CoordinatorState.WIRING: CoordinatorMachine._tick_wiring,
    CoordinatorState.TRAINING: CoordinatorMachine._tick_running,
    CoordinatorState.IDLE: CoordinatorMachine._tick_running,
    CoordinatorState.STOPPING: CoordinatorMachine._tick_stopping,
}

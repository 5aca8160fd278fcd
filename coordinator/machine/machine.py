"""The coordinator as a state machine. What a message does in which state stands in `TRANSITIONS`, at the end.

    gathering ── enough nodes ──▶ wiring ── all links proved ──▶ training ── all measured ──▶ idle
        ▲                           │                               │                          │
        └───────── a node is lost: generation + 1, back to the last snapshot ─────────────────┘
    any ── stop, interrupted, diverged ──▶ stopping ── all nodes have ended ──▶ ended

Before the table every frame is decoded and filtered: what is malformed, of another run or generation, or from a life
that is over is counted and dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any

from coordinator.machine.admission import Admission
from coordinator.machine.course import Course
from coordinator.machine.events import GenerationPersisted, Persisted, PersistFailed
from coordinator.machine.gathering import Gathering
from coordinator.machine.outbox import Outbox
from coordinator.machine.plan import Plan
from coordinator.machine.requests import Requests
from coordinator.machine.roster import Member, Roster
from coordinator.machine.summary import Account, summary
from neuron_node.addresses import COORDINATOR, node_address
from neuron_node.codec import decode
from neuron_node.drops import Drops
from neuron_node.errors import InternalError, PeerError, Stale, Unexpected, WrongVersion
from neuron_node.events import End, Interrupted, LinkLost, Received, Subscribe, Tick
from neuron_node.messages import (
    PROTOCOL_VERSION,
    Diverged,
    GroupState,
    Heartbeat,
    InputError,
    Message,
    Output,
    Probe,
    Ready,
    Register,
    Request,
    Stop,
    Stopped,
)
from neuron_node.proof import LinkProof

CONTROL_AGAIN_MS = 500
STOPPING_AT_MOST_MS = 3_000
CLOCK_JUMP_MS = 3_000
REPORT_INTERVAL_MS = 200
STALLS_IN_A_ROW = 3


class CoordinatorState(Enum):
    """Where a run stands."""

    GATHERING = "gathering"
    WIRING = "wiring"
    TRAINING = "training"
    IDLE = "idle"
    STOPPING = "stopping"
    ENDED = "ended"


class CoordinatorMachine:
    """`handle` takes an event and the time in milliseconds, and returns what is to be done, in order."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state = CoordinatorState.GATHERING
        self.topology = plan.topology()
        self.outbox = Outbox(plan.run, plan.incarnation, plan.generation)
        self.roster = Roster()
        self.course = Course(plan, self.topology, self.outbox)
        self.requests = Requests(self)
        self.account = Account()
        self.finished: dict[str, Any] | None = None
        self.failure: str | None = None
        self.recoveries = 0
        self.stale_of_the_gone = 0
        """Messages that came from lives that were superseded, and counted for nothing."""
        self.drops = Drops()
        self.now_ms = 0.0
        self._gathering = Gathering(self.topology, plan.roles(self.topology), self.roster, self.outbox)
        self._proof = LinkProof(plan.incarnation, self.outbox.header)
        self._control_due_ms = 0.0
        self._report_due_ms = 0.0
        self._ticked_ms: float | None = None
        self._admission = Admission(self)
        self._stop_by_ms = float("inf")
        self._exit_code = 0

    def start(self, now_ms: float) -> list[Any]:
        """The first actions of a life."""
        self.account.started_ms = now_ms
        self._gathering.begin_generation(self.plan.generation + 1)
        return self.handle(LinkLost(), now_ms)

    def handle(self, event: Any, now_ms: float) -> list[Any]:
        """Take one event; the actions must be performed in order."""
        self.now_ms = now_ms
        match event:
            case Received(frame):
                self._receive(frame)
            case Tick():
                self._tick()
            case LinkLost():
                self._subscribe_and_prove()
            case Persisted(step):
                self.course.persisted(step)
            case GenerationPersisted(generation):
                self._gathering.persisted(generation)
            case PersistFailed(reason):
                self.outbox.report("unsaved", reason=reason)
            case Interrupted(by_hand):
                self.stop(130 if by_hand else 0)
            case _:
                raise InternalError(f"a coordinator takes no {event!r}")
        self._proceed()
        return self.outbox.take()

    # Messages.

    def receive(self, frame: bytes, now_ms: float) -> list[Any]:
        """Take a frame."""
        return self.handle(Received(frame), now_ms)

    def _receive(self, frame: bytes) -> None:
        try:
            message = decode(frame)
            self._admission.check(message)
            transition = TRANSITIONS.get((self.state, type(message)))
            if transition is None:
                raise Unexpected(f"{type(message).__name__} while {self.state.value}")
            transition(self, message)
        except PeerError as fault:
            self.outbox.act_all(self.drops.note(fault, frame))
            if isinstance(fault, WrongVersion) and fault.sender:
                self._admission.refuse(
                    fault.sender, f"it speaks protocol version {fault.version}, this run {PROTOCOL_VERSION}"
                )

    def _register(self, message: Register) -> None:
        self._admission.register(message)

    def _register_late(self, message: Register) -> None:
        self.outbox.send(node_address(message.header.incarnation), Stop(self.outbox.header()))

    def _heartbeat(self, message: Heartbeat) -> None:
        member = self.roster.members[message.header.incarnation]
        member.state = message.state
        member.count(message.traffic, self.now_ms)

    def _ready(self, message: Ready) -> None:
        member = self.roster.members[message.header.incarnation]
        member.count(message.traffic, self.now_ms)
        member.state = "working"
        member.ready = True
        hosting = self.roster.hosting()
        if self.state is not CoordinatorState.WIRING or not all(host.ready for host in hosting):
            return
        self.account.wired(self.now_ms, self.messages, [(host.host, host.process) for host in hosting])
        self._enter(CoordinatorState.IDLE if self.course.done else CoordinatorState.TRAINING)
        self.outbox.report("wired", nodes=len(hosting), seconds=self.account.seconds_starting)

    def _result(self, message: Output | InputError) -> None:
        self.course.result(message, self.now_ms)

    def _group_state(self, message: GroupState) -> None:
        self.roster.members[message.header.incarnation].count(message.traffic, self.now_ms)
        self.requests.hear(message)
        self.course.state(message)

    def _diverged(self, message: Diverged) -> None:
        rate = self.plan.network.learning_rate
        self.fail(
            f"diverged: the numbers of neuron {message.neuron} were no longer finite at step {message.step}; "
            f"try a smaller learning rate (it is {rate:g}), or inputs scaled to a smaller range"
        )

    def _node_stopped(self, message: Stopped) -> None:
        member = self.roster.members[message.header.incarnation]
        member.count(message.traffic, self.now_ms)
        self._lose(member, "was stopped")

    def _request(self, message: Request) -> None:
        self.requests.take(message)

    def _probed(self, message: Probe) -> None:
        self.outbox.act(self._proof.returned(message))
        self.course.under_way.repeat(self.now_ms, all_of_them=True)

    def _late(self, message: Message) -> None:
        raise Stale(f"a late {type(message).__name__}")

    def _proceed(self) -> None:
        if self._proof.pending:
            return
        if self.state is CoordinatorState.GATHERING and self._gathering.place(self.now_ms):
            self._enter(CoordinatorState.WIRING)
            self._grant()
        if self.state in (CoordinatorState.TRAINING, CoordinatorState.IDLE):
            self.course.advance(self.now_ms)
            if self.course.contradiction:
                self.fail(self.course.contradiction)
            elif self.course.done and self.state is CoordinatorState.TRAINING:
                self._finish()

    def _grant(self) -> None:
        self._gathering.grant(self.course.snapshot)
        self._control_due_ms = self.now_ms + CONTROL_AGAIN_MS

    def _finish(self) -> None:
        self.finished = summary(self)
        self.outbox.report("finished", **self.finished)
        self._enter(CoordinatorState.IDLE)
        if self.plan.stop_when_finished:
            self.stop(0)

    def _lose(self, member: Member, how: str) -> None:
        self.roster.lose(member)
        if member.groups and self.state is not CoordinatorState.STOPPING:
            self.recover(f"{member.name} {how}")

    def recover(self, reason: str) -> None:
        """Another generation: whatever was under way counts for nothing, and the steps since the last snapshot come again."""
        if self.state is CoordinatorState.STOPPING:
            return
        self._gathering.begin_generation(self.outbox.generation + 1)
        self.recoveries += 1
        self.course.roll_back()
        self.requests.roll_back()
        self._enter(CoordinatorState.GATHERING)
        self.outbox.report(
            "recovery", reason=reason, generation=self.outbox.generation, step=self.course.training.progress.step
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
        self._exit_code = code
        self._stop_by_ms = self.now_ms + STOPPING_AT_MOST_MS
        self._enter(CoordinatorState.STOPPING)
        self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        for member in self.roster.in_order():
            self.outbox.send(node_address(member.incarnation), Stop(self.outbox.header()))
        self._control_due_ms = self.now_ms + CONTROL_AGAIN_MS

    # Time and links.

    def _tick(self) -> None:
        jumped = self._ticked_ms is not None and self.now_ms - self._ticked_ms > CLOCK_JUMP_MS
        self._ticked_ms = self.now_ms
        if jumped:
            # We were asleep, not they: give everybody their time again.
            for member in self.roster.members.values():
                member.heard_ms = self.now_ms
        control_due = self.now_ms >= self._control_due_ms
        if self._proof.pending and control_due:
            self.outbox.act(self._proof.again())
            self._control_due_ms = self.now_ms + CONTROL_AGAIN_MS
        if self.state in PERIODIC:
            PERIODIC[self.state](self, control_due)

    def _tick_gathering(self, control_due: bool) -> None:
        self._lose_the_silent()
        self._gathering.say_what_is_missing(self.now_ms)
        if control_due:
            self._gathering.persist_again()
            self._control_due_ms = self.now_ms + CONTROL_AGAIN_MS

    def _tick_wiring(self, control_due: bool) -> None:
        if control_due:
            self._grant()
        self._lose_the_silent()

    def _tick_running(self, control_due: bool) -> None:
        if control_due:
            self.course.ask_again()
            self.requests.ask_again()
            self._control_due_ms = self.now_ms + CONTROL_AGAIN_MS
        if self.now_ms >= self._report_due_ms and self.state is CoordinatorState.TRAINING:
            self._report_due_ms = self.now_ms + REPORT_INTERVAL_MS
            self.outbox.report("progress", **self.course.facts(), messages_per_second=self.roster.rate)
        self._lose_the_silent()
        if not self._proof.pending and (stall := self.course.repeat_late_passes(self.now_ms)):
            if stall.times < STALLS_IN_A_ROW:
                self.recover(stall.line)
            else:
                self.fail(f"{stall.line}, in {stall.times} generations, though nobody died")

    def _tick_stopping(self, control_due: bool) -> None:
        if not self.roster.members or self.now_ms >= self._stop_by_ms:
            self._enter(CoordinatorState.ENDED)
            self.outbox.act(End(self._exit_code))
        elif control_due:
            self._ask_to_stop()

    def _lose_the_silent(self) -> None:
        for member in self.roster.in_order():
            silent_ms = self.now_ms - member.heard_ms
            if silent_ms > self.plan.silence_ms:
                self._lose(member, f"was not heard for {silent_ms / 1000:.1f} s")

    def _subscribe_and_prove(self) -> None:
        self.outbox.act(Subscribe(COORDINATOR))
        self.outbox.act_all(self._proof.begin())
        self._control_due_ms = self.now_ms + CONTROL_AGAIN_MS

    def _enter(self, state: CoordinatorState) -> None:
        self.state = state
        self.outbox.report("state", state=state.value)

    @property
    def running(self) -> bool:
        """Whether every group has its place and passes may be under way."""
        return self.state in _RUNNING

    @property
    def dropped(self) -> Counter[str]:
        """How many messages could not be used, by reason."""
        return self.drops.counts

    @property
    def messages(self) -> int:
        """Messages that all programs of the run have sent, as last counted."""
        return self.outbox.messages_sent + self.roster.sent


_RUNNING = (CoordinatorState.TRAINING, CoordinatorState.IDLE)
_OPEN = (CoordinatorState.GATHERING, CoordinatorState.WIRING, *_RUNNING)
_ALIVE = (*_OPEN, CoordinatorState.STOPPING)

TRANSITIONS: dict[tuple[CoordinatorState, type], Callable[[CoordinatorMachine, Any], None]] = {
    **{(state, Register): CoordinatorMachine._register for state in _OPEN},
    **{(CoordinatorState.STOPPING, Register): CoordinatorMachine._register_late},
    **{(state, Heartbeat): CoordinatorMachine._heartbeat for state in _ALIVE},
    **{(state, Ready): CoordinatorMachine._ready for state in _OPEN},
    **{(state, kind): CoordinatorMachine._result for state in _RUNNING for kind in (Output, InputError)},
    **{(state, GroupState): CoordinatorMachine._group_state for state in _RUNNING},
    **{(state, Diverged): CoordinatorMachine._diverged for state in _RUNNING},
    **{(state, Stopped): CoordinatorMachine._node_stopped for state in _ALIVE},
    **{(state, Request): CoordinatorMachine._request for state in _ALIVE},
    **{(state, Probe): CoordinatorMachine._probed for state in _ALIVE},
    **{
        (CoordinatorState.STOPPING, kind): CoordinatorMachine._late
        for kind in (Ready, Output, InputError, GroupState, Diverged)
    },
}

PERIODIC: dict[CoordinatorState, Callable[[CoordinatorMachine, bool], None]] = {
    CoordinatorState.GATHERING: CoordinatorMachine._tick_gathering,
    CoordinatorState.WIRING: CoordinatorMachine._tick_wiring,
    CoordinatorState.TRAINING: CoordinatorMachine._tick_running,
    CoordinatorState.IDLE: CoordinatorMachine._tick_running,
    CoordinatorState.STOPPING: CoordinatorMachine._tick_stopping,
}

"""`why`: follow the groups that wait for each other, from one group to the cause that blocks the run."""

from __future__ import annotations

from typing import NamedTuple

from coordinator.core.assignment import Assignment
from coordinator.core.connectivity import Connectivity
from coordinator.core.failure_detector import FailureDetector
from coordinator.core.membership import Member
from coordinator.core.passes import InFlightPass
from coordinator.core.run import Run
from coordinator.core.state import CoordinatorState
from coordinator.core.trainer import Trainer
from neuron_node.frames import Mode
from neuron_node.protocol import Stage, Waits
from neuron_node.role import OUTSIDE

ANSWERS_WITHIN_MS = 500.0
TOLD_FROM_ATTEMPT = 2
LINKS_AT_MOST = 64


class Chain(NamedTuple):
    """Sentences from the question to the cause. `blocked_by` names the kind of the cause; None if nothing is blocked."""

    sentences: tuple[str, ...]
    blocked_by: str | None


class Question(NamedTuple):
    """A question why a group waits, or with None the run."""

    group: int | None
    request_id: bytes | None
    """The request that asked; None if the coordinator reports a stall."""
    since_ms: float


class Answer(NamedTuple):
    """The answer to a question."""

    request_id: bytes | None
    chain: Chain


class WaitGraph:
    """Asks all nodes which messages they wait for, and combines the answers into the chain that blocks the run."""

    def __init__(
        self,
        run: Run,
        connectivity: Connectivity,
        assignment: Assignment,
        trainer: Trainer,
        failure_detector: FailureDetector,
    ) -> None:
        self._run = run
        self._connectivity = connectivity
        self._assignment = assignment
        self._trainer = trainer
        self._failure_detector = failure_detector
        self._questions: list[Question] = []
        self._reported_stall: tuple[int, int] = (0, 0)

    def ask(self, group: int | None, request_id: bytes | None) -> None:
        """Ask every node that hosts a group; `poll` returns the answer."""
        self._questions.append(Question(group, request_id, self._run.now_ms))
        for member in self._run.membership.hosting():
            self._failure_detector.ask(member)

    def ask_about_stall(self) -> None:
        """Ask why a step does not finish although it was repeated, once per generation and step."""
        flights = self._trainer.in_flight.flights.values()
        stall = (self._run.outbox.generation, self._trainer.training.progress.step)
        if self._reported_stall != stall and any(flight.attempt >= TOLD_FROM_ATTEMPT for flight in flights):
            self._reported_stall = stall
            self.ask(None, None)

    def poll(self) -> list[Answer]:
        """Return the answers to the questions that every node has answered, or had enough time to answer."""
        if not self._questions:
            return []
        now_ms, hosting = self._run.now_ms, self._run.membership.hosting()
        answers = []
        for question in list(self._questions):
            answered = all(member.answered_ms >= question.since_ms for member in hosting)
            if answered or now_ms - question.since_ms >= ANSWERS_WITHIN_MS:
                self._questions.remove(question)
                answers.append(Answer(question.request_id, self._chain(question.group)))
        return answers

    def _chain(self, group: int | None) -> Chain:
        """Return what the run waits for, as far as the coordinator knows."""
        if self._connectivity.proof.pending:
            return Chain(("the coordinator's own connection to the broker is not proved",), "probe")
        if self._run.unsaved is not None:
            return Chain((self._run.unsaved,), "disk")
        match self._run.state:
            case CoordinatorState.GATHERING:
                return self._gathering()
            case CoordinatorState.WIRING:
                return self._wiring()
            case CoordinatorState.STOPPING:
                return self._stopping()
        in_flight = self._trainer.in_flight
        flight = in_flight.flights.get(in_flight.oldest)
        return self._between_passes() if flight is None else self._in_pass(flight, group)

    def _gathering(self) -> Chain:
        run = self._run
        unhosted = run.membership.unhosted(run.topology.groups)
        if not unhosted or not self._assignment.durable:
            return Chain((f"generation {run.outbox.generation} is not on disk yet",), "disk")
        names = ", ".join(map(self._name, unhosted[:5]))
        more = f" and {len(unhosted) - 5} more" if len(unhosted) > 5 else ""
        here = len(run.membership.members)
        sentence = f"{names}{more} wait for nodes: {here} of {self._assignment.nodes_needed} have registered"
        return Chain((sentence,), "register")

    def _wiring(self) -> Chain:
        unready = self._connectivity.unready()
        first = unready[0]
        return Chain(
            (
                f"{len(unready)} of {len(self._run.membership.hosting())} nodes have not said that they are ready",
                f"{_where(first)} was granted {self._name(first.groups[0])}; {self._last_received(first)}",
            ),
            "ready",
        )

    def _stopping(self) -> Chain:
        names = [member.name for member in self._run.membership.in_order()]
        return Chain((f"{', '.join(names[:5])} have not said that they end",), "stopped")

    def _between_passes(self) -> Chain:
        trainer = self._trainer
        if trainer.waits_for_states:
            names = ", ".join(trainer.waits_for_states[:5])
            return Chain((f"the snapshot after step {trainer.snapshot_step} waits for the state of {names}",), "state")
        if trainer.waits_for_disk:
            return Chain(("the last snapshot is not on disk yet",), "disk")
        after = trainer.interventions.pause_after
        if after is not None and trainer.training.progress.step >= after:
            return Chain((f"the training is paused after step {after:,}; `coordinator resume` continues it",), None)
        return Chain((f"nothing is blocked: step {trainer.training.progress.step:,} is done",), None)

    def _in_pass(self, flight: InFlightPass, group: int | None) -> Chain:
        seconds = (self._run.now_ms - flight.started_ms) / 1000.0
        step = self._trainer.training.progress.step + 1
        what = {Mode.FORWARD: "a forward pass", Mode.TRACE: "a trace"}.get(flight.mode, f"step {step:,}")
        sentences = [f"{what} (pass {flight.number}) has been under way for {seconds:.1f} s"]
        if flight.attempt:
            sentences[0] += f" and was repeated {flight.attempt} times"
        if group is None:
            group, result = flight.first_missing()
            sentences.append(f"the coordinator waits for the {result} of {self._name(group)}")
        links, cause = self._follow(flight.number, group)
        return Chain((*sentences, *links), cause)

    def _follow(self, number: int, group: int) -> tuple[list[str], str]:
        """Follow pass `number` from a group to the group that it waits for, and so on, to the cause."""
        sentences, met = list[str](), {OUTSIDE}
        for _ in range(LINKS_AT_MOST):
            met.add(group)
            name, host = self._name(group), self._run.membership.host_of(group)
            wait = _wait_of(host, number, group)
            if host is None or wait is None or host.asked_since_ms is not None:
                sentences.append(
                    f"{name} on {_where(host)} {self._last_received(host)}" if host else f"{name} has no node"
                )
                return sentences, "node"
            stage = Stage(wait.stage)
            upward = stage is Stage.FIRED
            if stage is Stage.DONE:
                sentences.append(f"{name} has sent all it has to; it is on its way, or lost and will be repeated")
                return sentences, "lost result"
            missing = wait.missing[0] if wait.missing else OUTSIDE
            if missing == OUTSIDE:
                what = "target" if upward else "input"
                sentences.append(f"{name} waits for its {what} from the coordinator, which sent it; it is repeated")
                return sentences, what
            sender, kind = self._name(missing), "error" if upward else "signal"
            more = f" and {len(wait.missing) - 1} more" if len(wait.missing) > 1 else ""
            sentences.append(f"{name} waits for the {kind} of {sender}{more}")
            if self._has_sent(number, missing, upward):
                sentences.append(f"{sender} has sent its {kind}; it is on its way, or lost and will be repeated")
                return sentences, kind
            if missing in met:
                return sentences, "circle"
            group = missing
        return sentences, "node"

    def _has_sent(self, number: int, group: int, upward: bool) -> bool:
        host = self._run.membership.host_of(group)
        wait = _wait_of(host, number, group)
        if host is None or wait is None or host.asked_since_ms is not None:
            return False
        return wait.stage >= (Stage.DONE if upward else Stage.FIRED)

    def _name(self, group: int) -> str:
        return self._run.topology.groups[group].names[0]

    def _last_received(self, member: Member) -> str:
        seconds = (self._run.now_ms - member.received_ms) / 1000.0
        if member.asked_since_ms is None:
            return f"was last heard {seconds:.1f} s ago"
        asked = (self._run.now_ms - member.asked_since_ms) / 1000.0
        return f"was last heard {seconds:.1f} s ago and has not answered for {asked:.1f} s"


def _wait_of(host: Member | None, number: int, group: int) -> Waits | None:
    """Return where a group stood in a pass at the last answer of its node."""
    waits = host.waits if host and host.waits_pass == number else ()
    return next((wait for wait in waits if wait.group == group), None)


def _where(member: Member) -> str:
    return f"node {member.name} ({member.host}, process {member.process})"

"""`why`: the chain of who waits for whom, from a neuron (or the first that owes a result) to what keeps the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from coordinator.core.membership import Member
from coordinator.core.passes import InFlightPass
from neuron_node.frames import Mode
from neuron_node.protocol import Stage, Waits
from neuron_node.role import OUTSIDE

if TYPE_CHECKING:
    from coordinator.core.machine import CoordinatorMachine

ANSWERS_WITHIN_MS = 500.0
TOLD_FROM_ATTEMPT = 2
LINKS_AT_MOST = 64


class Chain(NamedTuple):
    """Sentences, from the question to the cause; `blocked_by` names the kind of the cause, None if nothing is blocked."""

    sentences: tuple[str, ...]
    blocked_by: str | None


@dataclass
class Question:
    """Somebody asks why, of a neuron's group or of the run."""

    group: int | None
    tell: Callable[[Chain], None]
    since_ms: float


class WaitGraph:
    """Asks all nodes, and makes of their answers the chain that blocks the current step."""

    def __init__(self, machine: CoordinatorMachine) -> None:
        self._machine = machine
        self._questions: list[Question] = []
        self._told: tuple[int, int] = (0, 0)

    def ask(self, group: int | None, tell: Callable[[Chain], None]) -> None:
        """Answer as soon as every node that hosts a group has, or has had its time to."""
        self._questions.append(Question(group, tell, self._machine.now_ms))
        for member in self._machine.membership.hosting():
            self._machine.failure_detector.ask(member)
        self.answered()

    def answered(self) -> None:
        """A node has answered, or time has passed."""
        now_ms, hosting = self._machine.now_ms, self._machine.membership.hosting()
        for question in list(self._questions):
            everybody = all(member.answered_ms >= question.since_ms for member in hosting)
            if everybody or now_ms - question.since_ms >= ANSWERS_WITHIN_MS:
                self._questions.remove(question)
                question.tell(chain(self._machine, question.group))

    def tell_of_a_stall(self) -> None:
        """A step that has been repeated in vain is explained unasked, once in a generation."""
        machine = self._machine
        flights = machine.trainer.in_flight.flights.values()
        of_this = (machine.outbox.generation, machine.trainer.training.progress.step)
        if self._told != of_this and any(flight.attempt >= TOLD_FROM_ATTEMPT for flight in flights):
            self._told = of_this
            self.ask(None, lambda found: machine.outbox.report("stalled", why=" → ".join(found.sentences)))


def chain(machine: CoordinatorMachine, group: int | None) -> Chain:
    """What the run waits for now, as far as it is known here."""
    if machine.connectivity.proof.pending:
        return Chain(("the coordinator's own connection to the broker is not proved",), "probe")
    if machine.unsaved is not None:
        return Chain((machine.unsaved,), "disk")
    waiting = {"gathering": _gathering, "wiring": _wiring, "stopping": _stopping}.get(machine.state.value)
    if waiting is not None:
        return waiting(machine)
    in_flight = machine.trainer.in_flight
    flight = in_flight.flights.get(in_flight.oldest)
    if flight is None:
        return _between_passes(machine)
    return _pass(machine, flight, group)


def _gathering(machine: CoordinatorMachine) -> Chain:
    homeless = machine.membership.homeless(machine.topology.groups)
    if not homeless or not machine.assignment.durable:
        return Chain((f"generation {machine.outbox.generation} is not on disk yet",), "disk")
    names = ", ".join(machine.topology.groups[group].names[0] for group in homeless[:5])
    more = f" and {len(homeless) - 5} more" if len(homeless) > 5 else ""
    here = len(machine.membership.members)
    sentence = f"{names}{more} wait for nodes: {here} of {machine.assignment.nodes_needed} have registered"
    return Chain((sentence,), "register")


def _wiring(machine: CoordinatorMachine) -> Chain:
    unready = machine.connectivity.unready()
    first = unready[0]
    return Chain(
        (
            f"{len(unready)} of {len(machine.membership.hosting())} nodes have not said that they are ready",
            f"{_where(first)} was granted {machine.topology.groups[first.groups[0]].names[0]}; "
            f"{_heard(machine, first)}",
        ),
        "ready",
    )


def _stopping(machine: CoordinatorMachine) -> Chain:
    names = [member.name for member in machine.membership.in_order()]
    return Chain((f"{', '.join(names[:5])} have not said that they end",), "stopped")


def _between_passes(machine: CoordinatorMachine) -> Chain:
    trainer = machine.trainer
    if trainer.waits_for_states:
        names = ", ".join(trainer.waits_for_states[:5])
        return Chain((f"the snapshot after step {trainer.snapshot_step} waits for the state of {names}",), "state")
    if trainer.waits_for_disk:
        return Chain(("the last snapshot is not on disk yet",), "disk")
    return Chain((f"nothing is blocked: step {trainer.training.progress.step} is done",), None)


def _pass(machine: CoordinatorMachine, flight: InFlightPass, group: int | None) -> Chain:
    topology, seconds = machine.topology, (machine.now_ms - flight.started_ms) / 1000.0
    what = "a forward pass" if flight.mode is Mode.FORWARD else f"step {machine.trainer.training.progress.step + 1}"
    sentences = [f"{what} (pass {flight.number}) has been under way for {seconds:.1f} s"]
    if flight.attempt:
        sentences[0] += f" and was repeated {flight.attempt} times"
    if group is None:
        group, result = flight.first_missing()
        sentences.append(f"the coordinator waits for the {result} of {topology.groups[group].names[0]}")
    links, cause = _follow(machine, flight.number, group)
    return Chain((*sentences, *links), cause)


def _follow(machine: CoordinatorMachine, number: int, group: int) -> tuple[list[str], str]:
    """From a group to whom it waits for, and so on."""
    topology, sentences, met = machine.topology, list[str](), {OUTSIDE}
    for _ in range(LINKS_AT_MOST):
        met.add(group)
        name, host = topology.groups[group].names[0], machine.membership.host_of(group)
        wait = _wait_of(host, number, group)
        if host is None or wait is None or host.asked_since_ms is not None:
            sentences.append(f"{name} on {_where(host)} {_heard(machine, host)}" if host else f"{name} has no node")
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
        sender, kind = topology.groups[missing].names[0], "error" if upward else "signal"
        more = f" and {len(wait.missing) - 1} more" if len(wait.missing) > 1 else ""
        sentences.append(f"{name} waits for the {kind} of {sender}{more}")
        if _has_sent(machine, number, missing, upward):
            sentences.append(f"{sender} has sent its {kind}; it is on its way, or lost and will be repeated")
            return sentences, kind
        if missing in met:
            return sentences, "circle"
        group = missing
    return sentences, "node"


def _wait_of(host: Member | None, number: int, group: int) -> Waits | None:
    """Where a group stood in a pass when its node last said so."""
    waits = host.waits if host and host.waits_pass == number else ()
    return next((wait for wait in waits if wait.group == group), None)


def _has_sent(machine: CoordinatorMachine, number: int, group: int, upward: bool) -> bool:
    host = machine.membership.host_of(group)
    wait = _wait_of(host, number, group)
    if host is None or wait is None or host.asked_since_ms is not None:
        return False
    return wait.stage >= (Stage.DONE if upward else Stage.FIRED)


def _where(member: Member) -> str:
    return f"node {member.name} ({member.host}, process {member.process})"


def _heard(machine: CoordinatorMachine, member: Member) -> str:
    seconds = (machine.now_ms - member.heard_ms) / 1000.0
    if member.asked_since_ms is None:
        return f"was last heard {seconds:.1f} s ago"
    asked = (machine.now_ms - member.asked_since_ms) / 1000.0
    return f"was last heard {seconds:.1f} s ago and has not answered for {asked:.1f} s"

"""Interventions of a person: limits of the last step to announce, and changes that are carried out between two steps.

    requested ── no further step is announced, the named step ends ──▶ in the journal ── journal and snapshot are durable ──▶
    answered; the edited snapshot is granted in a new generation

A change gets its entry in the journal when the state of every group after the named step is known. From then on it is carried
out like an entry of an earlier life of the coordinator: after its step, in this life or in a later one. `due` says which changes these are.
Until then, a recovery leaves the request waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from coordinator.core.editing import edited, number_of
from coordinator.core.events import Snapshot
from coordinator.core.journal import (
    BIAS,
    ENTRIES_AT_MOST,
    RATE,
    REWIND,
    SILENCE,
    WAKE,
    WEIGHT,
    Changes,
    Entry,
    Journal,
)
from coordinator.core.run import Run
from coordinator.defaults import LARGEST_RATE
from neuron_node.errors import UserError
from neuron_node.schema import MAX_NUMBER

WAITING_AT_MOST = 16
LARGEST_NUMBER = 1e6
"""The largest weight or bias that may be set, in either direction."""
PAUSE_ANSWERED_MS = 400.0
"""A pause is answered after this time, although its last step may not be done."""


class Wanted(NamedTuple):
    """A change that is not in the journal yet. `entry` lacks its number, branch and step."""

    request_id: bytes
    entry: Entry
    snapshot: Snapshot | None = None
    """The snapshot that a rewind goes back to."""


class Outcome(NamedTuple):
    """What became of a request; `good` if the intervention was carried out."""

    request_id: bytes
    facts: dict[str, Any]
    good: bool = True


class Interventions:
    """The journal, the requests that wait, and the pause."""

    def __init__(self, run: Run) -> None:
        self.journal = Journal(run.plan.journal)
        self.pause_after: int | None = None
        """The last step to announce; None if the training goes on."""
        self.reached = 0
        """The latest step that was done on this branch by this life of the coordinator. A recovery does not lower it."""
        self._run = run
        self._topology = run.topology
        self._steps = run.plan.schedule().steps
        self._wanted: deque[Wanted] = deque()
        self._undurable: list[Outcome] = []
        self._ready: list[Outcome] = []
        self._pausing: list[tuple[bytes, float]] = []
        """The clients that wait until the training pauses, and when each is answered at the latest."""

    # Limits.

    def last_step(self, announced: int, changes: Changes) -> int:
        """Return the last step that may be sent now; `announced` is the last one that was announced."""
        last = self._steps if self.pause_after is None else min(self.pause_after, self._steps)
        due = self.journal.due(changes.applied)
        if due is not None:
            return min(last, due.step)
        return min(last, max(announced, self.reached)) if self._wanted else last

    def are_due(self, step: int, changes: Changes) -> bool:
        """Whether changes are carried out after this step, to a network with these changes."""
        due = self.journal.due(changes.applied)
        if due is not None:
            return due.step == step
        return bool(self._wanted) and step >= self.reached

    def note_step(self, step: int) -> None:
        """Note a finished step."""
        self.reached = max(self.reached, step)

    def pause(self, request_id: bytes, announced: int) -> None:
        """Announce no further step."""
        self._pause_after(request_id, min(self._paused_at(announced), self._steps))

    def step(self, request_id: bytes, announced: int, count: int) -> None:
        """Do so many steps, and pause. Raises `UserError`."""
        at = self._paused_at(announced)
        if at >= self._steps:
            raise UserError(f"step {self._steps:,} is the last one, and it is under way or done")
        self._pause_after(request_id, min(at + count, self._steps))

    def run_to(self, request_id: bytes, announced: int, step: int) -> None:
        """Do the steps up to this one, and pause. Raises `UserError`."""
        first = max(announced, self.reached) + 1
        if not first <= step <= self._steps:
            right = (
                f"a step from {first:,} to {self._steps:,}" if first <= self._steps else "nothing: all steps are done"
            )
            raise UserError(f"the training cannot run to step {step:,}; right would be {right}")
        self.pause_after = step
        self._run.outbox.report("pausing", step=step)
        self._answers_now(request_id, {"state": "training", "pauses_after": step})

    def resume(self, request_id: bytes) -> None:
        """Go on to the end of the training."""
        was, self.pause_after = self.pause_after, None
        self._run.outbox.report("resumed")
        for waiting, _ in self._pausing:
            self._answers_now(waiting, {"state": "training", "pauses_after": None})
        self._pausing = []
        self._answers_now(request_id, {"state": "training", "pauses_after": None, "was_paused_after": was})

    def _paused_at(self, announced: int) -> int:
        known = max(announced, self.reached)
        return known if self.pause_after is None else min(self.pause_after, known)

    def _pause_after(self, request_id: bytes, step: int) -> None:
        self.pause_after = step
        self._run.outbox.report("pausing", step=step)
        self._pausing.append((request_id, self._run.now_ms + PAUSE_ANSWERED_MS))

    def _answers_now(self, request_id: bytes, facts: dict[str, Any]) -> None:
        self._ready.append(Outcome(request_id, facts))

    # Changes.

    def want(self, request_id: bytes, kind: str, arguments: Mapping[str, Any]) -> None:
        """Take a change that will be carried out between two steps. Raises `UserError`."""
        self._check_number()
        entry = Entry(0, 0, 0, request_id.hex(), kind, *self._checked(kind, arguments))
        self._wanted.append(Wanted(request_id, entry))

    def want_rewind(self, request_id: bytes, snapshot: Snapshot) -> None:
        """Take a rewind to this snapshot, which will be carried out between two steps. Raises `UserError`."""
        self.check_rewind()
        changes = snapshot.changes
        entry = Entry(0, 0, snapshot.step, request_id.hex(), REWIND, origin=changes.branch, applied=changes.applied)
        self._wanted.append(Wanted(request_id, entry, snapshot))

    def check_rewind(self) -> None:
        """Raise `UserError` if no rewind can wait now. Only one waits, because it keeps a snapshot in memory."""
        self._check_number()
        if self.rewinds:
            raise UserError("a rewind waits already; try again when it is carried out")

    @property
    def rewinds(self) -> bool:
        """Whether a rewind waits."""
        return any(wanted.snapshot is not None for wanted in self._wanted)

    def _check_number(self) -> None:
        if len(self._wanted) >= WAITING_AT_MOST:
            raise UserError(f"{WAITING_AT_MOST} interventions wait already; try again when some are carried out")
        if len(self.journal.entries) + len(self._wanted) >= ENTRIES_AT_MOST:
            raise UserError(f"this run has {ENTRIES_AT_MOST:,} interventions, and cannot have more; begin another run")

    def _checked(self, kind: str, arguments: Mapping[str, Any]) -> tuple[str, str, float]:
        """Return neuron, receiver and number of a change. Raises `UserError`."""
        if kind == RATE:
            return "", "", _number("learning rate", arguments.get("value"), above_zero=True)
        neuron = self._neuron(arguments.get("neuron"))
        if kind in (SILENCE, WAKE):
            return neuron, "", 0.0
        value = _number(kind, arguments.get("value"))
        layer = self._topology.groups[self._topology.group_of[neuron]].layer
        if kind == BIAS:
            if layer == 0 and not self._run.plan.network.input_bias:
                raise UserError(f"{neuron} has no bias: the input neurons of this network pass their input on")
            return neuron, "", value
        below = self._topology.receivers[self._topology.group_of[neuron]]
        names = [name for group in below for name in self._topology.groups[group].names]
        to = arguments.get("to")
        if not names:
            raise UserError(
                f"{neuron} is an output neuron: no synapse begins there; right would be the weight of a sender"
            )
        if to not in names:
            raise UserError(f"no synapse leads from {neuron} to {to!r}; its synapses lead to {names[0]} to {names[-1]}")
        return neuron, str(to), value

    def _neuron(self, name: object) -> str:
        group_of = self._topology.group_of
        if not isinstance(name, str) or name not in group_of:
            names = list(group_of)
            raise UserError(
                f"there is no neuron {name!r}; they are named {names[0]} to {names[-1]}, as `coordinator neurons` lists"
            )
        return name

    def known(self, request_id: bytes) -> bool:
        """Whether the request of this client is in the journal. If so, answer it now or when its entry is carried out."""
        entry = self.journal.of_request(request_id.hex())
        if entry is None:
            return False
        if all(answer.request_id != request_id for answer in self._undurable):
            self._answers_now(request_id, {**_facts_of(entry), "again": True})
        return True

    def carry_out(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the changes that are due after its step. Changes that waited get their entries.

        After a rewind, it is the snapshot that the run goes back to.
        """
        due = self.journal.due_after(snapshot.step, snapshot.changes.applied)
        for entry in due:
            snapshot = self._carry_out(snapshot, entry)
        if self.journal.due(snapshot.changes.applied) is None:
            while self._wanted:
                snapshot = self._decide(self._wanted.popleft(), snapshot)
        return snapshot

    def _decide(self, wanted: Wanted, snapshot: Snapshot) -> Snapshot:
        """Put a change that waited into the journal, and carry it out."""
        number, branch = len(self.journal.entries) + 1, self.journal.branch
        if wanted.snapshot is None:
            entry = wanted.entry._replace(number=number, branch=branch, step=snapshot.step)
        else:
            entry = wanted.entry._replace(number=number, branch=self.journal.branches)
        self.journal = Journal([*self.journal.entries, entry])
        if wanted.snapshot is None:
            return self._carry_out(snapshot, entry, new=True)
        if self.pause_after is not None and self.pause_after <= snapshot.step:
            self.pause_after = entry.step
        self.reached = entry.step
        self._note(entry, {"from_step": snapshot.step, "from_branch": branch}, new=True)
        return wanted.snapshot._replace(changes=wanted.snapshot.changes._replace(branch=entry.branch))

    def _carry_out(self, snapshot: Snapshot, entry: Entry, *, new: bool = False) -> Snapshot:
        before = number_of(snapshot, entry, self._topology) if entry.kind in (WEIGHT, BIAS) else None
        if entry.kind == RATE:
            rate = snapshot.changes.learning_rate
            before = self._run.plan.network.learning_rate if rate is None else rate
        self._note(entry, {"before": before}, new=new)
        return edited(snapshot, [entry], self.journal.branch, self._topology)

    def _note(self, entry: Entry, more: dict[str, Any], *, new: bool) -> None:
        """Report a change, and answer its client when it is durable."""
        facts = {**_facts_of(entry), **more}
        self._run.outbox.report("intervention", **facts)
        if new:
            self._undurable.append(Outcome(bytes.fromhex(entry.request), facts))

    # Answers.

    def durable(self) -> None:
        """Note that the journal and the edited snapshot are durable: answer the clients."""
        self._ready += self._undurable
        self._undurable = []

    def refuse_all(self, reason: str) -> None:
        """Refuse the changes that are not in the journal, because the run ends."""
        self._ready += [Outcome(wanted.request_id, {"error": reason}, good=False) for wanted in self._wanted]
        self._wanted.clear()

    def answers(self, step: int, *, still: bool) -> list[Outcome]:
        """Return the answers that are due; `still` says that no step is in flight after this step."""
        if self._pausing:
            now_ms, after = self._run.now_ms, self.pause_after
            paused = still and after is not None and step >= after
            due = [request_id for request_id, by_ms in self._pausing if paused or now_ms >= by_ms]
            self._pausing = [one for one in self._pausing if one[0] not in due]
            facts = {"state": "paused" if paused else "pausing", "pauses_after": after, "step": step}
            self._ready += [Outcome(request_id, facts) for request_id in due]
        ready, self._ready = self._ready, []
        return ready


def _facts_of(entry: Entry) -> dict[str, Any]:
    """Return an entry for its client and for the log of events."""
    facts: dict[str, Any] = {"number": entry.number, "branch": entry.branch, "step": entry.step, "change": entry.kind}
    if entry.neuron:
        facts["neuron"] = entry.neuron
    if entry.to:
        facts["to"] = entry.to
    if entry.kind in (RATE, WEIGHT, BIAS):
        facts["value"] = entry.value
    if entry.kind == REWIND:
        facts["origin"] = entry.origin
    return facts


def _number(what: str, value: object, *, above_zero: bool = False) -> float:
    largest = LARGEST_RATE if above_zero else LARGEST_NUMBER
    low = "a number above 0, at most" if above_zero else f"a number from -{largest:,.0f} to"
    right = f"right would be {low} {largest:,.0f}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{value!r} is no {what}; {right}")
    if not abs(value) <= largest or (above_zero and value <= 0):
        raise UserError(f"a {what} of {str(value)[:30]} is out of range; {right}")
    return float(value)


def whole(what: str, value: object, least: int = 1) -> int:
    """Return a count or a step that a client has given. Raises `UserError`."""
    if type(value) is not int or not least <= value <= MAX_NUMBER:
        raise UserError(f"{value!r} is no {what}; right would be a whole number from {least} on")
    return value

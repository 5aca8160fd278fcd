"""What must hold at every event of a simulated run. Whatever does not raises `Violation`, with a line that says what."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coordinator.core.editing import edited, initial_snapshot
from coordinator.core.events import Persist, Persisted, Publish, Snapshot
from coordinator.core.journal import REWIND, Entry, Journal
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.state import CoordinatorState
from coordinator.core.steps import AT_ONCE as STEPS_AT_ONCE
from coordinator.core.telemetry import ALL, TOPIC
from coordinator.core.training import Progress
from coordinator.errors import Damaged
from coordinator.storage.journal_file import decode_journal
from coordinator.storage.run_store import Standing
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.frames import IDENTITY_LENGTH, LENGTH_BYTES, parse, split
from neuron_node.identity import BEGIN_AGAIN, NodeState
from neuron_node.node import Node
from neuron_node.protocol import KINDS, Grant, State
from neuron_node.signing import NODES, opened
from tests.simulation.forgers import verify
from tests.simulation.plans import Reference, path_in, reference_with

if TYPE_CHECKING:
    from tests.simulation.network import Life
    from tests.simulation.world import World

KIND_AT = ADDRESS_LENGTH + LENGTH_BYTES + 2
"""Where a message with a control frame says of what kind it is: after the array's length and the version."""
GENERATION_AT = KIND_AT + 1 + 2 + IDENTITY_LENGTH
"""After the run's name."""
GRANT = next(number for number, kind in KINDS.items() if kind is Grant)
METRICS = Path("run/metrics.csv")
JOURNALS = (Path("run/journal.0"), Path("run/journal.1"))
GENERATIONS = (Path("run/generation.0"), Path("run/generation.1"))


class Violation(Exception):
    """A promise was broken."""


class Watch:
    """Looks at every event, and compares with the undisturbed run."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.activities = list(reference.activities)
        """What the client's rows may give. A change can come after a step that an earlier life of the coordinator had passed."""
        self.journal: tuple[Entry, ...] = ()
        """The interventions that the run must contain, as of the last write or the last start."""
        self._followed: list[tuple[Reference, tuple[Entry, ...]]] = [(reference, ())]
        """The undisturbed run of each journal that the run has followed."""
        self._branch = 0
        """The branch of the last durable snapshot."""
        self.rewinds = 0
        self._plan = reference.plan
        self.world: World
        self.recoveries = 0
        self.steps = 0
        self.snapshots = 0
        self.granted_generation = 0
        """The highest generation that anything was granted in, by any life of the coordinator."""
        self.finished: dict[str, Any] | None = None
        self.failure: str | None = None
        self._hosts: dict[tuple[int, int], bytes] = {}
        """Which life has hosted each group in each generation."""
        self._places: dict[int, tuple[NodeState, int]] = {}
        self._durable_generation = 0
        self._granting: CoordinatorMachine | None = None
        self._steps_done = 0
        self.calm = False
        """Whether nothing has gone wrong so far, and nothing is lost: then nothing needs to be repeated."""
        self.alone = False
        """Whether nothing has gone wrong but with clocks."""
        self._members: dict[bytes, None] = {}
        self._gone: set[bytes] = set()
        self._ever_gone: set[bytes] = set()
        """The lives that any life of the coordinator has given up."""
        self._metrics_damaged = False
        """Whether metrics were ever put aside: then a snapshot from before has no rows to go back to."""
        self._metrics_from = 1
        """The first step of the metrics: damaged ones were put aside, and said to be."""
        self._step = 0
        self.stopping = False
        """Whether any life of the coordinator has stopped its nodes."""
        self.begun = False
        """Whether the first step was ever under way."""
        self._sent: dict[int, list[Any]] = {}
        """The samples of each step that has been sent and is not done, by its first pass, in order."""
        self._generation = 0
        self._used: dict[int, tuple[int, ...]] = {}
        """The samples of each step that counts, by what was sent to the inputs."""
        self.shown: dict[tuple[int, int, int], bytes] = {}
        """The numbers that were published, by the number of changes, step and group."""
        self._rows = [row.tobytes() for row in reference.plan.data.train_inputs]

    # Telemetry.

    def published(self, action: Publish) -> None:
        """A set of numbers is whole, and a repeated step shows the numbers of the first time."""
        header, frames = action.frames
        step, topic = json.loads(header)["step"], action.topic.removeprefix(TOPIC)
        shown = {data.sender: data for data in map(parse, split(bytes(ADDRESS_LENGTH) + frames))}
        wanted = set(self.reference.plan.topology().groups) if topic == ALL else {int(topic)}
        if shown.keys() != wanted:
            raise Violation(f"the numbers of step {step} are those of {sorted(shown)}, not of {sorted(wanted)}")
        for group, data in shown.items():
            numbers = data.values.tobytes()
            if self.shown.setdefault((len(self.journal), step, group), numbers) != numbers:
                raise Violation(f"step {step} was repeated, and group {group} shows other numbers")

    # Lives.

    def after(self, life: Life) -> None:
        """A program has taken an event."""
        machine = life.machine
        if life.is_coordinator:
            self._after_coordinator(machine)
        elif type(machine) is Node:
            place = (machine.state, machine.generation)
            before = self._places.get(life.number, place)
            if machine.generation < before[1]:
                raise Violation(f"{life.name} goes back from generation {before[1]} to {machine.generation}")
            if self._places.get(life.number) != place:
                self._places[life.number] = place
                self._node_moved(life, machine)

    def _node_moved(self, life: Life, machine: Node) -> None:
        if machine.state is NodeState.WIRING or machine.state is NodeState.WORKING:
            for group in machine.hosting.groups:
                host = self._hosts.setdefault((machine.generation, group), machine.born.incarnation)
                if host != machine.born.incarnation:
                    raise Violation(f"group {group} lives twice in generation {machine.generation}: {life.name}")

    def coordinator_began(self, machine: CoordinatorMachine) -> None:
        """Another life of the coordinator."""
        if self.begun and self._step < len(self.reference.samples):
            self.recoveries += 1
        self._granting = None
        self._members, self._gone = {}, set()
        self._steps_done = 0
        self._sent = {}
        self._go_back(machine.trainer.training.progress.step)
        if self._step < len(self.reference.samples):
            self.finished = None

    def _after_coordinator(self, machine: CoordinatorMachine) -> None:
        trainer = machine.trainer
        step = trainer.training.progress.step
        if trainer.steps_done != self._steps_done:
            # What a lost message kept may be over together with the step that was sent meanwhile.
            while trainer.steps_done > self._steps_done:
                self._steps_done += 1
                self._step += 1
                # Of messages that were taken at once, a later one may have caused a rollback.
                last = trainer.steps_done == self._steps_done and machine.outbox.generation == self._generation
                self._committed(machine, last=last)
        if step != self._step:
            if step > self._step:
                raise Violation(f"step {step} counts, and was never done")
            self._go_back(step)
        if machine.outbox.generation != self._generation:
            self._generation, self._sent = machine.outbox.generation, {}
        # A traced pass has targets too, but it is no step.
        flights = [flight for flight in trainer.in_flight.flights.values() if flight.trace is None]
        for flight in flights:
            # All parts are sent at once; of those that are not over, the first of the step may be gone.
            if flight.targets is not None and flight.part == 0 and flight.number not in self._sent:
                parts = flights[flights.index(flight) :][: flight.parts]
                self._sent[flight.number] = [row for part in parts for row in part.inputs]
        if len(self._sent) > STEPS_AT_ONCE:
            raise Violation(f"{len(self._sent)} steps are under way at once")
        self.begun = self.begun or bool(self._sent)
        if self.calm and any(flight.attempt for flight in flights):
            raise Violation("a pass is repeated, though nothing has gone wrong")
        if machine.membership.members.keys() != self._members.keys():
            self._members_changed(machine)
        if machine.failure is not None:
            self.failure = machine.failure

    def _members_changed(self, machine: CoordinatorMachine) -> None:
        members = dict.fromkeys(machine.membership.members)
        self._gone.update(life for life in self._members if life not in members)
        # A life that registers and loses its place to another within one wake-up was never among the members here.
        self._ever_gone |= self._gone | machine.membership.gone
        if self.alone and self._gone and not self.stopping:
            raise Violation("a node is given up, though nothing has gone wrong but with clocks")
        for life in members:
            if life in self._gone:
                raise Violation(f"the life {int.from_bytes(life, 'big')}, which is over, takes part again")
        self._members = members

    def _go_back(self, step: int) -> None:
        self._step = step
        self._used = {before: samples for before, samples in self._used.items() if before <= step}

    def _committed(self, machine: CoordinatorMachine, *, last: bool) -> None:
        self.steps += 1
        step, progress = self._step, machine.trainer.training.progress
        if last and progress.step != step:
            raise Violation(f"the step after {step - 1} counts as step {progress.step}")
        if not self._sent:
            raise Violation(f"step {step} was done without having been begun")
        inputs = self._sent.pop(min(self._sent))
        self._used[step] = tuple(self._rows.index(row.tobytes()) for row in inputs)
        if step > len(self.reference.samples) or self._used[step] != self.reference.samples[step - 1]:
            raise Violation(f"step {step} used the samples {self._used[step]}")
        if last and not same_progress(progress, self.reference.progress[step]):
            raise Violation(f"after step {step}: {progress}, undisturbed {self.reference.progress[step]}")

    def node_ended(self, life: Life, code: int) -> None:
        """A node has ended by itself: refused, told so, or to begin another life."""
        machine = life.machine
        if code == 1 and machine.born.fingerprint == self.reference.plan.fingerprint:
            raise Violation(f"{life.name}, which fits, was refused")
        if code == 0 and not (life.asked_to_end or self.stopping):
            raise Violation(f"{life.name} was stopped, and neither the coordinator nor a signal has done it")
        if code == BEGIN_AGAIN and life.incarnation not in self._ever_gone:
            raise Violation(f"{life.name} was told that its place was taken, and it was not")

    # What is said.

    def sent(self, life: Life, message: bytes) -> None:
        """A program sends a message with a control frame."""
        if life.is_coordinator and self.world.forger is not None and message.startswith(NODES):
            self.world.forger.hear(message)
            address = message[:ADDRESS_LENGTH]
            message = address + opened(address, message[ADDRESS_LENGTH:], verify)
        if life.is_coordinator and message[KIND_AT] == GRANT:
            self._granted(life.machine, _generation_of(message))

    def _granted(self, machine: CoordinatorMachine, generation: int) -> None:
        if machine is not self._granting:
            if generation <= self.granted_generation:
                raise Violation(f"generation {generation} is granted again by another life of the coordinator")
            self._granting = machine
        if generation < self.granted_generation:
            raise Violation(f"generation {generation} is granted after {self.granted_generation}")
        self.granted_generation = generation
        branch, applied = machine.trainer.changes.branch, machine.trainer.changes.applied
        begun = [entry.number for entry in self.journal if entry.kind == REWIND and entry.branch == branch]
        needed = max([applied, *begun])
        if needed and not any(needed <= self._durable_entries(name) for name in JOURNALS):
            raise Violation(f"a network with {needed} interventions is granted, and the journal is not durable")
        if self._durable_generation != generation:
            for path in GENERATIONS:
                content = self.world.disk.durable(path)
                written = json.loads(content.partition(b"\n")[0])["generation"] if content else None
                if written != generation:
                    raise Violation(f"generation {generation} is granted while {path.name} durably holds {written}")
            self._durable_generation = generation

    def _durable_entries(self, path: Path) -> int:
        content = self.world.disk.durable(path)
        try:
            return len(decode_journal(content)) if content else 0
        except Damaged:
            return 0

    def reported(self, life: Life, event: str, facts: dict[str, Any]) -> None:
        """The coordinator tells something."""
        if event == "recovery":
            if self.calm or self.alone:
                raise Violation(f"the network goes back, though nothing has gone wrong: {facts['reason']}")
            self.world.tell(
                f"recovery: {facts['reason']}; back to step {facts['step']}, generation {facts['generation']}"
            )
            if self.begun and self._step < len(self.reference.samples):
                self.recoveries += 1
        elif event == "finished":
            self.finished = facts
            self._check_end(life.machine)
            self.world.tell(f"finished: {facts['weights_sha256'][:16]}")
            self.world.after_the_end()
        elif event == "state":
            self.stopping = self.stopping or facts["state"] == CoordinatorState.STOPPING.value
        elif event != "progress":
            if event == "wired":
                self.world.wired()
            self.world.tell(f"{event}: {', '.join(f'{name} {fact}' for name, fact in facts.items())}")

    def _check_end(self, machine: CoordinatorMachine) -> None:
        assert self.finished is not None
        for key in ("weights_sha256", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "step"):
            if self.finished[key] != self.reference.finished[key]:
                raise Violation(f"{key} is {self.finished[key]}, undisturbed {self.reference.finished[key]}")
        if machine.trainer.training.progress.epochs != self.reference.at_the_end.epochs:
            raise Violation("the epochs' figures are not those of the undisturbed run")
        self._check_metrics(len(self.reference.losses))
        latest = self.world.disk.durable(Path(f"run/snapshots/step-{len(self.reference.losses):09d}.snapshot"))
        if latest is None:
            raise Violation("it has finished, and its final snapshot is not durable")

    # The disk.

    def _follow(self, journal: tuple[Entry, ...]) -> None:
        """From now on, the undisturbed run is the one with this journal."""
        if journal != self.journal:
            requests = [entry.request for entry in journal]
            if len(set(requests)) < len(requests):
                raise Violation("a request was carried out twice")
            self.journal = journal
            self.reference = reference_with(self._plan, journal)
            self._followed.append((self.reference, journal))
            self.activities += self.reference.activities

    def states_after(self, step: int) -> Iterator[Mapping[int, State]]:
        """Yield the states that the network may have had after a step, with each journal that it followed, before and after changes."""
        topology = self._plan.topology()
        for reference, journal in self._followed:
            plain = initial_snapshot(self._plan, topology)
            if step:
                plain = plain._replace(step=step, states=reference.states[step - 1])
            here = [entry for entry in path_in(journal) if entry.step == step]
            for count in range(len(here) + 1):
                yield edited(plain, here[:count], 0, topology).states

    def _states_of(self, snapshot: Snapshot) -> Mapping[int, State]:
        """The states that a snapshot must have."""
        path, topology = path_in(self.journal), self._plan.topology()
        here = [one for one in path if one.step == snapshot.step and one.number <= snapshot.changes.applied]
        applied = max(
            [one.number for one in path if one.step < snapshot.step] + [one.number for one in here], default=0
        )
        if snapshot.changes.applied != applied:
            raise Violation(f"a snapshot after step {snapshot.step} contains {snapshot.changes.applied} interventions")
        if snapshot.step == 0:
            plain = initial_snapshot(self._plan, topology)
        else:
            plain = snapshot._replace(states=self.reference.states[snapshot.step - 1])
        return edited(plain, here, 0, topology).states

    def persisting(self, action: Any) -> None:
        """The coordinator wants something to be durable."""
        if type(action) is not Persist:
            return
        if action.journal:
            self._follow(action.journal)
        snapshot = action.snapshot
        expected = self._states_of(snapshot)
        if snapshot.states.keys() != expected.keys():
            raise Violation(f"the snapshot after step {snapshot.step} holds groups {sorted(snapshot.states)}")
        for group, state in snapshot.states.items():
            if not same_state(state, expected[group]):
                raise Violation(f"the snapshot after step {snapshot.step} holds another state of group {group}")

    def persisted(self, action: Any, answer: Any) -> None:
        """It is durable, or not."""
        if type(answer) is Persisted:
            self.snapshots += 1
            self.world.tell(f"the snapshot after step {answer.step} is durable")
            if action.snapshot.changes.branch != self._branch:
                self._rewound(action.snapshot)
            self._check_metrics(answer.step)
            if self.world.disk.durable(Path(f"run/snapshots/step-{answer.step:09d}.snapshot")) is None:
                raise Violation(f"the snapshot after step {answer.step} is said to be durable, and is not")
        elif type(action) is Persist:
            self.world.tell(f"the snapshot after step {action.snapshot.step} could not be saved")

    def _rewound(self, snapshot: Snapshot) -> None:
        """The run goes on from a kept snapshot, in another branch."""
        self.rewinds += 1
        self._branch = snapshot.changes.branch
        self._go_back(snapshot.step)
        # In other branches the same samples were used: they depend on the step only.
        self._used = {step: self.reference.samples[step - 1] for step in range(1, snapshot.step + 1)}
        if self._metrics_damaged:
            there = METRICS.name in self.world.disk.names(METRICS.parent)
            rows = self.world.disk.read(METRICS, 2**30).split(b"\r\n")[1:-1] if there else []
            self._metrics_from = int(rows[0].partition(b",")[0]) if rows else snapshot.step + 1

    def standing(self, standing: Standing, damage: list[str]) -> None:
        """A new life of the coordinator has looked what the last one left, and has told which files are damaged."""
        if any("metrics.csv" in line for line in damage):
            self._metrics_damaged = True
            self._metrics_from = standing.snapshot.step + 1 if standing.snapshot else 1
        elif standing.snapshot is None or standing.snapshot.step == 0:
            self._metrics_from = 1
        if standing.generation < self.granted_generation:
            raise Violation(f"it goes on from generation {standing.generation}; {self.granted_generation} was granted")
        self._follow(standing.journal)
        self._branch = Journal(standing.journal).branch
        snapshot = standing.snapshot
        if snapshot is None:
            return
        expected = self._states_of(snapshot)
        if snapshot.states.keys() != expected.keys() or not all(
            same_state(state, expected[group]) for group, state in snapshot.states.items()
        ):
            raise Violation(f"another state was loaded after step {snapshot.step}")
        if not same_progress(snapshot.progress, self.reference.progress[snapshot.step]):
            raise Violation(f"another progress was loaded after step {snapshot.step}: {snapshot.progress}")
        self._check_metrics(snapshot.step, durable=False)

    def _check_metrics(self, last_step: int, *, durable: bool = True) -> None:
        if METRICS.name not in self.world.disk.names(METRICS.parent) and last_step < self._metrics_from:
            # Damaged ones were put aside, and no step was done since.
            return
        content = self.world.disk.durable(METRICS) if durable else self.world.disk.read(METRICS, 2**30)
        if content is None:
            raise Violation("the metrics are not durable")
        rows = [line.split(",") for line in content.decode().split("\r\n")[1:-1]]
        first = self._metrics_from
        if [row[0] for row in rows] != [str(step) for step in range(first, last_step + 1)]:
            raise Violation(
                f"the metrics hold the steps {', '.join(row[0] for row in rows)}, not {first} to {last_step}"
            )
        for row, loss in zip(rows, self.reference.losses[first - 1 :], strict=False):
            if float(row[2]) != loss:
                raise Violation(f"the metrics give step {row[0]} the loss {row[2]}; it is {loss!r}")
        seconds = [float(row[4]) for row in rows]
        if seconds != sorted(seconds):
            raise Violation(f"the metrics' seconds go back: {seconds}")

    def at_the_end(self) -> None:
        """Every sample was used once an epoch, and no group keeps frames of a pass that is over."""
        for life in self.world.lives:
            for group in life.machine.hosting.groups.values() if type(life.machine) is Node else ():
                if any(number < group.low for number in group._passes):
                    raise Violation(f"{life.name} keeps passes that are over")
        length = self.reference.plan.schedule().steps_per_epoch
        for first in range(1, len(self._used) + 1, length):
            used = sorted(sample for step in range(first, first + length) for sample in self._used[step])
            if used != list(range(len(self._rows))):
                raise Violation(f"the epoch that begins with step {first} used the samples {used}")


def _generation_of(message: bytes) -> int:
    """The generation in a control message's header, as msgpack writes whole numbers."""
    first = message[GENERATION_AT]
    length = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}.get(first, 0)
    return int.from_bytes(message[GENERATION_AT + 1 : GENERATION_AT + 1 + length], "big") if length else first


def same_progress(one: Progress, other: Progress) -> bool:
    """Whether two runs have come equally far, with the same figures to the bit; it may have taken longer."""
    return replace(one, seconds=0.0) == replace(other, seconds=0.0)


def same_state(one: State, other: State) -> bool:
    """Whether two states are the same to the bit."""
    return _same(one.bias, other.bias) and _same(one.weights, other.weights)


def _same(one: Any, other: Any) -> bool:
    return one.shape == other.shape and np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()

"""What a run does once its network is wired: steps, snapshots, measurements, and the end. In the order they come.

It starts whatever may start now: forward passes first (a person waits for them), then what an epoch's end asks for, then
the next training step. Within an epoch each step is sent while the one before is under way; the groups take one after the
other. Nothing else is under way at the same time as a training step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from coordinator.core.events import Inspected, Persist, Row, Snapshot
from coordinator.core.inflight import InFlight
from coordinator.core.membership import Membership
from coordinator.core.outbox import Outbox
from coordinator.core.passes import ForwardJob, InFlightPass
from coordinator.core.run_plan import RunPlan
from coordinator.core.snapshot_interval import SnapshotInterval
from coordinator.core.state_collector import StateCollector
from coordinator.core.steps import SentStep, Steps
from coordinator.core.training import LOSSES, Epoch, Progress, Training
from coordinator.topology import Topology
from neuron_node.activations import Array
from neuron_node.errors import Stale
from neuron_node.frames import Mode
from neuron_node.protocol import Diverged, GroupState

MEASURED_ROWS_AT_ONCE = 256
ROWS_AT_MOST = 100_000
"""Rows of metrics that a run leaves; with more steps, every so many steps one."""


class Stall(NamedTuple):
    """A step that does not finish, how many generations in a row, and in words."""

    step: int
    times: int
    line: str


class StepResult(NamedTuple):
    """A step that is done: what came of it, (batch, outputs), what should have, and how long it took."""

    activities: Array
    targets: Array
    mode: Mode
    took_ms: float
    slowed: bool


class Trainer:
    """The run's progress. `done` once the trained network has been measured and its final snapshot is whole."""

    def __init__(self, plan: RunPlan, topology: Topology, outbox: Outbox, membership: Membership) -> None:
        self.plan = plan
        self.topology = topology
        self.outbox = outbox
        self.membership = membership
        self.in_flight = InFlight(
            topology, outbox.header, outbox.send_all, input_errors=plan.network.input_bias_learned
        )
        self._uncounted: StepResult | None = None
        data = plan.data
        self.training = Training(
            plan.schedule(),
            data.train_inputs,
            data.train_targets,
            data.encoding,
            LOSSES[plan.network.loss],
            plan.network.running_accuracy_window or 0,
        )
        self.snapshot: Snapshot | None = plan.trained or plan.restart
        if plan.restart:
            self.training.progress = plan.restart.progress
        self._steps = Steps(self.training.progress.step)
        self.held_out_activities: Array | None = None
        self.train_measured: Epoch | None = None
        self.steps_done = 0
        """Steps that this life of the coordinator has seen done, those that came again after a rollback included."""
        self.done = plan.trained is not None
        self.contradiction: str | None = None
        self.now_ms = 0.0
        self._persist_due = False
        self._pace = SnapshotInterval(plan.snapshot_interval_steps)
        self._rows_every = -(-self.training.schedule.steps // ROWS_AT_MOST)
        self._collection: StateCollector | None = None
        self._progress_at_copy = Progress()
        self._inspection: StateCollector | None = None
        self._measuring: ForwardJob | None = None
        self._stall: Stall | None = None
        self._rows: dict[int, Row] = {}
        self._unsaved: Persist | None = None
        self._durable_step = plan.restart.step if plan.restart else -1

    def advance(self, now_ms: float) -> None:
        """Start whatever may start now."""
        self.now_ms = now_ms
        if self.in_flight.training or self._inspection:
            return
        self.in_flight.launch_forward(now_ms)
        if self.in_flight.flights or self.done:
            return
        training = self.training
        if training.epoch_to_measure:
            self._measure(self.plan.data.test_inputs, self._epoch_measured)
        elif training.progress.step < training.schedule.steps:
            self._launch_step()
        elif self.train_measured is None:
            self._measure(self.plan.data.train_inputs, self._train_set_measured)
        elif self._durable_step == training.schedule.steps:
            self.done = True

    def finish_passes(self, now_ms: float) -> int:
        """Take the passes that are complete; how many there were."""
        self.now_ms = now_ms
        done = self.in_flight.finish(now_ms)
        for flight in done:
            self._passed(flight)
        if self._steps.another_is_due and self.in_flight.outputs_are_here:
            self._launch_step()
        return len(done)

    def state(self, message: GroupState) -> None:
        """Take a group's state, if a snapshot or an inspection wants it. Raises `PeerError`."""
        if self._inspection and self._inspection.hear(message):
            self.outbox.act(Inspected(self._inspection.step, self._inspection.states))
            self._inspection = None
        if self._collection and self._collection.hear(message):
            self._keep_if_whole()

    def _keep_if_whole(self) -> None:
        """A snapshot is one when every group's part is here and the step that it was taken after is done."""
        collection = self._collection
        if collection is None or self._progress_at_copy.step != collection.step or not collection.whole:
            return
        states = {number: answer.state for number, answer in sorted(collection.states.items())}
        # The steps that followed while the parts came in are not in this snapshot, so neither are their metrics.
        self.snapshot = Snapshot(collection.step, states, self._progress_at_copy)
        self._collection = None
        every, last = self._rows_every, self.training.schedule.steps
        rows = (row for _, row in sorted(self._rows.items()) if row.step <= self.snapshot.step)
        kept = tuple(row for row in rows if row.step % every == 0 or row.step == last)
        self._unsaved = Persist(self.snapshot, self.outbox.generation, self.snapshot.step == last, kept)
        self._persist_due = True

    def persist(self) -> None:
        """Make a new snapshot durable. Called last in a transition, so that the next step's inputs are on their way already."""
        if self._persist_due and self._unsaved:
            self.outbox.act(self._unsaved)
        self._persist_due = False

    def persisted(self, step: int) -> None:
        """The snapshot after this step is durable."""
        if self._unsaved and self._unsaved.snapshot.step == step:
            self._durable_step = step
            self._rows = {later: row for later, row in self._rows.items() if later > step}
            self._unsaved = None

    def repeat_late_passes(self, now_ms: float) -> Stall | None:
        """Send late passes into the network again; how the run is stalled, if one has been repeated too often."""
        late = self.in_flight.repeat(now_ms)
        if late is None:
            return None
        step = self.training.progress.step + 1
        times = self._stall.times + 1 if self._stall and self._stall.step == step else 1
        missing = ", ".join(late.missing_names(self.topology))
        self._stall = Stall(step, times, f"step {step} did not finish; no answer from {missing}")
        return self._stall

    def ask_again(self) -> None:
        """Ask again for the states that have not come, and for what could not be made durable."""
        self._persist_due = self._unsaved is not None
        for collection in (self._collection, self._inspection):
            if collection and collection.step <= self.training.progress.step:
                self.outbox.act_all(collection.ask(self.outbox.header(), self.membership.addresses()))

    def roll_back(self) -> None:
        """The network goes back to the last snapshot, and so do the schedule and the metrics."""
        self.training.progress = self.snapshot.progress if self.snapshot else Progress()
        if self._measuring is not None and self._measuring in self.in_flight.jobs:
            # It measured weights that are gone; the replayed steps will ask for it again.
            self.in_flight.jobs.remove(self._measuring)
        self.in_flight.restart()
        self._steps = Steps(self.training.progress.step)
        if not self.done:
            self.train_measured = None
        self._progress_at_copy = Progress()
        self._pace.begin_again()
        self._collection = self._inspection = None

    @property
    def step_due(self) -> int | None:
        """The step that is to be done next; None if there is none."""
        step = self.training.progress.step
        return step + 1 if step < self.training.schedule.steps else None

    @property
    def waits_for_states(self) -> list[str]:
        """The groups whose states a snapshot still lacks, by name of their first neuron."""
        collection = self._collection
        missing = () if collection is None else sorted(collection.wanted - collection.states.keys())
        return [self.topology.groups[number].names[0] for number in missing]

    @property
    def snapshot_step(self) -> int:
        """The step after which a snapshot is being taken; 0 if none is."""
        return self._collection.step if self._collection else 0

    @property
    def waits_for_disk(self) -> bool:
        """Whether a snapshot is whole but not durable."""
        return self._unsaved is not None

    def forward(self, rows: Array, done: Callable[[Array], None], failed: Callable[[str], None]) -> None:
        """Send rows forward, as soon as the present step is over; `done` gets the activities."""
        self.in_flight.add(ForwardJob(rows, MEASURED_ROWS_AT_ONCE, done, failed))

    def diverged(self, message: Diverged) -> bool:
        """Numbers overflowed in a pass; whether it is the run's own, and not one of rows that a person sent. Raises `Stale`."""
        flight = self.in_flight.flights.get(message.header.pass_number)
        if flight is None:
            raise Stale(f"pass {message.header.pass_number} is over")
        if flight.job is None or flight.job.failed is None:
            return True
        self.in_flight.give_up(flight.job)
        flight.job.failed(
            f"the numbers of neuron {message.neuron} were no longer finite: these rows are too large for the network"
        )
        return False

    def _launch_step(self) -> None:
        step = self._steps.latest + 1
        inputs, targets = self.training.batch(step)
        last = self.training.schedule.steps
        if step == last:
            self._collection = None
        since = step - (self.snapshot.step if self.snapshot else 0)
        # Groups keep two copies: the next is not taken before the last one is on disk, so that one of them always is.
        free = self._collection is None and self._unsaved is None
        due = step == last or (free and since >= self._pace.interval_steps)
        if due:
            self._collection = StateCollector(self.topology, step, set(self.topology.groups))
        slowed = self._collection is not None or self._unsaved is not None
        mode = Mode.TRAIN_AND_COPY if due else Mode.TRAIN
        followed = self._may_be_followed(step)
        next_rows = len(self.training.schedule.samples_of(step)) if followed else 0
        flights = self.in_flight.launch_step(inputs, targets, mode, self.now_ms, self.plan.microbatches, next_rows)
        self._steps.send(SentStep(step, flights[0].number, len(flights), slowed), followed=followed)

    def _may_be_followed(self, step: int) -> bool:
        """Whether the next step is sent without waiting for this one: nothing is to be measured or answered in between."""
        schedule = self.training.schedule
        ends = step % schedule.steps_per_epoch == 0 or step >= schedule.steps
        return not ends and not self.in_flight.jobs and not self.plan.inspect_every_step

    def _passed(self, flight: InFlightPass) -> None:
        """A pass is done; with its last part a step is."""
        if flight.targets is None:
            return
        for sent, parts in self._steps.finish(flight):
            self.catch_up()
            self._step_done(sent, parts)

    def _step_done(self, sent: SentStep, parts: list[InFlightPass]) -> None:
        flight = parts[0]
        activities = [part.activities() for part in parts]
        targets = [part.targets for part in parts if part.targets is not None]
        done = StepResult(
            activities[0] if flight.parts == 1 else np.concatenate(activities),
            targets[0] if flight.parts == 1 else np.concatenate(targets),
            flight.mode,
            self.now_ms - flight.started_ms,
            sent.slowed or self._unsaved is not None,
        )
        # The next step needs none of this one's figures: let it be on its way first.
        if self._steps.another_is_due or (not self._steps.in_flight and self._may_count_later(done)):
            self._launch_step()
        if self._steps.in_flight and done.mode is Mode.TRAIN:
            self._uncounted = done
        else:
            self._count(done)

    def _may_count_later(self, done: StepResult) -> bool:
        """Whether nothing but the next step begins now: no measurement, no snapshot, and nobody who waits for an answer."""
        step, schedule = self.training.progress.step + 1, self.training.schedule
        between = step % schedule.steps_per_epoch == 0 or step >= schedule.steps or self.in_flight.jobs
        return done.mode is Mode.TRAIN and not between and not self.plan.inspect_every_step

    @property
    def has_deferred_work(self) -> bool:
        """Whether a step is done and its figures are not worked out."""
        return self._uncounted is not None

    def catch_up(self) -> None:
        """Count the step that has been done, if that was put off."""
        done, self._uncounted = self._uncounted, None
        if done is not None:
            self._count(done)

    def _count(self, done: StepResult) -> None:
        self.steps_done += 1
        self._pace.step_done(done.took_ms, slowed=done.slowed)
        loss = self.training.learned(done.activities, done.targets, done.took_ms / 1000.0)
        self._note_row(loss)
        step, everybody = self.training.progress.step, set(self.topology.groups)
        if done.mode is Mode.TRAIN_AND_COPY:
            self._progress_at_copy = self.training.progress
            self._keep_if_whole()
        if self.plan.inspect_every_step:
            self._inspection = StateCollector(self.topology, step, everybody)
            self.outbox.act_all(self._inspection.ask(self.outbox.header(), self.membership.addresses()))

    def _note_row(self, loss: float) -> None:
        """Keep the step's metrics; a step that is replayed must give the very loss that it gave the first time."""
        progress = self.training.progress
        step, before = progress.step, self._rows.get(progress.step)
        if before is not None and before.loss != loss:
            self.contradiction = (
                f"step {step} was replayed with the loss {loss!r}; it was {before.loss!r} the first time"
            )
        else:
            # The clock went back with the schedule: the time of a step that is done again is that of its repetition.
            epoch = self.training.schedule.epoch_of(step - 1)
            generation = before.generation if before else self.outbox.generation
            self._rows[step] = Row(step, epoch, loss, self.training.last_accuracy, progress.seconds, generation)

    def _measure(self, rows: Array, done: Callable[[Array], None]) -> None:
        self._measuring = ForwardJob(rows, MEASURED_ROWS_AT_ONCE, done)
        self.in_flight.add(self._measuring)
        self.in_flight.launch_forward(self.now_ms)

    def _epoch_measured(self, activities: Array) -> None:
        self.held_out_activities = activities
        epoch = self.training.measured(activities, self.plan.data.test_targets)
        self.outbox.report("epoch", epochs=self.training.schedule.epochs, **epoch._asdict())

    def _train_set_measured(self, activities: Array) -> None:
        targets = self.plan.data.train_targets
        loss, accuracy = self.training.loss(activities, targets), self.training.accuracy(activities, targets)
        last = self.training.progress.epochs[-1]
        self.train_measured = Epoch(last.epoch, loss, accuracy, last.test_loss, last.test_accuracy)

    def facts(self) -> dict[str, Any]:
        """Where the training stands, for progress and status."""
        training, schedule = self.training, self.training.schedule
        step = training.progress.step
        last = training.progress.epochs[-1] if training.progress.epochs else None
        seconds = training.progress.seconds
        return {
            "epoch": schedule.epoch_of(min(step, schedule.steps - 1)),
            "epochs": schedule.epochs,
            "step": step,
            "steps": schedule.steps,
            "loss": training.running_loss if training.running_loss is not None else (last.loss if last else None),
            "accuracy": training.running_accuracy if training.progress.seen else (last.accuracy if last else None),
            "test_loss": last.test_loss if last else None,
            "test_accuracy": last.test_accuracy if last else None,
            "seconds_training": seconds,
            "steps_per_second": step / seconds if seconds else None,
            "samples_per_second": step * schedule.samples / schedule.steps_per_epoch / seconds if seconds else None,
        }

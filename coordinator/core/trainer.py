"""The progress of a run once its network is wired: steps, snapshots, measurements, and the end.

Forward passes start first, because a person waits for them; then the measurements at the end of an epoch; then the next
training step. Within an epoch, each step is sent while the previous one is in flight, and each group does one after the
other. No forward pass is in flight together with a training step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from coordinator.core.events import Inspected, Persist, Row, Snapshot
from coordinator.core.inflight import InFlight
from coordinator.core.interventions import Interventions
from coordinator.core.journal import Changes, Entry
from coordinator.core.passes import ForwardJob, InFlightPass
from coordinator.core.run import Run
from coordinator.core.snapshot_interval import SnapshotInterval
from coordinator.core.state_collector import StateCollector
from coordinator.core.steps import SentStep, Steps
from coordinator.core.telemetry import Telemetry
from coordinator.core.tracing import REQUESTS, TraceJob
from coordinator.core.training import LOSSES, Epoch, Progress, Training
from neuron_node.activations import Array
from neuron_node.errors import Stale
from neuron_node.frames import Mode
from neuron_node.protocol import Diverged, GroupState, TraceReport

MEASURED_ROWS_AT_ONCE = 256
LEARNING_ONLY = (Mode.TRAIN, Mode.TRAIN_AND_REPORT)
"""The modes of steps that no snapshot waits for."""
ROWS_AT_MOST = 100_000
"""The largest number of rows of metrics. A run of more steps has one row every few steps."""


class Stall(NamedTuple):
    """A step that does not finish, the number of successive generations in which it did not, and the reason."""

    step: int
    times: int
    line: str


class StepResult(NamedTuple):
    """The activities and targets of a finished step, (batch, outputs), and its duration."""

    activities: Array
    targets: Array
    mode: Mode
    took_ms: float
    slowed: bool


class Trainer:
    """Sends steps and measurements. `done` when the trained network is measured and its final snapshot is durable."""

    def __init__(self, run: Run) -> None:
        plan = run.plan
        self._run = run
        self._topology = run.topology
        self._outbox = run.outbox
        self.telemetry = Telemetry(run)
        self.in_flight = InFlight(
            run.topology, run.outbox.header, run.outbox.send_all, input_errors=plan.network.input_bias_learned
        )
        self._deferred: StepResult | None = None
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
        self.interventions = Interventions(run)
        self._edited: Snapshot | None = None
        """A snapshot with changes that is not durable yet. It is granted when it is."""
        self._rewound = False
        """Whether the edited snapshot begins a branch."""
        self._progress_after_step = self.training.progress
        """The progress after the last step, before any measurement of its epoch."""
        self.held_out_activities: Array | None = None
        self.train_measured: Epoch | None = None
        self.steps_done = 0
        """Steps that were finished in this life of the coordinator, including those repeated after a rollback."""
        self.done = plan.trained is not None
        self.contradiction: str | None = None
        self._persist_due = False
        self._snapshot_interval = SnapshotInterval(plan.snapshot_interval_steps)
        self._rows_every = -(-self.training.schedule.steps // ROWS_AT_MOST)
        self._collector: StateCollector | None = None
        self._progress_at_copy = Progress()
        self._inspection: StateCollector | None = None
        self._asked_for: TraceJob | None = None
        """The job that has asked for the numbers of the last step. The next step waits for them: all must be of one pass."""
        self._measuring: ForwardJob | None = None
        self._stall: Stall | None = None
        self._rows: dict[int, Row] = {}
        self._unsaved: Persist | None = None
        self._durable_step = plan.restart.step if plan.restart else -1

    def advance(self) -> None:
        """Start every pass that may start now."""
        if self.in_flight.training or self._inspection or self._asked_for:
            return
        self.in_flight.launch_forward(self._run.now_ms)
        training = self.training
        if not self.done and (
            self._edited is not None or self.interventions.are_due(training.progress.step, self.changes)
        ):
            self._change()
            return
        if self.in_flight.flights:
            return
        if self.in_flight.traces:
            self._begin_trace(self.in_flight.traces[0])
            return
        if self.done:
            return
        if training.epoch_to_measure:
            self._measure(self._run.plan.data.test_inputs, self._epoch_measured)
        elif training.progress.step < training.schedule.steps:
            if training.progress.step < self._last_step:
                self._launch_step()
        elif self.train_measured is None:
            self._measure(self._run.plan.data.train_inputs, self._train_set_measured)
        elif self._durable_step == training.schedule.steps:
            self.done = True

    def finish_passes(self) -> int:
        """Finish the passes that are complete; return how many there were."""
        done = self.in_flight.finish(self._run.now_ms)
        for flight in done:
            self._passed(flight)
        if self._steps.another_is_due and self.in_flight.outputs_are_here:
            self._launch_step()
        return len(done)

    def receive_state(self, message: GroupState) -> None:
        """Receive a group's state, if a snapshot or an inspection wants it. Raises `PeerError`."""
        if self._inspection and self._inspection.receive(message):
            path = tuple(one for one in self.interventions.journal.path if one.number <= self.changes.applied)
            self._outbox.act(Inspected(self._inspection.step, self._inspection.states, path))
            self._inspection = None
        if self._collector and self._collector.receive(message):
            self._keep_if_whole()

    def receive_report(self, message: TraceReport) -> None:
        """Receive the numbers of a group in a traced pass, or in the last training step. Raises `PeerError`."""
        if message.mode == Mode.TRACE:
            flight = self.in_flight.flights.get(message.header.pass_number)
            if flight is None or flight.trace is None:
                raise Stale(f"pass {message.header.pass_number} is over, or not traced")
            flight.trace.receive(message)
            return
        job, step = self._asked_for, self.training.progress.step
        if job is None:
            raise Stale("the numbers of the last step were received")
        if message.step != step and self._run.plan.trained is None:
            # The answer to an earlier request, which was repeated: all reports must be of one step.
            raise Stale(f"the numbers of step {message.step}, this is {step}")
        job.receive(message)
        if not job.missing:
            self._asked_for = None
            self.in_flight.traces.remove(job)
            job.done(job.reports)

    def trace(self, job: TraceJob) -> None:
        """Do a trace when the current step is over."""
        self.in_flight.traces.append(job)

    def _begin_trace(self, job: TraceJob) -> None:
        if job.sample is not None:
            self.in_flight.launch_trace(job, self._run.now_ms)
            return
        self._asked_for = job
        self._outbox.act_all(job.requests(self._outbox.header(), self._run.membership.addresses()))

    def _give_up_trace(self, job: TraceJob, group: int) -> None:
        """Refuse a trace, because a result of this group does not arrive."""
        self.in_flight.give_up(job)
        self._asked_for = None
        job.refuse(group)

    def _keep_if_whole(self) -> None:
        """Keep the snapshot if the state of every group was received and the step of the snapshot is done."""
        collector = self._collector
        if collector is None or self._progress_at_copy.step != collector.step or not collector.complete:
            return
        states = {number: answer.state for number, answer in sorted(collector.states.items())}
        # The snapshot has no later steps, which ended while its states were received, so it has no metrics of them.
        changes = self.changes._replace(branch=self.interventions.journal.branch)
        self.snapshot = Snapshot(collector.step, states, self._progress_at_copy, changes)
        self._collector = None
        between = self.snapshot.step == self.training.progress.step and not self._steps.in_flight and not self.done
        # With changes that are due, `advance` edits the snapshot before it is saved.
        if not (between and self.interventions.are_due(self.snapshot.step, changes)):
            self._save(self.snapshot)

    def _save(self, snapshot: Snapshot, journal: tuple[Entry, ...] = (), *, rewound: bool = False) -> None:
        every, last = self._rows_every, self.training.schedule.steps
        # A kept snapshot has its rows on disk; those of the steps since the last one are undone.
        rows = (row for _, row in sorted(self._rows.items()) if row.step <= snapshot.step and not rewound)
        kept = tuple(row for row in rows if row.step % every == 0 or row.step == last)
        self._unsaved = Persist(snapshot, self._outbox.generation, snapshot.step == last, kept, journal)
        self._persist_due = True

    # Interventions.

    @property
    def changes(self) -> Changes:
        """The interventions that the network contains. Only the grant of another snapshot alters them."""
        return self.snapshot.changes if self.snapshot else Changes()

    @property
    def announced(self) -> int:
        """The last step that was sent or announced to the groups."""
        return self._steps.latest + self._steps.followed

    @property
    def _last_step(self) -> int:
        """The last step that may be sent now."""
        if self._edited is not None:
            return self.training.progress.step
        return self.interventions.last_step(self.announced, self.changes)

    @property
    def still(self) -> bool:
        """Whether no training step is in flight, and none is announced."""
        return not self._steps.in_flight and not self._steps.followed

    def _change(self) -> None:
        """Carry out the changes that are due after the last step, as soon as the state of every group is known."""
        step = self.training.progress.step
        if self._edited is not None or (self._collector is not None and self._collector.step == step):
            return
        if self.snapshot is not None and self.snapshot.step == step:
            if not self.interventions.rewinds or self._durable_step == step:
                self._edit(self.snapshot)
            elif self._unsaved is None or self._unsaved.snapshot is not self.snapshot:
                # A later rewind may come back to where this one leaves.
                self._save(self.snapshot)
            return
        self._progress_at_copy = self._progress_after_step
        self._collector = StateCollector(self._topology, step, set(self._topology.groups))
        self._outbox.act_all(self._collector.fetch(self._outbox.header(), self._run.membership.addresses()))

    def _edit(self, snapshot: Snapshot) -> None:
        """Make the journal and the edited snapshot durable. Then the machine begins another generation."""
        branch = self.interventions.journal.branch
        self._edited = self.interventions.carry_out(snapshot)
        self._rewound = self.interventions.journal.branch != branch
        self._save(self._edited, self.interventions.journal.entries, rewound=self._rewound)

    def persist(self) -> None:
        """Request that a new snapshot is made durable. Called last in a transition, after the next step was sent."""
        if self._persist_due and self._unsaved:
            self._outbox.act(self._unsaved)
        self._persist_due = False

    def persisted(self, step: int) -> bool:
        """Note that the snapshot after this step is durable; return whether it must be granted, because it was edited."""
        if self._unsaved is None or self._unsaved.snapshot.step != step:
            return False
        saved = self._unsaved.snapshot
        self._durable_step = step
        self._rows = {later: row for later, row in self._rows.items() if later > step}
        self._unsaved = None
        if saved is not self._edited:
            return False
        self.snapshot, self._edited = saved, None
        if self._rewound:
            # The same steps have other losses in another branch.
            self._rows, self._rewound = {}, False
        self.interventions.durable()
        return True

    def repeat_late_passes(self) -> Stall | None:
        """Send late passes again; return the stall if a pass has been repeated too often."""
        late = self.in_flight.repeat(self._run.now_ms)
        if late is None:
            return None
        if late.trace is not None:
            # The training can go on: a group drops a pass that is over. If a node is stuck, the next step shows it.
            self._give_up_trace(late.trace, late.lacks()[0])
            return None
        step = self.training.progress.step + 1
        times = self._stall.times + 1 if self._stall and self._stall.step == step else 1
        missing = ", ".join(late.missing_names(self._topology))
        self._stall = Stall(step, times, f"step {step:,} did not finish; no answer from {missing}")
        return self._stall

    def request_again(self) -> None:
        """Request missing states again, and the write of a snapshot that failed."""
        self._persist_due = self._unsaved is not None
        if self._asked_for and self._asked_for.requested >= REQUESTS:
            self._give_up_trace(self._asked_for, self._asked_for.missing[0])
        elif self._asked_for:
            self._begin_trace(self._asked_for)
        for collector in (self._collector, self._inspection):
            if collector and collector.step <= self.training.progress.step:
                self._outbox.act_all(collector.fetch(self._outbox.header(), self._run.membership.addresses()))

    @property
    def changing(self) -> bool:
        """Whether a change of a person is being made durable."""
        return self._edited is not None

    def roll_back(self) -> None:
        """Roll schedule and metrics back to the last snapshot."""
        self.training.progress = self.snapshot.progress if self.snapshot else Progress()
        if self._measuring is not None and self._measuring in self.in_flight.jobs:
            # It measured weights that no longer exist. The repeated steps will measure again.
            self.in_flight.jobs.remove(self._measuring)
        self.in_flight.restart()
        self._steps = Steps(self.training.progress.step)
        self._progress_after_step = self.training.progress
        if not self.done:
            self.train_measured = None
        self._progress_at_copy = Progress()
        self._snapshot_interval.begin_again()
        self._collector = self._inspection = self._asked_for = None

    @property
    def step_due(self) -> int | None:
        """The next step; None if all are done."""
        step = self.training.progress.step
        return step + 1 if step < self.training.schedule.steps else None

    @property
    def waits_for_states(self) -> list[str]:
        """The groups whose states a snapshot lacks, by the name of their first neuron."""
        collector = self._collector
        missing = () if collector is None else sorted(collector.wanted - collector.states.keys())
        return [self._topology.groups[number].names[0] for number in missing]

    @property
    def snapshot_step(self) -> int:
        """The step of the snapshot that is being taken; 0 if none is."""
        return self._collector.step if self._collector else 0

    @property
    def waits_for_disk(self) -> bool:
        """Whether a snapshot is complete but not durable."""
        return self._unsaved is not None

    def forward(self, rows: Array, done: Callable[[Array], None], failed: Callable[[str], None]) -> None:
        """Send rows forward when the current step is over. `done` gets the activities, or `failed` the reason."""
        self.in_flight.add(ForwardJob(rows, MEASURED_ROWS_AT_ONCE, done, failed))

    def diverged(self, message: Diverged) -> bool:
        """Handle an overflow in a pass. Return whether it is a pass of the training; else give up the client's rows. Raises `Stale`."""
        flight = self.in_flight.flights.get(message.header.pass_number)
        if flight is None:
            raise Stale(f"pass {message.header.pass_number} is over")
        job = flight.trace or flight.job
        if job is None or job.failed is None:
            return True
        self.in_flight.give_up(job)
        job.failed(
            f"the numbers of neuron {message.neuron} were no longer finite: these rows are too large for the network"
        )
        return False

    def _launch_step(self) -> None:
        step = self._steps.latest + 1
        inputs, targets = self.training.batch(step)
        last = self.training.schedule.steps
        changes = self.interventions.are_due(step, self.changes)
        if step == last or changes:
            self._collector = None
        since = step - (self.snapshot.step if self.snapshot else 0)
        # Groups keep two copies. Take the next snapshot only when the last one is on disk, so that one copy always is.
        free = self._collector is None and self._unsaved is None
        due = step == last or changes or (free and since >= self._snapshot_interval.interval_steps)
        if due:
            self._collector = StateCollector(self._topology, step, set(self._topology.groups))
        slowed = self._collector is not None or self._unsaved is not None
        mode = Mode.TRAIN_AND_COPY if due else self.telemetry.mode_of(step)
        followed = self._may_be_followed(step)
        next_rows = len(self.training.schedule.samples_of(step)) if followed else 0
        flights = self.in_flight.launch_step(
            inputs, targets, mode, self._run.now_ms, self._run.plan.microbatches, next_rows
        )
        if mode is Mode.TRAIN_AND_REPORT:
            self.telemetry.mark(step, flights[0].number, len(flights))
        self._steps.send(SentStep(step, flights[0].number, len(flights), slowed), followed=followed)

    def receive_telemetry(self, frame: bytes) -> bool:
        """Receive the numbers of a group in a marked step; False for a frame of another kind. Raises `PeerError`."""
        return self.telemetry.receive(frame, self.facts)

    def _may_be_followed(self, step: int) -> bool:
        """Whether the next step is sent without waiting for this one, because no measurement or answer comes between them."""
        schedule = self.training.schedule
        ends = step % schedule.steps_per_epoch == 0 or step >= schedule.steps
        go_on = not ends and not self.in_flight.asked and not self._run.plan.inspect_every_step
        return go_on and step < self._last_step

    def _passed(self, flight: InFlightPass) -> None:
        """Note a finished pass. The last part of a step finishes the step."""
        if flight.trace is not None:
            self.in_flight.traces.remove(flight.trace)
            flight.trace.done(flight.trace.reports)
            return
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
            self._run.now_ms - flight.started_ms,
            sent.slowed or self._unsaved is not None,
        )
        # Send the next step first: it does not need the metrics of this one.
        if self._steps.another_is_due or (not self._steps.in_flight and self._may_defer(done)):
            self._launch_step()
        if self._steps.in_flight and done.mode in LEARNING_ONLY:
            self._deferred = done
        else:
            self._count(done)

    def _may_defer(self, done: StepResult) -> bool:
        """Whether only the next step follows: no measurement, no snapshot, and no answer to a client."""
        step, schedule = self.training.progress.step + 1, self.training.schedule
        between = step % schedule.steps_per_epoch == 0 or step >= schedule.steps or self.in_flight.asked
        go_on = done.mode in LEARNING_ONLY and not between and not self._run.plan.inspect_every_step
        return go_on and step < self._last_step

    @property
    def has_deferred_work(self) -> bool:
        """Whether a step is done and its metrics are not computed."""
        return self._deferred is not None

    def catch_up(self) -> None:
        """Count the finished step whose metrics were deferred, if there is one."""
        done, self._deferred = self._deferred, None
        if done is not None:
            self._count(done)

    def _count(self, done: StepResult) -> None:
        self.steps_done += 1
        self._snapshot_interval.step_done(done.took_ms, slowed=done.slowed)
        loss = self.training.learned(done.activities, done.targets, done.took_ms / 1000.0)
        self._note_row(loss)
        self._progress_after_step = self.training.progress
        self.interventions.note_step(self.training.progress.step)
        step, all_groups = self.training.progress.step, set(self._topology.groups)
        if done.mode is Mode.TRAIN_AND_COPY:
            self._progress_at_copy = self.training.progress
            self._keep_if_whole()
        if self._run.plan.inspect_every_step:
            self._inspection = StateCollector(self._topology, step, all_groups)
            self._outbox.act_all(self._inspection.fetch(self._outbox.header(), self._run.membership.addresses()))

    def _note_row(self, loss: float) -> None:
        """Keep the metrics of the step. A repeated step must have exactly the loss that it had the first time."""
        progress = self.training.progress
        step, before = progress.step, self._rows.get(progress.step)
        if before is not None and before.loss != loss:
            self.contradiction = (
                f"step {step} was replayed with the loss {loss!r}; it was {before.loss!r} the first time"
            )
        else:
            # The time was rolled back with the schedule: a repeated step has the time of its repetition.
            epoch = self.training.schedule.epoch_of(step - 1)
            generation = before.generation if before else self._outbox.generation
            self._rows[step] = Row(step, epoch, loss, self.training.last_accuracy, progress.seconds, generation)

    def _measure(self, rows: Array, done: Callable[[Array], None]) -> None:
        self._measuring = ForwardJob(rows, MEASURED_ROWS_AT_ONCE, done)
        self.in_flight.add(self._measuring)
        self.in_flight.launch_forward(self._run.now_ms)

    def _epoch_measured(self, activities: Array) -> None:
        self.held_out_activities = activities
        epoch = self.training.measured(activities, self._run.plan.data.test_targets)
        self._outbox.report("epoch", epochs=self.training.schedule.epochs, **epoch._asdict())

    def _train_set_measured(self, activities: Array) -> None:
        targets = self._run.plan.data.train_targets
        loss, accuracy = self.training.loss(activities, targets), self.training.accuracy(activities, targets)
        last = self.training.progress.epochs[-1]
        self.train_measured = Epoch(last.epoch, loss, accuracy, last.test_loss, last.test_accuracy)

    def facts(self) -> dict[str, Any]:
        """Return the progress of the training, for reports and status."""
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

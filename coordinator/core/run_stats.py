"""The figures of a run. They have the same names while the run goes on and when it has finished."""

from __future__ import annotations

from typing import Any

from coordinator.core.recovery_stats import RecoveryStats
from coordinator.core.run import Run
from coordinator.core.trainer import Trainer
from coordinator.scores import score

MEASURED_BEFORE = (
    "train_accuracy", "train_loss", "test_accuracy", "test_loss", "test_r2", "test_mean_absolute_error", "running_accuracy",
    "seconds_training", "steps_per_second", "samples_per_second", "messages_per_second",
)  # fmt: skip
"""Figures of the training. A coordinator that restarts after the training reads them from its earlier life."""


class RunStats:
    """Counts messages and processes, and collects the figures of all parts."""

    def __init__(self, run: Run, trainer: Trainer, recovery_stats: RecoveryStats) -> None:
        self.started_ms = 0.0
        self._run = run
        self._trainer = trainer
        self._recovery_stats = recovery_stats
        self._wired_ms: float | None = None
        self._messages_before_training = 0
        self._processes: set[tuple[str, int]] = set()

    def wired(self, processes: list[tuple[str, int]]) -> None:
        """Note that the network is wired, for the first time or again, and the host and number of each process in it."""
        self._processes.update(processes)
        if self._wired_ms is None:
            self._wired_ms = self._run.now_ms
            self._messages_before_training = self._run.messages

    @property
    def seconds_starting(self) -> float | None:
        """The seconds from the start of the coordinator until every link was proved."""
        return None if self._wired_ms is None else (self._wired_ms - self.started_ms) / 1000.0

    def counts(self) -> dict[str, Any]:
        """Return the figures that change even after the training has finished."""
        run = self._run
        return {
            "nodes": len(run.membership.members),
            "processes": len(self._processes),
            "messages": run.messages,
            "recoveries": run.recoveries,
            "generation": run.outbox.generation,
            "recovery_seconds_p50": self._recovery_stats.seconds_within(0.50),
            "recovery_seconds_p99": self._recovery_stats.seconds_within(0.99),
            "stale_messages": run.stale_messages,
            "interventions": len(self._trainer.interventions.journal.entries),
        }

    def summary(self) -> dict[str, Any]:
        """Return all figures of the run; a figure that is not known yet is None."""
        plan, topology, trainer = self._run.plan, self._run.topology, self._trainer
        schedule, facts, measured = trainer.training.schedule, trainer.facts(), trainer.train_measured
        seconds = facts["seconds_training"]
        # Of this life, and of all branches: a rewind takes back steps and their time, but not their messages.
        training_messages = self._run.messages - self._messages_before_training
        final = trainer.snapshot if trainer.done else None
        figures: dict[str, Any] = {"r2": None, "mean_absolute_error": None}
        if plan.data.encoding.classes is None and trainer.held_out_activities is not None:
            figures = score(plan.data.encoding, trainer.held_out_activities, plan.data.test_targets)
        return {
            "dataset": plan.data.dataset,
            "layers": list(topology.layers),
            "neurons": topology.neurons,
            "synapses": topology.synapses,
            "groups": len(topology.groups),
            "epochs": schedule.epochs,
            "epoch": facts["epoch"],
            "steps": schedule.steps,
            "step": facts["step"],
            "steps_done": trainer.steps_done,
            "batch_size": schedule.batch_size,
            "learning_rate": rate
            if (rate := trainer.changes.learning_rate) is not None
            else plan.network.learning_rate,
            "seed": plan.seed,
            "train_accuracy": measured.accuracy if measured else facts["accuracy"],
            "train_loss": measured.loss if measured else facts["loss"],
            "test_accuracy": facts["test_accuracy"],
            "test_loss": facts["test_loss"],
            "test_r2": figures["r2"],
            "test_mean_absolute_error": figures["mean_absolute_error"],
            "running_accuracy": trainer.training.progress.epochs[-1].accuracy if measured else facts["accuracy"],
            "seconds_starting": self.seconds_starting,
            "seconds_training": seconds,
            "steps_per_second": facts["steps_per_second"],
            "samples_per_second": facts["samples_per_second"],
            "messages_per_second": training_messages / trainer.steps_done * facts["step"] / seconds
            if seconds and trainer.steps_done
            else None,
            "model_path": plan.model_path if final else None,
            "weights_sha256": topology.assemble(final.states).sha256() if final else None,
            **self.counts(),
            **({key: plan.figures.get(key) for key in MEASURED_BEFORE} if plan.figures and trainer.done else {}),
        }

"""The figures of a run, under the same keys while it goes on and when it has finished."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coordinator.scores import score

if TYPE_CHECKING:
    from coordinator.core.machine import CoordinatorMachine

MEASURED_BEFORE = (
    "train_accuracy", "train_loss", "test_accuracy", "test_loss", "test_r2", "test_mean_absolute_error", "running_accuracy",
    "seconds_training", "steps_per_second", "samples_per_second", "messages_per_second",
)  # fmt: skip
"""Figures of the training, which a later life of the coordinator that only answers takes from the earlier one."""


@dataclass
class RunStats:
    """When things happened, how many messages had been sent by then, and which processes have hosted neurons."""

    started_ms: float = 0.0
    wired_ms: float | None = None
    messages_before_training: int = 0
    processes: set[tuple[str, int]] = field(default_factory=set)

    def wired(self, now_ms: float, messages: int, processes: list[tuple[str, int]]) -> None:
        """The network stands, for the first time or again."""
        self.processes.update(processes)
        if self.wired_ms is None:
            self.wired_ms = now_ms
            self.messages_before_training = messages

    @property
    def seconds_starting(self) -> float | None:
        """From the coordinator's start until every link was proved."""
        return None if self.wired_ms is None else (self.wired_ms - self.started_ms) / 1000.0


def counts_so_far(machine: CoordinatorMachine) -> dict[str, Any]:
    """Return the figures that change even after the training has finished."""
    return {
        "nodes": len(machine.membership.members),
        "processes": len(machine.run_stats.processes),
        "messages": machine.messages,
        "recoveries": machine.recoveries,
        "generation": machine.outbox.generation,
        "recovery_seconds_p50": machine.recovery_stats.seconds_within(0.50),
        "recovery_seconds_p99": machine.recovery_stats.seconds_within(0.99),
        "stale_messages": machine.stale_messages,
    }


def summary(machine: CoordinatorMachine) -> dict[str, Any]:
    """Every figure of a run; None where it is not known yet."""
    plan, topology, trainer, run_stats = machine.plan, machine.topology, machine.trainer, machine.run_stats
    schedule, facts, measured = trainer.training.schedule, trainer.facts(), trainer.train_measured
    seconds = facts["seconds_training"]
    training_messages = machine.messages - run_stats.messages_before_training
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
        "learning_rate": plan.network.learning_rate,
        "seed": plan.seed,
        "train_accuracy": measured.accuracy if measured else facts["accuracy"],
        "train_loss": measured.loss if measured else facts["loss"],
        "test_accuracy": facts["test_accuracy"],
        "test_loss": facts["test_loss"],
        "test_r2": figures["r2"],
        "test_mean_absolute_error": figures["mean_absolute_error"],
        "running_accuracy": trainer.training.progress.epochs[-1].accuracy if measured else facts["accuracy"],
        "seconds_starting": run_stats.seconds_starting,
        "seconds_training": seconds,
        "steps_per_second": facts["steps_per_second"],
        "samples_per_second": facts["samples_per_second"],
        "messages_per_second": training_messages / seconds if seconds else None,
        "model_path": plan.model_path if final else None,
        "weights_sha256": topology.assemble(final.states).sha256() if final else None,
        **counts_so_far(machine),
        **({key: plan.figures.get(key) for key in MEASURED_BEFORE} if plan.figures and trainer.done else {}),
    }

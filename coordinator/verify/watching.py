"""Does each step of a run in the textbook too, and compares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coordinator.core.events import Inspected
from coordinator.core.run_plan import RunPlan
from coordinator.verify.comparison import Comparison
from coordinator.verify.textbook import Textbook


def watch_steps(plan: RunPlan) -> Callable[[Inspected], dict[str, Any]]:
    """Return a function that does each inspected step in the textbook, and returns the comparison."""
    textbook = Textbook(plan.network, plan.seed)
    comparison = Comparison(plan.topology())
    schedule, data = plan.schedule(), plan.data

    def look(inspected: Inspected) -> dict[str, Any]:
        samples = schedule.samples_of(inspected.step - 1)
        trace = textbook.step(data.train_inputs[samples], data.train_targets[samples])
        comparison.compare(inspected.step, inspected.states, trace)
        return comparison.to_json()

    return look

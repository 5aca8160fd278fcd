"""Does each step of a run in the textbook too, and compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from coordinator.core.events import Inspected
from coordinator.core.journal import Entry
from coordinator.core.run_plan import RunPlan
from coordinator.topology import layer_names
from coordinator.verify.comparison import Comparison
from coordinator.verify.textbook import Textbook, Trace


def watch_steps(plan: RunPlan) -> Callable[[Inspected], dict[str, Any]]:
    """Return a function that does each inspected step in the textbook, and returns the comparison."""
    comparison = Comparison(plan.topology())
    reader = Reader(plan)

    def look(inspected: Inspected) -> dict[str, Any]:
        comparison.compare(inspected.step, inspected.states, reader.trace_of(inspected.step, inspected.path))
        return comparison.to_json()

    return look


class Reader:
    """Does the steps of a run and its interventions in the textbook, and begins again if the run has gone back."""

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self._schedule = plan.schedule()
        self._begin_again()

    def _begin_again(self) -> None:
        self.textbook = Textbook(self._plan.network, self._plan.seed)
        self._step, self._applied = 0, list[Entry]()

    def trace_of(self, step: int, path: tuple[Entry, ...] = ()) -> Trace:
        """Do the steps up to this one, with the interventions of the path before it; return the last step."""
        before = [entry for entry in path if entry.step < step]
        if step <= self._step or self._applied != before[: len(self._applied)]:
            self._begin_again()
        while True:
            self.change([entry for entry in before[len(self._applied) :] if entry.step == self._step])
            samples, data = self._schedule.samples_of(self._step), self._plan.data
            trace = self.textbook.step(data.train_inputs[samples], data.train_targets[samples])
            self._step += 1
            if self._step == step:
                return trace

    def change(self, entries: Sequence[Entry]) -> None:
        """Carry out interventions in the textbook."""
        layers, book = self._plan.network.layers, self.textbook
        places = {
            name: (layer, index)
            for layer in range(len(layers))
            for index, name in enumerate(layer_names(layers, layer))
        }
        for entry in entries:
            self._applied.append(entry)
            if entry.kind == "rate":
                book.learning_rate = entry.value
                continue
            layer, index = places[entry.neuron]
            silent = [one for one in book.silent.get(layer, []) if one != index]
            if entry.kind == "weight":
                book.weights[layer] = book.weights[layer].copy()
                book.weights[layer][index, places[entry.to][1]] = entry.value
            elif entry.kind == "bias":
                book.biases[layer] = book.biases[layer].copy()
                book.biases[layer][index] = entry.value
            else:
                book.silent[layer] = [*silent, index] if entry.kind == "silence" else silent

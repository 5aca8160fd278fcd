"""Does each step of a run in the textbook too, and compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from coordinator.core.events import Inspected, Snapshot
from coordinator.core.journal import Changes, Entry
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
        self._places = places_of(plan.network.layers)
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

    def begin_at(self, snapshot: Snapshot | None) -> None:
        """Begin with the numbers, the learning rate and the silent neurons of a snapshot; None: before the first step."""
        self._begin_again()
        if snapshot is None:
            return
        parameters = self._plan.topology().assemble(snapshot.states)
        self.textbook.biases, self.textbook.weights = list(parameters.biases), list(parameters.weights)
        if snapshot.changes.learning_rate is not None:
            self.textbook.learning_rate = snapshot.changes.learning_rate
        self.textbook.silent = silent_in(self._plan.network.layers, snapshot.changes)
        self._step = snapshot.step

    def go_on_to(self, step: int, changes: Sequence[Entry]) -> None:
        """Do the steps up to this one, with these interventions: also those after it."""
        for entry in changes:
            self._do_steps(entry.step)
            self.change([entry])
        self._do_steps(step)

    def _do_steps(self, step: int) -> None:
        data = self._plan.data
        while self._step < step:
            samples = self._schedule.samples_of(self._step)
            self.textbook.step(data.train_inputs[samples], data.train_targets[samples])
            self._step += 1

    def change(self, entries: Sequence[Entry]) -> None:
        """Carry out interventions in the textbook."""
        book, places = self.textbook, self._places
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


def places_of(layers: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Return the layer of each neuron, and its position there."""
    return {
        name: (layer, index)
        for layer in range(len(layers))
        for index, name in enumerate(layer_names(tuple(layers), layer))
    }


def silent_in(layers: Sequence[int], changes: Changes) -> dict[int, list[int]]:
    """Return the silent neurons of a network as the textbook has them."""
    places, silent = places_of(layers), dict[int, list[int]]()
    for name in changes.silent:
        layer, index = places[name]
        silent.setdefault(layer, []).append(index)
    return silent

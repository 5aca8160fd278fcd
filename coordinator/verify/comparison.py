"""Compares the states of all groups after a step with the numbers of the textbook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from coordinator.topology import GroupSpec, Topology
from coordinator.verify.textbook import Matrix, Trace
from neuron_node.protocol import GroupState

TOLERANCE = 1e-12
"""The largest accepted difference, relative to the largest magnitude of its kind (activities, errors, …) in that step."""


@dataclass(frozen=True)
class Difference:
    """The difference between a neuron and the textbook, relative to the largest magnitude of its kind of number."""

    relative: float
    kind: str
    neuron: str
    step: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"difference": self.relative, "kind": self.kind, "neuron": self.neuron, "step": self.step}


class Comparison:
    """The largest difference so far, and the first neuron beyond the tolerance."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.steps = 0
        self.numbers = 0
        self.largest = Difference(0.0, "none", "none", 0)
        self.first_beyond: Difference | None = None

    def compare(self, step: int, states: Mapping[int, GroupState], trace: Trace) -> None:
        """Compare the states of all groups after a step with the trace of the same step."""
        self.steps += 1
        largest = _largest_magnitudes(trace)
        for number, state in sorted(states.items()):
            group = self.topology.groups[number]
            for kind, theirs, ours in _pairs(group, self.topology, state, trace):
                self.numbers += theirs.size
                self._note(step, kind, group, theirs, ours, largest[kind])

    def _note(self, step: int, kind: str, group: GroupSpec, theirs: Matrix, ours: Matrix, largest: float) -> None:
        if theirs.shape != ours.shape:
            difference = Difference(float("inf"), kind, group.names[0], step)
        elif not theirs.size:
            return
        else:
            # (neurons, numbers): find the neuron with the largest difference.
            apart = np.abs(theirs - ours).max(axis=1) / (largest or 1.0)
            row = int(np.argmax(apart))
            # argmax finds NaN first. Comparisons with NaN are false, so it counts as an infinite difference.
            difference = Difference(
                float(np.nan_to_num(apart[row], nan=np.inf, posinf=np.inf)), kind, group.names[row], step
            )
        if difference.relative > self.largest.relative:
            self.largest = difference
        if difference.relative > TOLERANCE and self.first_beyond is None:
            self.first_beyond = difference

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "steps": self.steps,
            "numbers": self.numbers,
            "largest": self.largest.to_json(),
            "first_beyond": self.first_beyond.to_json() if self.first_beyond else None,
        }


def _pairs(
    group: GroupSpec, topology: Topology, state: GroupState, trace: Trace
) -> Iterator[tuple[str, Matrix, Matrix]]:
    """Pairs of numbers (kind, of the group, of the textbook), with one row per neuron."""
    layer, columns = group.layer, group.columns
    yield "activity", state.activity.T, trace.activities[layer][:, columns].T
    yield "error", state.error.T, trace.errors[layer][:, columns].T
    yield "bias", state.state.bias.T, trace.biases[layer][columns, None]
    if receivers := topology.receivers[group.number]:
        axon = [trace.weights[layer][columns, topology.groups[below].columns] for below in receivers]
        yield "weight", state.state.weights, np.concatenate(axon, axis=1)


def _largest_magnitudes(trace: Trace) -> dict[str, float]:
    kinds: dict[str, tuple[Matrix, ...]] = {
        "activity": trace.activities,
        "error": trace.errors,
        "bias": trace.biases,
        "weight": trace.weights,
    }
    return {kind: max((float(np.abs(array).max()) for array in arrays), default=0.0) for kind, arrays in kinds.items()}

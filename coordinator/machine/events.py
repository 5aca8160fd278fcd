"""The coordinator's own actions, besides those that every machine has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from coordinator.machine.training import Progress
from neuron_node.messages import GroupState, State


class Report(NamedTuple):
    """Something that a person or a program watching the run wants to know; plain data for JSON, `event` names its kind."""

    event: str
    facts: dict[str, Any]


class Snapshot(NamedTuple):
    """Every group's state after one step, whole, and where the training stood then."""

    step: int
    states: Mapping[int, State]
    progress: Progress


class Keep(NamedTuple):
    """A snapshot is complete: keep it. `final` when it is the trained network."""

    snapshot: Snapshot
    final: bool


class Inspected(NamedTuple):
    """After a step, everything that every group said of itself. Only where the plan asks to inspect every step."""

    step: int
    states: Mapping[int, GroupState]

"""Carry out the entries of the journal on a snapshot: the only place where the coordinator changes a number of a neuron."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coordinator.core.events import Snapshot
from coordinator.core.journal import BIAS, RATE, REWIND, SILENCE, WAKE, WEIGHT, Entry
from coordinator.core.run_plan import RunPlan
from coordinator.core.training import Progress
from coordinator.data.limits import shown
from coordinator.topology import Topology
from neuron_node.initializers import initial_bias_and_weights
from neuron_node.protocol import State, state_of
from neuron_node.role import Role


def edited(snapshot: Snapshot, entries: Sequence[Entry], branch: int, topology: Topology) -> Snapshot:
    """Return the snapshot with these changes. The states that change are new arrays; the others are shared."""
    states = dict(snapshot.states)
    changes = snapshot.changes
    silent = set(changes.silent)
    for entry in entries:
        if entry.kind == RATE:
            changes = changes._replace(learning_rate=entry.value)
        elif entry.kind == SILENCE:
            silent.add(entry.neuron)
        elif entry.kind == WAKE:
            silent.discard(entry.neuron)
        else:
            group = topology.group_of[entry.neuron]
            states[group] = _with_number(states[group], entry, topology)
        changes = changes._replace(applied=entry.number)
    in_order = tuple(name for name in topology.group_of if name in silent)
    return snapshot._replace(states=states, changes=changes._replace(branch=branch, silent=in_order))


def fault_of_entries(entries: Sequence[Entry], topology: Topology) -> str | None:
    """Return why these entries are not those of a network with this topology; None if they can be."""
    for entry in entries:
        known = entry.neuron in topology.group_of
        if entry.kind == RATE and entry.value <= 0:
            return f"entry {entry.number:,} sets the learning rate {entry.value:g}, which is not above 0"
        if entry.kind not in (RATE, REWIND) and not known:
            return f"entry {entry.number:,} is of the neuron {shown(entry.neuron)}, which this network does not have"
        if entry.kind == WEIGHT and entry.to not in _receivers(entry.neuron, topology):
            return f"entry {entry.number:,} is of a weight from {entry.neuron} to {shown(entry.to)}, which this network does not have"
    return None


def initial_snapshot(plan: RunPlan, topology: Topology) -> Snapshot:
    """Return the network before the first step, without any intervention."""
    roles = plan.roles(topology)
    states = {number: _initial_state(role) for number, role in sorted(roles.items())}
    return Snapshot(0, states, Progress())


def _initial_state(role: Role) -> State:
    bias, weights = initial_bias_and_weights(role)
    return state_of(bias.reshape(1, -1), weights)


def _with_number(state: State, entry: Entry, topology: Topology) -> State:
    row, column = place_of(entry, topology)
    bias, weights = np.array(state.bias), np.array(state.weights)
    if entry.kind == BIAS:
        bias[0, row] = entry.value
    else:
        weights[row, column] = entry.value
    return state_of(bias, weights)


def number_of(snapshot: Snapshot, entry: Entry, topology: Topology) -> float:
    """Return the weight or bias that an entry replaces."""
    row, column = place_of(entry, topology)
    state = snapshot.states[topology.group_of[entry.neuron]]
    return float(state.bias[0, row] if entry.kind == BIAS else state.weights[row, column])


def place_of(entry: Entry, topology: Topology) -> tuple[int, int]:
    """Return the row of the entry's neuron in the state of its group, and the column of its synapse (0 for a bias)."""
    group = topology.groups[topology.group_of[entry.neuron]]
    row = group.names.index(entry.neuron)
    if entry.kind == BIAS:
        return row, 0
    return row, _receivers(entry.neuron, topology).index(entry.to)


def _receivers(neuron: str, topology: Topology) -> list[str]:
    """Return the neurons to which the synapses of a neuron lead, in order."""
    return [name for below in topology.receivers[topology.group_of[neuron]] for name in topology.groups[below].names]

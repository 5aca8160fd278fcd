"""What a group remembers of one pass, and what it has learned from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from neuron_node.activations import Array


@dataclass(slots=True)
class Memory:
    """What a group remembers of one pass: who sent what, what it made of it, and what came back."""

    batch: int
    senders: set[int] = field(default_factory=set)
    """Who has sent a signal."""
    signals: Array | None = None
    """(senders, batch, neurons), in synapse order."""
    activity: Array | None = None
    repliers: set[int] = field(default_factory=set)
    """Who has sent an error."""
    errors: Array | None = None
    """(batch, synapses), in synapse order; for an output group the targets, (batch, neurons)."""
    own_error: Array | None = None


class Gradient(NamedTuple):
    """Of weights (neurons, synapses) and biases (neurons,), summed up over so many samples; None where nothing is learned."""

    samples: int
    weights: Array | None
    bias: Array | None

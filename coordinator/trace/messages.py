"""The messages of a traced pass, from neuron to neuron, in causal order.

A message stands after every message that it depends on: inputs, signals from layer to layer, outputs, targets, errors from layer
to layer, and the reports of the input neurons. Messages of one layer do not depend on each other; they have synapse order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coordinator.trace.numbers import COORDINATOR


class Message(NamedTuple):
    """One number of a pass on its way. `sent_us` is by the clock of the sender's host, `used_us` by that of the receiver's host."""

    kind: str
    sender: str
    receiver: str
    value: float | None
    """None if the report has no number, because the input neurons learn no bias."""
    sent_us: int | None
    used_us: int | None

    def to_json(self, number: int) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"number": number, "kind": self.kind, "from": self.sender, "to": self.receiver, "value": self.value,
                "sent_us": self.sent_us, "used_us": self.used_us}  # fmt: skip


def messages_of(neurons: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Return the messages of a pass with one row, from the numbers of all neurons."""
    layers: dict[int, list[Mapping[str, Any]]] = {}
    for facts in neurons:
        layers.setdefault(facts["layer"], []).append(facts)
    by_name = {facts["neuron"]: facts for facts in neurons}
    in_order = [layers[layer] for layer in sorted(layers)]
    return [*_forward(in_order, by_name), *_back(in_order, by_name)]


def _forward(layers: list[list[Mapping[str, Any]]], by_name: Mapping[str, Mapping[str, Any]]) -> Iterator[Message]:
    for layer in layers:
        for facts in layer:
            for signal in facts["signals"]:
                sender = signal["from"]
                kind = "input" if sender == COORDINATOR else "signal"
                # Neurons of one group fire together.
                sent = by_name.get(sender.partition("…")[0], {}).get("fired_us")
                yield Message(kind, sender, facts["neuron"], signal["signal"][0], sent, facts.get("fired_us"))
    for facts in layers[-1]:
        yield Message("output", facts["neuron"], COORDINATOR, facts["activity"][0], facts.get("fired_us"), None)


def _back(layers: list[list[Mapping[str, Any]]], by_name: Mapping[str, Mapping[str, Any]]) -> Iterator[Message]:
    for facts in layers[-1]:
        yield Message("target", COORDINATOR, facts["neuron"], facts["target"][0], None, facts.get("replied_us"))
    for layer in reversed(layers[:-1]):
        for facts in layer:
            for synapse in facts["axon"]:
                sent = by_name[synapse["to"]].get("replied_us")
                yield Message(
                    "error", synapse["to"], facts["neuron"], synapse["error"][0], sent, facts.get("replied_us")
                )
    for facts in layers[0]:
        value = facts["error"][0] if facts["bias_learned"] else None
        yield Message("done", facts["neuron"], COORDINATOR, value, facts.get("replied_us"), None)

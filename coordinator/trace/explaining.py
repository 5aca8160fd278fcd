"""Why a weight or a bias changed in the last training step, in sentences with the neurons' own numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from coordinator.data.suggestion import did_you_mean
from coordinator.errors import UserError
from neuron_node.wording import direction, shown, shown_apart

BETWEEN = re.compile(r"\s*(?:→|->|>|:)\s*")
ROWS_SHOWN = 4
"""The most rows whose products are shown."""


def parts_of_weight(text: str) -> tuple[str, str | None]:
    """Split the name of a weight, such as hidden.3:output.2, into its neurons. The name of a neuron has no second part."""
    parts = BETWEEN.split(text.strip())
    if len(parts) > 2 or not all(parts):
        raise UserError(f"{text!r} names no weight; a weight is named by its two neurons, as in hidden.3:output.2")
    return parts[0], parts[1] if len(parts) == 2 else None


def explain_weight(facts: Mapping[str, Any], receiver: str) -> list[str]:
    """Explain the change of a weight; `facts` is what the coordinator says of its sender. Raises `UserError`."""
    axon = {synapse["neuron"]: synapse for synapse in facts["axon"]}
    if receiver not in axon:
        raise UserError(_no_weight(facts["neuron"], receiver, list(axon)))
    _check_learned(facts)
    synapse, sender = axon[receiver], facts["neuron"]
    steps = facts["steps"]
    return [
        _changed(facts, f"the weight from {sender} to {receiver}", synapse["before"], synapse["weight"]),
        _product(steps["learning_rate"], synapse["gradient"]),
        _source(synapse, facts, receiver),
        direction(synapse["gradient"], "weight"),
    ]


def explain_neuron(facts: Mapping[str, Any]) -> list[str]:
    """Explain the change of a neuron's bias and of the weight on its axon that changed most. Raises `UserError`."""
    _check_learned(facts)
    steps, name = facts["steps"], facts["neuron"]
    sentences = []
    if steps["bias_learned"]:
        errors = _mean(facts["last_error"])
        sentences += [
            _changed(facts, f"the bias of {name}", facts["bias_before"], facts["bias"]),
            _product(steps["learning_rate"], facts["bias_gradient"]),
            f"The gradient of a bias is the neuron's own error{errors} = {shown(facts['bias_gradient'])}.",
            direction(facts["bias_gradient"], "bias"),
        ]
    if facts["axon"]:
        most = max(facts["axon"], key=lambda synapse: abs(synapse["gradient"]))
        sentences += [
            f"Of its {len(facts['axon']):,} weights, the one to {most['neuron']} changed most."
            if len(facts["axon"]) > 1
            else "",
            *explain_weight(facts, most["neuron"]),
        ]
    return [sentence for sentence in sentences if sentence]


def _no_weight(sender: str, receiver: str, known: Sequence[str]) -> str:
    if not known:
        return f"{sender} is an output neuron and has no weights; name a weight by its sender and its receiver"
    there = f"{known[0]} to {known[-1]}" if len(known) > 1 else known[0]
    return f"there is no weight from {sender} to {receiver}; {sender} sends to {there}{did_you_mean(receiver, known)}"


def _check_learned(facts: Mapping[str, Any]) -> None:
    """Raise `UserError` if the network keeps no numbers of a step."""
    if facts["steps"] is None:
        raise UserError(
            f"{facts['moment']}, so no change can be explained; see what a step would change: coordinator trace"
        )


def _changed(facts: Mapping[str, Any], what: str, before: float, after: float) -> str:
    rows = f"{facts['rows']:,} row{'s' if facts['rows'] > 1 else ''}"
    where = f"In step {facts['step']:,} (pass {facts['pass']:,}, {rows})"
    first, then = shown_apart(before, after)
    return f"{where} {what} changed from {first} to {then}."


def _product(rate: float, gradient: float) -> str:
    change = shown(-rate * gradient)
    return f"Its change is −learning rate × gradient = −{shown(rate)} × {_bracketed(shown(gradient))} = {change}."


def _source(synapse: Mapping[str, Any], facts: Mapping[str, Any], receiver: str) -> str:
    products = [
        f"{shown(error)} × {shown(activity)}"
        for error, activity in zip(synapse["error"], facts["last_activity"], strict=True)
    ]
    subject = f"the error of {receiver} × the activity of {facts['neuron']}"
    result = shown(synapse["gradient"])
    if len(products) == 1:
        return f"The gradient is {subject} = {products[0]} = {result}."
    more = f" + {len(products) - ROWS_SHOWN:,} more" if len(products) > ROWS_SHOWN else ""
    total = " + ".join(products[:ROWS_SHOWN])
    return f"The gradient is the mean of {subject} = ({total}{more}) / {len(products):,} = {result}."


def _mean(numbers: Sequence[float]) -> str:
    if len(numbers) == 1:
        return ""
    more = f" + {len(numbers) - ROWS_SHOWN:,} more" if len(numbers) > ROWS_SHOWN else ""
    return f", as the mean of all rows: ({' + '.join(map(shown, numbers[:ROWS_SHOWN]))}{more}) / {len(numbers):,}"


def _bracketed(number: str) -> str:
    return f"({number})" if number.startswith("−") else number

"""The numbers of a pass, neuron by neuron, as plain data for JSON. They are those of the reports: nothing is computed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from coordinator.defaults import NetworkSettings
from coordinator.topology import GroupSpec, Topology
from neuron_node.activations import Array
from neuron_node.protocol import TraceReport

COORDINATOR = "coordinator"
"""The sender of inputs and targets, and the receiver of outputs."""


def neuron_facts(
    topology: Topology,
    network: NetworkSettings,
    reports: Mapping[int, TraceReport],
    name: str,
    hosts: Mapping[int, str],
) -> dict[str, Any]:
    """Return the numbers of one neuron in the nine steps; lists have one number for each row of the pass.

    `hosts` has the name of the host of each group, whose clock has measured `fired_us` and `replied_us`.
    """
    number = topology.group_of[name]
    group, report = topology.groups[number], reports[number]
    arrays = {array.name: array.values for array in report.numbers}
    index = group.names.index(name)
    facts: dict[str, Any] = {
        "neuron": name,
        "layer": group.layer,
        "kind": "input" if group.layer == 0 else "output" if group.layer == topology.last_layer else "hidden",
        "activation": network.activations[group.layer],
        "loss": network.loss,
        "learning_rate": network.learning_rate,
        "bias_learned": network.input_bias_learned if group.layer == 0 else network.bias_learned,
    }
    if "activity" not in arrays:
        return facts

    def column(of: str) -> list[float]:
        numbers: list[float] = arrays[of][:, index].tolist()
        return numbers

    signals = arrays["signals"]
    facts |= {
        "signals": [
            {"from": sender, "signal": signals[:, place * group.size + index].tolist()}
            for place, sender in enumerate(_senders(topology, group))
        ],
        "sum": column("sum"),
        "bias": float(arrays["bias"][0, index]),
        "activity": column("activity"),
        "slope": column("slope"),
        "error": column("own_error"),
        "bias_gradient": float(arrays["bias_gradient"][0, index]),
        "bias_after": float(arrays["bias_after"][0, index]),
        "axon": _axon(topology, group, arrays, index),
    }
    facts |= {"target": column("errors")} if group.layer == topology.last_layer else {"error_sum": column("error_sum")}
    if report.fired_us:
        facts |= {"host": hosts.get(number), "fired_us": report.fired_us, "replied_us": report.replied_us}
    return facts


def _senders(topology: Topology, group: GroupSpec) -> list[str]:
    """Return the senders of the signals: neurons, or groups of neurons, whose signals arrive as one sum."""
    return [names_of(topology.groups[above]) for above in topology.senders[group.number]] or [COORDINATOR]


def names_of(group: GroupSpec) -> str:
    """Return the name of the only neuron of a group, or the first and the last name."""
    return group.names[0] if group.size == 1 else f"{group.names[0]}…{group.names[-1]}"


def _axon(topology: Topology, group: GroupSpec, arrays: Mapping[str, Array], index: int) -> list[dict[str, Any]]:
    receivers = [name for below in topology.receivers[group.number] for name in topology.groups[below].names]
    if not receivers:
        return []
    of_synapse = (arrays["fired"].T.tolist(), arrays["errors"].T.tolist())
    if group.size > 1:
        # The signals of a group are sums over its neurons, so a neuron has no signal of its own.
        of_synapse = ([None] * len(receivers), of_synapse[1])
    of_weight = (arrays[of][index].tolist() for of in ("weights", "gradients", "weights_after"))
    return [
        {"to": name, "weight": weight, "signal": signal, "error": error, "gradient": gradient, "after": after}
        for name, signal, error, weight, gradient, after in zip(receivers, *of_synapse, *of_weight, strict=True)
    ]


def layer_facts(topology: Topology, reports: Mapping[int, TraceReport]) -> list[dict[str, Any]]:
    """Return, for each layer, its number of neurons and the least and greatest activity and own error."""
    facts = []
    for layer, size in enumerate(topology.layers):
        ours = [
            {array.name: array.values for array in reports[group.number].numbers}
            for group in topology.groups.values()
            if group.layer == layer
        ]
        facts.append({"layer": layer, "neurons": size, **_range("activity", ours), **_range("own_error", ours)})
    return facts


def _range(name: str, reports: Iterable[Mapping[str, Array]]) -> dict[str, float]:
    found = [arrays[name] for arrays in reports]
    word = {"own_error": "error"}.get(name, name)
    return {
        f"least_{word}": min(float(values.min()) for values in found),
        f"greatest_{word}": max(float(values.max()) for values in found),
    }

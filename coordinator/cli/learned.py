"""A saved model after one traced sample was learned, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from coordinator.core.training import LOSSES
from coordinator.inference import InMemoryNetwork
from coordinator.storage.model_file import Model
from coordinator.topology import Parameters
from neuron_node.activations import Array


def learned(model: Model, facts: Mapping[str, Any], sample: Array) -> dict[str, Any]:
    """Return outputs and loss of the sample before and after the neurons have learned it. `facts` has all neurons."""
    inputs = model.network.layers[0]
    after = InMemoryNetwork(replace(model, parameters=_after(model, facts), step=model.step + 1))
    targets, loss = sample[:, inputs:], LOSSES[model.network.loss]
    outputs = np.array([[each["activity"][0] for each in facts["neurons"] if each["kind"] == "output"]])
    now = after.forward(sample[:, :inputs])
    return {
        "outputs_before": outputs.tolist(),
        "outputs_after": now.tolist(),
        "loss_before": loss(outputs, targets),
        "loss_after": loss(now, targets),
    }


def _after(model: Model, facts: Mapping[str, Any]) -> Parameters:
    """Return the biases and weights after step 9 of all neurons."""
    layers = [
        [each for each in facts["neurons"] if each["layer"] == layer] for layer in range(len(model.network.layers))
    ]
    return Parameters(
        tuple(np.array([each["bias_after"] for each in layer]) for layer in layers),
        tuple(np.array([[synapse["after"] for synapse in each["axon"]] for each in layer]) for layer in layers[:-1]),
    )

"""The values of `picture.js` for a network of arbitrary numbers: of a report, and of a live page with a pass of its neurons."""

from __future__ import annotations

import base64
import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np

from coordinator.data.prepared import PreparedData
from coordinator.inference import InMemoryNetwork
from coordinator.page.picture_state import Frame, finite, picture_state
from coordinator.storage.model_file import Model
from coordinator.topology import Parameters
from coordinator.trace.messages import messages_of
from tests.networks import made_data, numbers, settings_of

HOST = "<!doctype html><html lang=en><title>the page</title><main><h1>The page</h1><div id=here></div></main></html>"
"""A page with a place for a picture."""
SETUP = """async (source) => {
  const m = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  window.m = m;
  class Fake extends m.PlainModel {
    send(message) { this.sent.push(message); }
    emit(message) { for (const listener of this.listeners.get("msg:custom")) listener(message); }
    receive(values) {
      Object.assign(this.values, values);
      for (const name of Object.keys(values)) for (const listener of this.listeners.get(`change:${name}`) ?? []) listener();
    }
  }
  window.show = (state) => {
    window.model = new Fake(state);
    window.end = m.render({ model, el: document.getElementById("here") });
  };
  window.drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
"""Loads the module: `show` draws a picture with a fake `model`, which can push values; `drawn` waits until it is drawn."""


def base64_floats(values: Any) -> str:
    """Return numbers as little-endian float32 in base64, as a page receives bytes in tests."""
    return base64.b64encode(np.asarray(values, "<f4").tobytes()).decode()


def network_state(layers: tuple[int, ...], **changes: Any) -> tuple[dict[str, Any], Parameters, PreparedData]:
    """Return the state of a picture with one snapshot of arbitrary numbers, as a report has it."""
    settings = settings_of(layers, **changes)
    data = made_data(6, layers[0], layers[-1])
    parameters = Parameters(
        tuple(numbers(f"bias{layer}", 1, size)[0] for layer, size in enumerate(layers)),
        tuple(numbers(f"weight{layer}", *sizes) for layer, sizes in enumerate(itertools.pairwise(layers))),
    )
    frame = Frame(1, 1, None, None, None, best=False, sha256="", parameters=parameters)
    state = picture_state(settings, data.encoding, [frame], data)
    for name in ("numbers", "rows"):
        state[name] = base64.b64encode(state[name]).decode()
    return json.loads(json.dumps(state)), parameters, data


def pixel_state(side: int, rows: Any, layers: tuple[int, ...] | None = None) -> dict[str, Any]:
    """Return the state of a network whose inputs are the pixels of square pictures, from 0 to 16; `rows` are those of the samples."""
    layers = layers or (side * side, 3, 2)
    state, _, data = network_state(layers)
    names = tuple(f"pixel_{row}_{column}" for row in range(side) for column in range(side))
    encoding = replace(data.encoding, feature_names=names, input_scale=(16.0,) * side**2)
    rows = encoding.scale_inputs(np.asarray(rows, dtype=float))
    made = picture_state(settings_of(layers), encoding, [], replace(data, encoding=encoding, test_inputs=rows))
    state |= {"network": json.loads(json.dumps(made["network"])), "rows": base64.b64encode(made["rows"]).decode()}
    state["samples"] = made["samples"][: len(rows)]
    return state


def traced(layers: tuple[int, ...], sample: int = 0, **changes: Any) -> dict[str, Any]:
    """Return the record of one sample, as `coordinator trace --json` writes it."""
    _, parameters, data = network_state(layers, **changes)
    model = Model(parameters, settings_of(layers, **changes), data.encoding, 0, 1)
    row = np.concatenate([data.test_inputs[sample : sample + 1], data.test_targets[sample : sample + 1]], axis=1)
    facts, _ = InMemoryNetwork(model, data).ask("trace", row)
    messages = [message.to_json(number) for number, message in enumerate(messages_of(facts["neurons"]), 1)]
    record: dict[str, Any] = json.loads(json.dumps(finite({**facts, "messages": messages})))
    return record


def live_values(record: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """Return the values that a live page has beyond those of a report; the step is the traced pass."""
    neurons = record["neurons"]
    gradients: list[float] = []
    for layer in range(1 + max(neuron["layer"] for neuron in neurons)):
        some = [neuron for neuron in neurons if neuron["layer"] == layer]
        gradients += [neuron["bias_gradient"] for neuron in some]
        gradients += [synapse["gradient"] for neuron in some for synapse in neuron["axon"]]
    live = {
        "step": 17,
        "steps": 100,
        "epoch": 2,
        "epochs": 5,
        "pass": 20,
        "rows": 1,
        "state": "training",
        "moment": "",
        "source": "training",
        "label": 1,
        "predicted": 0,
        "learning_rate": neurons[0]["learning_rate"],
        "silent": [],
        "dead": [],
    }
    return {
        "live": {**live, **facts},
        "inputs": base64_floats(record["inputs"][0]),
        "passed": base64_floats([neuron[name][0] for name in ("sum", "activity", "error") for neuron in neurons]),
        "weights_change": base64_floats(gradients),
    }

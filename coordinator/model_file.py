"""Save and load trained networks as safetensors files. The metadata contain network and encoding."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from coordinator.data.encoding import Encoding
from coordinator.disk import write_whole
from coordinator.errors import UserError
from coordinator.presets import NetworkSettings
from coordinator.topology import Parameters

FORMAT = "exmachina-model-1"
LARGEST_MODEL_BYTES = 8 * 1024**3


@dataclass(frozen=True)
class Model:
    """A trained network: its parameters, its arithmetic, and the encoding of inputs and outputs."""

    parameters: Parameters
    network: NetworkSettings
    encoding: Encoding
    seed: int
    step: int


def save_model(path: Path, model: Model) -> None:
    """Write `layerN.bias` (neurons,) and `layerN.weight` (neurons, neurons below) for each layer. Raises `UserError`."""
    tensors = {}
    for layer, bias in enumerate(model.parameters.biases):
        tensors[f"layer{layer}.bias"] = np.ascontiguousarray(bias)
        if layer < len(model.parameters.weights):
            tensors[f"layer{layer}.weight"] = np.ascontiguousarray(model.parameters.weights[layer])
    facts = {
        "network": model.network.to_json(),
        "encoding": model.encoding.to_json(),
        "seed": model.seed,
        "step": model.step,
    }
    metadata = {"format": FORMAT, "exmachina": json.dumps(facts), "weights_sha256": model.parameters.sha256()}
    try:
        write_whole(path, save(tensors, metadata))
    except OSError as fault:
        raise UserError(f"can't write the model to {path}: {fault.strerror or fault}") from None


def is_model(path: Path) -> bool:
    """Whether a file is a model, judged by its metadata."""
    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (OSError, SafetensorError, ValueError):
        return False


def load_model(path: Path) -> Model:
    """Read and check a model. Raises `UserError`."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; right would be a model that `coordinator learn --save` wrote")
    if path.stat().st_size > LARGEST_MODEL_BYTES:
        raise UserError(f"{path}: larger than any model of ours")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if metadata.get("format") != FORMAT:
            raise UserError(
                f"{path}: not a model of Exmachina (its format is {metadata.get('format')!r}, not {FORMAT!r})"
            )
        facts = json.loads(metadata["exmachina"])
        network, encoding = NetworkSettings.from_json(facts["network"]), _encoding(path, facts["encoding"])
        parameters = _parameters(path, tensors, network.layers)
        model = Model(parameters, network, encoding, int(facts["seed"]), int(facts["step"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as fault:
        raise UserError(f"{path}: not a whole model ({type(fault).__name__}: {fault})") from None
    if (encoding.features, encoding.outputs) != (network.layers[0], network.layers[-1]):
        raise UserError(
            f"{path}: {encoding.features} inputs and {encoding.outputs} outputs are encoded for another network"
        )
    if metadata.get("weights_sha256") != parameters.sha256():
        raise UserError(f"{path}: damaged, its numbers do not match their checksum")
    return model


def _encoding(path: Path, document: object) -> Encoding:
    try:
        return Encoding.from_json(document)
    except UserError as fault:
        raise UserError(f"{path}: {fault}") from None


def _parameters(path: Path, tensors: dict[str, np.ndarray], layers: tuple[int, ...]) -> Parameters:
    biases = tuple(tensors[f"layer{layer}.bias"] for layer in range(len(layers)))
    weights = tuple(tensors[f"layer{layer}.weight"] for layer in range(len(layers) - 1))
    other = next((array.dtype for array in (*biases, *weights) if array.dtype != np.float64), None)
    if other is not None:
        raise UserError(
            f"{path}: its numbers are {other}; models contain float64, as `coordinator learn --save` writes them"
        )
    shapes = [array.shape for array in (*biases, *weights)]
    expected = [(size,) for size in layers] + list(itertools.pairwise(layers))
    if shapes != expected:
        raise UserError(f"{path}: its numbers do not have the shape of a {'-'.join(map(str, layers))} network")
    if not all(np.isfinite(array).all() for array in (*biases, *weights)):
        raise UserError(f"{path}: it holds a NaN or an infinity, so it was not trained to its end")
    return Parameters(biases, weights)

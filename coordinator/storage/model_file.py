"""Save and load trained networks as safetensors files. The metadata contain network and encoding.

The `content_sha256` of the metadata is the SHA-256 of the whole file, with zeros in its own place. So it shows every changed
bit, in a scale or a class name as in a weight. Files of version 0.1 have format 1, whose checksum covers only the weights.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from coordinator.data.encoding import Encoding
from coordinator.defaults import NetworkSettings
from coordinator.errors import UserError
from coordinator.storage.disk import read_regular, write_whole
from coordinator.topology import Parameters

FORMAT = "exmachina-model-2"
FORMAT_OF_WEIGHTS_ALONE = "exmachina-model-1"
KEYS_OF_WEIGHTS_ALONE = {"format", "exmachina", "weights_sha256"}
KEYS = {*KEYS_OF_WEIGHTS_ALONE, "content_sha256"}
UNSEALED = "0" * 64
SEAL = re.compile(rb'"content_sha256":"([0-9a-f]{64})"')
LARGEST_MODEL_BYTES = 8 * 1024**3
LARGEST_HEADER_BYTES = 100 * 1024**2

logger = logging.getLogger("exmachina")


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
    metadata = {
        "format": FORMAT,
        "exmachina": json.dumps(facts),
        "weights_sha256": model.parameters.sha256(),
        "content_sha256": UNSEALED,
    }
    try:
        write_whole(path, sealed(save(tensors, metadata)))
    except OSError as fault:
        raise UserError(f"can't write the model to {path}: {fault.strerror or fault}") from None


def sealed(content: bytes) -> bytes:
    """Return the file with the digest of all its other bytes in its place. Raises `ValueError`."""
    place = _seal(content)
    digest = hashlib.sha256(_unsealed(content, place)).hexdigest().encode()
    return content[: place.start(1)] + digest + content[place.end(1) :]


def is_model(path: Path) -> bool:
    """Whether a file is a model, judged by its metadata."""
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("format") in (FORMAT, FORMAT_OF_WEIGHTS_ALONE)
    except (OSError, SafetensorError, ValueError):
        return False


def load_model(path: Path) -> Model:
    """Read and check a model. Raises `UserError`."""
    content = _read(path)
    try:
        metadata = _metadata(content)
        kind = metadata.get("format")
        if kind not in (FORMAT, FORMAT_OF_WEIGHTS_ALONE):
            raise UserError(f"{path}: not a model of Exmachina (its format is {kind!r}, not {FORMAT!r})")
        _check_types(path, content)
        if kind == FORMAT and sealed(content) != content:
            raise UserError(f"{path}: damaged, it is not as it was written (its checksum does not match)")
        if set(metadata) != (KEYS if kind == FORMAT else KEYS_OF_WEIGHTS_ALONE):
            raise UserError(f"{path}: damaged, its metadata are not those of its format")
        tensors = load(content)
        facts = json.loads(metadata["exmachina"])
        network, encoding = NetworkSettings.from_json(facts["network"]), _encoding(path, facts["encoding"])
        parameters = _parameters(path, tensors, network.layers)
        model = Model(parameters, network, encoding, int(facts["seed"]), int(facts["step"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as fault:
        raise UserError(f"{path}: not a whole model ({type(fault).__name__}: {_one_line(fault)})") from None
    if (encoding.features, encoding.outputs) != (network.layers[0], network.layers[-1]):
        raise UserError(
            f"{path}: {encoding.features} inputs and {encoding.outputs} outputs are encoded for another network"
        )
    if metadata["weights_sha256"] != parameters.sha256():
        raise UserError(f"{path}: damaged, its numbers do not match their checksum")
    if kind != FORMAT:
        logger.warning("%s: written by version 0.1, whose checksum covers the weights only", path)
    return model


def _read(path: Path) -> bytes:
    try:
        content = read_regular(path, LARGEST_MODEL_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(f"{path}: no such file; use a model that `coordinator learn --save` wrote") from None
    except (OSError, ValueError) as fault:
        raise UserError(f"{path}: can't be read ({_one_line(fault)})") from None
    if len(content) > LARGEST_MODEL_BYTES:
        raise UserError(f"{path}: larger than any model of Exmachina")
    return content


def _header(content: bytes) -> bytes:
    """Return the header of a safetensors file. Raises `ValueError`."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or not 2 <= length <= min(LARGEST_HEADER_BYTES, len(content) - 8):
        raise ValueError("it does not begin like a safetensors file")
    return content[8 : 8 + length]


def _metadata(content: bytes) -> dict[str, str]:
    metadata = json.loads(_header(content)).get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise TypeError("its metadata are no texts")
    return metadata


def _check_types(path: Path, content: bytes) -> None:
    """Refuse numbers of another type before the checksum, which a conversion to that type breaks. Raises `UserError`."""
    tensors = {name: entry for name, entry in json.loads(_header(content)).items() if name != "__metadata__"}
    other = next((entry["dtype"] for entry in tensors.values() if entry["dtype"] != "F64"), None)
    if other is not None:
        name = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}.get(other, other)
        raise UserError(
            f"{path}: its numbers are {name}; models contain float64, as `coordinator learn --save` writes them"
        )


def _seal(content: bytes) -> re.Match[bytes]:
    end = 8 + len(_header(content))
    places = list(SEAL.finditer(content, 8, end))
    if len(places) != 1:
        raise ValueError("its checksum is missing")
    return places[0]


def _unsealed(content: bytes, place: re.Match[bytes]) -> bytes:
    return content[: place.start(1)] + UNSEALED.encode() + content[place.end(1) :]


def _one_line(fault: Exception) -> str:
    text = str(fault.strerror or fault) if isinstance(fault, OSError) else str(fault)
    return " ".join(text.split())[:200]


def _encoding(path: Path, document: object) -> Encoding:
    try:
        return Encoding.from_json(document)
    except UserError as fault:
        raise UserError(f"{path}: {fault}") from None


def _parameters(path: Path, tensors: dict[str, np.ndarray], layers: tuple[int, ...]) -> Parameters:
    biases = tuple(tensors[f"layer{layer}.bias"] for layer in range(len(layers)))
    weights = tuple(tensors[f"layer{layer}.weight"] for layer in range(len(layers) - 1))
    shapes = [array.shape for array in (*biases, *weights)]
    expected = [(size,) for size in layers] + list(itertools.pairwise(layers))
    if shapes != expected:
        raise UserError(f"{path}: its numbers do not have the shape of a {'-'.join(map(str, layers))} network")
    if not all(np.isfinite(array).all() for array in (*biases, *weights)):
        raise UserError(f"{path}: it holds a NaN or an infinity, so it was not trained to its end")
    return Parameters(biases, weights)

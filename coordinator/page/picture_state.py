"""The values of the model of `picture.js`: the network, its snapshots, and samples, packed for a browser.

Biases and weights are packed as int16: each array of each snapshot has a peak, its largest magnitude, which stands for 32,767.
So every number is off by at most 1/65,534 of the largest number beside it.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from coordinator.data.encoding import Encoding
from coordinator.data.prepared import PreparedData
from coordinator.data.table import Floats
from coordinator.defaults import NetworkSettings
from coordinator.topology import Parameters

LARGEST_SHARE = 32_767
MOST_NUMBER_BYTES = 2_400_000
"""Biases and weights of all snapshots of one picture."""
FEWEST_WHOLE = 6
"""A network of which fewer whole snapshots fit is pooled."""
POOLED_SIDE = 96
MOST_SAMPLES, MOST_POINTS, MOST_ROW_BYTES = 120, 400, 400_000
LONGEST_NAME = 40
SMALLEST_PICTURE = 16
T = TypeVar("T")
GENERIC_NAME = re.compile(r"(?:pixel|column|input)[ _]?\d+(?:[_ x,]\d+)?")


class Frame(NamedTuple):
    """One snapshot for the picture. `held_out_*` are measured with its own weights; None without held-out samples."""

    step: int
    epoch: int | None
    loss: float | None
    held_out_loss: float | None
    held_out_accuracy: float | None
    best: bool
    sha256: str
    parameters: Parameters


def numbers_per_snapshot(layers: Sequence[int]) -> int:
    """Return the number of biases and weights."""
    return sum(layers) + sum(low * high for low, high in itertools.pairwise(layers))


def is_pooled(layers: Sequence[int]) -> bool:
    """Whether the network is so large that the picture has one number for several synapses."""
    return 2 * numbers_per_snapshot(layers) * FEWEST_WHOLE > MOST_NUMBER_BYTES


def shapes_of(layers: Sequence[int]) -> list[tuple[int, int]]:
    """Return rows and columns of the packed weights of each layer pair."""
    most = POOLED_SIDE if is_pooled(layers) else max(layers)
    return [(min(low, most), min(high, most)) for low, high in itertools.pairwise(layers)]


def most_frames(layers: Sequence[int]) -> int:
    """Return how many snapshots fit into a picture; at least one."""
    numbers = sum(layers) + sum(rows * columns for rows, columns in shapes_of(layers))
    return max(1, MOST_NUMBER_BYTES // (2 * numbers))


def spread(items: Sequence[T], most: int) -> list[T]:
    """Return at most `most` items, evenly spread, with the first and the last."""
    if len(items) <= most:
        return list(items)
    places = np.unique(np.rint(np.linspace(0, len(items) - 1, most)).astype(int)) if most > 1 else [len(items) - 1]
    return [items[place] for place in places]


def pooled(weights: Floats, rows: int, columns: int) -> Floats:
    """Return `rows` × `columns` numbers: each is the strongest weight of its block."""
    result = np.zeros((rows, columns))
    tall, wide = (np.arange(parts + 1) * size // parts for size, parts in zip(weights.shape, result.shape, strict=True))
    for row in range(rows):
        strip = weights[tall[row] : tall[row + 1]]
        for column in range(columns):
            block = strip[:, wide[column] : wide[column + 1]].ravel()
            result[row, column] = block[np.argmax(np.abs(block))]
    return result


def packed(array: Floats) -> tuple[float, bytes]:
    """Return the peak of an array, and its numbers as shares of the peak: little-endian int16, in C order."""
    peak = float(np.max(np.abs(array), initial=0.0))
    shares = array / peak * LARGEST_SHARE if peak else np.zeros_like(array)
    return peak, np.rint(shares).astype("<i2").tobytes()


def image_of(encoding: Encoding) -> list[int] | None:
    """Return rows and columns of the picture that the inputs are, or None if they are columns of a table."""
    side = math.isqrt(encoding.features)
    if side * side != encoding.features or encoding.features < SMALLEST_PICTURE:
        return None
    return [side, side] if all(GENERIC_NAME.fullmatch(name) for name in encoding.feature_names) else None


def picture_state(
    network: NetworkSettings, encoding: Encoding, frames: Iterable[Frame], data: PreparedData | None
) -> dict[str, Any]:
    """Return the values of the model. `numbers` and `rows` are bytes. Without data, there are no samples."""
    snapshots, numbers = [], bytearray()
    for frame in frames:
        snapshot, content = packed_frame(frame)
        snapshots.append(snapshot)
        numbers += content
    samples, rows = _samples(data)
    return {
        "network": {
            "layers": list(network.layers),
            "activations": list(network.activations),
            "words": _words(len(network.layers)),
            "shapes": shapes_of(network.layers),
            "pooled": is_pooled(network.layers),
            "image": image_of(encoding),
            "inputs": [_short(name) for name in encoding.feature_names],
            "outputs": _outputs(encoding),
            "classes": None if encoding.classes is None else [_short(name) for name in encoding.classes],
            "input_range": [float(np.min(rows, initial=0.0)), float(np.max(rows, initial=0.0))],
            "pixels": _pixels(encoding, rows),
            "target_units": [[*encoding.target_offset[:1]], [*encoding.target_scale[:1]]],
        },
        "snapshots": snapshots,
        "numbers": bytes(numbers),
        "samples": samples,
        "rows": np.ascontiguousarray(rows, dtype="<f4").tobytes(),
        "snapshot": len(snapshots) - 1,
        "sample": 0 if samples else -1,
        "selected": "",
    }


def packed_frame(frame: Frame) -> tuple[dict[str, Any], bytes]:
    """Return the facts of a snapshot with the peaks of its arrays, and its biases and weights."""
    layers = [len(bias) for bias in frame.parameters.biases]
    shapes, peaks, numbers = shapes_of(layers), [], bytearray()
    for layer, bias in enumerate(frame.parameters.biases):
        arrays = [bias]
        if layer < len(shapes):
            weights = frame.parameters.weights[layer]
            arrays.append(weights if weights.shape == shapes[layer] else pooled(weights, *shapes[layer]))
        for array in arrays:
            peak, content = packed(array)
            peaks.append(peak)
            numbers += content
    facts = frame._asdict()
    del facts["parameters"]
    return {**facts, "peaks": peaks}, bytes(numbers)


def finite(value: Any) -> Any:
    """Return plain data with None in the place of NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


def _samples(data: PreparedData | None) -> tuple[list[dict[str, Any]], Floats]:
    """Return some held-out samples and their inputs; with two inputs, samples of the training too, as points of a plane."""
    if data is None:
        return [], np.empty((0, 0))
    features = data.encoding.features
    most = max(1, min(MOST_POINTS if features == 2 else MOST_SAMPLES, MOST_ROW_BYTES // (4 * features)))
    parts = [(data.test_inputs, data.test_targets, True)]
    # Without held-out rows, the training rows are measured.
    if features == 2 and not np.array_equal(data.train_inputs, data.test_inputs):
        parts.append((data.train_inputs, data.train_targets, False))
    samples: list[dict[str, Any]] = []
    rows = []
    for inputs, targets, held_out in parts:
        chosen = slice(0, most - len(samples))
        rows.append(inputs[chosen])
        samples += [{"label": label, "held_out": held_out} for label in _labels(data.encoding, targets[chosen])]
    return samples, np.concatenate(rows)


def _pixels(encoding: Encoding, rows: Floats) -> dict[str, Any] | None:
    """Return how to convert inputs to the pixels of a picture, which were scaled one by one; None for a table."""
    if image_of(encoding) is None:
        return None
    offset, scale = np.array(encoding.input_offset), np.array(encoding.input_scale)
    raw = rows * scale + offset if len(rows) else np.array([offset, offset + scale])
    return {
        "offset": [float(f"{number:.5g}") for number in offset],
        "scale": [float(f"{number:.5g}") for number in scale],
        "range": [float(raw.min()), float(raw.max())],
    }


def _labels(encoding: Encoding, targets: Floats) -> list[Any]:
    """Return the class index of each row of targets, or its first number, in the units of the data set."""
    if encoding.classes is not None:
        return [int(label) for label in encoding.decode_labels(targets)]
    return [float(row[0]) for row in encoding.decode_numbers(targets)]


def _outputs(encoding: Encoding) -> list[str]:
    if encoding.classes is not None and encoding.outputs == len(encoding.classes):
        return [_short(name) for name in encoding.classes]
    if encoding.outputs == 1:
        return [_short(encoding.classes[1] if encoding.classes else encoding.target_name)]
    return [_short(f"{encoding.target_name} {index + 1}") for index in range(encoding.outputs)]


def _words(layers: int) -> list[str]:
    """Return the first part of the names of each layer's neurons."""
    hidden = ["hidden"] if layers == 3 else [f"hidden{layer}" for layer in range(1, layers - 1)]
    return ["input", *hidden, "output"]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"

"""The values of the picture: what is packed, pooled and left out."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.page.picture_state import (
    LARGEST_SHARE,
    MOST_NUMBER_BYTES,
    Frame,
    image_of,
    most_frames,
    packed,
    picture_state,
    pooled,
    shapes_of,
    spread,
)
from coordinator.topology import Parameters
from tests.networks import encoding_of, made_data, numbers, settings_of


def frame_of(layers: tuple[int, ...], step: int = 1) -> Frame:
    biases = tuple(numbers(f"bias{layer}", 1, size)[0] for layer, size in enumerate(layers))
    weights = tuple(numbers(f"weight{layer}", *sizes) for layer, sizes in enumerate(itertools.pairwise(layers)))
    return Frame(step, 1, 0.5, 0.25, None, best=False, sha256="0" * 64, parameters=Parameters(biases, weights))


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20))
def test_packed_numbers_are_close(values: list[float]) -> None:
    """Each number is off by at most half a step, which is the peak divided by 32,767; zeros stay zeros."""
    array = np.array(values)
    peak, content = packed(array)
    shares = np.frombuffer(content, dtype="<i2").astype(float)
    assert peak == np.abs(array).max() and np.all(np.abs(shares) <= LARGEST_SHARE)
    assert np.all(np.abs(shares * (peak / LARGEST_SHARE) - array) <= 0.51 * peak / LARGEST_SHARE)


def test_numbers_have_the_order_of_the_layers() -> None:
    """A layer has its biases, then its weights row by row; the snapshots follow one another."""
    layers = (3, 2, 1)
    frames = [frame_of(layers, 1), frame_of(layers, 2)]
    state = picture_state(settings_of(layers), encoding_of(3, 1, classes=True), frames, None)
    shares = np.frombuffer(state["numbers"], dtype="<i2").reshape(2, 3 + 6 + 2 + 2 + 1)
    parameters = frames[0].parameters
    expected = [
        parameters.biases[0],
        parameters.weights[0].ravel(),
        parameters.biases[1],
        parameters.weights[1].ravel(),
    ]
    for row, snapshot in zip(shares, state["snapshots"], strict=True):
        found = np.split(row, [3, 9, 11, 13])
        for part, peak, array in zip(found, snapshot["peaks"], expected, strict=False):
            assert np.allclose(part * peak / LARGEST_SHARE, array, atol=1e-4)
    assert state["samples"] == [] and state["sample"] == -1 and state["snapshot"] == 1


def test_state_is_plain_data() -> None:
    """Apart from two byte strings, the state is JSON; labels are class indices."""
    data = made_data(9, 4, 3)
    state = picture_state(settings_of((4, 2, 3)), data.encoding, [frame_of((4, 2, 3))], data)
    rows = np.frombuffer(state.pop("rows"), dtype="<f4").reshape(9, 4)
    assert np.allclose(rows, data.test_inputs, atol=1e-6) and isinstance(state.pop("numbers"), bytes)
    assert json.loads(json.dumps(state))["samples"][0] == {
        "label": int(data.encoding.decode_labels(data.test_targets)[0]),
        "held_out": True,
    }
    assert state["network"]["input_range"] == [float(data.test_inputs.min()), float(data.test_inputs.max())]


def test_strongest_weight_stands_for_its_block() -> None:
    """The strongest weight of a block may be negative; every weight lies in one block."""
    weights = np.array([[1.0, -5.0, 2.0, 0.0], [0.0, 3.0, 0.5, -0.25], [7.0, 0.0, 0.0, 0.0]])
    assert pooled(weights, 2, 2).tolist() == [[-5.0, 2.0], [7.0, 0.5]]
    assert np.array_equal(pooled(weights, 3, 4), weights)


@pytest.mark.parametrize("layers", [(64, 12, 10), (784, 128, 10), (784, 512, 512, 10), (2, 20_000, 1)], ids=str)
def test_numbers_of_a_picture_are_bounded(layers: tuple[int, ...]) -> None:
    """At least three snapshots fit, of a large network only pooled ones."""
    shapes = shapes_of(layers)
    each = 2 * (sum(layers) + sum(rows * columns for rows, columns in shapes))
    assert most_frames(layers) >= 3 and most_frames(layers) * each <= MOST_NUMBER_BYTES
    assert (shapes == list(itertools.pairwise(layers))) == (layers in {(64, 12, 10), (784, 128, 10), (2, 20_000, 1)})


@given(st.lists(st.integers(), max_size=60, unique=True).map(sorted), st.integers(2, 20))
def test_spread_items_have_both_ends(items: list[int], most: int) -> None:
    """At most `most` items remain, in order, with the first and the last item."""
    chosen = spread(items, most)
    assert len(chosen) == min(len(items), most) and chosen == sorted(set(chosen))
    assert not items or (chosen[0], chosen[-1]) == (items[0], items[-1])


@pytest.mark.parametrize(
    ("names", "image"),
    [
        ([f"pixel_{row}_{column}" for row in range(8) for column in range(8)], [8, 8]),
        ([f"pixel {row},{column}" for row in range(16) for column in range(16)], [16, 16]),
        ([f"column {number}" for number in range(1, 785)], [28, 28]),
        ([f"column {number}" for number in range(1, 10)], None),
        ([f"column {number}" for number in range(1, 19)], None),
        ([*(f"column {number}" for number in range(1, 16)), "age"], None),
    ],
)
def test_square_of_unnamed_inputs_is_a_picture(names: list[str], image: Any) -> None:
    """A square number of inputs without names is drawn as pixels; named columns and few inputs are drawn as bars."""
    from dataclasses import replace

    count = len(names)
    encoding = replace(encoding_of(count, 1, classes=True), feature_names=tuple(names))
    assert image_of(encoding) == image

"""Encoding: from the data's units to the network's numbers and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.preprocessing import LabelBinarizer, MinMaxScaler, StandardScaler

from coordinator.data import Dataset, Encoding, load_dataset, prepare
from coordinator.data.table import number_columns
from coordinator.errors import UserError


def encoding(**changes: Any) -> Encoding:
    values: dict[str, Any] = {
        "dataset": "flowers",
        "feature_names": ("a", "b"),
        "target_name": "kind",
        "scaling": "standard",
        "input_offset": (1.0, 2.0),
        "input_scale": (0.1, 3.0),
        "classes": ("x", "y", "z"),
        "outputs": 3,
    }
    return Encoding(**(values | changes))


def of_numbers(outputs: int = 1) -> Encoding:
    return encoding(classes=None, outputs=outputs, target_offset=(3.0,) * outputs, target_scale=(7.0,) * outputs)


def dataset(inputs: Any, numbers: Any = None) -> Dataset:
    rows = np.ascontiguousarray(inputs, dtype=np.float64)
    labels = None if numbers is not None else np.arange(len(rows)) % 2
    return Dataset(
        name="made",
        inputs=rows,
        columns=number_columns([f"f{index}" for index in range(rows.shape[1])]),
        target_name="t",
        classes=None if labels is None else ("x", "y"),
        labels=labels,
        numbers=numbers,
        sha256="",
        default_scaling="standard",
        value_range=None,
        default_outputs=2 if numbers is None else numbers.shape[1],
    )


@given(
    inputs=arrays.arrays(
        np.float64, st.tuples(st.integers(2, 30), st.integers(1, 4)), elements=st.floats(-1e6, 1e6, width=32)
    )
)
@settings(max_examples=50, deadline=None)
def test_scaling_is_scikit_learns(inputs: Any) -> None:
    """`standard` and `range` give what StandardScaler and MinMaxScaler give, constant columns included."""
    for rule, scaler in (("standard", StandardScaler()), ("range", MinMaxScaler())):
        prepared = prepare(dataset(inputs), seed=0, test_fraction=0.0, scaling=rule)
        assert prepared.train_inputs.flags.c_contiguous
        np.testing.assert_allclose(prepared.train_inputs, scaler.fit_transform(inputs), rtol=1e-9, atol=1e-9)


def test_scaling_is_learned_from_the_training_rows_alone() -> None:
    """What is held out has no part in offset and scale."""
    for seed in range(3):
        prepared = prepare(load_dataset("iris"), seed=seed, test_fraction=0.2)
        np.testing.assert_allclose(prepared.train_inputs.mean(axis=0), 0.0, atol=1e-12)
        np.testing.assert_allclose(prepared.train_inputs.std(axis=0), 1.0, atol=1e-12)
        assert np.abs(prepared.test_inputs.mean(axis=0)).max() > 1e-3


def test_each_set_has_its_own_rule() -> None:
    """A pixel of digits is always divided by 16; xor stays as it is; the rest is standardised."""
    digits = load_dataset("digits")
    for scaling in (None, "range"):
        made = prepare(digits, seed=0, test_fraction=0.2, scaling=scaling).encoding
        assert (made.scale_inputs(digits.inputs) == digits.inputs / 16.0).all()
    xor = load_dataset("xor")
    assert (prepare(xor, seed=0, test_fraction=0.0).train_inputs == xor.inputs).all()
    assert prepare(load_dataset("wine"), seed=0, test_fraction=0.2).encoding.scaling == "standard"
    with pytest.raises(UserError, match="no scaling 'log'; known are standard, range, none"):
        prepare(xor, seed=0, test_fraction=0.0, scaling="log")


def test_numbers_too_large_to_scale_are_refused() -> None:
    """Where the range is beyond float64, the column is named instead of an infinity being used."""
    with pytest.raises(UserError, match="input 'f1' has numbers too large to be scaled"):
        prepare(dataset([[1.0, 1e308], [2.0, -1e308]]), seed=0, test_fraction=0.0, scaling="range")


@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_squares_beyond_float64_do_no_harm(size: float) -> None:
    """Numbers whose squares overflow or vanish are standardised like others."""
    values = np.array([[1.0], [2.0], [4.0]])
    usual = prepare(dataset(values, values), seed=0, test_fraction=0.0)
    made = prepare(dataset(values * size, values * size), seed=0, test_fraction=0.0)
    np.testing.assert_allclose(made.train_inputs, usual.train_inputs, rtol=1e-12)
    np.testing.assert_allclose(made.train_targets, usual.train_targets, rtol=1e-12)


@given(labels=st.lists(st.integers(0, 2), min_size=1, max_size=20).map(np.array))
def test_classes_are_one_hot_and_come_back(labels: Any) -> None:
    """k classes are k outputs, as LabelBinarizer has them, and decoding undoes encoding."""
    made = encoding()
    encoded = made.encode_labels(labels)
    assert encoded.dtype == np.float64
    assert encoded.flags.c_contiguous
    assert (encoded == LabelBinarizer().fit([0, 1, 2]).transform(labels)).all()
    assert (made.decode_labels(encoded) == labels).all()
    assert made.decode_names(encoded) == [("x", "y", "z")[label] for label in labels]


def test_one_output_tells_two_classes_apart() -> None:
    """Above one half is the second class; the activities of both classes add up to 1."""
    made = encoding(classes=("no", "yes"), outputs=1)
    activities = np.array([[0.1], [0.5], [0.50001]])
    assert made.decode_names(activities) == ["no", "no", "yes"]
    assert made.class_activities(activities).tolist() == [[0.9, 0.1], [0.5, 0.5], [1.0 - 0.50001, 0.50001]]
    assert made.encode_labels(np.array([0, 1])).tolist() == [[0.0], [1.0]]


def test_the_largest_activity_wins_and_the_first_of_equals() -> None:
    """The largest activity decides, however small; of equal ones the first, so that the answer never varies."""
    assert encoding().decode_labels(np.array([[0.1, 0.3, 0.2], [0.5, 0.5, 0.5]])).tolist() == [1, 0]
    activities = np.array([[0.1, 0.3, 0.2]])
    assert (encoding().class_activities(activities) == activities).all()


@given(
    numbers=arrays.arrays(
        np.float64, st.tuples(st.integers(2, 20), st.just(2)), elements=st.floats(-1e6, 1e6, width=32)
    )
)
@settings(deadline=None)
def test_numbers_come_back_in_their_own_units(numbers: Any) -> None:
    """Decoding undoes encoding, and what is encoded has mean 0 and standard deviation 1 or 0."""
    prepared = prepare(dataset(np.arange(len(numbers))[:, None], numbers), seed=0, test_fraction=0.0)
    scale = np.abs(numbers).max() + 1e-300
    np.testing.assert_allclose(prepared.encoding.decode_numbers(prepared.train_targets), numbers, atol=1e-9 * scale)
    np.testing.assert_allclose(prepared.train_targets, StandardScaler().fit_transform(numbers), atol=1e-9)


@given(
    offset=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2),
    names=st.lists(st.text(), min_size=2, max_size=2, unique=True),
)
def test_json_keeps_everything_bit_for_bit(offset: list[float], names: list[str]) -> None:
    """An encoding that went through JSON text is equal to itself."""
    for made in (encoding(input_offset=tuple(offset), feature_names=tuple(names)), of_numbers(2)):
        assert Encoding.from_json(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": 1},
        {"feature_names": ["a", "a"]},
        {"feature_names": []},
        {"feature_names": ["a"]},
        {"scaling": "log"},
        {"scaling": []},
        {"input_offset": [1.0, float("nan")]},
        {"input_offset": [1.0, True]},
        {"input_offset": [1.0, 10**400]},
        {"input_scale": [1.0, 0.0]},
        {"input_scale": [1.0]},
        {"input_scale": "ab"},
        {"classes": ["x"]},
        {"classes": ["x", "y"]},
        {"outputs": 2},
        {"outputs": 0},
        {"outputs": True},
        {"target_offset": [1.0]},
        {"classes": None},
        {"more": 1},
    ],
)
def test_damaged_encodings_are_refused(change: dict[str, Any]) -> None:
    """An entry of another type, a missing or unknown one, or one that does not fit the rest is refused in one line."""
    with pytest.raises(UserError, match="damaged"):
        Encoding.from_json(encoding().to_json() | change)


@pytest.mark.parametrize("document", [None, [], "x", {}, {"dataset": "x"}])
def test_invalid_encoding_is_refused(document: object) -> None:
    """Any other JSON is refused."""
    with pytest.raises(UserError, match="damaged"):
        Encoding.from_json(document)

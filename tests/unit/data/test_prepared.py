"""Splitting, and prepared data on the disk."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from coordinator.data import PreparedData, keyed_order, load_dataset, prepare
from coordinator.data.splitting import split
from coordinator.errors import UserError

GOLDEN_ORDER = [7, 6, 1, 2, 4, 0, 3, 5]
GOLDEN_SPLIT = [7, 18, 22, 64, 68, 79, 105, 143]
ARRAYS = ("train_inputs", "train_targets", "test_inputs", "test_targets", "train_labels", "test_labels")


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    seed=st.integers(0, 2**63 - 1),
    fraction=st.floats(0.01, 0.9),
)
@settings(deadline=None)
def test_every_row_is_in_one_part_and_every_class_in_both(labels: list[int], seed: int, fraction: float) -> None:
    """Nothing is lost or used twice; a class with two samples is learned and held out."""
    array = np.array(labels)
    train, test = split(len(labels), array, seed=seed, test_fraction=fraction)
    again = split(len(labels), array, seed=seed, test_fraction=fraction)
    assert (train == again[0]).all() and (test == again[1]).all()
    assert len(train) > 0 and len(test) > 0
    if max(Counter(labels).values()) == 1:
        assert train.tolist() == test.tolist() == list(range(len(labels)))
        return
    assert sorted([*train, *test]) == list(range(len(labels)))
    for label, count in Counter(labels).items():
        if count >= 2:
            assert label in array[train] and label in array[test]
        else:
            assert label in array[train]


@pytest.mark.parametrize("name", ["iris", "wine", "digits", "breast_cancer"])
def test_proportions_are_those_of_scikit_learn(name: str) -> None:
    """As many of each class are held out as a stratified train_test_split holds out, give or take one."""
    labels = load_dataset(name).labels
    assert labels is not None
    _, test = split(len(labels), labels, seed=1, test_fraction=0.2)
    _, expected = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    difference = np.bincount(labels[test]) - np.bincount(labels[expected])
    assert np.abs(difference).max() <= 1
    assert len(test) == round(0.2 * len(labels))


def test_rows_with_numbers_are_split_too() -> None:
    """Without classes the share held out is the nearest whole number, at least one and never all."""
    for samples, fraction, held_out in ((10, 0.2, 2), (10, 0.01, 1), (2, 0.9, 1), (3, 0.5, 2)):
        train, test = split(samples, None, seed=0, test_fraction=fraction)
        assert (len(train), len(test)) == (samples - held_out, held_out)


def test_a_fraction_of_nothing_tests_on_the_training_rows() -> None:
    """With 0 nothing is held out, and the test set is the training set."""
    prepared = prepare(load_dataset("xor"), seed=3, test_fraction=0.0)
    assert (prepared.train_inputs == prepared.test_inputs).all()
    assert prepared.train_inputs.shape == (4, 2)


def test_the_seed_decides() -> None:
    """Other seeds hold out other rows."""
    labels = load_dataset("iris").labels
    parts = {tuple(split(150, labels, seed=seed, test_fraction=0.2)[1].tolist()) for seed in range(5)}
    assert len(parts) == 5


def test_orders_are_frozen() -> None:
    """The bits come from SHAKE-256: these values may never change, on any machine or version."""
    assert keyed_order(8, "exmachina/split/0").tolist() == GOLDEN_ORDER
    assert keyed_order(0, "x").tolist() == []
    labels = load_dataset("iris").labels
    assert split(150, labels, seed=0, test_fraction=0.05)[1].tolist() == GOLDEN_SPLIT


@given(count=st.integers(0, 200), key=st.text())
def test_an_order_is_a_permutation(count: int, key: str) -> None:
    """Every index comes once."""
    try:
        order = keyed_order(count, key)
    except UnicodeEncodeError:
        return
    assert sorted(order.tolist()) == list(range(count))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (4, "4 outputs do not fit the 3 classes of iris: 3 are needed"),
        (1, "1 outputs do not fit the 3 classes of iris: 3 are needed"),
    ],
)
def test_outputs_must_fit_the_classes(outputs: int, message: str) -> None:
    """Another number of outputs than classes is refused, with the right one."""
    with pytest.raises(UserError, match=message):
        prepare(load_dataset("iris"), seed=0, test_fraction=0.2, outputs=outputs)


def test_two_classes_take_one_output_or_two(tmp_path: Path) -> None:
    """For two classes both ways are right, and another number is not."""
    cancer = load_dataset("breast_cancer")
    assert prepare(cancer, seed=0, test_fraction=0.2).train_targets.shape[1] == 2
    assert prepare(cancer, seed=0, test_fraction=0.2, outputs=1).train_targets.shape[1] == 1
    with pytest.raises(UserError, match="the 2 classes of breast_cancer: 1 or 2 are needed"):
        prepare(cancer, seed=0, test_fraction=0.2, outputs=3)
    path = tmp_path / "numbers.csv"
    path.write_text("1,0.5\n2,0.25\n3,0.75\n")
    with pytest.raises(UserError, match=r"2 outputs do not fit numbers\.csv: it has 1 target, and each takes one"):
        prepare(load_dataset(str(path)), seed=0, test_fraction=0.3, outputs=2)


def numbers(folder: Path) -> PreparedData:
    path = folder / "numbers.csv"
    path.write_text("1,0.5\n2,0.25\n3,0.75\n")
    return prepare(load_dataset(str(path)), seed=0, test_fraction=0.3)


def test_saved_data_are_loaded_bit_for_bit(tmp_path: Path) -> None:
    """Arrays, labels and encoding come back as they were, and the file is the same each time."""
    for prepared in (prepare(load_dataset("iris"), seed=5, test_fraction=0.2), numbers(tmp_path)):
        path = tmp_path / "prepared.npz"
        prepared.save(path)
        first = path.read_bytes()
        prepared.save(path)
        assert path.read_bytes() == first
        loaded = PreparedData.load(path)
        assert (loaded.dataset, loaded.sha256, loaded.encoding) == (
            prepared.dataset,
            prepared.sha256,
            prepared.encoding,
        )
        for name in ARRAYS:
            before, after = getattr(prepared, name), getattr(loaded, name)
            assert (before is None) == (after is None)
            if before is not None:
                assert before.dtype == after.dtype
                assert after.flags.c_contiguous
                assert before.tobytes() == after.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"train_inputs": np.zeros((2, 9))},
        {"train_targets": np.zeros((2, 2))},
        {"test_inputs": np.array([["a"]])},
        {"metadata": np.array("{")},
        {"metadata": np.array("{}")},
        {"metadata": np.array("[]")},
        {"train_labels": None},
        {"train_labels": np.full(120, 3)},
        {"train_labels": np.zeros(120)},
        {"train_inputs": np.full((120, 4), np.nan)},
        {"test_inputs": None},
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    """A file whose parts are missing or do not fit one another is refused in one line."""
    path = tmp_path / "prepared.npz"
    prepare(load_dataset("iris"), seed=5, test_fraction=0.2).save(path)
    with np.load(path) as stored:
        contents = {name: value for name, value in ({**stored} | change).items() if value is not None}
    np.savez(path, **contents)
    with pytest.raises(UserError, match=r"prepared\.npz: is "):
        PreparedData.load(path)


def test_an_unwritable_place_is_refused(tmp_path: Path) -> None:
    """Saving where it cannot be saved is the user's to know."""
    with pytest.raises(UserError, match="cannot be written"):
        prepare(load_dataset("xor"), seed=0, test_fraction=0.0).save(tmp_path / "missing" / "prepared.npz")


def test_a_service_needs_no_scikit_learn_to_start(tmp_path: Path) -> None:
    """Importing the package, loading prepared data and measuring accuracy import NumPy, not scikit-learn."""
    path = tmp_path / "prepared.npz"
    prepare(load_dataset("iris"), seed=0, test_fraction=0.2).save(path)
    program = f"""
import sys
from pathlib import Path
import coordinator.settings
from coordinator.data import PreparedData
from coordinator.scores import accuracy
prepared = PreparedData.load(Path({str(path)!r}))
assert accuracy(prepared.encoding, prepared.test_targets, prepared.test_targets) == 1.0
assert not {{"sklearn", "scipy", "pandas"}} & set(sys.modules), "scikit-learn was imported"
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)

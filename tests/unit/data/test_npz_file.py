"""NPZ files: what is read, and what is refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from coordinator.data import load_dataset
from coordinator.errors import UserError

X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def save(folder: Path, **contents: Any) -> str:
    path = folder / "data.npz"
    np.savez(path, **contents)
    return str(path)


def refusal(path: str, target: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load_dataset(path, target=target)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(path, "FILE")


@quick
@given(
    inputs=arrays.arrays(
        st.sampled_from((np.float64, np.float32, np.int16, np.uint8, np.bool_)),
        st.tuples(st.integers(2, 6), st.integers(1, 4)),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_every_type_of_number_is_read(tmp_path: Path, inputs: Any) -> None:
    """Arrays of any numeric type and either memory order arrive as the same numbers, float64 in C order."""
    targets = np.arange(len(inputs)) % 2
    for array in (inputs, np.asfortranarray(inputs)):
        dataset = load_dataset(save(tmp_path, X=array, y=targets))
        assert dataset.inputs.flags.c_contiguous
        assert dataset.inputs.dtype == np.float64
        assert (dataset.inputs == inputs).all()
        assert dataset.targets.tolist() == [str(label) for label in targets]


@pytest.mark.parametrize(
    ("targets", "classes"),
    [
        (np.array([0, 1, 2]), ("0", "1", "2")),
        (np.array([[2.0], [1.0], [2.0]]), ("1", "2")),
        (np.array(["b", "a", "b"]), ("a", "b")),
        (np.array([True, False, True]), ("False", "True")),
        (np.array([2**53 + 1, 2**53, 2**53]), ("9007199254740992", "9007199254740993")),
        (np.array([b"b", b"a", b"b"]), ("a", "b")),
        (np.eye(3), ("0", "1", "2")),
        (np.array([0.5, 1.0, 2.0]), None),
        (np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), None),
    ],
)
def test_targets_are_classes_or_numbers(tmp_path: Path, targets: Any, classes: tuple[str, ...] | None) -> None:
    """Text, few integers and one-hot rows are classes; other numbers, one or several a row, are numbers."""
    dataset = load_dataset(save(tmp_path, inputs=X, targets=targets))
    assert dataset.classes == classes
    if classes is None:
        assert (dataset.targets == targets.reshape(3, -1)).all()


def test_images_are_flattened_and_inputs_may_be_named(tmp_path: Path) -> None:
    """Further dimensions of the inputs become features, and an array gives them names."""
    images = np.arange(12.0).reshape(3, 2, 2)
    names = np.array(["a", "b", "c", "d"])
    dataset = load_dataset(save(tmp_path, X=images, other=[0, 1, 1], feature_names=names), target="other")
    assert dataset.inputs.tolist() == images.reshape(3, 4).tolist()
    assert dataset.feature_names == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"y": [0, 1, 1]}, "FILE: has no array 'X' or 'inputs'; known are: y"),
        ({"X": X}, "FILE: has no array 'y' or 'targets'; known are: X"),
        (
            {"X": X[:, 0], "y": [0, 1, 1]},
            "FILE: array 'X' has shape (3,); (rows, features) is needed; a single feature is X.reshape(-1, 1)",
        ),
        ({"X": X[:, :0], "y": [0, 1, 1]}, "FILE: array 'X' has shape (3, 0); (rows, features) is needed"),
        (
            {"X": X, "y": [0, 1]},
            "FILE: array 'y' has shape (2,); a target for each of the 3 rows is needed (if the inputs have a sample in each "
            "column, save their transpose)",
        ),
        ({"X": X, "y": [1, 1, 1]}, "FILE: all rows are of the one class '1'; at least two classes are needed"),
        ({"X": X[:1], "y": [1]}, "FILE: has 1 row of data, at least 2 are needed"),
        ({"X": X.astype(str), "y": [0, 1, 1]}, "FILE: array 'X' holds text, not numbers"),
        (
            {"X": X * np.inf, "y": [0, 1, 1]},
            "FILE, row 1, column 1: is not finite (infinity), a number is needed",
        ),
        ({"X": X, "y": [0.5, np.inf, 1]}, "FILE, row 2, column 'y': is not finite (NaN or infinity)"),
        (
            {"X": X * 1j, "y": [0, 1, 1]},
            "FILE: array 'X' is of type complex128; numbers or text are needed; save its real and imaginary parts apart",
        ),
        (
            {"X": X.astype("datetime64[D]"), "y": [0, 1, 1]},
            "FILE: array 'X' is of type datetime64[D]; numbers or text are needed; turn the dates into numbers first",
        ),
        (
            {"X": X, "y": [0, 1, 1], "feature_names": np.array(["a", "a"])},
            "FILE: array 'feature_names' must hold 2 different names",
        ),
    ],
)
def test_bad_arrays_are_refused(tmp_path: Path, contents: dict[str, Any], message: str) -> None:
    """Every fault of the arrays gets its own line."""
    assert refusal(save(tmp_path, **contents)) == message


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    """An array of Python objects, which could run code when it is loaded, is refused by its header."""
    contents = np.array([{"a": 1}, None, "x"], dtype=object)
    assert refusal(save(tmp_path, X=X, y=contents)) == (
        "FILE: array 'y' is of Python objects, which are never unpickled; save it as text or numbers, with .astype(str) or "
        ".astype(float)"
    )


def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    """A few bytes that claim to be terabytes are refused before memory is asked for."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**4)})
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", header.getvalue())
        archive.writestr("y.npy", header.getvalue())
    assert refusal(str(path)) == "FILE: array 'X' is broken or not an array of numbers or text"


@quick
@given(cut=st.integers(0, 800), flipped=st.integers(0, 800), bits=st.integers(1, 255))
def test_broken_files_are_read_or_refused(tmp_path: Path, cut: int, flipped: int, bits: int) -> None:
    """A file cut short or with a byte changed is read or refused in one line, and never breaks anything."""
    whole = bytearray(Path(save(tmp_path, X=X, y=[0, 1, 1])).read_bytes())
    whole[flipped % len(whole)] ^= bits
    for content in (bytes(whole), bytes(whole)[: cut % len(whole)]):
        path = tmp_path / "broken.npz"
        path.write_bytes(content)
        try:
            load_dataset(str(path))
        except UserError as error:
            assert len(str(error).splitlines()) == 1

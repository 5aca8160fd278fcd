"""Rows for a model that is there already."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from coordinator.data import Encoding, load_dataset, prepare, read_labelled, read_rows
from coordinator.errors import UserError

FLOWERS = Encoding(
    dataset="flowers.csv",
    feature_names=("length", "width"),
    target_name="species",
    scaling="standard",
    input_offset=(1.0, 2.0),
    input_scale=(2.0, 4.0),
    classes=("x", "y"),
    outputs=2,
)
PRICES = Encoding(
    dataset="prices.csv",
    feature_names=("size", "age"),
    target_name="price",
    scaling="none",
    input_offset=(0.0, 0.0),
    input_scale=(1.0, 1.0),
    classes=None,
    outputs=1,
    target_offset=(10.0,),
    target_scale=(5.0,),
)


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3,4\n",
        "1;2\n3;4\n",
        "length,width\n1,2\n3,4\n",
        "width,length\n2,1\n4,3\n",
        "width,species,length\n2,x,1\n4,unknown,3\n",
        "LENGTH, Width \n1,2\n3,4\n",
        "length,width,extra\n1,2,3\n3,4,5\n",
        "length|width\n1|2\n3|4\n",
        "length  width\n1  2\n3  4\n",
        "# a comment\nlength,width\n1,2\n3,4\n,\n",
    ],
)
def test_columns_are_found_by_name_or_by_order(text: str, tmp_path: Path) -> None:
    """With the model's names in the header the order is free; without, the order counts; the target is left out."""
    path = tmp_path / "rows.csv"
    path.write_text(text)
    for source in (io.StringIO(text), path):
        assert read_rows(source, FLOWERS).tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_one_row_is_enough() -> None:
    """A single row is read, with or without a header."""
    assert read_rows(io.StringIO("1,2"), FLOWERS).tolist() == [[1.0, 2.0]]
    assert read_rows(io.StringIO("width,length\n2,1"), FLOWERS).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "standard input: is empty, rows of data are needed"),
        ("1,2,3\n", "standard input: has 3 columns, the model takes 2 (length, width)"),
        ("1\n", "standard input: has 1 column, the model takes 2 (length, width)"),
        ("1,2\n3\n", "standard input, line 2: has 1 column where the first line has 2"),
        ("1,2\n3,x\n", "standard input, line 2, column 2: expected a number, not 'x'"),
        ("length,width\n1,nan\n", "standard input, line 2, column 2 ('width'): is not finite"),
        ("length,widht\n1,2\n", "standard input: has no column 'width'; did you mean 'widht'?"),
        ("length,width\n", "standard input: holds only a header"),
        (
            "other,names\n1,2\n",
            "standard input: shares no column with the model: it has other, names; the model takes length",
        ),
        (
            "a,b,species\n1,2,x\n",
            "standard input: shares no column with the model: it has a, b, species; the model takes",
        ),
    ],
)
def test_rows_that_do_not_fit_are_refused(text: str, message: str) -> None:
    """Every fault is one line with the place."""
    with pytest.raises(UserError) as caught:
        read_rows(io.StringIO(text), FLOWERS)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_names_with_line_ends_stay_on_one_line(tmp_path: Path) -> None:
    """Classes and columns may have any name; an error message that holds them is still one line."""
    path = tmp_path / "two\nlines.csv"
    path.write_text('"a\nb",kind\n1,"x\ny"\n2,z\n')
    encoding = prepare(load_dataset(str(path)), seed=0, test_fraction=0.0).encoding
    for read in (
        lambda: read_rows(io.StringIO("1,2,3\n"), encoding),
        lambda: read_rows(path.with_name("not\nthere.csv"), encoding),
        lambda: read_labelled(str(path), FLOWERS),
        lambda: read_labelled(str(make(path.with_name("n.csv"), "1,q\n")), encoding),
    ):
        with pytest.raises(UserError) as caught:
            read()
        assert "\n" not in str(caught.value)


def make(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_npz_rows_are_read(tmp_path: Path) -> None:
    """An NPZ file needs its inputs only, and as many features as the model has."""
    path = tmp_path / "rows.npz"
    np.savez(path, X=np.array([[1, 2], [3, 4]]))
    assert read_rows(path, FLOWERS).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    np.savez(path, X=np.zeros((2, 3)))
    with pytest.raises(UserError, match="has 3 features, the model takes 2"):
        read_rows(path, FLOWERS)


def test_a_semeion_model_reads_a_semeion_file(tmp_path: Path) -> None:
    """Predicting needs no other file than the one that was learned from."""
    path = tmp_path / "semeion.data"
    path.write_text(
        "".join("0 1 " * 128 + " ".join(str(int(c == digit)) for c in range(10)) + "\n" for digit in (3, 5))
    )
    encoding = prepare(load_dataset("semeion", data=path), seed=0, test_fraction=0.5).encoding
    assert read_rows(path, encoding).tolist() == [[0.0, 1.0] * 128] * 2
    labelled = read_labelled("semeion", encoding, data=path)
    assert labelled.labels is not None
    assert labelled.labels.tolist() == [3, 5]


def test_labelled_rows_are_scaled_and_encoded(tmp_path: Path) -> None:
    """One row of one class is enough to evaluate: the classes are the model's."""
    path = tmp_path / "rows.csv"
    path.write_text("length,width,species\n3,6,y\n")
    labelled = read_labelled(str(path), FLOWERS)
    assert labelled.inputs.tolist() == [[1.0, 1.0]]
    assert labelled.targets.tolist() == [[0.0, 1.0]]
    assert labelled.labels is not None
    assert labelled.labels.tolist() == [1]


def test_labelled_columns_may_stand_in_another_order(tmp_path: Path) -> None:
    """With the model's names in the header, features and target are found wherever they stand."""
    path = tmp_path / "rows.csv"
    path.write_text("species,width,length\ny,6,3\n")
    labelled = read_labelled(str(path), FLOWERS)
    assert labelled.inputs.tolist() == [[1.0, 1.0]]
    assert labelled.targets.tolist() == [[0.0, 1.0]]


def test_labelled_numbers_are_encoded(tmp_path: Path) -> None:
    """Targets that are numbers come in the network's units, few integers too."""
    path = tmp_path / "rows.csv"
    path.write_text("1,2,20\n3,4,10\n")
    labelled = read_labelled(str(path), PRICES)
    assert labelled.targets.tolist() == [[2.0], [0.0]]
    assert labelled.labels is None


def test_bundled_sets_evaluate_a_model_of_their_own() -> None:
    """A model of iris is evaluated on all of iris by its name."""
    iris = load_dataset("iris")
    prepared = prepare(iris, seed=0, test_fraction=0.2)
    labelled = read_labelled("iris", prepared.encoding)
    assert labelled.labels is not None and iris.labels is not None
    assert (labelled.labels == iris.labels).all()
    assert (labelled.inputs == prepared.encoding.scale_inputs(iris.inputs)).all()
    with pytest.raises(UserError, match="wine: has 13 features, the model takes 4"):
        read_labelled("wine", prepared.encoding)


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        ("1,2,x\n3,4,z\n", FLOWERS, "line 2: 'z' is none of the classes (x, y)"),
        ("1,2,3,x\n", FLOWERS, "has 4 columns, the model takes 2 (length, width)"),
        ("length,width\n1,2\n", FLOWERS, "has no column 'species' for the target"),
        ("length,width,species\n1,2,\n", FLOWERS, "holds no rows of data with a target"),
        ("1,2,x\n", PRICES, "line 1, column 'price': expected a number, not 'x'"),
    ],
)
def test_labelled_rows_that_do_not_fit_are_refused(tmp_path: Path, text: str, encoding: Encoding, message: str) -> None:
    """Unknown classes, other features and text for numbers are refused with the place."""
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_labelled(str(path), encoding)
    assert message in str(caught.value)

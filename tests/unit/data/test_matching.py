"""Tables for a trained model, and tables that pandas writes: no column is lost or mixed up."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from coordinator.data import Encoding, load_dataset, prepare, read_labelled, read_rows
from coordinator.data.prepared import inspect
from coordinator.data.rows import open_rows


def write(folder: Path, content: str | bytes, name: str = "table") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def mixed(tmp_path: Path) -> tuple[Path, Encoding]:
    colours = ("red", "white", "", "blue")
    rows = "".join(f"{n},{n * n % 11}.5,{colours[n % 4]},{n % 3 == 0},{'pq'[n % 2]}\n" for n in range(40))
    path = write(tmp_path, f"id,size,colour,new,kind\n{rows}")
    return path, prepare(load_dataset(str(path)), seed=0, test_fraction=0.2).encoding


def test_the_encoding_is_scikit_learns(tmp_path: Path) -> None:
    """`expand` computes the same as OneHotEncoder, SimpleImputer and StandardScaler."""
    path, _ = mixed(tmp_path)
    dataset = load_dataset(str(path))
    prepared = prepare(dataset, seed=0, test_fraction=0.0)
    size, colour = dataset.inputs[:, 0], dataset.inputs[:, 1]
    missing = np.isnan(colour)
    values, counts = np.unique(colour[~missing], return_counts=True)
    filled = np.where(missing, values[np.argmax(counts)], colour)[:, np.newaxis]
    hot = OneHotEncoder(sparse_output=False).fit(filled).transform(filled)
    scaled = StandardScaler().fit_transform(size[:, np.newaxis])
    expected = np.hstack((scaled, hot, np.zeros((40, 1)), missing[:, np.newaxis]))
    np.testing.assert_allclose(
        prepared.train_inputs[:, : expected.shape[1]], expected[_order(prepared, dataset)], atol=1e-12
    )
    again = Encoding.from_json(prepared.encoding.to_json())
    assert again == prepared.encoding


def _order(prepared: Any, dataset: Any) -> Any:
    """Return the row of the data set that each training row is."""
    every = prepared.encoding.encode_rows(dataset.inputs)
    return [int(np.argmin(np.abs(every - row).sum(axis=1))) for row in prepared.train_inputs]


@given(order=st.permutations(range(5)), upper=st.booleans(), extra=st.booleans())
def test_answers_do_not_depend_on_the_order_of_columns(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], upper: bool, extra: bool
) -> None:
    """The training file with its columns in another order gives the same rows for the network."""
    path, encoding = mixed(tmp_path_factory.mktemp("order"))
    rows = [line.split(",") for line in path.read_text().splitlines()]
    shuffled = [[row[index] for index in order] + ["9"] * extra for row in rows]
    shuffled[0] = [name.upper() if upper else name for name in shuffled[0][:5]] + ["more"] * extra
    other = write(path.parent, "".join(",".join(row) + "\n" for row in shuffled), "other")
    expected = encoding.encode_rows(read_rows(path, encoding))
    assert encoding.encode_rows(read_rows(other, encoding)).tolist() == expected.tolist()
    labelled = read_labelled(str(other), encoding)
    assert labelled.inputs.tolist() == expected.tolist()
    assert labelled.targets.tolist() == read_labelled(str(path), encoding).targets.tolist()
    assert any("'more'" in note for note in labelled.notes) is extra


def test_what_is_assumed_of_new_rows_is_said(tmp_path: Path) -> None:
    """Filled cells, new texts and rows without a target are counted."""
    _, encoding = mixed(tmp_path)
    path = write(tmp_path, "Size,colour,new,kind\n1.5,RED,True,p\n,green,False,q\n2.5,white,True,?\n", "new")
    notes = read_labelled(str(path), encoding).notes
    assert [note for note in notes if "'Size' is taken for the model's 'size'" in note]
    assert [note for note in notes if note == "1 missing cell of 'size' filled in"]
    assert [note for note in notes if note.startswith("1 cell of 'colour' holds no text of the training rows")]
    assert [note for note in notes if note == "'RED' in 'colour' is taken for 'red'"]
    assert [note for note in notes if note == "1 row has no target and is left out"]


def test_a_fault_of_the_output_is_not_the_files(tmp_path: Path) -> None:
    """An error in the code that uses the rows, such as a full disk, is not reported as an error of the file."""
    path, encoding = mixed(tmp_path)
    with pytest.raises(OSError, match="full"), open_rows(path, encoding) as rows:
        for _ in rows:
            raise OSError("full")


CELLS = st.one_of(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=12, max_size=12),
    st.lists(st.sampled_from(["red", "dark green", "x,y", 'said "so"', "grün"]), min_size=12, max_size=12),
    st.lists(st.one_of(st.none(), st.floats(-10, 10, allow_subnormal=False)), min_size=12, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
)


@given(
    columns=st.lists(CELLS, min_size=1, max_size=4),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_written_table_is_found_again(
    tmp_path_factory: pytest.TempPathFactory, columns: list[list[Any]], delimiter: str, encoding: str, end: str
) -> None:
    """In any dialect and encoding, each column has the cells that were written, or the report says why it is left out."""
    names = [f"column of {letter}" for letter in "abcd"[: len(columns)]]
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
    writer.writerow([*names, "size", "class"])
    for row in range(12):
        cells = ["" if column[row] is None else column[row] for column in columns]
        writer.writerow([*cells, row % 5 + 0.25, "pq"[row % 2]])
    path = write(tmp_path_factory.mktemp("written"), file.getvalue().encode(encoding))
    dataset = load_dataset(str(path))
    report = inspect(dataset, seed=0, test_fraction=0.25)
    assert [column.name for column in report.columns] == [*names, "size", "class"]
    assert (report.facts.delimiter, report.rows) == (delimiter, 12)
    used = {column.name: position for position, column in enumerate(dataset.columns)}
    for name, cells in zip(names, columns, strict=True):
        if name not in used:
            assert any(repr(name) in warning for warning in report.warnings)
            continue
        column = dataset.columns[used[name]]
        values = dataset.inputs[:, used[name]]
        found = [
            None if np.isnan(value) else column.categories[int(value)] if column.categories else value
            for value in values
        ]
        assert found == [str(cell) if isinstance(cell, str | bool) else cell for cell in cells]

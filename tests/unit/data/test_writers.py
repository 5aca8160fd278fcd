"""Tables with a known meaning, written in many ways by the csv module, json and DuckDB: the meaning is found again."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from coordinator.data import load_dataset, prepare
from coordinator.data.encoding import Encoding
from coordinator.data.rows import encoded, open_rows
from coordinator.data.table import Floats

quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

WORDS = ("red", "blue", "grün", "a b", "x,y", 'say "so"', "semi;colon", "t|b", "3+", "n/r", "#1", "it's", "two\nlines")
NAMES = ("weight", "Größe", "kind of", "w,h", 'the "best"', "2019", "p;q", "length (mm)", "n°")
LATIN = {"utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"}
Cell = float | str | bool | None


@dataclass(frozen=True)
class Meaning:
    """A table as a person means it: the kinds of its columns, and its cells. The last column is the target."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def column(self, index: int) -> list[Cell]:
        return [row[index] for row in self.rows]

    def reordered(self, order: list[int]) -> Meaning:
        return Meaning(
            tuple(self.names[i] for i in order),
            tuple(self.kinds[i] for i in order),
            tuple(tuple(row[i] for i in order) for row in self.rows),
        )


@dataclass(frozen=True)
class Style:
    """How a table is written."""

    writer: str = "csv"
    delimiter: str = ","
    quoting: int = csv.QUOTE_MINIMAL
    end: str = "\n"
    encoding: str = "utf-8"
    decimal: str = "."
    missing: str = ""
    packing: str = "none"
    comment: str = ""
    empty_end: str = ""


def cells_of(kind: str, rows: int) -> st.SearchStrategy[list[Cell]]:
    """Return cells of a kind that are not all alike, some missing."""
    given: dict[str, st.SearchStrategy[Any]] = {
        "number": st.floats(-1e6, 1e6).map(lambda value: round(value, 2)),
        "category": st.sampled_from(WORDS[:5]) | st.sampled_from(WORDS),
        "boolean": st.booleans(),
    }
    first: dict[str, list[Cell]] = {"number": [-2.5, 11.75], "category": ["red", "a b"], "boolean": [True, False]}
    cell = st.one_of(*[given[kind]] * 4, st.none())
    return st.lists(cell, min_size=rows - 2, max_size=rows - 2).map(lambda cells: [*first[kind], *cells])


@st.composite
def meanings(draw: st.DrawFn) -> Meaning:
    rows, width = draw(st.integers(24, 40)), draw(st.integers(1, 4))
    kinds = draw(st.lists(st.sampled_from(("number", "number", "category", "boolean")), min_size=width, max_size=width))
    names = draw(st.permutations(NAMES))[:width]
    columns = [draw(cells_of(kind, rows)) for kind in kinds]
    for column in columns:
        # A category whose texts differ in most rows would be free text.
        column[12:24] = column[:12]
    classes = draw(st.sampled_from((("yes", "no"), ("01067", "04109"), ("[low]", ":high:", "+"), ("x 1", "x,2"))))
    target = [classes[index % len(classes)] for index in range(rows)]
    return Meaning((*names, "outcome"), (*kinds, "target"), tuple(zip(*columns, target, strict=True)))


styles = st.builds(
    Style,
    writer=st.sampled_from(("csv", "csv", "csv", "duckdb", "parquet", "json", "json lines", "json columns")),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)),
    end=st.sampled_from(("\n", "\r\n")),
    encoding=st.sampled_from(sorted(LATIN)),
    decimal=st.sampled_from(".,"),
    missing=st.sampled_from(("", "NA", "NaN", "?", "N/A", "null")),
    packing=st.sampled_from(("none", "none", "gzip", "xz")),
    comment=st.sampled_from(("", "", "# made by a person\n")),
    empty_end=st.sampled_from(("", "", "\n\n")),
)


def text_of(cell: Cell, style: Style) -> str:
    if cell is None:
        return style.missing
    return repr(cell).replace(".", style.decimal) if isinstance(cell, float) else str(cell)


def write(path: Path, meaning: Meaning, style: Style) -> None:
    """Write a table in a style."""
    objects = [dict(zip(meaning.names, row, strict=True)) for row in meaning.rows]
    if style.writer in ("duckdb", "parquet"):
        with_duckdb(path, meaning, style)
        return
    if style.writer == "csv":
        text = io.StringIO()
        # The first cell of a comment's line must not look like a name.
        text.write(style.comment)
        writer = csv.writer(text, delimiter=style.delimiter, quoting=style.quoting, lineterminator=style.end)  # type: ignore[arg-type]
        writer.writerow(meaning.names)
        writer.writerows([text_of(cell, style) for cell in row] for row in meaning.rows)
        text.write(style.empty_end)
        content = text.getvalue().encode(style.encoding)
    elif style.writer == "json lines":
        content = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects).encode()
    elif style.writer == "json columns":
        columns = {name: meaning.column(index) for index, name in enumerate(meaning.names)}
        content = json.dumps(columns, indent=1).encode()
    else:
        content = json.dumps(objects).encode()
    if style.packing == "gzip":
        content = gzip.compress(content)
    path.write_bytes(lzma.compress(content) if style.packing == "xz" else content)


def with_duckdb(path: Path, meaning: Meaning, style: Style) -> None:
    types = {"number": "DOUBLE", "boolean": "BOOLEAN"}
    declared = ", ".join(
        '"{}" {}'.format(name.replace('"', '""'), types.get(kind, "VARCHAR"))
        for name, kind in zip(meaning.names, meaning.kinds, strict=True)
    )
    form = "FORMAT parquet" if style.writer == "parquet" else f"FORMAT csv, HEADER, DELIMITER '{style.delimiter}'"
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t ({declared})")
        marks = ", ".join("?" * len(meaning.names))
        connection.executemany(f"INSERT INTO t VALUES ({marks})", [list(row) for row in meaning.rows])
        connection.execute(f"COPY t TO '{path}' ({form})")


def expected(meaning: Meaning, index: int) -> list[Cell]:
    """Return the cells of a column as numbers, or as texts."""
    cells = meaning.column(index)
    return [str(cell) if isinstance(cell, bool) else cell for cell in cells]


def found(inputs: Floats, categories: tuple[str, ...]) -> list[Cell]:
    return [
        None if np.isnan(value) else categories[int(value)] if categories else float(value) for value in inputs.tolist()
    ]


@quick
@given(meaning=meanings(), style=styles)
@example(
    meaning=Meaning(("a", "outcome"), ("number", "target"), tuple((i * 1.25, "yn"[i % 2]) for i in range(24))),
    style=Style(delimiter=";", decimal=",", encoding="utf-16"),
)
def test_what_was_meant_is_found_again(tmp_path: Path, meaning: Meaning, style: Style) -> None:
    """Kinds, numbers, texts, missing cells and classes are those that were written, in any style."""
    path = tmp_path / "table"
    write(path, meaning, style)
    dataset = load_dataset(str(path))
    report = prepare(dataset, seed=0, test_fraction=0.25).report
    assert report is not None
    described = [(column.name, column.kind, column.missing) for column in report.columns]
    missing = [sum(cell is None for cell in meaning.column(index)) for index in range(len(meaning.names))]
    assert described == list(zip(meaning.names, meaning.kinds, missing, strict=True))
    for position, column in enumerate(dataset.columns):
        assert found(dataset.inputs[:, position], column.categories) == expected(meaning, position)
    assert dataset.targets.tolist() == meaning.column(len(meaning.names) - 1)


def rows_for(path: Path, encoding: Encoding) -> Floats:
    with open_rows(path, encoding) as rows:
        return np.concatenate([encoded(encoding, batch, rows) for batch in rows])


@quick
@given(meaning=meanings(), style=styles, other=styles, data=st.data())
def test_columns_may_be_shuffled_and_written_in_another_way(
    tmp_path: Path, meaning: Meaning, style: Style, other: Style, data: st.DataObject
) -> None:
    """The network gets the same inputs from a table with shuffled columns in another style, so its answers are the same."""
    path, shuffled = tmp_path / "table", tmp_path / "shuffled"
    write(path, meaning, style)
    prepared = prepare(load_dataset(str(path)), seed=0, test_fraction=0.0)
    order = data.draw(st.permutations(range(len(meaning.names))))
    if data.draw(st.booleans()):
        order.remove(len(meaning.names) - 1)
    if len(order) == 1 and other.writer == "duckdb":
        # DuckDB writes a missing cell of a single column as an empty line.
        other = replace(other, writer="csv")
    # A table with one row's decimal mark could mean either: both tables have the same.
    write(shuffled, meaning.reordered(order), replace(other, decimal=style.decimal))
    assert rows_for(path, prepared.encoding).tobytes() == prepared.train_inputs.tobytes()
    assert rows_for(shuffled, prepared.encoding).tobytes() == prepared.train_inputs.tobytes()

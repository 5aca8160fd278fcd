"""Tables from many programs: files, kinds of columns, targets, and the report about them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator.data import load_dataset, prepare, read_rows
from coordinator.data.options import TableOptions
from coordinator.data.prepared import inspect
from coordinator.data.report import DataReport
from coordinator.errors import UserError
from coordinator.job import Job
from coordinator.settings import inspect_data, resolve_settings

NUMBERS = [
    (5.1, 3.5, "setosa"),
    (7.0, 3.2, "virginica"),
    (4.9, 3.0, "setosa"),
    (6.4, 3.1, "virginica"),
    (5.5, 2.9, "virginica"),
]
NAMES = ("length", "width", "kind")


def text(delimiter: str = ",", *, header: bool = True, decimal: str = ".", end: str = "\n") -> str:
    lines = [delimiter.join(NAMES)] if header else []
    lines += [delimiter.join((*(f"{n:.1f}".replace(".", decimal) for n in row[:2]), row[2])) for row in NUMBERS]
    return "".join(line + end for line in lines)


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def report_of(path: Path, **options: Any) -> DataReport:
    return inspect(load_dataset(str(path), options=TableOptions(**options)), seed=0, test_fraction=0.2)


def write(folder: Path, content: str | bytes, name: str = "table") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


PLAIN = text().encode()
HEADLESS = text(header=False)
FILES: dict[str, tuple[str | bytes, dict[str, Any]]] = {
    "comma": (text(), {"delimiter": ","}),
    "semicolon": (text(";"), {"delimiter": ";"}),
    "tab": (text("\t"), {"delimiter": "\t"}),
    "pipe": (text("|"), {"delimiter": "|"}),
    "blanks": (text("   "), {"delimiter": " "}),
    "decimal comma": (text(";", decimal=","), {"delimiter": ";", "decimal": ","}),
    "no header": (HEADLESS, {"header": False}),
    "old line ends": (text(end="\r\n"), {}),
    "sep=": ("sep=;\n" + text(";"), {"delimiter": ";"}),
    "comments": ("# one\n# two, three\n" + text(), {}),
    "names in a comment": ("# " + text(), {}),
    "comment of UCI": ("|1x3 Cross validator\n" + HEADLESS, {"header": False}),
    "rows of empty cells": (text() + "\n,,\n,,\n", {}),
    "delimiter at the end": (text(end=",\n"), {}),
    "row names of R": (
        "length width kind\n" + "".join(f'"{i}" {a} {b} "{c}"\n' for i, (a, b, c) in enumerate(NUMBERS, start=1)),
        {"delimiter": " "},
    ),
    "scikit-learn's own": (
        "5,2,setosa,virginica\n" + HEADLESS.replace("setosa", "0").replace("virginica", "1"),
        {"header": True},
    ),
    "UTF-8 with a mark": (b"\xef\xbb\xbf" + PLAIN, {"encoding": "utf-8-sig"}),
    "UTF-16": (text().encode("utf-16"), {"encoding": "utf-16"}),
    "UTF-16 without a mark": (text().encode("utf-16-le"), {"encoding": "utf-16-le"}),
    "gzip": (gzip.compress(PLAIN), {"packing": "gzip"}),
    "xz": (lzma.compress(PLAIN), {"packing": "xz"}),
    "bzip2": (bz2.compress(PLAIN), {"packing": "bzip2"}),
    "zip": (zipped("table.csv", PLAIN), {"packing": "zip"}),
    "JSON lines": (
        "".join(f'{{"length": {a}, "width": {b}, "kind": "{c}"}}\n' for a, b, c in NUMBERS),
        {"format": "jsonl"},
    ),
    "JSON": (
        "[" + ",".join(f'{{"length": {a}, "width": {b}, "kind": "{c}"}}' for a, b, c in NUMBERS) + "]",
        {"format": "json"},
    ),
    "ARFF": (
        "@relation f\n@attribute length numeric\n@attribute width numeric\n@attribute kind {setosa,virginica}\n@data\n"
        + HEADLESS,
        {"format": "arff"},
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_of_every_kind_hold_the_same_table(kind: str, tmp_path: Path) -> None:
    """In every notation, numbers and classes are read as they were written, and the report names the notation."""
    content, facts = FILES[kind]
    path = write(tmp_path, content)
    dataset = load_dataset(str(path))
    rows = [tuple(row) for row in dataset.inputs[:, -2:].tolist()]
    assert rows == [row[:2] for row in NUMBERS]
    assert dataset.targets.tolist() == [row[2] for row in NUMBERS]
    told = report_of(path).to_json()
    assert {name: told[name] for name in facts} == facts
    assert told["rows"] == len(NUMBERS)
    assert told["inputs"] == sum(column["inputs"] for column in told["columns"])


def test_parquet_holds_the_same_table(tmp_path: Path) -> None:
    """Parquet keeps its numbers, also floats of 32 bits."""
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "table"
    values = ", ".join(f"({a}::DOUBLE, {b}::FLOAT, '{c}', NULL::INT)" for a, b, c in NUMBERS)
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * FROM (VALUES {values}) AS t(length, width, kind, gone)) TO '{path}' (FORMAT PARQUET)"
        )
    dataset = load_dataset(str(path), target="kind")
    assert dataset.inputs[:, 0].tolist() == [row[0] for row in NUMBERS]
    assert dataset.inputs[:, 1].tolist() == [float(np.float32(row[1])) for row in NUMBERS]
    assert dataset.targets.tolist() == [row[2] for row in NUMBERS]
    assert {column.name: column.kind for column in dataset.facts.columns}["gone"] == "constant"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress], ids=["plain", "gzip", "bzip2"])
def test_svmlight_is_read_packed_or_not(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Sparse rows are read for learning and predicting; a truncated file is refused."""
    content = pack(b"1 1:5.1 2:3.5\n2 1:7\n1 2:3\n2 1:6.4 2:3.1\n")
    path = write(tmp_path, content)
    dataset = load_dataset(str(path))
    assert dataset.inputs.tolist() == [[5.1, 3.5], [7.0, 0.0], [0.0, 3.0], [6.4, 3.1]]
    assert dataset.classes == ("1", "2")
    encoding = prepare(dataset, seed=0, test_fraction=0.0).encoding
    assert read_rows(path, encoding).tolist() == dataset.inputs.tolist()
    if pack is not bytes:
        for read in (load_dataset, lambda name: read_rows(Path(name), encoding)):
            with pytest.raises(UserError, match="cannot be unpacked"):
                read(str(write(tmp_path, content[:-9], "cut")))


@pytest.mark.parametrize(
    ("encoding", "name", "found"),
    [("cp1252", "“é” µm", "cp1252"), ("latin-1", "espèce", "latin-1"), ("utf-8", "espèce", "utf-8")],
)
def test_bytes_that_are_not_utf_8_are_read(tmp_path: Path, encoding: str, name: str, found: str) -> None:
    """A name with letters beyond ASCII is read in all encodings that spreadsheets export."""
    path = write(tmp_path, text().replace("length", name).encode(encoding))
    assert load_dataset(str(path)).feature_names == (name, "width")
    assert report_of(path).facts.encoding == found


@pytest.mark.parametrize(
    "header",
    ["0,1,2,3", "400,402.5,405,kind", "2019,2020,2021,kind", "1,2,3,4"],
    ids=["counted", "even", "years", "from 1"],
)
def test_numbers_may_be_names(tmp_path: Path, header: str) -> None:
    """A header of numbers is a header if the columns contain something else."""
    rows = "".join(f"{n / 7:.4f},{n / 3:.4f},{n / 9:.4f},{'ab'[n % 2]}\n" for n in range(1, 13))
    dataset = load_dataset(str(write(tmp_path, f"{header}\n{rows}")))
    assert dataset.feature_names == tuple(header.split(","))[:3]
    assert dataset.samples == 12


COLUMNS: dict[str, tuple[list[str], str, int, int]] = {
    "number": ([f"{n / 7:.3f}" for n in range(12)], "number", 1, 0),
    "amounts": ([f'"{n},100"' for n in range(1, 13)], "number", 1, 0),
    "money": ([f"${n}.50" for n in range(12)], "number", 1, 0),
    "percent": ([f"{n} %" for n in range(12)], "number", 1, 0),
    "true minus": ([f"\u2212{n}" for n in range(12)], "number", 1, 0),
    "missing numbers": ([*map(str, (3, 1, 4, 1, 5, 9, 2, 6, 5, 3)), "", "NA"], "number", 1, 2),
    "text": (["red", "green", "blue"] * 4, "category", 4, 0),
    "missing text": (["red", "green", "?"] * 4, "category", 3, 4),
    "grades": (["+", "-"] * 6, "category", 3, 0),
    "truth": (["True", "false"] * 6, "boolean", 2, 0),
    "date": ([f"2024-01-{n + 1:02d}" for n in range(12)], "date", 0, 0),
    "from 0": ([str(n) for n in range(12)], "index", 0, 0),
    "from 1": ([str(n + 1) for n in range(12)], "index", 0, 0),
    "one value": (["7"] * 12, "constant", 0, 0),
    "free text": ([f"remark {n} on it" for n in range(12)], "ignored", 0, 0),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_are_of_the_kind_that_a_person_sees(kind: str, tmp_path: Path) -> None:
    """Each kind of column gets its inputs; the report names a column that is left out."""
    cells, expected, inputs, missing = COLUMNS[kind]
    path = write(tmp_path, "a,b,y\n" + "".join(f"{cell},{n * n % 7},{'pq'[n % 2]}\n" for n, cell in enumerate(cells)))
    report = report_of(path)
    column = report.columns[0]
    assert (column.kind, column.missing) == (expected, missing)
    # Whether a column gets an input for missing cells depends on where they were drawn.
    assert column.inputs - inputs in ((0, 1) if missing else (0,))
    if not inputs:
        assert any("'a'" in warning for warning in report.warnings)


@pytest.mark.parametrize("name", ["", "id", "Id", "ID", "index", "PassengerId", "customer_id", "Unnamed: 0"])
def test_ids_are_left_out_by_their_name(tmp_path: Path, name: str) -> None:
    """Values that all differ are an index under such a name, and a measurement under another."""
    cells = [str((n * 7919) % 1000) for n in range(12)]
    rows = "".join(f"{cell},{n * n % 7},{'pq'[n % 2]}\n" for n, cell in enumerate(cells))
    assert report_of(write(tmp_path, f"{name},b,y\n{rows}")).columns[0].kind == "index"
    assert report_of(write(tmp_path, f"liquid,b,y\n{rows}")).columns[0].kind == "number"


def test_dates_are_refused_with_what_to_do(tmp_path: Path) -> None:
    """`data` shows a date; learn refuses it, and accepts the table without it."""
    path = write(tmp_path, "day,b,y\n" + "".join(f"2024-01-{n + 1:02d},{n % 5}.5,{'pq'[n % 2]}\n" for n in range(12)))
    with pytest.raises(UserError, match=r"column 1 \('day'\) contains dates.*--ignore day"):
        prepare(load_dataset(str(path)), seed=0, test_fraction=0.2)
    assert report_of(path, ignore=("day",)).inputs == 1


def test_pixels_that_never_vary_stay_in_arrays(tmp_path: Path) -> None:
    """A constant pixel stays an input; NaN in arrays is filled in."""
    pictures = np.zeros((10, 2, 2))
    pictures[:, 0, 1] = np.arange(10)
    pictures[3, 1, 1] = np.nan
    path = tmp_path / "pictures.npz"
    np.savez(path, x_train=pictures[:8], y_train=np.arange(8) % 2, x_test=pictures[8:], y_test=np.arange(2))
    prepared = prepare(load_dataset(str(path)), seed=0, test_fraction=0.5)
    assert prepared.encoding.features == 5
    assert (len(prepared.train_inputs), len(prepared.test_inputs)) == (8, 2)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"PK\x03\x04cut off", {}, "is a zip file that is broken or cut off"),
        (zipped("xl/workbook.xml", b"<x/>"), {}, "is an Excel workbook"),
        (b"\x80\x04\x95", {}, "is a Python pickle, which is never loaded"),
        (gzip.compress(PLAIN)[:40], {}, "cannot be unpacked"),
        ("<html><body>404</body></html>", {}, "is a web page or XML, not a table"),
        ("a,b,y\n1,2,p\n3,#DIV/0!,q\n", {}, "line 3, column 2 ('b'): expected a number, not '#DIV/0!'"),
        (text(), {"ignore": ("colour",)}, "--ignore: FILE has no column 'colour'"),
        (text(), {"inputs": ("kind",)}, "--inputs: 'kind' is the target"),
        (text(), {"target": "9"}, "has no column '9' for the target"),
        (text(), {"encoding": "morse"}, "--encoding: no text encoding 'morse'"),
        ("é,b\n1,2\n".encode("latin-1"), {"encoding": "utf-8"}, "line 1: is not UTF-8 text; name the right --encoding"),
    ],
)
def test_file_that_is_no_table_is_refused_in_one_line(
    tmp_path: Path, content: str | bytes, options: dict[str, Any], message: str
) -> None:
    """The message says what the file is, or where it is wrong, and what would be right."""
    path = write(tmp_path, content)
    with pytest.raises(UserError) as caught:
        report_of(path, **options)
    assert message.replace("FILE", str(path)) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("f\udce9.csv", "DATASET: the file's name 'f\\udce9.csv' is not UTF-8; rename the file"),
        ("x" * 300, "no data set 'xxx"),
        ("x" * 300 + ".csv", "File name too long"),
        ("a\0b.csv", "cannot be read (embedded null byte)"),
    ],
)
def test_names_that_are_no_files_name_the_real_cause(name: str, message: str) -> None:
    """The message for a name in another encoding, or a name that is too long, gives the real cause."""
    with pytest.raises(UserError) as caught:
        inspect_data(resolve_settings({"dataset": name}, {}, None))
    assert message in str(caught.value)


def test_a_run_is_named_after_a_file_with_a_long_name(tmp_path: Path) -> None:
    """A file may have the longest possible name; the folder of its run has the beginning of that name."""
    path = write(tmp_path, text(), "\u00e9" * 125)
    directory = Job.from_flags({"dataset": str(path)}, None).create_run(tmp_path / "runs")
    assert directory.path.name.endswith("\u00e9" * 48)


def test_options_overrule_detected_columns(tmp_path: Path) -> None:
    """Every override has its effect."""
    path = write(tmp_path, "1;2;x\n3;4;y\n5;-1;x\n")
    assert load_dataset(str(path), options=TableOptions(header=True)).feature_names == ("1", "2")
    assert load_dataset(str(path), options=TableOptions(target="first")).target_name == "column 1"
    assert report_of(path, missing=("-1",)).columns[1].missing == 1
    assert report_of(path, inputs=("2",)).inputs == 1
    commas = write(tmp_path, "a;y\n1,100;p\n2,200;q\n3,300;p\n")
    assert load_dataset(str(commas)).inputs[:, 0].tolist() == [1100.0, 2200.0, 3300.0]
    assert load_dataset(str(commas), options=TableOptions(decimal=",")).inputs[:, 0].tolist() == [1.1, 2.2, 3.3]


DOUBTFUL: dict[str, tuple[Callable[[int], str], str]] = {
    "copy": (lambda n: f"{'pq'[n % 2]},{n % 7}.5,{'pq'[n % 2]}", "'a' is equal to the target"),
    "one class": (lambda n: f"{n % 11}.5,{n % 7}.5,{'q' if n == 3 else 'p'}", "of the class 'p'"),
    "spellings": (lambda n: f"{n % 11}.5,{n % 7}.5,{('7', '007')[n % 2]}", "'007' and '7' are one number"),
    "rounding": (lambda n: f"{1e9 + n % 3 * 1e-7!r},{n % 7}.5,{'pq'[n % 2]}", "varies by less than 1e-12"),
    "far": (lambda n: f"{'1e30' if n == 5 else n % 3},{n % 7}.5,{'pq'[n % 2]}", "a value far from all others"),
}


@pytest.mark.parametrize("doubt", DOUBTFUL)
def test_suspicious_data_are_reported(doubt: str, tmp_path: Path) -> None:
    """Suspicious data are accepted, and the report warns."""
    row, message = DOUBTFUL[doubt]
    path = write(tmp_path, "a,b,y\n" + "".join(row(n) + "\n" for n in range(60)))
    assert any(message in warning for warning in report_of(path).warnings)

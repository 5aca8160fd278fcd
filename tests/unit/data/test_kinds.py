"""Tables that could be mistaken: each is read as a person would read it, refused, or read with a warning."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator.data import load_dataset, prepare, read_labelled, read_rows
from coordinator.data.options import TableOptions
from coordinator.data.prepared import inspect
from coordinator.data.report import DataReport
from coordinator.data.rows import open_rows
from coordinator.errors import UserError

ROWS = 40


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "table"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def report_of(path: Path, **options: Any) -> DataReport:
    return inspect(load_dataset(str(path), options=TableOptions(**options)), seed=0, test_fraction=0.2)


def table(head: str, row: Callable[[int], str], above: str = "", below: str = "") -> str:
    """Return a table of `ROWS` rows."""
    return f"{above}{head}\n" + "".join(row(i) + "\n" for i in range(ROWS)) + below


def plain(i: int) -> str:
    return f"{i * 0.3:.1f},{i * i % 17},{'uv'[i % 2]}"


def one(cell: Callable[[int], object]) -> str:
    """Return a table whose first column holds these cells."""
    return table("col,b,y", lambda i: f"{cell(i)},{i * i % 17},{'uv'[i % 2]}")


READ = {
    "colons": table("a:b:y", lambda i: plain(i).replace(",", ":")),
    "invisible marks": table("\ufeff\ufeffa,b,y\u200b", lambda i: plain(i) + ("\u200b" if i % 3 else "")),
    "a caret": table("a^b^y", lambda i: plain(i).replace(",", "^")),
    "Hive": table("a\x01b\x01y", lambda i: plain(i).replace(",", "\x01")),
    "a title above": table("a,b,y", plain, above="Report of May\n\n"),
    "a title in a sheet": table("a,b,y", plain, above="Report of May,,\n,,\n"),
    "names again, as in joined files": table("a,b,y", plain, below="a,b,y\n"),
    "columns of JSON": json.dumps(
        {"a": list(np.arange(40) * 0.3), "b": [i * i % 17 for i in range(40)], "y": ["uv"[i % 2] for i in range(40)]}
    ),
    "pandas' columns": json.dumps(
        {
            "a": {str(i): i * 0.3 for i in range(ROWS)},
            "b": {str(i): i * i % 17 for i in range(ROWS)},
            "y": {str(i): "uv"[i % 2] for i in range(ROWS)},
        }
    ),
    "pandas' split": json.dumps(
        {"columns": ["a", "b", "y"], "data": [[i * 0.3, i * i % 17, "uv"[i % 2]] for i in range(ROWS)]}
    ),
    "rows of JSON": json.dumps([["a", "b", "y"], *([i * 0.3, i * i % 17, "uv"[i % 2]] for i in range(ROWS))]),
    "a row of JSON per line": "".join(
        json.dumps(row) + "\n" for row in [["a", "b", "y"], *([i * 0.3, i * i % 17, "uv"[i % 2]] for i in range(ROWS))]
    ),
    "an answer of JSON": json.dumps(
        {"data": [{"a": i * 0.3, "b": i * i % 17, "y": "uv"[i % 2]} for i in range(ROWS)]}, indent=1
    ),
    "ARFF with tabs": "@relation r\n@attribute a real\n@attribute b real\n@attribute y {u,v}\n@data\n"
    + "".join(plain(i).replace(",", "\t") + "\n" for i in range(ROWS)),
}


@pytest.mark.parametrize("content", READ.values(), ids=READ)
def test_tables_of_these_kinds_are_read(tmp_path: Path, content: str) -> None:
    """Rare delimiters, titles, repeated names and the shapes of JSON give the same table."""
    report = report_of(write(tmp_path, content))
    assert [column.name for column in report.columns] == ["a", "b", "y"]
    assert (report.rows, report.inputs, report.classes) == (ROWS, 2, {"u": 20, "v": 20})


REFUSED = {
    "amounts in several units": (
        one(lambda i: f"${i}.5{'kM'[i % 2]}"),
        "not '$0.5k'; write all amounts of the column in one unit",
    ),
    "a line of units": (
        table("a,b,y\n°C,bar,-", plain),
        "not '°C' (if this line holds units or more names, take it out)",
    ),
    "an open quote": ('a,b,y\n1,2,"x\n', "line 2: is not CSV (a quotation mark is not closed)"),
    "a unit": (one(lambda i: f"{i} kg"), "line 2, column 1 ('col'): expected a number, not '0 kg'"),
    "Python's 1_000": (one(lambda i: f"{i + 1}_000"), "line 2, column 1 ('col'): expected a number, not '1_000'"),
    "below a limit": (one(lambda i: "<0.5" if i % 8 == 1 else i), "say --na '<0.5'"),
    "a word for missing": (one(lambda i: "missing" if i % 8 == 4 else i * 0.1), "say --na 'missing'"),
    "two objects of one name": ('{"a": 1, "a": 2, "y": 3}\n' * 3, "the name 'a' occurs twice"),
    "an object": ('{"message": "Not Found"}', "is not a table"),
    "an undeclared class": (
        "@relation r\n@attribute a real\n@attribute y {u,v}\n@data\n1,u\n2,v\n3,w\n",
        "line 7: 'w' is none of the declared values ('u', 'v')",
    ),
    "times of day alone": ("".join(f"{i % 24:02}:{i:02}\n" for i in range(ROWS)), "has one column"),
    "only comments": ("# a\n# b\n", "holds no rows of data but lines that begin with #"),
    "a long cell": ("a,y\n" + "x" * 200_000 + ",u\n", "line 2: is not CSV (field larger than field limit (131072))"),
    "text as a label of svmlight": ("cat 1:2 2:3\ndog 1:3 2:4\n", "is not svmlight's format"),
    "infinity in svmlight": ("1 1:2 2:3\n2 1:3 2:inf\n", "row 2: is not finite"),
    "Git LFS": ("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n", "is a pointer of Git LFS"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(9), "is packed with zstd; unpack it first"),
    "an empty zip": (b"PK\x05\x06" + bytes(18), "is an empty zip file"),
    "dates without dashes": (one(lambda i: f"202401{1 + i % 28:02}"), "contains dates"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_table_or_no_number_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    """What would be learned as something else is refused with one line."""
    with pytest.raises(UserError) as caught:
        prepare(load_dataset(str(write(tmp_path, content))), seed=0, test_fraction=0.2)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


WARNED = {
    "a class that may be missing": (
        table("a,b,y", lambda i: f"{i * 0.3:.1f},{i * i % 17},{['u', 'None'][i % 2]}"), "say --na 'None'"
    ),
    "Titanic's target": (
        table("Survived,Fare,Embarked", lambda i: f"{i % 2},{i * 0.3:.1f},{'SC'[i % 3 > 0]}"), "the target is 'Survived', by its name"
    ),
    "y in front": (table("y,x1,x2", lambda i: f"{i % 2},{i * i % 17},{i * 0.7:.1f}"), "'x2'; if it is 'y', name it with --target"),
    "two currencies": (one(lambda i: f"{'$€'[i % 2]}{i + 1}"), "'col' has numbers with '$', '€'"),
    "percent and none": (one(lambda i: f"{i + 1}{'%' if i % 2 else ''}"), "'col' has numbers with '%' and without"),
    "-999": (one(lambda i: -999 if i % 8 == 4 else i * 0.1), "say --na -999"),
    "codes": (one(lambda i: f"0{1000 + i % 7}"), "'col' looks like a code ('01000')"),
    "digits that are lost": (one(lambda i: 2**53 + i * i), "'col' has whole numbers beyond 2^53"),
    "grouping points": (one(lambda i: f"1.{100 + i % 5}.{200 + i % 3}"), "--decimal says otherwise"),
    "texts in two cases": (one(lambda i: ["male", "Male", "female"][i % 3]), "differ in case only: 'Male', 'male'"),
    "classes in two cases": (
        table("a,b,y", lambda i: f"{i * 0.3:.1f},{i * i % 17},{['yes', 'Yes', 'no'][i % 3]}"),
        "the classes 'Yes', 'yes' differ in case only",
    ),
    "a total": (table("a,b,y", lambda i: f"r{i % 3},{i * i % 17},{i * 1.5}", below="Total,300,900.5\n"), "'a' is 'Total'"),
    "the index as target": (table("a,b,id", lambda i: f"{i * 0.3:.1f},{i * i % 17},{i}"), "the target 'id' differs"),
    "classes in front": (table("kind,b,c", lambda i: f"{'uv'[i % 2]},{i * i % 17},{i * 0.7:.1f}"), "only 'kind' holds text"),
    "numbered classes in front": (
        "".join(f"{1 + i % 3},{i * i % 17},{1000 + i * i}\n" for i in range(ROWS)),
        "the first column has 3 different values",
    ),
    "another unit": (table("a,b,y", lambda i: f"{i * i % 17},{i * 4.4:.1f},{i * 2.2:.1f}"), "'b' rises and falls exactly as the target"),
    "not UTF-8": (table("größe,b,y", plain).encode("cp1252"), "is read as latin-1"),
    "names that are numbers": (table("0,1,2", lambda i: f"{i + 5},{i * i % 17},{i % 2}"), "taken for names (0, 1, 2)"),
    "queries": ("".join(f"{i % 3} qid:{i // 4} 1:{i} 2:{i * i % 17}\n" for i in range(ROWS)), "(qid) are not used"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "warning"), WARNED.values(), ids=WARNED)
def test_doubtful_tables_are_read_with_a_warning(tmp_path: Path, content: str | bytes, warning: str) -> None:
    """What may be a mistake is said before anything is learned."""
    assert any(warning in each for each in report_of(write(tmp_path, content)).warnings)


@pytest.mark.parametrize("content", [plain, lambda i: f"{i + 3},{i * i + 2},{i % 3}"])
def test_good_tables_have_no_warning(tmp_path: Path, content: Callable[[int], str]) -> None:
    """A warning means something: an ordinary table has none."""
    assert report_of(write(tmp_path, table("a,b,y", content))).warnings == ()


AMOUNTS = {
    "Swiss": (lambda i: f"{i}\u2019000", lambda i: i * 1000.0),
    "Indian": (lambda i: f'"{i + 1},00,500"', lambda i: (i + 1) * 100_000.0 + 500),
    "Brazilian": (lambda i: f"R$ {i}.50", lambda i: i + 0.5),
    "rupees": (lambda i: f"Rs. {i}.5", lambda i: i + 0.5),
    "Fortran": (lambda i: f"{i}.5D-01", lambda i: (i + 0.5) / 10),
    "minus behind": (lambda i: f"{i}.50-", lambda i: -(i + 0.5)),
    "MySQL": (lambda i: "\\N" if i == 4 else f"{i}.5", lambda i: np.nan if i == 4 else i + 0.5),
    "Windows' NaN": (lambda i: "-1.#IND" if i == 4 else f"{i}.5", lambda i: np.nan if i == 4 else i + 0.5),
}


@pytest.mark.parametrize(("cell", "value"), AMOUNTS.values(), ids=AMOUNTS)
def test_numbers_of_many_writers_are_numbers(
    tmp_path: Path, cell: Callable[[int], str], value: Callable[[int], float]
) -> None:
    """Digits grouped as in other countries, other currencies, and marks of other programs give their numbers."""
    dataset = load_dataset(str(write(tmp_path, one(cell))))
    np.testing.assert_allclose(dataset.inputs[:, 0], [value(i) for i in range(ROWS)], rtol=1e-12)


DATES = {
    "a month and a year": lambda i: f"{['Jan', 'Feb', 'March'][i % 3]}-{10 + i % 9}",
    "a quarter": lambda i: f"{2010 + i // 4}Q{i % 4 + 1}",
    "a week": lambda i: f"2020-W{i + 10}",
    "a weekday": lambda i: f'"Monday, January {i % 28 + 1}, 2020"',
    "an e-mail's date": lambda i: f'"Wed, {i % 28 + 1:02} Jan 2020 10:00:00 GMT"',
    "Japanese": lambda i: f"2020年{i % 12 + 1}月{i % 28 + 1}日",
    "an hour": lambda i: f"{i % 12 + 1}:30 PM",
    "a duration": lambda i: f"{i % 3}:{i:02}:07.5",
}


@pytest.mark.parametrize("cell", DATES.values(), ids=DATES)
def test_dates_in_many_forms_are_dates(tmp_path: Path, cell: Callable[[int], str]) -> None:
    """A date is no category, in any usual form; a text that only resembles one is no date."""
    assert report_of(write(tmp_path, one(cell))).columns[0].kind == "date"
    assert (
        report_of(write(tmp_path, one(lambda i: ["Boeing 747", "Mary 12", "May"][i % 3]))).columns[0].kind == "category"
    )


def test_tabs_beside_blanks(tmp_path: Path) -> None:
    """Tabs divide columns of words; blanks divide columns of numbers before a tab, as in UCI's auto-mpg."""
    words = "".join(f"{['ham', 'spam'][i % 2]}\tdear user {i % 7}\t{i * 0.3:.1f}\n" for i in range(ROWS))
    assert report_of(write(tmp_path, words)).facts.delimiter == "\t"
    numbers = "".join(f"{i * 0.3:.1f}   {i * i % 17}\t{['ham', 'spam'][i % 2]}\n" for i in range(ROWS))
    assert len(report_of(write(tmp_path, numbers)).columns) == 3


def test_fractions_without_a_name_are_no_index(tmp_path: Path) -> None:
    """Measurements differ in all rows too: only whole numbers and texts name rows."""
    report = report_of(write(tmp_path, table(",,y", plain)))
    assert [column.kind for column in report.columns] == ["number", "number", "target"]


def test_the_report_says_how_the_target_was_found(tmp_path: Path) -> None:
    """The target is the last column, a column of a usual name, or as asked, and the report says which."""
    last, named = write(tmp_path, table("a,b,c", plain)), "Outcome,b,c"
    assert report_of(last).columns[2].why == "the last column"
    assert report_of(last, target="b").columns[1].why == "as asked"
    report = report_of(write(tmp_path, table(named, lambda i: f"{i % 2},{i * i % 17},{i * 0.3:.1f}")))
    assert (report.target, report.columns[0].why) == ("Outcome", "by its name, column 1")


def test_indices_of_svmlight_are_the_models(tmp_path: Path) -> None:
    """A file whose rows lack the first input is read with the model's first index, not its own lowest."""
    for start in (0, 1):
        rows = "".join(f"{i % 2} {start}:{i % 5} {start + 1}:{i * i % 17} {start + 2}:{i}\n" for i in range(ROWS))
        encoding = prepare(load_dataset(str(write(tmp_path, rows))), seed=0, test_fraction=0.2).encoding
        path = write(tmp_path, f"1 {start + 1}:4\n0 {start + 2}:3\n")
        assert read_rows(path, encoding).tolist() == [[0, 4, 0], [0, 0, 3]]
        assert read_labelled(str(path), encoding).labels is not None
        with pytest.raises(UserError, match=f"has the index {start + 3}, but the model's last input has the index"):
            read_rows(write(tmp_path, f"1 {start + 1}:4 {start + 3}:2\n"), encoding)


def test_nominal_attributes_are_categories_and_classes(tmp_path: Path) -> None:
    """ARFF declares kinds: digits can be categories, and a sparse row lacks the first value that is declared."""
    head = "@relation r\n@attribute 'a b' {1,2,\"x, y\"}\n@attribute c real\n@attribute y {1500,2500}\n@data\n"
    values = ("1", "2", '"x, y"')
    dense = head + "".join(f"{values[i % 3]},{i},{(1500, 2500)[i % 2]}\n" for i in range(9))
    report = report_of(write(tmp_path, dense))
    assert [(c.name, c.kind, c.inputs) for c in report.columns[:2]] == [("a b", "category", 4), ("c", "number", 1)]
    assert report.classes == {"1500": 5, "2500": 4}
    sparse = head + "".join("{" + f"1 {i}" + (", 2 2500" if i % 2 else "") + ", 0 2}\n" for i in range(9))
    assert report_of(write(tmp_path, sparse)).classes == {"1500": 5, "2500": 4}


def test_the_fullest_object_tells_the_order_of_columns(tmp_path: Path) -> None:
    """An object may lack a column: the target is still the last one."""
    rows = ({"a": i * 0.3, **({"b": i * i % 17} if i else {}), "y": "uv"[i % 2]} for i in range(ROWS))
    report = report_of(write(tmp_path, "".join(json.dumps(row) + "\n" for row in rows)))
    assert [(c.name, c.kind, c.missing) for c in report.columns] == [
        ("a", "number", 0),
        ("b", "number", 1),
        ("y", "target", 0),
    ]


def test_archives_are_told_apart(tmp_path: Path) -> None:
    """A packed file in a zip file is read; hidden files beside it are not counted; a tar archive is refused."""
    content = table("a,b,y", plain).encode()
    path = tmp_path / "table"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("d/.DS_Store", "x")
        archive.writestr("d/data.csv.gz", gzip.compress(content))
    assert report_of(path).rows == ROWS
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("data.csv")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    with pytest.raises(UserError, match="is a tar archive"):
        report_of(write(tmp_path, packed.getvalue()))


INPUTS = np.arange(80.0).reshape(40, 2)
LABELS = np.arange(40) % 3
NPZ: dict[str, tuple[dict[str, Any], int]] = {
    "capitals": ({"X_train": INPUTS[:30], "Y_train": LABELS[:30], "X_test": INPUTS[30:], "Y_test": LABELS[30:]}, 10),
    "validation": ({"x_train": INPUTS[:30], "y_train": LABELS[:30], "x_val": INPUTS[30:], "y_val": LABELS[30:]}, 10),
    "training only": ({"x_train": INPUTS, "y_train": LABELS}, 8),
    "label": ({"X": INPUTS, "label": LABELS}, 8),
    "four without names": ({f"arr_{i}": a for i, a in enumerate((INPUTS[:30], LABELS[:30], INPUTS[30:], LABELS[30:]))}, 10),
    "train_test_split": ({f"arr_{i}": a for i, a in enumerate((INPUTS[:30], INPUTS[30:], LABELS[:30], LABELS[30:]))}, 10),
    "one-hot truth values": ({"X": INPUTS, "y": np.eye(3, dtype=bool)[LABELS]}, 8),
}  # fmt: skip


@pytest.mark.parametrize(("arrays", "held_out"), NPZ.values(), ids=NPZ)
def test_arrays_have_many_names(tmp_path: Path, arrays: dict[str, Any], held_out: int) -> None:
    """The usual names of arrays are known in any case; a test or validation part is held out."""
    path = tmp_path / "arrays.npz"
    np.savez(path, **arrays)
    report = report_of(path)
    assert (report.rows, report.held_out, report.classes) == (40, held_out, {"0": 14, "1": 13, "2": 13})


def test_rows_of_arrays_without_a_target_are_left_out(tmp_path: Path) -> None:
    """NaN is no target; its row is counted."""
    path = tmp_path / "arrays.npz"
    np.savez(path, X=INPUTS, y=np.where(LABELS == 2, np.nan, INPUTS[:, 0]))
    report = report_of(path)
    assert (report.rows, report.facts.rows_left_out, report.train + report.held_out) == (40, 13, 27)


def test_a_test_part_is_what_is_predicted_and_evaluated(tmp_path: Path) -> None:
    """A model is evaluated with the rows of the test arrays, not with those that it was trained with."""
    path = tmp_path / "arrays.npz"
    np.savez(path, **NPZ["capitals"][0])
    data = prepare(load_dataset(str(path)), seed=0, test_fraction=0.2)
    labelled = read_labelled(str(path), data.encoding)
    assert labelled.inputs.tolist() == data.test_inputs.tolist()
    assert "the 10 rows" in labelled.notes[0]
    assert read_rows(path, data.encoding).tolist() == INPUTS[30:].tolist()
    with open_rows(path, data.encoding) as rows:
        assert rows.said == ["the rows are those of 'X_test'"]

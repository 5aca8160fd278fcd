"""CSV files: what is read, what is decided about it, and what is refused with the place."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.data import load_dataset
from coordinator.data.cells import MISSING
from coordinator.data.options import TableOptions
from coordinator.errors import UserError

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = st.floats(allow_nan=False, allow_infinity=False)
class_names = st.text(st.characters(categories=("Ll", "Lu", "Lo")), min_size=1, max_size=8).filter(
    lambda name: name.lower() not in ("nan", "inf", "infinity") and name not in MISSING
)


def write(folder: Path, text: str | bytes, name: str = "data.csv") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def refusal(folder: Path, text: str | bytes, **arguments: str) -> str:
    """The one line with which the file is refused."""
    path = write(folder, text)
    with pytest.raises(UserError) as caught:
        load_dataset(path, **arguments)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(path, "FILE")


@quick
@given(
    data=st.integers(1, 5).flatmap(
        lambda width: st.lists(st.tuples(st.lists(numbers, min_size=width, max_size=width), class_names), min_size=2)
    ),
    header=st.booleans(),
    dialect=st.tuples(
        st.sampled_from(",;\t"), st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)), st.sampled_from(("\n", "\r\n"))
    ),
)
def test_written_numbers_are_read_bit_for_bit(
    tmp_path: Path, data: list[tuple[list[float], str]], header: bool, dialect: tuple[str, Literal[0, 1], str]
) -> None:
    """Any finite float64 and any class name survive the file, with every delimiter, quotes and line ends."""
    text = io.StringIO()
    delimiter, quoting, line_end = dialect
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=line_end)
    if header:
        writer.writerow([f"feature {index}" for index in range(len(data[0][0]))] + ["kind"])
    writer.writerows([*map(repr, row), name] for row, name in data)
    path = write(tmp_path, text.getvalue())
    # Columns that are asked for stay, though all their numbers may be the same.
    options = TableOptions(inputs=tuple(str(index + 1) for index in range(len(data[0][0]))))
    if len({name for _, name in data}) < 2:
        with pytest.raises(UserError, match="one class"):
            load_dataset(path, options=options)
        return
    dataset = load_dataset(path, options=options)
    assert dataset.inputs.tobytes() == np.array([row for row, _ in data]).tobytes()
    assert dataset.targets.tolist() == [name for _, name in data]
    assert dataset.classes == tuple(sorted({name for _, name in data}))
    assert (dataset.target_name == "kind") is header


@quick
@given(text=st.text(st.sampled_from('0123456789.-+eE,;\t"\n\r ab_nif\0é'), max_size=200) | st.text(max_size=100))
def test_garbage_is_read_or_refused_in_one_line(tmp_path: Path, text: str) -> None:
    """No text makes anything but a data set of finite numbers or a UserError of one line."""
    path = write(tmp_path, text.encode("utf-8", "surrogatepass"))
    try:
        dataset = load_dataset(path)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert np.isfinite(dataset.inputs).all()


@quick
@given(content=st.binary(max_size=200))
def test_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    """No file of any bytes makes anything but a data set or a UserError."""
    try:
        load_dataset(write(tmp_path, content))
    except UserError as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b,c\n1,2,x\n3,4,y\n", ("a", "b")),
        ("1,2,x\n3,4,y\n", ("column 1", "column 2")),
        ("0,1,kind\n5,6,7\n8,9,10\n", ("0", "1")),
        ("1,2,kind\n5,6,7\n8,9,10\n", ("1", "2")),
        ('"a, b","c",d\n1,2,x\n3,4,y\n', ("a, b", "c")),
        ("\n\n a , b , c\n1,2,x\n\n3,4,y\n", ("a", "b")),
        (",b,c\n1,2,x\n1,4,y\n3,5,y\n", ("column 1", "b")),
        ("\ufeffa,b,c\n1,2,x\n3,4,y", ("a", "b")),
    ],
)
def test_a_header_is_recognised(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    """A first row of names above numbers is a header; a first row of numbers is data."""
    dataset = load_dataset(write(tmp_path, text))
    assert dataset.feature_names == names
    assert dataset.samples == 2 + (names == ("column 1", "b"))


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (["0", "1", "2"], ("0", "1", "2")),
        (["10", "9", "10.0"], ("9", "10", "10.0")),
        (["-1", "1", "-1"], ("-1", "1")),
        (["b", "a", "b"], ("a", "b")),
        (["1", "a", "2"], ("1", "2", "a")),
        ([str(value % 20) for value in range(40)], tuple(str(value) for value in range(20))),
        ([str(value % 21) for value in range(42)], None),
        ([str(value) for value in range(20)], None),
        (["1000", "2000"] * 5, None),
        (["1000", "2000", "1"] * 5, ("1", "1000", "2000")),
        (["01067", "10115"], ("01067", "10115")),
        (["007", "7", "7"], ("007", "7")),
        (["1e3", "1000"], ("1000", "1e3")),
        (["9007199254740993", "9007199254740992"], ("9007199254740992", "9007199254740993")),
        (["True", "FALSE"], ("FALSE", "True")),
        (["Nan", "[low]", ":smile:"], (":smile:", "Nan", "[low]")),
        (["1.5", "1.50", "2"], None),
        (["0.5", "1", "2"], None),
    ],
)
def test_targets_are_classes_or_numbers_by_the_rule(
    tmp_path: Path, cells: list[str], classes: tuple[str, ...] | None
) -> None:
    """Text, few whole numbers and labels made of digits are classes as they are written, in order; the rest are numbers."""
    dataset = load_dataset(write(tmp_path, "".join(f"{row + 0.5},{cell}\n" for row, cell in enumerate(cells))))
    assert dataset.classes == classes
    if classes is None:
        assert dataset.numbers is not None
        assert dataset.numbers[:, 0].tolist() == [float(cell) for cell in cells]


def test_the_rule_can_be_overruled(tmp_path: Path) -> None:
    """The user can override whether targets are classes or numbers."""
    path = write(tmp_path, "1,3\n2,4\n3,4\n")
    assert load_dataset(path).classes == ("3", "4")
    assert load_dataset(path, target_kind="numbers").numbers is not None
    path = write(tmp_path, "1,0.5\n2,1.5\n3,1\n")
    assert load_dataset(path, target_kind="classes").classes == ("0.5", "1", "1.5")


def test_the_target_can_stand_anywhere(tmp_path: Path) -> None:
    """The column that is named is the target, and the others stay in their order."""
    text = "a,kind,b\n1,x,2\n3,y,4\n"
    dataset = load_dataset(write(tmp_path, text), target="kind")
    assert dataset.feature_names == ("a", "b")
    assert dataset.inputs.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert dataset.targets.tolist() == ["x", "y"]
    without_header = load_dataset(write(tmp_path, "x,1\ny,2\n"), target="column 1")
    assert without_header.targets.tolist() == ["x", "y"]


def test_the_contents_have_a_hash(tmp_path: Path) -> None:
    """The same contents have the same hash under another name, and others another."""
    first = load_dataset(write(tmp_path, "1,x\n2,y\n"))
    same = load_dataset(write(tmp_path, "1,x\n2,y\n", "other.csv"))
    other = load_dataset(write(tmp_path, "1,x\n3,y\n"))
    assert first.sha256 == same.sha256 != other.sha256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "FILE: is empty, rows of data are needed"),
        ("\n \n", "FILE: holds no rows of data"),
        ("a,b\n", "FILE: holds only a header, rows of data are needed"),
        ("1,x\n", "FILE: has 1 row of data, at least 2 are needed"),
        ("1\n2\n", "FILE: has one column; at least one input beside the target is needed (comma, ; or tab)"),
        ("1,2,x\n3,y\n", "FILE, line 2: has 2 columns where the first line has 3"),
        ("1,2,x\n3,4,5,y\n", "FILE, line 2: has 4 columns where the first line has 3"),
        ("a,b,c\n1,2,x\n3,oops,y\n", "FILE, line 3, column 2 ('b'): expected a number, not 'oops'"),
        ("1,2,x\n\n3,oops,y\n", "FILE, line 3, column 2: expected a number, not 'oops'"),
        ("5.1,oops,x\n3,4,y\n", "FILE, line 1, column 2: expected a number, not 'oops'"),
        ("1,2,x\n3,1_000,y\n", "FILE, line 2, column 2: expected a number, not '1_000'"),
        ("1,2,x\n3,#REF!,y\n", "FILE, line 2, column 2: expected a number, not '#REF!'"),
        ("1,2,x\n-inf,3,y\n", "FILE, line 2, column 1: is not finite (NaN or infinity), a number is needed"),
        ("1,1.5\n2,oops\n", "FILE, line 2, column 'column 2': expected a number, not 'oops'"),
        ("1,1.5\n2,inf\n", "FILE, line 2, column 'column 2': is not finite (NaN or infinity)"),
        ("1,1.5\n2,nan\n", "FILE: has 1 row of data with a target (of 2), at least 2 are needed"),
        ("1,x\n2,\n", "FILE: has 1 row of data with a target (of 2), at least 2 are needed"),
        ("1,x\n2,x\n", "FILE: all rows are of the one class 'x'; at least two classes are needed"),
        ("1,1.5\n2,1.5\n", "FILE: the targets of all rows are 1.5; there is nothing to learn"),
        ("a,a,c\n1,2,x\n3,4,y\n", "FILE, line 1: 2 columns have the name 'a'; names must differ"),
        (b"1,x\n\0,y\n", "FILE, line 2: holds NUL bytes, so it is not text"),
        ('1,x\n"2,y\n', "FILE, line 2: is not CSV (a quotation mark is not closed)"),
        ("1,x\n2," + "y" * 200_000, "FILE, line 2: is not CSV (field larger than field limit (131072))"),
        (
            "".join(f"{row},c{row}\n" for row in range(1001)),
            "FILE: column 'column 2' has 1,001 classes, at most 1,000 are possible; "
            "name another target column, or say that the targets are numbers",
        ),
        ("1," * 100_000 + "x\n", "FILE: has more than 100,000 columns, the most that are read"),
    ],
)
def test_bad_files_are_refused_with_the_place(tmp_path: Path, text: str | bytes, message: str) -> None:
    """Every fault of a file gets its own line that says what, where and what would be right."""
    assert refusal(tmp_path, text) == message


def test_an_unknown_target_is_refused_with_what_was_probably_meant(tmp_path: Path) -> None:
    """A misspelt target names the column that is close, and otherwise the columns there are."""
    text = "length,species\n1,x\n2,y\n"
    assert refusal(tmp_path, text, target="specie") == (
        "FILE: has no column 'specie' for the target; did you mean 'species'?"
    )
    assert refusal(tmp_path, text, target="q") == ("FILE: has no column 'q' for the target; known are: length, species")


def test_places_that_hold_no_file_are_refused(tmp_path: Path) -> None:
    """A missing file, a folder and another kind of file are told apart."""
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "data.txt").write_text("<html>404</html>\n")
    for name, message in (
        ("missing.csv", "no such file"),
        ("folder.csv", "is a folder"),
        ("data.txt", "is a web page or XML, not a table"),
    ):
        with pytest.raises(UserError, match=message):
            load_dataset(str(tmp_path / name))
    with pytest.raises(UserError, match="no data set 'irsi'; did you mean 'iris'"):
        load_dataset("irsi")
    with pytest.raises(UserError, match="--data goes with semeion only"):
        load_dataset("iris", data=tmp_path / "data.txt")
    with pytest.raises(UserError, match="--target goes with a file"):
        load_dataset("iris", target="species")


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, a line, and rows beyond the bounds are refused (with bounds made small for the test)."""
    rows = "1,x\n2,y\n" * 4096
    monkeypatch.setattr("coordinator.data.limits.ROWS", 5000)
    assert refusal(tmp_path, rows) == "FILE: has more than 5,000 rows, the most that are read"
    monkeypatch.setattr("coordinator.data.chunks.LINE_CHARACTERS", 10)
    assert refusal(tmp_path, "1,x\n2,y\n3," + "z" * 10) == "FILE, line 3: is longer than 10 characters"
    monkeypatch.setattr("coordinator.data.limits.FILE_BYTES", 100)
    assert refusal(tmp_path, rows) == "FILE: is larger than 100 bytes, the limit"


def test_numbers_are_read_as_python_reads_them(tmp_path: Path) -> None:
    """Signs, exponents, blanks around a number and subnormal numbers are numbers."""
    dataset = load_dataset(write(tmp_path, "+1, 2e-3 ,-0.0,5e-324,x\n1,2,3,4,y\n"))
    assert dataset.inputs[0].tolist() == [1.0, 2e-3, -0.0, 5e-324]
    assert math.copysign(1.0, dataset.inputs[0, 2]) == -1.0

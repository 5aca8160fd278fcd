"""CSV text: rows of numbers, and perhaps a column of targets.

Delimiter: comma, semicolon or tab, whichever splits the first line into most fields. Fields may be quoted.
Blank lines are skipped. Header: the first row is one where it holds a name that is asked for; otherwise where one of
its cells is no number though the cell below is one, and its cells that are numbers, if any, just count the columns
(0, 1, 2, ... or 1, 2, 3, ...: some programs name columns so). A file without a header has `column 1`, `column 2`, ...
"""

from __future__ import annotations

import csv
import io
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from coordinator.data.limits import LINE_CHARACTERS, check_size, decode_text, read_file, sha256_of, shown, shown_path
from coordinator.data.suggestion import closest
from coordinator.data.table import Floats, Table
from coordinator.data.targets import parse_number
from coordinator.errors import UserError

DELIMITERS = (",", ";", "\t")

Record = tuple[int, list[str]]


class CsvRecords:
    """The records of CSV text: `names` (the header's, or made up), `has_header`, and the rows by iteration, once.

    Raises:
        UserError: no rows, a header alone, duplicate names, too many columns, and by iteration ragged or bad lines.
    """

    def __init__(self, text: str, place: str, wanted: Sequence[str] = ()) -> None:
        self.place = place
        records = _records(text, place)
        first = next(records, None)
        if first is None:
            raise UserError(f"{place}: holds no rows of data")
        second = next(records, None)
        self.width = len(first[1])
        check_size(1, self.width, place)
        self.has_header = _is_header(first[1], None if second is None else second[1], wanted)
        if self.has_header:
            self.names = _header_names(first, place)
            if second is None:
                raise UserError(f"{place}: holds only a header, rows of data are needed")
        else:
            self.names = tuple(f"column {index + 1}" for index in range(self.width))
            records = chain((first,), () if second is None else (second,), records)
            second = None
        self._records = records if second is None else chain((second,), records)

    def __iter__(self) -> Iterator[Record]:
        """Line number and cells of every row of data."""
        for count, (line, cells) in enumerate(self._records, start=1):
            if len(cells) != self.width:
                raise UserError(
                    f"{self.place}, line {line}: has {len(cells)} columns where the first line has {self.width}"
                )
            if count % 4096 == 0:
                check_size(count, self.width, self.place)
            yield line, cells


def read_numbers(
    records: CsvRecords, columns: Sequence[int], target: int | None
) -> tuple[Floats, list[str], Sequence[int]]:
    """The numbers of `columns` in this order (rows, columns), the cells of the column `target`, the line numbers.

    Raises:
        UserError: text, nothing, NaN or infinity where a number belongs.
    """
    values = array("d")
    targets: list[str] = []
    lines = array("q")
    known: dict[str, str] = {}
    for line, cells in records:
        chosen = [cells[index] for index in columns]
        try:
            values.extend([float(cell) for cell in chosen])
        except ValueError:
            raise _bad_cell(records, line, columns, chosen) from None
        if any("_" in cell for cell in chosen):
            raise _bad_cell(records, line, columns, chosen)
        lines.append(line)
        if target is not None:
            cell = cells[target].strip()
            targets.append(known.setdefault(cell, cell))
    inputs = np.array(values, dtype=np.float64).reshape(len(lines), len(columns))
    check_size(len(lines), len(columns), records.place)
    _check_finite(inputs, records, columns, lines)
    return inputs, targets, lines


def read_csv(path: Path, target: str | None, *, features: Sequence[str] = (), usual_target: str | None = None) -> Table:
    """The table in a CSV file.

    The target is the column named `target`, else the one named `usual_target` if there is one, else the last. Where
    the header has just the names `features` beside it, the inputs come in their order, and else in the file's.

    Raises:
        UserError: whatever keeps the file from being one, with line and column.
    """
    content = read_file(path)
    place = shown_path(path)
    records = CsvRecords(decode_text(content, place), place, features if target is None else (target,))
    if target is None and usual_target in records.names:
        target = usual_target
    column = _target_column(records, target)
    columns = [index for index in range(records.width) if index != column]
    if {records.names[index] for index in columns} == set(features):
        columns = [records.names.index(name) for name in features]
    if not columns:
        raise UserError(f"{place}: has one column; at least one input beside the target is needed (comma, ; or tab)")
    inputs, targets, lines = read_numbers(records, columns, column)
    return Table(
        name=shown_path(Path(path.name)),
        place=place,
        inputs=inputs,
        feature_names=tuple(records.names[index] for index in columns),
        target_name=records.names[column],
        targets=targets,
        sha256=sha256_of(content),
        lines=lines,
    )


def _records(text: str, place: str) -> Iterator[Record]:
    """Line number and cells of every record that is not blank."""
    reader = csv.reader(_lines(text, place), delimiter=_delimiter(text), skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(f"{place}, line {reader.line_num}: is not CSV ({error})") from None


def _lines(text: str, place: str) -> Iterator[str]:
    stream = io.StringIO(text, newline="")
    number = 0
    while line := stream.readline(LINE_CHARACTERS + 1):
        number += 1
        if len(line) > LINE_CHARACTERS:
            raise UserError(f"{place}, line {number}: is longer than {LINE_CHARACTERS:,} characters")
        yield line


def _delimiter(text: str) -> str:
    start = len(text) - len(text.lstrip("\r\n "))
    line = text[start : start + LINE_CHARACTERS].partition("\n")[0]

    def fields(delimiter: str) -> int:
        try:
            return len(next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), []))
        except csv.Error:
            return 0

    return max(DELIMITERS, key=fields)


def _is_header(first: list[str], second: list[str] | None, wanted: Sequence[str]) -> bool:
    names = [cell.strip() for cell in first]
    if wanted and all(name in names for name in wanted) and any(parse_number(name) is None for name in wanted):
        return True
    numeric = [parse_number(name) for name in names]
    if second is None:
        return all(value is None for value in numeric)
    counts = [(index, value) for index, value in enumerate(numeric) if value is not None]
    counted = any(all(value == index + base for index, value in counts) for base in (0, 1))
    named_over_number = any(
        value is None and parse_number(below) is not None for value, below in zip(numeric, second, strict=False)
    )
    return counted and named_over_number


def _header_names(record: Record, place: str) -> tuple[str, ...]:
    line, cells = record
    names = tuple(cell.strip() or f"column {index + 1}" for index, cell in enumerate(cells))
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise UserError(f"{place}, line {line}: {times} columns have the name {shown(name)}; names must differ")
    return names


def _target_column(records: CsvRecords, target: str | None) -> int:
    if target is None:
        return records.width - 1
    if target in records.names:
        return records.names.index(target)
    raise UserError(f"{records.place}: has no column {shown(target)} for the target; {closest(target, records.names)}")


def _bad_cell(records: CsvRecords, line: int, columns: Sequence[int], cells: list[str]) -> UserError:
    """The error for the first of the cells that is no number."""
    index, cell = next((index, cell) for index, cell in zip(columns, cells, strict=True) if parse_number(cell) is None)
    what = f"{shown(cell)} where a number belongs" if cell.strip() else "is empty, a number is needed"
    return UserError(f"{records.place}, line {line}, {_column(records, index)}: {what}")


def _check_finite(inputs: Floats, records: CsvRecords, columns: Sequence[int], lines: Sequence[int]) -> None:
    finite = np.isfinite(inputs)
    if not finite.all():
        row, position = (int(index) for index in np.argwhere(~finite)[0])
        raise UserError(
            f"{records.place}, line {lines[row]}, {_column(records, columns[position])}: "
            "is not finite (NaN or infinity), a number is needed"
        )


def _column(records: CsvRecords, index: int) -> str:
    """The column for an error message: its number, and its name where the file has names."""
    return f"column {index + 1} ({shown(records.names[index])})" if records.has_header else f"column {index + 1}"

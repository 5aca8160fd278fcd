"""Rows of text cells, a few thousand at a time, from tables of any format."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TextIO

from coordinator.data.dialect import COMMENTS
from coordinator.data.limits import LINE_CHARACTERS, check_size, counted, shown
from coordinator.data.opening import Format
from coordinator.errors import UserError

CHUNK_ROWS = 4_096
CHUNK_CELLS = 40_000
WIDE_CHUNK_CELLS = 1_000_000
WIDE_CHUNK_ROWS = 128
LINES_BYTES = 1 << 16
BLANKS = " \t\r\n\x0c\x1a"


class Reader(Protocol):
    """A reader of records, as the module csv has it."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]:
        """Return itself."""

    def __next__(self) -> list[str]:
        """Read the next record."""


class Chunk(NamedTuple):
    """Some rows: the line or row number of each, and its cells as text."""

    numbers: list[int]
    rows: list[list[str]]


@dataclass
class Records:
    """The rows of a table, and how they are written.

    `unnamed` are the columns without a name in the header, which are called `column N`. `classes` are the target's
    names where the file lists them apart from the rows. `notes` say what was skipped or assumed.
    """

    place: str
    names: tuple[str, ...]
    has_header: bool
    chunks: Iterator[Chunk]
    format: Format = "text"
    delimiter: str | None = None
    encoding: str | None = None
    packing: str | None = None
    unnamed: frozenset[int] = frozenset()
    word: str = "line"
    classes: tuple[str, ...] | None = None
    nominal: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """The texts of the columns that the file itself declares to be categories."""
    notes: list[str] = field(default_factory=list)

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.names)

    def column(self, index: int) -> str:
        """Name a column in a message: by its number, and its name where the file has names."""
        return f"column {index + 1} ({shown(self.names[index])})" if self.has_header else f"column {index + 1}"

    def where(self, number: int, index: int) -> str:
        """Name a cell in a message."""
        return f"{self.place}, {self.word} {number}, {self.column(index)}"


def lines_of(text: TextIO, place: str, number: int = 0) -> Iterator[str]:
    """Yield lines with their ends; a line that is too long is refused.

    The lines are read in blocks. `find_encoding` has checked that no line exceeds the memory.
    """
    while lines := text.readlines(LINES_BYTES):
        if max(map(len, lines)) > LINE_CHARACTERS:
            number += next(at for at, line in enumerate(lines, start=1) if len(line) > LINE_CHARACTERS)
            raise UserError(f"{place}, line {number}: is longer than {LINE_CHARACTERS:,} characters")
        number += len(lines)
        yield from lines


def check_names(names: Sequence[str], place: str, number: int) -> None:
    """Refuse two columns of one name. Raises `UserError`."""
    name, times = Counter(name or index for index, name in enumerate(names)).most_common(1)[0]
    if times > 1:
        where = f"{place}, line {number}" if number else place
        raise UserError(f"{where}: {times} columns have the name {shown(name)}; names must differ")


def read_records(reader: Reader, skip: int, place: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of every record that is not blank. Raises `UserError`."""
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip(BLANKS)):
                yield reader.line_num + skip, cells
    except csv.Error as error:
        raise _not_csv(place, reader.line_num + skip, error) from None


def _not_csv(place: str, line: int, error: csv.Error) -> UserError:
    what = "a quotation mark is not closed" if "end of data" in str(error) else str(error)
    return UserError(f"{place}, line {line}: is not CSV ({what})")


def rows_per_chunk(width: int) -> int:
    """Return the number of rows in a chunk: few cells, but not too few rows of a wide table."""
    return max(
        16, min(CHUNK_ROWS, CHUNK_CELLS // max(1, width)), min(WIDE_CHUNK_ROWS, WIDE_CHUNK_CELLS // max(1, width))
    )


def chunks_of(reader: Reader, skip: int, table: Records, header: Sequence[str] = ()) -> Iterator[Chunk]:
    """Gather rows, leaving out blank lines, rows of empty cells at the end, and comments; refuse rows of another width.

    `skip` lines stand above those of the reader. Rows that repeat the cells of the `header`, as in files that were joined, are
    left out, and noted.
    """
    first, names = (header[0], list(header)) if header else (None, [])
    repeats = 0
    empty: list[int] = []
    width, place = table.width, table.place
    most = rows_per_chunk(width)
    numbers: list[int] = []
    rows: list[list[str]] = []
    total = 0
    try:
        for cells in reader:
            number = reader.line_num + skip
            if len(cells) != width or not cells[0]:
                if _is_empty(cells, width):
                    if len(cells) == width:
                        empty.append(number)
                    continue
                if len(cells) != width:
                    raise UserError(
                        f"{place}, line {number}: has {counted(len(cells), 'column')} where the first line has {width}"
                    )
            if cells[0] == first and cells == names:
                repeats += 1
                continue
            if empty:
                # Rows of missing cells; at the end of a table they are none.
                numbers += empty
                rows += [[""] * width for _ in empty]
                empty = []
            numbers.append(number)
            rows.append(cells)
            if len(rows) >= most:
                total += len(rows)
                check_size(total, width, place)
                yield Chunk(numbers, rows)
                numbers, rows = [], []
    except csv.Error as error:
        raise _not_csv(place, reader.line_num + skip, error) from None
    check_size(total + len(rows), width, place)
    if repeats:
        lines = f"{repeats:,} lines repeat" if repeats > 1 else "1 line repeats"
        table.notes.append(f"{lines} the names of the columns, and {'are' if repeats > 1 else 'is'} left out")
    if rows:
        yield Chunk(numbers, rows)


def _is_empty(cells: list[str], width: int) -> bool:
    """Whether a row holds nothing, or is a comment."""
    if width == 1 and cells == [""]:
        return False
    comment = len(cells) != width and bool(cells) and cells[0].lstrip().startswith(COMMENTS)
    return comment or not any(cell.strip(BLANKS) for cell in cells)

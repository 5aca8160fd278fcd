"""Read the records of a table of any format, a few thousand at a time.

All formats give names of columns, and rows of cells as text, so that one set of rules decides the kinds of columns.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from coordinator.data.cells import trimmed
from coordinator.data.chunks import Chunk, Records, check_names, chunks_of, lines_of, read_records
from coordinator.data.dialect import (
    COMMENTS,
    Dialect,
    find_dialect,
    is_header,
    is_number,
    records_of,
    sample_lines,
    title_records,
)
from coordinator.data.formats import read_arff, read_json, read_json_lines, read_parquet
from coordinator.data.limits import check_size, shown
from coordinator.data.opening import (
    BROKEN,
    Format,
    copied,
    find_encoding,
    format_of,
    opened,
    place_of,
    read_sample,
    unpacked,
)
from coordinator.data.options import DEFAULT, TableOptions
from coordinator.errors import UserError

__all__ = ["Chunk", "Records", "open_records", "records_in"]


@contextlib.contextmanager
def open_records(
    source: Path | TextIO, options: TableOptions = DEFAULT, wanted: Sequence[str] = ()
) -> Iterator[Records]:
    """Open a table of text cells: delimited text, Parquet, JSON or ARFF, packed or not.

    `wanted` are names that make the first record a header where they stand in it.

    Raises:
        UserError: the file cannot be read, or it is of a format that holds arrays.
    """
    place = place_of(source)
    with opened(source, place) as packed:
        file, packing = unpacked(packed, place)
        kind = format_of(read_sample(file, place), place)
        with records_in(file, kind, place, options, wanted) as records:
            records.packing = packing
            yield records


@contextlib.contextmanager
def records_in(
    file: BinaryIO, kind: Format, place: str, options: TableOptions, wanted: Sequence[str] = ()
) -> Iterator[Records]:
    """Read the records of an open, unpacked file of this format. Raises `UserError`."""
    if kind == "parquet":
        with copied(file, ".parquet") as copy:
            yield read_parquet(copy.name, place)
        return
    encoding = find_encoding(file, place, options.encoding)
    text = io.TextIOWrapper(file, encoding=encoding, newline="")
    try:
        records = _text_records(text, kind, place, encoding, options, wanted)
        records.chunks = _unbroken(records.chunks, place)
        yield records
    finally:
        with contextlib.suppress(ValueError):
            text.detach()


def _text_records(
    text: io.TextIOWrapper, kind: Format, place: str, encoding: str, options: TableOptions, wanted: Sequence[str]
) -> Records:
    try:
        if kind == "jsonl":
            return read_json_lines(text, place, encoding, options, wanted)
        if kind == "json":
            return read_json(text, place, encoding, options, wanted)
        if kind == "arff":
            return read_arff(text, place, encoding)
        return _delimited(text, place, encoding, options, wanted)
    except BROKEN as error:
        raise _broken(place, error) from None


def _unbroken(chunks: Iterator[Chunk], place: str) -> Iterator[Chunk]:
    """Yield chunks. Only errors of reading are errors of the file, not errors of the code that uses the chunks."""
    try:
        yield from chunks
    except BROKEN as error:
        raise _broken(place, error) from None


def _broken(place: str, error: BaseException) -> UserError:
    return UserError(f"{place}: cannot be unpacked ({error or type(error).__name__})")


def _delimited(
    text: io.TextIOWrapper, place: str, encoding: str, options: TableOptions, wanted: Sequence[str]
) -> Records:
    sample = sample_lines(lines_of(text, place))
    dialect = find_dialect(sample, options.delimiter)
    found = records_of(sample[dialect.skip :], dialect)
    titles = title_records(found, dialect) if options.header is None else 0
    first, *rest = found[titles:] or [[]]
    if not first:
        _check_readable(sample, dialect, place)
        comments = f" but lines that begin with {' or '.join(COMMENTS)}" if dialect.comments else ""
        raise UserError(f"{place}: holds no rows of data{comments}")
    width = _width(first, rest)
    check_size(1, width, place)
    text.seek(0)
    lines: Iterator[str] = itertools.islice(lines_of(text, place), dialect.skip, None)
    if width == 1:
        # A line of blanks is no row, but "" in a table of one column is a row with a missing cell.
        lines = (line if line.strip() else "\n" for line in lines)
    reader = dialect.reader(lines)
    facts: dict[str, Any] = {"delimiter": dialect.delimiter, "encoding": encoding}
    names, skipped, classes = _header(first, rest, width, dialect, options, wanted)
    above = read_records(reader, dialect.skip, place)
    notes = [
        f"line {number} stands above the table and is left out: {shown(' '.join(filter(None, cells)))}"
        for number, cells in itertools.islice(above, titles)
        if any(cell.strip() for cell in cells)
    ]
    number, header = next(above) if skipped else (0, [])
    unnamed = frozenset(index for index, name in enumerate(names or ()) if not name)
    if names:
        check_names(names, place, number)
        if skipped and not rest:
            _check_readable(sample, dialect, place)
            raise UserError(f"{place}: holds only a header, rows of data are needed")
    full = tuple(name or f"column {index + 1}" for index, name in enumerate(names or [""] * width))
    records = Records(place, full, names is not None or skipped, iter(()), unnamed=unnamed, classes=classes, **facts)
    records.notes += notes
    if encoding in ("cp1252", "latin-1") and options.encoding is None:
        records.notes.append(
            f"the file is not UTF-8 and is read as {encoding}; if letters look wrong, name the right --encoding "
            "(such as cp1250, cp1251, shift_jis, gb18030 or big5)"
        )
    records.chunks = chunks_of(reader, dialect.skip, records, header if len(header) == width else ())
    return records


def _width(first: Sequence[str], rest: Sequence[Sequence[str]]) -> int:
    """Return the number of cells in a row; the first record may lack a name, or be a header of another kind."""
    if not rest:
        return len(first)
    width, count = Counter(map(len, rest)).most_common(1)[0]
    lacks = (len(first) == width - 1 and not any(map(is_number, first))) or _is_sklearn(first, width)
    return width if lacks and count == len(rest) else len(first)


def _header(
    first: list[str],
    rest: list[list[str]],
    width: int,
    dialect: Dialect,
    options: TableOptions,
    wanted: Sequence[str],
) -> tuple[list[str] | None, bool, tuple[str, ...] | None]:
    """Return the names, if there are any, whether the first record is no row of data, and the classes it lists."""
    names = [trimmed(cell) for cell in first]
    if options.header is not None:
        return (_fitted(names, rest, width), True, None) if options.header else (None, False, None)
    if rest and _is_sklearn(first, width):
        return None, True, tuple(name.strip() for name in first[2:])
    if len(first) == width - 1:
        return _fitted(names, rest, width), True, None
    if is_header(first, rest, wanted):
        return names, True, None
    if dialect.comments:
        above = records_of([dialect.comments[-1] + "\n"], dialect)
        if above and width > 1 and len(above[0]) == width and is_header(above[0], [first, *rest], wanted):
            return [trimmed(cell) for cell in above[0]], False, None
    return None, False, None


def _fitted(names: list[str], rest: list[list[str]], width: int) -> list[str]:
    """Add the name that a header lacks: that of the row names in front, or that of an empty column at the end."""
    if len(names) != width - 1:
        return names
    return [*names, ""] if rest and all(not row[-1].strip() for row in rest) else ["", *names]


def _is_sklearn(first: Sequence[str], width: int) -> bool:
    """Whether a first record is that of scikit-learn's own files: rows, features, and the names of the classes."""
    if len(first) < 4 or not (first[0].strip().isdigit() and first[1].strip().isdigit()):
        return False
    names = [cell.strip() for cell in first[2:]]
    return int(first[1]) == width - 1 and not any(name.replace(".", "").isdigit() or not name for name in names)


def _check_readable(lines: Sequence[str], dialect: Dialect, place: str) -> None:
    """Raise the error of the first record that cannot be read, if there is one."""
    for _ in read_records(dialect.reader(lines[dialect.skip :]), dialect.skip, place):
        pass

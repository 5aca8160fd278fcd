"""Read tables of other formats than delimited text, every cell as text: Parquet, JSON and ARFF."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from coordinator.data.chunks import (
    CHUNK_ROWS,
    Chunk,
    Records,
    check_names,
    chunks_of,
    lines_of,
    rows_per_chunk,
)
from coordinator.data.dialect import SAMPLE_RECORDS, is_header
from coordinator.data.limits import FILE_BYTES, check_size, counted, shown
from coordinator.data.opening import Format
from coordinator.data.options import TableOptions
from coordinator.errors import UserError


def _batched(rows: Iterator[tuple[int, list[str]]], width: int, place: str) -> Iterator[Chunk]:
    total = 0
    while batch := list(itertools.islice(rows, rows_per_chunk(width))):
        total += len(batch)
        check_size(total, width, place)
        yield Chunk([number for number, _ in batch], [cells for _, cells in batch])


def read_parquet(path: str, place: str) -> Records:
    """Read Parquet with DuckDB, every column as text."""
    try:
        import duckdb  # noqa: PLC0415 - 66 MB that other formats do not need
    except ImportError:
        raise UserError(f"{place}: is Parquet, which needs DuckDB: pip install duckdb") from None
    try:
        connection = duckdb.connect(config={"enable_external_access": True, "threads": 1})
        columns = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()
        cells = []
        for name, kind, *_ in columns:
            quoted = '"' + str(name).replace('"', '""') + '"'
            if not re.fullmatch(r"[A-Z0-9 _]+(\(\d+(,\d+)?\))?|ENUM\(.*\)|\"NULL\"", str(kind)):
                raise UserError(f"{place}: column {shown(name)} is of type {kind}; numbers or text are needed")
            # A float of 32 bits is the same number with 64.
            cells.append(f"CAST({f'CAST({quoted} AS DOUBLE)' if kind == 'FLOAT' else quoted} AS VARCHAR)")
        result = connection.execute(f"SELECT {', '.join(cells)} FROM read_parquet(?)", [path])
    except duckdb.Error as error:
        raise UserError(f"{place}: is not whole Parquet ({' '.join(str(error).split())[:200]})") from None
    names = [str(name).strip() for name, *_ in columns]
    check_size(1, len(names), place)

    def rows() -> Iterator[tuple[int, list[str]]]:
        number = 0
        while batch := result.fetchmany(CHUNK_ROWS):
            for row in batch:
                number += 1
                yield number, ["" if cell is None else cell for cell in row]

    return _named(names, rows(), place, "parquet", None)


def _named(
    names: Sequence[str], rows: Iterator[tuple[int, list[str]]], place: str, kind: Format, encoding: str | None
) -> Records:
    check_names(names, place, 0)
    unnamed = frozenset(index for index, name in enumerate(names) if not name or name == "__index_level_0__")
    full = tuple(f"column {index + 1}" if index in unnamed else name for index, name in enumerate(names))
    word = "line" if kind in ("jsonl", "arff") else "row"
    chunks = _batched(rows, len(full), place)
    return Records(place, full, True, chunks, kind, encoding=encoding, unnamed=unnamed, word=word)


def read_json_lines(text: TextIO, place: str, encoding: str, options: TableOptions, wanted: Sequence[str]) -> Records:
    """Read one JSON object per line; an object that takes several lines, or holds whole columns, is read as `read_json`."""
    lines = lines_of(text, place)
    first = list(itertools.islice(_values(lines, place, strict=False), 100))
    if len(first) < 2:
        text.seek(0)
        return read_json(text, place, encoding, options, wanted)
    text.seek(0)
    values = _values(lines_of(text, place), place)
    return _of_objects(list(itertools.islice(values, 100)), values, place, "jsonl", encoding)


def _values(lines: Iterator[str], place: str, *, strict: bool = True) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of each line. If not `strict`, end at a line that is no object."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                value = _parsed(line)
            except (ValueError, RecursionError) as error:
                if strict:
                    raise UserError(f"{place}, line {number}: is not a JSON object ({error})") from None
                return
            if not isinstance(value, dict):
                if strict:
                    raise UserError(f"{place}, line {number}: is not a JSON object; expected one object per line")
                return
            yield number, value


def _parsed(text: str) -> Any:
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object. Raises `ValueError` if a name occurs twice."""
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the name {shown(twice)} occurs twice")
    return value


NO_TABLE = (
    "is not a table; expected an array of JSON objects or of rows, one object per line, or an object with a list for each "
    "column"
)


def read_json(text: TextIO, place: str, encoding: str, options: TableOptions, wanted: Sequence[str]) -> Records:
    """Read a table in one JSON value: an array of objects or of rows, or an object of columns, as pandas writes them."""
    content = text.read(FILE_BYTES)
    try:
        value = _parsed(content)
    except (ValueError, RecursionError) as error:
        rows = _rows_of_lines(content)
        if rows is None:
            raise UserError(f"{place}: is not JSON ({error})") from None
        value = rows
    if isinstance(value, dict):
        columns, data = value.get("columns"), value.get("data")
        if isinstance(columns, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
            return _of_rows([columns, *data], place, encoding, options, wanted, header=True)
        if isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
            value = data
        elif value and all(isinstance(column, list | dict) for column in value.values()):
            return _of_columns(value, place, encoding, options, wanted)
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        return _of_rows(value, place, encoding, options, wanted)
    if not isinstance(value, list) or not value or not all(isinstance(row, dict) for row in value):
        raise UserError(f"{place}: {NO_TABLE}")
    return _of_objects(list(enumerate(value, start=1)), iter(()), place, "json", encoding)


def _rows_of_lines(content: str) -> list[list[Any]] | None:
    """Return the rows of a text with a JSON array in each line, or None."""
    try:
        rows = [_parsed(line) for line in content.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return None
    return rows if all(isinstance(row, list) for row in rows) else None


def _of_columns(
    value: dict[str, Any], place: str, encoding: str, options: TableOptions, wanted: Sequence[str]
) -> Records:
    """Return the rows of an object with a list for each column, or with an object that maps the rows' names to cells."""
    columns = list(value.values())
    if all(isinstance(column, dict) for column in columns):
        labels = list(columns[0])
        if any(list(column) != labels for column in columns):
            raise UserError(f"{place}: {NO_TABLE}")
        columns = [list(column.values()) for column in columns]
    if not all(isinstance(column, list) for column in columns) or len(set(map(len, columns))) != 1:
        raise UserError(f"{place}: {NO_TABLE}; all columns must have the same number of rows")
    rows = [list(row) for row in zip(*columns, strict=True)]
    return _of_rows([list(value), *rows], place, encoding, options, wanted, header=True)


def _of_rows(
    values: list[list[Any]],
    place: str,
    encoding: str,
    options: TableOptions,
    wanted: Sequence[str],
    *,
    header: bool | None = None,
) -> Records:
    """Return rows of cells. Without `header`, the first row is judged as that of a delimited text."""
    rows = [
        (number, [_json_cell(cell, f"{place}, row {number}", f"column {index + 1}") for index, cell in enumerate(row)])
        for number, row in enumerate(values, start=0 if header else 1)
    ]
    width = len(rows[0][1])
    for number, row in rows:
        if len(row) != width:
            raise UserError(f"{place}, row {number}: has {counted(len(row), 'column')} where the first row has {width}")
    first = rows[0][1]
    if header is None:
        header = options.header
    if header is None:
        header = is_header(first, [row for _, row in rows[1:SAMPLE_RECORDS]], wanted)
    names = [name.strip() for name in first] if header else [""] * width
    table = _named(names, iter(rows[1:] if header else rows), place, "json", encoding)
    table.has_header = header
    if not header:
        table.unnamed = frozenset()
    return table


def _of_objects(
    first: list[tuple[int, dict[str, Any]]],
    rest: Iterator[tuple[int, dict[str, Any]]],
    place: str,
    kind: Format,
    encoding: str,
) -> Records:
    if not first:
        raise UserError(f"{place}: holds no rows of data")
    # An object may lack a column: the one with the most of them tells their order.
    fullest = max((value for _, value in first), key=len)
    names = list(dict.fromkeys(itertools.chain(fullest, (name for _, value in first for name in value))))
    word = "line" if kind == "jsonl" else "row"

    def rows() -> Iterator[tuple[int, list[str]]]:
        known = set(names)
        for number, value in itertools.chain(first, rest):
            if not known.issuperset(value):
                new = next(name for name in value if name not in known)
                raise UserError(f"{place}, {word} {number}: has a column {shown(new)} that the first rows do not have")
            yield number, [_json_cell(value.get(name), f"{place}, {word} {number}", name) for name in names]

    return _named(names, rows(), place, kind, encoding)


def _json_cell(value: Any, where: str, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value)
    raise UserError(f"{where}: {shown(name)} holds an array or an object; a number or text is needed")


_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_ATTRIBUTE = re.compile(rf"@attribute\s+({_QUOTED}|\S+)\s+(.+)", re.IGNORECASE)
_VALUE = re.compile(rf"[ ]*({_QUOTED}|[^,\t]*?)[ ]*([,\t]|$)")
_DECLARED_VALUE = re.compile(rf"\s*({_QUOTED}|[^,]*?)\s*(,|$)")
_SPARSE_ENTRY = re.compile(rf"(?:{_QUOTED}|[^,'\"])+")


def read_arff(text: TextIO, place: str, encoding: str) -> Records:
    """Read Weka's ARFF: a header of attributes, then rows with commas or tabs between the cells."""
    names: list[str] = []
    nominal: dict[int, tuple[str, ...]] = {}
    lines = lines_of(text, place)
    number = 0
    for number, line in enumerate(lines, start=1):
        entry = line.strip()
        if entry.lower().startswith("@data"):
            break
        if match := _ATTRIBUTE.fullmatch(entry):
            kind = match[2].strip()
            if kind.lower().startswith("relational"):
                raise UserError(f"{place}, line {number}: a relational attribute is no column of numbers or text")
            if kind.startswith("{"):
                nominal[len(names)] = tuple(_split(kind.strip("{}").strip(), _DECLARED_VALUE))
            names.append(_unquoted(match[1]))
        elif entry and not entry.startswith("%") and not entry.lower().startswith("@relation"):
            raise UserError(f"{place}, line {number}: expected @attribute or @data, not {shown(entry)}")
    if not names:
        raise UserError(f"{place}: is ARFF without an @attribute")
    table = _named(names, iter(()), place, "arff", encoding)
    table.delimiter = ","
    table.nominal = nominal
    table.chunks = chunks_of(_ArffReader(lines, place, number, nominal, len(names)), number, table)
    return table


class _ArffReader:
    """The rows of an ARFF file, dense or sparse, as a reader of records."""

    def __init__(
        self, lines: Iterator[str], place: str, skip: int, nominal: dict[int, tuple[str, ...]], width: int
    ) -> None:
        self.line_num = 0
        self._lines = lines
        self._place = place
        self._skip = skip
        self._allowed = {index: {*values, "?"} for index, values in nominal.items()}
        # In a sparse row, a cell that is not given is 0, or the first of the values that are declared.
        self._usual = [nominal[index][0] if index in nominal else "0" for index in range(width)]

    def __iter__(self) -> _ArffReader:
        return self

    def __next__(self) -> list[str]:
        for line in self._lines:
            self.line_num += 1
            entry = line.strip()
            if entry and not entry.startswith("%"):
                cells = self._sparse(entry) if entry.startswith("{") else _split(entry, _VALUE)
                self._check(cells)
                return cells
        raise StopIteration

    def _sparse(self, entry: str) -> list[str]:
        """Return a row such as `{1 5.1, 3 yes}` as a dense one."""
        row = list(self._usual)
        for part in _SPARSE_ENTRY.findall(entry.strip("{} ")):
            position, _, value = part.strip().partition(" ")
            if not position.isdigit() or int(position) >= len(row):
                raise UserError(f"{self._where()}: {shown(part.strip())} is no entry of a sparse row")
            row[int(position)] = _unquoted(value.strip())
        return row

    def _check(self, cells: list[str]) -> None:
        if len(cells) != len(self._usual):
            return
        for index, allowed in self._allowed.items():
            if cells[index] not in allowed:
                values = ", ".join(map(shown, self._allowed_in_order(index)))
                raise UserError(f"{self._where()}: {shown(cells[index])} is none of the declared values ({values})")

    def _allowed_in_order(self, index: int) -> list[str]:
        return sorted(self._allowed[index] - {"?"})[:10]

    def _where(self) -> str:
        return f"{self._place}, line {self.line_num + self._skip}"


def _split(entry: str, value: re.Pattern[str]) -> list[str]:
    """Split a row at its commas, or tabs, outside quotes."""
    if "'" not in entry and '"' not in entry:
        mark = "," if "," in entry or value is _DECLARED_VALUE else "\t"
        return [cell.strip() for cell in entry.split(mark)]
    cells = []
    at = 0
    while match := value.match(entry, at):
        cells.append(_unquoted(match[1]))
        at = match.end()
        if not match[2]:
            return cells
    # Text behind a closing quote.
    return [*cells, entry[at:]]


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text

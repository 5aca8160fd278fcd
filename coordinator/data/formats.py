"""Read tables of other formats than delimited text, every cell as text: Parquet, JSON and ARFF."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from coordinator.data.chunks import (
    CHUNK_CELLS,
    CHUNK_ROWS,
    Chunk,
    Records,
    check_names,
    chunks_of,
    lines_of,
)
from coordinator.data.dialect import Dialect, sample_lines
from coordinator.data.limits import FILE_BYTES, check_size, shown
from coordinator.data.opening import Format
from coordinator.data.options import TableOptions
from coordinator.errors import UserError


def _batched(rows: Iterator[tuple[int, list[str]]], width: int, place: str) -> Iterator[Chunk]:
    total = 0
    while batch := list(itertools.islice(rows, max(16, min(CHUNK_ROWS, CHUNK_CELLS // max(1, width))))):
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
            if not re.fullmatch(r"[A-Z0-9 _]+(\(\d+(,\d+)?\))?|ENUM\(.*\)", str(kind)):
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


def read_json_lines(text: TextIO, place: str, encoding: str) -> Records:
    """Read one JSON object per line."""
    objects = _objects(text, place)
    first = list(itertools.islice(objects, 100))
    if not first:
        raise UserError(f"{place}: holds no rows of data")
    return _of_objects(first, objects, place, "jsonl", encoding)


def _objects(text: TextIO, place: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines_of(text, place), start=1):
        if line.strip():
            try:
                value = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{place}, line {number}: is not a JSON object ({error})") from None
            if not isinstance(value, dict):
                raise UserError(f"{place}, line {number}: is not a JSON object; expected one object per line")
            yield number, value


def read_json(text: TextIO, place: str, encoding: str) -> Records:
    """Read one JSON array of objects."""
    try:
        values = json.loads(text.read(FILE_BYTES), parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: is not JSON ({error})") from None
    if not isinstance(values, list) or not values or not all(isinstance(value, dict) for value in values):
        raise UserError(f"{place}: is not a table; expected an array of JSON objects, or one object per line")
    rows = list(enumerate(values, start=1))
    return _of_objects(rows, iter(()), place, "json", encoding)


def _of_objects(
    first: list[tuple[int, dict[str, Any]]],
    rest: Iterator[tuple[int, dict[str, Any]]],
    place: str,
    kind: Format,
    encoding: str,
) -> Records:
    names = list(dict.fromkeys(name for _, value in first for name in value))
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


_ATTRIBUTE = re.compile(r"@attribute\s+('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S+)\s+(.+)", re.IGNORECASE)


def read_arff(text: TextIO, place: str, encoding: str, options: TableOptions) -> Records:
    """Read Weka's ARFF: a header of attributes, then comma-separated rows."""
    names: list[str] = []
    lines = lines_of(text, place)
    number = 0
    for number, line in enumerate(lines, start=1):
        entry = line.strip()
        if entry.lower().startswith("@data"):
            break
        if match := _ATTRIBUTE.fullmatch(entry):
            if match[2].lower().startswith("relational"):
                raise UserError(f"{place}, line {number}: a relational attribute is no column of numbers or text")
            name = match[1]
            names.append(re.sub(r"\\(.)", r"\1", name[1:-1]) if name[0] in "'\"" else name)
        elif entry and not entry.startswith("%") and not entry.lower().startswith("@relation"):
            raise UserError(f"{place}, line {number}: expected @attribute or @data, not {shown(entry)}")
    if not names:
        raise UserError(f"{place}: is ARFF without an @attribute")
    sample = sample_lines(lines)
    body = (line for line in itertools.chain(sample, lines) if not line.lstrip().startswith("%"))
    dialect = Dialect(options.delimiter or ",", "'" if _single_quotes(sample) else '"', skip=number)
    table = _named(names, iter(()), place, "arff", encoding)
    table.delimiter = dialect.delimiter
    table.chunks = chunks_of(
        dialect.reader(body), number, table, lambda cells, at: _dense(cells, len(names), place, at)
    )
    return table


def _single_quotes(sample: Sequence[str]) -> bool:
    text = "".join(sample)
    return text.count("'") > text.count('"')


def _dense(cells: list[str], width: int, place: str, number: int) -> list[str]:
    """Return a sparse row of ARFF, `{1 5.1, 3 yes}`, as a dense one."""
    if not cells[0].lstrip().startswith("{"):
        return cells
    row = ["0"] * width
    for part in ",".join(cells).strip().strip("{}").split(","):
        if part.strip():
            position, _, value = part.strip().partition(" ")
            if not position.isdigit() or int(position) >= width:
                raise UserError(f"{place}, line {number}: {shown(part)} is no entry of a sparse row")
            row[int(position)] = value.strip().strip("'\"")
    return row

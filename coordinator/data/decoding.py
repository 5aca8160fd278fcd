"""Decode chunks of text cells as rows of a model's columns, and count assumptions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from coordinator.data.cells import (
    DASH,
    PLUS,
    TRUTH,
    Decimal,
    decimal_of,
    missing_marks,
    parse_finite,
    parse_styled,
    trimmed,
    wrong_cell,
)
from coordinator.data.encoding import EncodedColumn, Encoding
from coordinator.data.limits import shown
from coordinator.data.matching import Match
from coordinator.data.options import TableOptions
from coordinator.data.records import Chunk, Records
from coordinator.data.table import Floats
from coordinator.errors import UserError


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of columns (rows, columns), as `Encoding.encode_rows` takes them, their lines, and their targets."""

    rows: Floats
    lines: list[int]
    targets: list[str] | None = None


@dataclass
class Rows:
    """The rows of a table as a model takes them, by iteration, once. `notes()` is complete after it."""

    place: str
    batches: Iterator[Batch]
    said: list[str] = field(default_factory=list)
    filled: Counter[str] = field(default_factory=Counter)
    unseen: Counter[str] = field(default_factory=Counter)
    alike: dict[tuple[str, str], str] = field(default_factory=dict)
    word: str = "row"
    far: int = 0
    left_out: int = 0

    def __iter__(self) -> Iterator[Batch]:
        return self.batches

    def notes(self) -> list[str]:
        """Return the assumptions about columns and cells."""
        notes = list(self.said)
        for (column, cell), category in self.alike.items():
            notes.append(f"{shown(cell)} in {shown(column)} is taken for {shown(category)}")
        for column, count in self.unseen.items():
            cells = f"{count:,} cells of {shown(column)} hold" if count > 1 else f"1 cell of {shown(column)} holds"
            notes.append(f"{cells} no text of the training rows, which is taken for another text")
        for column, count in self.filled.items():
            notes.append(f"{count:,} missing cell{'s' if count > 1 else ''} of {shown(column)} filled in")
        if self.left_out:
            rows = f"{self.left_out:,} rows have" if self.left_out > 1 else "1 row has"
            notes.append(f"{rows} no target and {'are' if self.left_out > 1 else 'is'} left out")
        if self.far:
            rows = f"{self.far:,} row{'s have' if self.far > 1 else ' has'}"
            notes.append(f"{rows} numbers far from those of the training rows, so do not trust the predictions")
        return notes


class Decoder:
    """Turn chunks of text into rows of a model's columns."""

    def __init__(self, records: Records, encoding: Encoding, options: TableOptions, match: Match) -> None:
        self._records = records
        self._columns = encoding.table_columns
        self._match = match
        self._missing = options.missing
        self._forced = options.decimal
        self._decimals: dict[int, Decimal | None] = {}
        self._usual: Decimal | None = "," if encoding.decimal == "," else None
        self._lookups = [self._lookup(column) for column in self._columns]

    @staticmethod
    def _lookup(column: EncodedColumn) -> tuple[dict[str, float], dict[str, float]]:
        """Map categories to their indices, as they are and without regard to case."""
        exact = {text: float(index) for index, text in enumerate(column.categories)}
        folded = Counter(text.casefold() for text in exact)
        alike = {text.casefold(): index for text, index in exact.items() if folded[text.casefold()] == 1}
        return exact, alike

    def batches(self, first: Chunk, rows: Rows, *, labelled: bool) -> Iterator[Batch]:
        """Decode every chunk."""
        chunk: Chunk | None = first
        count = 0
        while chunk is not None:
            if chunk.rows:
                batch = self._decoded(chunk, rows, labelled=labelled)
                count += len(batch.lines)
                if batch.lines:
                    yield batch
            chunk = next(self._records.chunks, None)
        if not count:
            without = " with a target" if labelled else ""
            raise UserError(f"{self._records.place}: holds no rows of data{without}")

    def _decoded(self, chunk: Chunk, rows: Rows, *, labelled: bool) -> Batch:
        targets: list[str] | None = None
        if labelled and self._match.target is not None:
            cells = [trimmed(row[self._match.target]) for row in chunk.rows]
            marks = missing_marks(set(cells), self._missing)
            if marks:
                rows.left_out += sum(cell in marks for cell in cells)
                kept = [index for index, cell in enumerate(cells) if cell not in marks]
                chunk = Chunk([chunk.numbers[index] for index in kept], [chunk.rows[index] for index in kept])
                cells = [cells[index] for index in kept]
            targets = cells
        values = np.empty((len(chunk.rows), len(self._columns)))
        by_column = list(zip(*chunk.rows, strict=True))
        for position, (column, index) in enumerate(zip(self._columns, self._match.columns, strict=True)):
            if by_column:
                read = self._numbers if column.kind == "number" else self._categories
                values[:, position] = read(position, by_column[index], chunk.numbers, rows)
        return Batch(values, chunk.numbers, targets)

    def _numbers(self, position: int, cells: Sequence[str], lines: Sequence[int], rows: Rows) -> Floats:
        column = self._columns[position]
        if self._forced != "," and self._decimals.get(position) is None and self._usual is None:
            try:
                values = np.fromiter(map(float, cells), np.float64, len(cells))
            except ValueError:
                values = None
            if values is not None and np.isfinite(values).all() and "_" not in "".join(cells):
                return values
        stripped = [trimmed(cell) for cell in cells]
        missing = missing_marks(set(stripped), self._missing, numbers=True)
        decimal = self._decimal(position, [cell for cell in stripped if cell not in missing])
        values = np.full(len(cells), np.nan)
        for row, cell in enumerate(stripped):
            if cell in missing:
                if column.fill is None:
                    raise self._wrong(
                        position, lines[row], "is empty, a number is needed" if not cell else wrong_cell(cell)
                    )
                rows.filled[column.name] += 1
                continue
            value = parse_finite(cell) if decimal is None else parse_styled(cell, decimal)
            if value is None:
                raise self._wrong(position, lines[row], wrong_cell(cell))
            values[row] = value
        return values

    def _decimal(self, position: int, given: Sequence[str]) -> Decimal | None:
        """Return the decimal mark of a column's styled numbers, or None where they are plain."""
        if self._forced is not None:
            return self._forced if self._forced == "," or any(parse_finite(cell) is None for cell in given) else None
        preferred = self._decimals.get(position) or self._usual
        if preferred == "," and given and all(parse_styled(cell, ",") is not None for cell in given):
            self._decimals[position] = ","
            return ","
        if all(parse_finite(cell) is not None for cell in given):
            return None
        decimal, ambiguous = decimal_of(given, preferred)
        if decimal is not None and not ambiguous:
            self._decimals[position] = decimal
        return decimal

    def _categories(self, position: int, cells: Sequence[str], lines: Sequence[int], rows: Rows) -> Floats:
        column = self._columns[position]
        exact, alike = self._lookups[position]
        table: dict[str, float] = {}
        texts = {cell: trimmed(cell) for cell in set(cells)}
        missing = missing_marks(set(texts.values()), self._missing) - set(exact)
        if PLUS in exact:
            missing.discard(DASH)
        counts: Counter[str] | None = None
        for cell, text in texts.items():
            code = exact.get(text)
            if code is not None:
                table[cell] = code
                continue
            counts = counts or Counter(cells)
            row = cells.index(cell)
            if text in missing:
                if column.fill is None:
                    raise self._wrong(position, lines[row], "is empty, a text is needed")
                rows.filled[column.name] += counts[cell]
                table[cell] = np.nan
            elif column.kind == "boolean":
                if text.lower() not in TRUTH:
                    raise self._wrong(position, lines[row], f"expected True or False, not {shown(text)}")
                table[cell] = float(TRUTH[text.lower()])
            elif text.casefold() in alike:
                table[cell] = alike[text.casefold()]
                rows.alike[column.name, text] = column.categories[int(table[cell])]
            else:
                table[cell] = float(len(column.categories))
                rows.unseen[column.name] += counts[cell]
        return np.array([table[cell] for cell in cells])

    def _wrong(self, position: int, line: int, what: str) -> UserError:
        return UserError(f"{self._records.where(line, self._match.columns[position])}: {what}")

"""Decide what the columns of a table are, and turn them into numbers.

Every cell is read as text first. A column is then

* `number` where all cells are numbers, as a program writes them or as people do (`"1,100"`, `$107.00`, `7,5`, `27 %`);
* `boolean` where all cells are True or False in any case;
* `date` where all cells are dates or times of day;
* `category` where the cells are other texts;
* `index` where it only counts or names the rows: whole numbers in order from 0 or 1 (in ten rows or more), or values
  that all differ in a column without a name or with a name such as id, Id or PassengerId;
* `constant` where one value stands in all rows, in a table with names;
* `ignored` where the user said so, where all cells are empty, or where the texts of most rows differ.

A text in a column of numbers is refused with its line and column.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from coordinator.data.cells import (
    SPREADSHEET_ERROR,
    TRUTH,
    Decimal,
    decimal_of,
    is_date,
    measured_unit,
    missing_marks,
    parse_finite,
    parse_number,
    parse_styled,
    scaled_units,
    trimmed,
    units_in,
    wrong_cell,
)
from coordinator.data.limits import shown

ColumnKind = Literal["number", "category", "boolean", "index", "constant", "date", "target", "ignored"]
INPUT_KINDS = ("number", "category", "boolean")

FEW = 4_096
"""A column with more different cells, all of them numbers, is kept as numbers, without the texts."""
MOST_CATEGORIES = 1_000
LEAST_FREE_TEXTS = 20
"""A column with more different texts, in more than half of its rows, is free text: names, addresses, remarks."""
ROWS_OF_AN_INDEX = 10
SLIPS = 0.1
"""Texts in at most this share of a column of numbers are slips; more may be categories such as `3+`."""

FEW_OTHERS = 3
"""So few different texts beside numbers are marks or slips, not free text."""
LARGEST_EXACT = 2.0**53

_INDEX_NAME = re.compile(r"(.*[^a-z])?(id|index|idx|rowid|row_?number|unnamed: \d+)", re.IGNORECASE)
_CAMEL_ID = re.compile(r".*[a-z](Id|ID)")

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TextCells:
    """A column of text: the different texts, and for each row the index of its own."""

    texts: tuple[str, ...]
    codes: Codes

    @classmethod
    def of(cls, cells: Sequence[str]) -> TextCells:
        """Encode a list of cells."""
        table = _Table()
        codes = np.array([table[cell] for cell in cells], dtype=np.int64)
        return cls(tuple(table), codes)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: int) -> str:
        return self.texts[int(self.codes[row])]

    def counts(self) -> NDArray[np.int64]:
        """Count the rows of each text."""
        return np.bincount(self.codes, minlength=len(self.texts))

    def chosen(self, rows: NDArray[np.bool_]) -> TextCells:
        """Return the cells of some rows."""
        return TextCells(self.texts, self.codes[rows])


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table whose kind is decided.

    `values` (rows,) are its numbers, or the indices of its `categories`; NaN is a missing cell. They are None where
    the column is no input. With a `problem`, `learn` refuses the table.
    """

    name: str
    kind: ColumnKind
    missing: int = 0
    values: Floats | None = None
    categories: tuple[str, ...] = ()
    why: str = ""
    doubt: str = ""
    """What may have been taken for something else."""
    problem: tuple[int, str] | None = None
    """The row of a cell that does not fit the kind of the column, and what is wrong with it."""


class _Table(dict[str, int]):
    def __missing__(self, cell: str) -> int:
        self[cell] = code = len(self)
        return code


class ColumnCells:
    """The cells of one column, gathered chunk by chunk: as codes of different texts, or as numbers where many differ."""

    def __init__(
        self, missing: Collection[str] = (), decimal: Decimal | None = None, *, keep_text: bool = False
    ) -> None:
        self._missing = missing
        self._decimal = decimal
        self._keep_text = keep_text
        self._table = _Table()
        self._codes = array("q")
        self._numbers: list[Floats] | None = None
        self._style: Decimal | None = None
        self._rows = 0
        self.slip: tuple[int, str] | None = None
        """The row and the text of the first cell that is not a number, if only numbers were kept."""

    def add(self, cells: Sequence[str]) -> None:
        """Add the cells of the next rows."""
        if self._numbers is None:
            self._codes.extend(map(self._table.__getitem__, cells))
            if len(self._table) > FEW and not self._keep_text:
                self._try_numbers()
        else:
            self._numbers.append(self._parsed(cells))
        self._rows += len(cells)

    def text(self) -> TextCells | None:
        """Return the cells as text, stripped, or None where only the numbers were kept."""
        if self._numbers is not None:
            return None
        joined = "".join(self._table)
        if joined.isprintable() and " " not in joined and self._codes:
            # No cell has blanks around it.
            return TextCells(tuple(self._table), np.array(self._codes, dtype=np.int64))
        stripped = _Table()
        codes = np.array([stripped[trimmed(cell)] for cell in self._table], dtype=np.int64)
        return TextCells(tuple(stripped), codes[np.frombuffer(self._codes, dtype=np.int64)] if self._codes else codes)

    def numbers(self) -> Floats:
        """Return the numbers of a column that is kept as such."""
        assert self._numbers is not None
        return np.concatenate(self._numbers)

    def _try_numbers(self) -> None:
        texts = [trimmed(cell) for cell in self._table]
        missing = missing_marks(texts, self._missing, numbers=True)
        given = [cell for cell in texts if cell not in missing]
        if self._decimal != "," and all(parse_finite(cell) is not None for cell in given):
            self._style = None
        else:
            self._style, _ = decimal_of(given, self._decimal)
            if self._style is None:
                self._keep_text = True
                return
        values = np.array([self._value(cell, missing) for cell in texts])
        self._numbers = [values[np.frombuffer(self._codes, dtype=np.int64)]]
        self._codes = array("q")
        self._table = _Table()

    def _parsed(self, cells: Sequence[str]) -> Floats:
        if self._style is None and "_" not in "".join(cells):
            try:
                values = np.fromiter(map(float, cells), np.float64, len(cells))
            except ValueError:
                values = None
            if values is not None and np.isfinite(values).all():
                return values
        stripped = [trimmed(cell) for cell in cells]
        missing = missing_marks(set(stripped), self._missing, numbers=True)
        values = np.empty(len(cells))
        for row, cell in enumerate(stripped):
            values[row] = self._value(cell, missing)
            if self.slip is None and np.isnan(values[row]) and cell not in missing:
                self.slip = (self._rows + row, cell)
        return values

    def _value(self, cell: str, missing: Collection[str]) -> float:
        if cell in missing:
            return np.nan
        value = parse_finite(cell) if self._style is None else parse_styled(cell, self._style)
        return np.nan if value is None else value


@dataclass(frozen=True)
class ColumnRules:
    """Facts about a table that decide the kinds of its columns."""

    named: bool
    missing: tuple[str, ...]
    decimal: Decimal | None
    """The decimal mark that the user named, or that other columns show."""
    forced: bool = False
    """Whether the user named the decimal mark."""
    asked: bool = False
    """Whether the user named the columns to use: then none is left out."""
    nominal: bool = False
    """Whether the file declares the column to be a category."""


def shown_decimal(texts: Sequence[TextCells | None], missing: Collection[str]) -> Decimal | None:
    """Return the comma where some column holds numbers that can only be read with a decimal comma."""
    for text in texts:
        if text is None or "," not in "".join(text.texts):
            continue
        given = set(text.texts) - missing_marks(text.texts, missing, numbers=True)
        if not given or any(parse_finite(cell) is not None and "." in cell for cell in given):
            continue
        if decimal_of(given, None) == (",", False):
            return ","
    return None


def decide(name: str, cells: ColumnCells, text: TextCells | None, rules: ColumnRules, *, unnamed: bool) -> Column:
    """Decide what a column is. `text` is what `cells.text()` gave."""
    if text is None:
        values = cells.numbers()
        column = Column(name, "number", int(np.isnan(values).sum()), values)
        if cells.slip is not None:
            row, cell = cells.slip
            column = replace(column, problem=(row, wrong_cell(cell)))
    else:
        column = _of_text(name, text, rules)
    if rules.asked:
        return column
    if (
        column.kind == "ignored"
        and text is not None
        and len(text.texts) == len(text)
        and (unnamed or is_index_name(name))
    ):
        return replace(column, kind="index", why="differs in all rows and has the name of an index")
    if column.kind == "ignored" and text is not None and (problem := _no_free_text(text, rules.missing)) is not None:
        return Column(name, "number", column.missing, problem=problem)
    if column.kind in INPUT_KINDS and column.problem is None:
        column = _index(column, text, unnamed=unnamed)
        column = _constant(column) if rules.named and column.kind in INPUT_KINDS else column
    return column


def _of_text(name: str, text: TextCells, rules: ColumnRules) -> Column:
    plain = None if rules.nominal else _plain_numbers(text, rules)
    if plain is not None and not _compact_dates(text):
        return Column(name, "number", 0, plain, doubt=_lost_digits(text.texts, plain))
    counts = text.counts()
    present = [cell for cell, count in zip(text.texts, counts, strict=True) if count]
    marks = missing_marks(present, rules.missing)
    number_marks = missing_marks(present, rules.missing, numbers=True)
    given = [cell for cell in present if cell not in number_marks]
    if not given and len(marks) == len(number_marks):
        return Column(name, "constant" if rules.named else "ignored", len(text), why="has no values")
    values, why = (None, "") if rules.nominal or _compact_dates(text) else _numbers_of(given, rules)
    if given and values is not None:
        column = _numbers(name, text, values, number_marks, why)
        return replace(column, doubt=_doubt_about_units(given, why) or _lost_digits(given, values))
    given = [cell for cell in present if cell not in marks]
    missing = int(sum(counts[index] for index, cell in enumerate(text.texts) if cell in marks))
    if all(cell.lower() in TRUTH for cell in given):
        truth = {cell: float(TRUTH[cell.lower()]) for cell in given}
        return Column(name, "boolean", missing, _coded(text, truth), ("False", "True"))
    if all(map(is_date, given)):
        return Column(name, "date", missing)
    problem = None if rules.nominal else _slip(text, given, counts, named=rules.named)
    if problem is not None:
        return Column(name, "number", missing, problem=problem)
    return _category(name, text, given, missing, asked=rules.asked or rules.nominal)


def _compact_dates(text: TextCells) -> bool:
    """Whether all cells are dates such as 20240131."""
    head = text.texts[:20]
    return (
        len(text.texts) > 1
        and all(len(cell) in (0, 8) and (not cell or is_date(cell)) for cell in head)
        and (any(text.texts) and all(not cell or is_date(cell) for cell in text.texts))
    )


def _lost_digits(cells: Sequence[str], values: Sequence[float] | Floats) -> str:
    """Say so where whole numbers beyond 2^53 lose their last digits, or codes their leading zeros."""
    numbers = np.asarray(values)
    if not len(numbers) or not bool((numbers == np.floor(numbers)).all()):
        return ""
    largest = float(np.abs(numbers).max())
    if largest > LARGEST_EXACT and any(cell.strip("+-").isdigit() and len(cell) > 15 for cell in cells):
        return "has whole numbers beyond 2^53, which lose their last digits"
    zeros = next((cell for cell in cells if len(cell) > 1 and cell[0] == "0" and cell.isdigit()), None)
    if zeros is not None and len({len(cell) for cell in cells}) == 1:
        return f"looks like a code ({shown(zeros)}) and is used as a number; leave it out with --ignore if it is a name"
    return ""


def _doubt_about_units(given: Sequence[str], why: str) -> str:
    """Say so where the numbers of a column have different units, or where points are taken for a grouping."""
    units = units_in(given)
    if len(units) > 1 and units != {""}:
        listed = ", ".join(shown(unit) for unit in sorted(units) if unit)
        return f"has numbers with {listed}{' and without' if '' in units else ''}, which are taken for the same unit"
    return why if "--decimal" in why else ""


def _no_free_text(text: TextCells, extra: Collection[str]) -> tuple[int, str] | None:
    """Return the row and fault of a column that is no free text: numbers with a unit, or beside a few other texts."""
    counts = text.counts()
    present = [cell for cell, count in zip(text.texts, counts, strict=True) if count]
    marks = missing_marks(present, extra, numbers=True)
    given = [cell for cell in present if cell not in marks]
    unit = measured_unit(given)
    advice = f"take {shown(unit)} out of all cells of the column" if unit is not None else ""
    if not advice and scaled_units(given):
        advice = "write all amounts of the column in one unit"
    if advice:
        row = int(np.argmax(text.codes == text.texts.index(given[0])))
        return row, f"expected a number, not {shown(given[0])}; {advice}"
    styled = {cell for cell in given if parse_styled(cell, ".") is not None or parse_styled(cell, ",") is not None}
    others = [cell for cell in given if cell not in styled]
    total = {cell: int(counts[index]) for index, cell in enumerate(text.texts)}
    rows = sum(total[cell] for cell in given)
    if 0 < len(others) <= FEW_OTHERS and 2 * sum(total[cell] for cell in styled) >= rows:
        row = int(np.argmax(text.codes == text.texts.index(others[0])))
        return row, f"{wrong_cell(others[0])} (if it marks a missing value, say --na {shown(others[0])})"
    return None


def _plain_numbers(text: TextCells, rules: ColumnRules) -> Floats | None:
    """Return the numbers of a column that holds nothing else, in plain notation: most columns, in one quick pass."""
    if (
        rules.decimal == ","
        or not text.texts
        or "_" in "".join(text.texts)
        or not set(rules.missing).isdisjoint(text.texts)
    ):
        return None
    try:
        values = np.fromiter(map(float, text.texts), np.float64, len(text.texts))
    except ValueError:
        return None
    return values[text.codes] if np.isfinite(values).all() else None


def _numbers_of(given: Sequence[str], rules: ColumnRules) -> tuple[list[float] | None, str]:
    """Return the numbers that all these texts are, or None; and how they were read, where that is not plain."""
    plain = [parse_finite(cell) for cell in given]
    comma = rules.decimal == "," and all(parse_styled(cell, ",") is not None for cell in given)
    if all(value is not None for value in plain) and not comma and not (rules.forced and rules.decimal == ","):
        return [value for value in plain if value is not None], ""
    decimal, ambiguous = decimal_of(given, rules.decimal)
    if decimal is None or (rules.forced and decimal != rules.decimal):
        return None, ""
    values = [parse_styled(cell, decimal) for cell in given]
    example = next((cell for cell, value in zip(given, values, strict=True) if parse_finite(cell) != value), None)
    if example is None:
        return [value for value in values if value is not None], ""
    why = f"{shown(example)} is read as {parse_styled(example, decimal):g}"
    points = decimal == "," and rules.decimal != "," and not any("," in cell for cell in given)
    if points or (ambiguous and any(re.search(r"\d[.,]\d", cell) for cell in given)):
        why += " (--decimal says otherwise)"
    return [value for value in values if value is not None], why


def _numbers(name: str, text: TextCells, values: list[float], marks: Collection[str], why: str) -> Column:
    table = np.full(len(text.texts), np.nan)
    numbers = iter(values)
    counts = text.counts()
    for index, cell in enumerate(text.texts):
        if counts[index] and cell not in marks:
            table[index] = next(numbers)
    column = table[text.codes]
    return Column(name, "number", int(np.isnan(column).sum()), column, why=why)


def _coded(text: TextCells, codes: dict[str, float]) -> Floats:
    return np.array([codes.get(cell, np.nan) for cell in text.texts])[text.codes]


def _slip(text: TextCells, given: Sequence[str], counts: NDArray[np.int64], *, named: bool) -> tuple[int, str] | None:
    """Return the row and fault of the first text in a column of numbers, or None where the texts are categories."""
    numeric = {cell for cell in given if parse_styled(cell, ".") is not None or parse_styled(cell, ",") is not None}
    others = [cell for cell in given if cell not in numeric]
    broken = [
        cell for cell in others if SPREADSHEET_ERROR.fullmatch(cell) or parse_number(cell.replace("_", "")) is not None
    ]
    if not numeric and not (given and all(parse_number(cell) is not None for cell in given)):
        return None
    total = {cell: int(counts[index]) for index, cell in enumerate(text.texts)}
    rows = sum(total[cell] for cell in given)
    plain_texts = [cell for cell in others if not any(character.isdigit() for character in cell)]
    few = sum(total[cell] for cell in plain_texts) <= max(1, SLIPS * rows)
    many_numbers = sum(total[cell] for cell in numeric) * 2 >= rows
    suspects = (
        broken
        or (plain_texts if few and plain_texts == others and many_numbers else [])
        or ([] if others else list(given))
    )
    if not suspects:
        return None
    codes = {index for index, cell in enumerate(text.texts) if cell in suspects}
    row = int(np.argmax(np.isin(text.codes, list(codes))))
    hint = ""
    if named and row == 0 and len(codes) == 1 and total[text[0]] == 1 and not broken:
        hint = " (if this line holds units or more names, take it out)"
    return row, wrong_cell(text[row]) + hint


def _category(name: str, text: TextCells, given: Sequence[str], missing: int, *, asked: bool) -> Column:
    rows = len(text) - missing
    if not asked and len(given) > 2 and (len(given) == rows or len(given) > max(LEAST_FREE_TEXTS, rows / 2)):
        why = f"text that differs in {'all' if len(given) == rows else 'most'} rows ({len(given):,} of {rows:,})"
        # An index may still be a text, such as a name of each row.
        return Column(name, "ignored", missing, why=why)
    if len(given) > MOST_CATEGORIES:
        return Column(name, "ignored", missing, why=f"{len(given):,} different texts are too many to be categories")
    categories = tuple(sorted(given))
    codes = {cell: float(index) for index, cell in enumerate(categories)}
    return Column(name, "category", missing, _coded(text, codes), categories)


def is_index_name(name: str) -> bool:
    """Whether a column's name says that it only identifies the rows."""
    name = name.strip()
    return _INDEX_NAME.fullmatch(name) is not None or _CAMEL_ID.fullmatch(name) is not None


def _index(column: Column, text: TextCells | None, *, unnamed: bool) -> Column:
    values = column.values
    if values is None or column.missing or len(values) < 2 or column.kind == "boolean":
        return column
    count = len(values)
    if column.kind == "number":
        first = float(values[0])
        # Amounts with a unit are no index.
        in_order = first in (0.0, 1.0) and not column.why and bool((values == first + np.arange(count)).all())
        if in_order and count >= ROWS_OF_AN_INDEX:
            return replace(column, kind="index", why=f"counts the rows from {first:.0f}")
        # Fractions are measurements.
        named = (unnamed or is_index_name(column.name)) and bool((values == np.floor(values)).all())
        differ = named and (len(text.texts) == count if text is not None else len(np.unique(values)) == count)
    else:
        differ = False
    if differ:
        return replace(column, kind="index", why="differs in all rows and has the name of an index")
    return column


def _constant(column: Column) -> Column:
    values = column.values
    assert values is not None
    if column.missing or not len(values) or not bool((values == values[0]).all()):
        return column
    if "2^53" in column.doubt:
        return replace(
            column, kind="ignored", values=None, why="has whole numbers beyond 2^53 that cannot be told apart"
        )
    value = column.categories[int(values[0])] if column.categories else f"{values[0]:g}"
    return replace(column, kind="constant", values=None, why=f"is {shown(value)} in all rows")

"""The rule that decides whether targets are classes or numbers, and the interpretation of both.

`auto` makes classes of text and of truth values. Numbers are numbers, with these exceptions, which are classes:

* whole numbers with at most 20 different values that occur twice or more on average (or at most three values), unless
  all of them are 1000 or more (prices, masses, years);
* numbers that are labels by their spelling: with leading zeros (01067), the same number in several spellings (007 and 7,
  1e3 and 1000), or whole numbers beyond 2^53.

Text among fractional numbers is a mistake, not a class. `classes` and `numbers` override the rule. Classes keep the text
of the source, except numbers of NumPy's savetxt (1.000000000000000000e+00), which are named by their value.
Classes that are all numbers are ordered by value, others by their text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from coordinator.data.cells import decimal_of, parse_finite, parse_number, parse_styled, wrong_cell
from coordinator.data.columns import TextCells
from coordinator.data.limits import CLASSES, shown
from coordinator.data.suggestion import listed
from coordinator.data.table import Floats, Table
from coordinator.errors import UserError

TargetKind = Literal["auto", "classes", "numbers"]
Labels = NDArray[np.int64]

MOST_INTEGER_CLASSES = 20
FEW_INTEGER_CLASSES = 3
LEAST_AMOUNT = 1000
LARGEST_EXACT = 2.0**53
SAVETXT = re.compile(r"[+-]?\d\.\d{18}e[+-]\d{2,3}")


@dataclass(frozen=True, eq=False)
class Targets:
    """The targets of a table, interpreted: either `classes` and `labels` (rows,), or `numbers` (rows, outputs)."""

    classes: tuple[str, ...] | None
    labels: Labels | None
    numbers: Floats | None
    why: str


def interpret(table: Table, kind: TargetKind) -> Targets:
    """Decide what the targets of `table` are.

    Raises:
        UserError: one class or one value only, too many classes, text or NaN among numbers.
    """
    if table.classes is not None:
        classes = table.classes
        labels = match_classes(table, classes)
        why = "the source names its classes"
    else:
        are_classes, why = _are_classes(table, kind)
        if not are_classes:
            return Targets(None, None, _varied(table, as_numbers(table)), why)
        text = _without_savetxt(_as_text(table))
        counts = text.counts()
        present = [name for name, count in zip(text.texts, counts, strict=True) if count]
        _check_names(table, text, present)
        classes = _ordered(present)
        _check_classes(table, classes)
        index = {name: position for position, name in enumerate(classes)}
        labels = np.array([index.get(name, -1) for name in text.texts], dtype=np.int64)[text.codes]
    if len(np.unique(labels)) < 2:
        only = shown(classes[int(labels[0])])
        raise UserError(f"{table.place}: all rows are of the one class {only}; at least two classes are needed")
    return Targets(classes, labels, None, why)


def match_classes(table: Table, classes: Sequence[str], notes: list[str] | None = None) -> Labels:
    """Return the index in `classes` of every row's target (rows,).

    A class is found by its text, else by its number, else without regard to case, blanks around it and a full stop
    behind it; `notes` gets a line for the last.

    Raises:
        UserError: a target that is none of the classes.
    """
    text = _as_text(table)
    index = {name: position for position, name in enumerate(classes)}
    by_number = _unique((parse_finite(name), position) for name, position in index.items())
    by_shape = _unique((_shape(name), position) for name, position in index.items())
    positions = np.empty(len(text.texts), dtype=np.int64)
    counts = text.counts()
    for code, name in enumerate(text.texts):
        position = index.get(name)
        if position is None:
            value = parse_finite(name)
            position = None if value is None else by_number.get(value)
        if position is None:
            position = by_shape.get(_shape(name))
            if position is not None and notes is not None and counts[code]:
                notes.append(f"the target {shown(name)} is taken for the class {shown(classes[position])}")
        if position is None and counts[code]:
            row = int(np.argmax(text.codes == code))
            raise UserError(f"{table.where(row)}: {shown(name)} is none of the classes ({listed(classes, 10)})")
        positions[code] = -1 if position is None else position
    return positions[text.codes]


def _shape(name: str) -> str:
    return name.strip().rstrip(".").strip().casefold()


def _unique(pairs: object) -> dict[object, int]:
    """Map keys to positions, without the keys that several positions share."""
    found: dict[object, int] = {}
    twice: set[object] = set()
    for key, position in pairs:  # type: ignore[attr-defined]
        if key in found:
            twice.add(key)
        found[key] = position
    return {key: position for key, position in found.items() if key is not None and key not in twice}


def as_numbers(table: Table) -> Floats:
    """Return the targets as numbers (rows, outputs).

    Raises:
        UserError: text, NaN or an infinity.
    """
    if not isinstance(table.targets, TextCells):
        numbers = np.asarray(table.targets, dtype=np.float64)
        finite = np.isfinite(numbers).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            raise UserError(f"{table.where(row)}, column {shown(table.target_name)}: is not finite (NaN or infinity)")
        return numbers
    text = table.targets
    counts = text.counts()
    values = _values(table, text)
    for code, value in enumerate(values):
        if value is None and counts[code]:
            row = int(np.argmax(text.codes == code))
            cell = text.texts[code]
            what = "is not finite (NaN or infinity)" if parse_number(cell) is not None else wrong_cell(cell)
            raise UserError(f"{table.where(row)}, column {shown(table.target_name)}: {what}")
    return np.array([value or 0.0 for value in values])[text.codes][:, np.newaxis]


def _values(table: Table, text: TextCells) -> list[float | None]:
    """Return the number of each text that occurs, read in one way for all."""
    counts = text.counts()
    present = [cell for cell, count in zip(text.texts, counts, strict=True) if count]
    plain = [parse_finite(cell) for cell in text.texts]
    if table.decimal != "," and all(value is not None for value, count in zip(plain, counts, strict=True) if count):
        return plain
    decimal, _ = decimal_of(present, table.decimal)
    if decimal is None:
        return plain
    return [parse_styled(cell, decimal) for cell in text.texts]


def _are_classes(table: Table, kind: TargetKind) -> tuple[bool, str]:
    if kind != "auto":
        return kind == "classes", "as asked"
    if table.nominal_target:
        return True, "the file declares its classes"
    if isinstance(table.targets, TextCells):
        return _texts_are_classes(table, table.targets)
    numbers = np.asarray(table.targets)
    if numbers.shape[1] > 1:
        return False, f"{numbers.shape[1]} numbers per row"
    if not np.isfinite(numbers).all():
        return False, "numbers"
    return _few_whole(np.unique(numbers).tolist(), len(numbers))


def _texts_are_classes(table: Table, text: TextCells) -> tuple[bool, str]:
    present = [index for index, count in enumerate(text.counts()) if count]
    values = _values(table, text)
    found = [value for index in present if (value := values[index]) is not None]
    labels = [text.texts[index] for index in present]
    if len(found) < len(present):
        # A fraction among them says that the column holds numbers: as_numbers then names the text as the slip.
        slip = any(not value.is_integer() for value in found)
        return not slip, "numbers, but for some cells" if slip else "text"
    if why := _label_by_spelling(labels, found):
        return True, why
    return _few_whole(sorted(set(found)), len(text))


def _label_by_spelling(labels: Sequence[str], values: Sequence[float]) -> str | None:
    """Return why numbers are labels by the way they are written, if they are."""
    if any(re.fullmatch(r"[+-]?0\d+", label) for label in labels):
        return "numbers with zeros in front are labels"
    if not all(value.is_integer() for value in values):
        return None
    exponents = ["e" in label.lower() for label in labels]
    if any(abs(value) >= LARGEST_EXACT and not e for value, e in zip(values, exponents, strict=True)):
        return "whole numbers beyond 2^53 are labels"
    if len(set(values)) < len(values) <= MOST_INTEGER_CLASSES and any(exponents):
        return "the same number in several spellings is a label"
    return None


def _few_whole(values: Sequence[float], rows: int) -> tuple[bool, str]:
    """Apply the rule for whole numbers to the different values of so many rows."""
    if not all(value.is_integer() for value in values):
        return False, "numbers with fractions"
    count = len(values)
    if count > MOST_INTEGER_CLASSES:
        return False, f"more than {MOST_INTEGER_CLASSES} different whole numbers"
    if count > FEW_INTEGER_CLASSES and 2 * count > rows:
        return False, f"{count} different whole numbers in {rows} rows"
    if values and min((abs(value) for value in values if value), default=0.0) >= LEAST_AMOUNT:
        return False, f"whole numbers of {LEAST_AMOUNT:,} and more"
    return True, f"at most {MOST_INTEGER_CLASSES} different whole numbers"


def _as_text(table: Table) -> TextCells:
    if isinstance(table.targets, TextCells):
        return table.targets
    numbers = np.asarray(table.targets)
    if numbers.shape[1] > 1:
        raise UserError(f"{table.place}: {numbers.shape[1]} target columns cannot name a class; one column is needed")
    values, codes = np.unique(numbers[:, 0], return_inverse=True)
    return TextCells(tuple(_number_name(float(value)) for value in values), codes.astype(np.int64))


def _without_savetxt(text: TextCells) -> TextCells:
    """Name labels by their numbers where NumPy's savetxt wrote all of them."""
    if not all(SAVETXT.fullmatch(name) for name in text.texts):
        return text
    names = [_number_name(float(name)) for name in text.texts]
    return TextCells(tuple(names), text.codes) if len(set(names)) == len(names) else text


def _number_name(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _check_names(table: Table, text: TextCells, present: Sequence[str]) -> None:
    for name in present:
        value = parse_number(name) if not isinstance(table.targets, TextCells) else None
        if not name or (value is not None and not np.isfinite(value)):
            what = "is empty" if not name else "is not finite (NaN or infinity)"
            row = int(np.argmax(text.codes == text.texts.index(name)))
            raise UserError(f"{table.where(row)}, column {shown(table.target_name)}: {what}, a class is needed")


def _ordered(names: Sequence[str]) -> tuple[str, ...]:
    values = {name: parse_finite(name) for name in names}
    if all(value is not None for value in values.values()):
        return tuple(sorted(names, key=lambda name: (values[name] or 0.0, name)))
    return tuple(sorted(names))


def _check_classes(table: Table, classes: tuple[str, ...]) -> None:
    if len(classes) > CLASSES:
        raise UserError(
            f"{table.place}: column {shown(table.target_name)} has {len(classes):,} classes, at most {CLASSES:,} are "
            "possible; name another target column, or say that the targets are numbers"
        )


def _varied(table: Table, numbers: Floats) -> Floats:
    if bool((numbers == numbers[0]).all()):
        raise UserError(f"{table.place}: the targets of all rows are {numbers[0, 0]:g}; there is nothing to learn")
    return numbers

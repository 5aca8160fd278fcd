"""Are the targets classes or numbers? The rule, and both readings.

`auto`: text makes classes; numbers are classes where all are integers with at most 20 distinct values, and numbers
otherwise. Text beside fractional numbers is taken for a slip, not for a class. `classes` and `numbers` settle it.
Classes that are integers are ordered by value, others by their text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from coordinator.data.limits import CLASSES, shown
from coordinator.data.suggestion import listed
from coordinator.data.table import Floats, Table
from coordinator.errors import UserError

TargetKind = Literal["auto", "classes", "numbers"]
Labels = NDArray[np.int64]

MOST_INTEGER_CLASSES = 20


def parse_number(cell: str) -> float | None:
    """The number that a cell holds, or None. `1_000` is Python's spelling, not data's."""
    if "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def interpret(table: Table, kind: TargetKind) -> tuple[tuple[str, ...] | None, Labels | None, Floats | None]:
    """The targets of `table` as (classes, labels, None) or (None, None, numbers).

    Raises:
        UserError: one class or one value only, too many classes, text or NaN among numbers.
    """
    if table.classes is not None:
        classes = table.classes
        labels = match_classes(table, classes)
    elif _are_classes(table, kind):
        names = _names(table)
        classes = _ordered(set(names))
        _check_classes(table, classes)
        index = {name: position for position, name in enumerate(classes)}
        labels = np.array([index[name] for name in names], dtype=np.int64)
    else:
        return None, None, _varied(table, as_numbers(table))
    if len(np.unique(labels)) < 2:
        only = shown(classes[int(labels[0])])
        raise UserError(f"{table.place}: all rows are of the one class {only}; at least two classes are needed")
    return classes, labels, None


def match_classes(table: Table, classes: Sequence[str]) -> Labels:
    """The index in `classes` of every row's target (rows,).

    Raises:
        UserError: a target that is none of the classes.
    """
    index = {name: position for position, name in enumerate(classes)}
    labels = np.empty(len(table.targets), dtype=np.int64)
    for row, target in enumerate(_raw_names(table)):
        position = index.get(target)
        if position is None:
            value = parse_number(target)
            position = None if value is None else index.get(_number_name(value))
        if position is None:
            raise UserError(f"{table.where(row)}: {shown(target)} is none of the classes ({listed(classes, 10)})")
        labels[row] = position
    return labels


def as_numbers(table: Table) -> Floats:
    """The targets as numbers (rows, outputs).

    Raises:
        UserError: text, NaN or an infinity.
    """
    if _is_text(table.targets):
        column = np.empty((len(table.targets), 1), dtype=np.float64)
        for row, cell in enumerate(table.targets):
            value = parse_number(cell)
            if value is None:
                what = f"{shown(cell)} where a number belongs" if cell else "is empty, a number is needed"
                raise UserError(f"{table.where(row)}, column {shown(table.target_name)}: {what}")
            column[row, 0] = value
        numbers = column
    else:
        numbers = np.asarray(table.targets, dtype=np.float64)
    finite = np.isfinite(numbers).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise UserError(f"{table.where(row)}, column {shown(table.target_name)}: is not finite (NaN or infinity)")
    return numbers


def _are_classes(table: Table, kind: TargetKind) -> bool:
    if kind != "auto":
        return kind == "classes"
    if _is_text(table.targets):
        values = [parse_number(cell) for cell in table.targets]
        if None in values:
            # A fraction among them says that the column holds numbers: as_numbers then names the text as the slip.
            return not any(value is not None and math.isfinite(value) and not value.is_integer() for value in values)
        numbers = np.array(values, dtype=np.float64)[:, np.newaxis]
    else:
        numbers = np.asarray(table.targets)
    if numbers.shape[1] > 1 or not np.isfinite(numbers).all():
        return False
    return bool((numbers == np.floor(numbers)).all()) and len(np.unique(numbers)) <= MOST_INTEGER_CLASSES


def _names(table: Table) -> list[str]:
    """Every row's class name: integers by their value (`1.0` and `1` are one class), else as it is written."""
    raw = _raw_names(table)
    distinct = {name: parse_number(name) for name in raw}
    for name, value in distinct.items():
        if not name or (value is not None and not math.isfinite(value)):
            what = "is not finite (NaN or infinity)" if name else "is empty"
            place = f"{table.where(raw.index(name))}, column {shown(table.target_name)}"
            raise UserError(f"{place}: {what}, a class is needed")
    if all(value is not None and value.is_integer() for value in distinct.values()):
        named = {name: _number_name(value) for name, value in distinct.items() if value is not None}
        return [named[name] for name in raw]
    return raw


def _raw_names(table: Table) -> list[str]:
    if _is_text(table.targets):
        return list(table.targets)
    numbers = np.asarray(table.targets)
    if numbers.shape[1] > 1:
        raise UserError(f"{table.place}: {numbers.shape[1]} target columns can't name a class; one column is needed")
    return [_number_name(value) for value in numbers[:, 0].tolist()]


def _number_name(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _ordered(names: set[str]) -> tuple[str, ...]:
    values = {name: parse_number(name) for name in names}
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


def _is_text(targets: Sequence[str] | Floats) -> TypeGuard[Sequence[str]]:
    return not isinstance(targets, np.ndarray)

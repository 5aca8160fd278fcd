"""Report what was understood of a data set, as lines or as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coordinator.data.cells import WORDS_FOR_MISSING, is_date, parse_finite
from coordinator.data.dataset import Dataset
from coordinator.data.dialect import NAMES_OF_DELIMITERS
from coordinator.data.encoding import EncodedColumn, Encoding
from coordinator.data.limits import shown
from coordinator.data.table import ColumnFacts, Floats, TableFacts
from coordinator.data.targets import Labels

ONE_CLASS = 0.95
"""With this share of rows of one class, report the balanced accuracy too."""
FEW_ROWS_A_CLASS = 5
DUPLICATES = 0.05
FAR_OUT = 0.99
COLUMNS_LISTED = 24
CLASSES_LISTED = 12
ROWS_TO_DOUBT = 10
SAME = 1e-9
HEAD = 1_000
"""So many rows are compared before all rows are."""
MARKS = (9.0, 99.0, 999.0, 9999.0, 99999.0, 999999.0)
"""Numbers, with either sign, that stand for missing values in many tables."""
ROWS_LOOKED_AT = 10_000


@dataclass(frozen=True)
class ReportedColumn:
    """A column of the source: what it is, and how many inputs it gives."""

    name: str
    kind: str
    inputs: int
    missing: int
    why: str = ""


@dataclass(frozen=True)
class DataReport:
    """What was understood of a data set."""

    file: str
    rows: int
    facts: TableFacts
    columns: tuple[ReportedColumn, ...]
    inputs: int
    target: str
    classes: dict[str, int] | None
    why: str
    held_out: int
    train: int
    warnings: tuple[str, ...]

    @property
    def one_class(self) -> bool:
        """Whether nearly all rows are of one class."""
        return self.classes is not None and max(self.classes.values()) >= ONE_CLASS * sum(self.classes.values())

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        facts = self.facts
        return {
            "file": self.file,
            "format": facts.format,
            "rows": self.rows,
            "delimiter": facts.delimiter,
            "decimal": facts.decimal,
            "encoding": facts.encoding,
            "packing": facts.packing,
            "header": facts.header,
            "columns": [
                {"name": c.name, "kind": c.kind, "inputs": c.inputs, "missing": c.missing, "why": c.why or None}
                for c in self.columns
            ],
            "inputs": self.inputs,
            "target": {
                "name": self.target,
                "kind": "numbers" if self.classes is None else "classes",
                "classes": self.classes,
                "rows_left_out": facts.rows_left_out,
                "why": self.why,
            },
            "held_out": self.held_out,
            "warnings": list(self.warnings),
        }

    def lines(self) -> list[str]:
        """Return the lines for people: one line for a bundled data set."""
        if not self.facts.columns:
            return [self._in_one_line()]
        return [
            self._how(),
            *_table([("column", "kind", "inputs", "missing", ""), *self._column_lines()]),
            *self._target_lines(),
            f"held out: {self.held_out:,} of {self.held_out + self.train:,} rows"
            if self.held_out
            else f"held out: none, {self.train:,} rows to learn from",
            *(f"warning: {warning}" for warning in self.warnings),
        ]

    def _in_one_line(self) -> str:
        targets = "numbers" if self.classes is None else f"{len(self.classes):,} classes"
        held_out = f"{self.held_out:,} rows held out" if self.held_out else "none held out"
        return f"data: {self.file}: {self.rows:,} rows, {self.inputs:,} inputs, {targets} of {_name(self.target)}, {held_out}"

    def _how(self) -> str:
        facts = self.facts
        parts = [f"{self.rows:,} rows"]
        if facts.format == "text":
            parts.append(f"delimiter {NAMES_OF_DELIMITERS.get(facts.delimiter or '', repr(facts.delimiter))}")
        elif facts.format != "array":
            parts.append(facts.format)
        if facts.encoding:
            parts.append(facts.encoding)
        if facts.packing:
            parts.append(f"packed with {facts.packing}")
        if facts.decimal == ",":
            parts.append("decimal comma")
        if facts.format == "text":
            parts.append("a header" if facts.header else "no header")
        return f"data: {shown(self.file, 200)[1:-1]}: " + ", ".join(parts)

    def _column_lines(self) -> list[tuple[str, str, str, str, str]]:
        """Describe the first columns; many equal columns in a row become one line."""
        groups: list[list[ReportedColumn]] = []
        for column in self.columns:
            alike = groups and column.kind == groups[-1][0].kind and not column.missing and not groups[-1][0].missing
            plain = (
                column.inputs == 1 and not column.why and alike and groups[-1][0].inputs == 1 and not groups[-1][0].why
            )
            if plain and len(self.columns) > COLUMNS_LISTED:
                groups[-1].append(column)
            else:
                groups.append([column])
        lines = []
        for group in groups[:COLUMNS_LISTED]:
            first, last = group[0], group[-1]
            name = (
                _name(first.name) if len(group) == 1 else f"{_name(first.name)} to {_name(last.name)} ({len(group):,})"
            )
            inputs = sum(column.inputs for column in group)
            use = "" if first.kind == "target" else f"{inputs:,}" if inputs else "left out"
            lines.append((name, first.kind, use, f"{first.missing:,}" if first.missing else "", first.why))
        if len(groups) > COLUMNS_LISTED:
            rest = Counter(column.kind for group in groups[COLUMNS_LISTED:] for column in group)
            lines.append(
                ("...", "", "", "", "; ".join(f"{count:,} more of kind {kind}" for kind, count in rest.items()))
            )
        return lines

    def _target_lines(self) -> list[str]:
        inputs = f"inputs: {self.inputs:,}"
        count = self.facts.rows_left_out
        left = f"; {count:,} row{'s' if count > 1 else ''} without a target left out" if count else ""
        if self.classes is None:
            return [inputs, f"target: {_name(self.target)}, numbers ({self.why}){left}"]
        most = sorted(self.classes.items(), key=lambda item: -item[1]) if len(self.classes) > CLASSES_LISTED else None
        pairs = list(self.classes.items()) if most is None else most[:CLASSES_LISTED]
        counts = ", ".join(f"{_name(name)} {count:,}" for name, count in pairs)
        more = f", ... ({len(self.classes):,} classes, the most frequent first)" if most else ""
        return [
            inputs,
            f"target: {_name(self.target)}, {len(self.classes):,} classes ({self.why}){left}: {counts}{more}",
        ]


def _name(name: str) -> str:
    """Show a name without breaking the line or sending control characters to a terminal."""
    return name if name.isprintable() else repr(name)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Align the cells of rows; numbers to the right."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    right = (2, 3)
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            if width
        ]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return lines


def report_on(file: str, dataset: Dataset, encoding: Encoding, parts: tuple[Labels, Labels] | None) -> DataReport:
    """Report on an encoded data set. `parts` are the rows for training and those held out."""
    facts = dataset.facts
    described = facts.columns or (
        *(ColumnFacts(column.name, column.kind) for column in dataset.columns),
        ColumnFacts(dataset.target_name, "target"),
    )
    used = {column.name: column for column in encoding.table_columns}
    columns = tuple(_column(column, used) for column in described)
    train, test = parts if parts is not None else (np.arange(dataset.samples), np.arange(0))
    same = len(train) == len(test) and bool((train == test).all())
    classes = None
    if dataset.classes is not None and dataset.labels is not None:
        counts = np.bincount(dataset.labels, minlength=len(dataset.classes)).tolist()
        classes = dict(zip(dataset.classes, counts, strict=True))
    warnings = [*facts.warnings, *(f"{problem}; learn refuses this table" for problem in facts.problems)]
    if parts is not None:
        warnings += _doubts(dataset, classes, train, train[:0] if same else test)
    return DataReport(
        file=file,
        rows=facts.rows or dataset.samples,
        facts=facts,
        columns=columns,
        inputs=encoding.features,
        target=dataset.target_name,
        classes=classes,
        why=dataset.why,
        held_out=0 if same else len(test),
        train=len(train),
        warnings=tuple(warnings),
    )


def _column(column: ColumnFacts, used: dict[str, EncodedColumn]) -> ReportedColumn:
    encoded = used.get(column.name) if column.kind in ("number", "category", "boolean") else None
    inputs = 0 if encoded is None else encoded.width
    return ReportedColumn(column.name, column.kind, inputs, column.missing, column.why)


def _doubts(dataset: Dataset, classes: dict[str, int] | None, train: Labels, test: Labels) -> list[str]:
    """Return warnings about suspicious data."""
    doubts: list[str] = []
    if classes is not None:
        doubts += _doubts_about_classes(dataset, classes, train)
    elif dataset.numbers is not None and bool((dataset.numbers[train] == dataset.numbers[train][0]).all()):
        doubts.append(f"the target is {dataset.numbers[train][0, 0]:g} in all training rows; there is little to learn")
    numbers = dataset.numbers
    if numbers is not None and numbers.shape[1] > 1 and bool(np.isin(numbers, (0.0, 1.0)).all()):
        doubts.append(f"each row has {numbers.shape[1]} labels of 0 or 1, which are learned as numbers")
    elif numbers is not None and numbers.shape[1] == 1 and (mark := _mark_of_missing(numbers[:, 0])):
        doubts.append(f"the target is {mark[0]} in {mark[1]:,} rows: if that marks a missing value, say --na {mark[0]}")
    doubts += _doubts_about_columns(dataset, train)
    doubts += _duplicates(dataset, train, test)
    unseen = _unseen(dataset, train, test)
    return doubts + unseen


def _doubts_about_classes(dataset: Dataset, classes: dict[str, int], train: Labels) -> list[str]:
    doubts = []
    total = sum(classes.values())
    most = max(classes, key=lambda name: classes[name])
    if classes[most] >= ONE_CLASS * total:
        doubts.append(
            f"{classes[most]:,} of {total:,} rows are of the class {shown(most)}: always predicting it has the accuracy "
            f"{classes[most] / total:.3f}; look at the balanced accuracy"
        )
    present_names = [name for name, count in classes.items() if count]
    present = [count for count in classes.values() if count]
    if len(present) > 2 and total < FEW_ROWS_A_CLASS * len(present):
        doubts.append(f"{len(present):,} classes for {total:,} rows are many: {total / len(present):.1f} rows for each")
    assert dataset.labels is not None
    known = len(np.unique(dataset.labels[train]))
    if known < len(present):
        doubts.append(f"{len(present) - known:,} of {len(present):,} classes have no training row")
    spellings: dict[float, list[str]] = {}
    for name in classes:
        if (value := parse_finite(name)) is not None:
            spellings.setdefault(value, []).append(name)
    doubts += [
        f"the classes {' and '.join(map(shown, names[:3]))} are one number in different spellings"
        for names in spellings.values()
        if len(names) > 1
    ]
    folded = Counter(name.casefold() for name in classes)
    if alike := [name for name in classes if folded[name.casefold()] > 1]:
        doubts.append(f"the classes {', '.join(map(shown, alike[:4]))} differ in case only")
    if marks := [name for name in present_names if name.casefold() in WORDS_FOR_MISSING]:
        doubts.append(f"the class {shown(marks[0])} may mark a missing value: if it does, say --na {shown(marks[0])}")
    if dataset.classes is not None and all(is_date(name) for name in dataset.classes):
        doubts.append("the classes are dates")
    return doubts


def _doubts_about_columns(dataset: Dataset, train: Labels) -> list[str]:
    doubts = []
    target: Floats | None = None
    if dataset.labels is not None:
        target = dataset.labels.astype(np.float64)
    elif dataset.numbers is not None and dataset.numbers.shape[1] == 1:
        target = dataset.numbers[:, 0]
    if not dataset.facts.columns or dataset.facts.format == "array":
        return []
    leak = None if target is None or len(target) < ROWS_TO_DOUBT else _Leak(target, classes=dataset.labels is not None)
    for position, column in enumerate(dataset.columns):
        values = dataset.inputs[:, position]
        if leak is not None and (what := leak.by(values)):
            doubts.append(f"{shown(column.name)} {what}; if it says the same, leave it out with --ignore")
        if column.kind == "number":
            doubts += _doubts_about_numbers(column.name, values[train])
    return doubts


class _Leak:
    """A target that a column may give away."""

    def __init__(self, target: Floats, *, classes: bool) -> None:
        self._target = target
        self._classes = classes
        self._different = len(np.unique(target))
        self._head = len(np.unique(target[:HEAD]))
        self._spread = float(np.ptp(target))

    def by(self, values: Floats) -> str:
        """Say how a column gives the target away, if it does."""
        if self._classes:
            return "is equal to the target, or has one value per class" if self._by_class(values) else ""
        if values[0] == self._target[0] and bool((values == self._target).all()):
            return "is equal to the target"
        return "rises and falls exactly as the target" if self._is_rescaled(values) else ""

    def _by_class(self, values: Floats) -> bool:
        """Whether a column determines the classes and is determined by them, value for value."""
        if self._different * 2 > len(self._target) or len(np.unique(values[:HEAD])) > self._head:
            # With so many classes, all columns whose values differ determine them.
            return False
        pairs = np.unique(np.column_stack((values, self._target)), axis=0)
        missing = bool(np.isnan(values).any())
        return not missing and len(pairs) == len(np.unique(values)) == self._different > 1

    def _is_rescaled(self, values: Floats) -> bool:
        """Whether numbers are the target in another unit, a few rows first."""
        for rows in (slice(0, HEAD), slice(None)):
            some, goal = values[rows], self._target[rows]
            spread, width = float(np.ptp(some)), float(np.ptp(goal))
            if not 0 < spread < np.inf or width == 0:
                return False
            scaled, wanted = (some - some.min()) / spread, (goal - goal.min()) / width
            if np.abs(scaled - wanted).max() >= SAME and np.abs(1 - scaled - wanted).max() >= SAME:
                return False
        return True


def _mark_of_missing(values: Floats) -> tuple[str, int] | None:
    """Return a number such as -999 that probably marks missing values, and in how many rows it stands."""
    given = values[~np.isnan(values)]
    if len(given) < ROWS_TO_DOUBT:
        return None
    for mark in (float(given.min()), float(given.max())):
        if abs(mark) in MARKS and (given == mark).sum() > 1:
            others = given[given != mark]
            count = len(given) - len(others)
            far = len(others) and np.abs(others - mark).min() > np.ptp(others)
            if far and 1 < count < len(given) / 2 and len(np.unique(others)) > 2:
                return f"{mark:.0f}", count
    return None


def _doubts_about_numbers(name: str, values: Floats) -> list[str]:
    values = values[~np.isnan(values)]
    if len(values) < ROWS_TO_DOUBT:
        return []
    if mark := _mark_of_missing(values):
        return [f"{shown(name)} is {mark[0]} in {mark[1]:,} rows: if that marks a missing value, say --na {mark[0]}"]
    low, high = float(values.min()), float(values.max())
    spread = high - low if np.isfinite(high - low) else high
    size = max(abs(low), abs(high))
    if 0 < spread < 1e-12 * size:
        return [f"{shown(name)} varies by less than 1e-12 of its size ({low:g}), as rounding errors do"]
    every = max(1, len(values) // ROWS_LOOKED_AT)
    ordered = np.sort(values[::every])
    quarter, middle, three = (float(ordered[int(share * (len(ordered) - 1))]) for share in (0.05, 0.5, 0.95))
    far = low if middle - low > high - middle else high
    if spread > 0 and (three - quarter) < 1e-6 * spread:
        return [f"{shown(name)} has a value far from all others ({far:g}): scaled, the others are all alike"]
    return []


def _duplicates(dataset: Dataset, train: Labels, test: Labels) -> list[str]:
    """Count held-out rows that are among the training rows, by a hash of their numbers."""
    if not len(test):
        return []
    weights = np.sin(np.arange(1, dataset.features + 1, dtype=np.float64)) + 1.5
    missing = np.isnan(dataset.inputs)
    with np.errstate(over="ignore", invalid="ignore"):
        # Any number that is no usual value may stand for a missing cell.
        marks = (np.where(missing, -1.2345e5, dataset.inputs) if missing.any() else dataset.inputs) @ weights
    if len(np.unique(marks)) * 2 < len(marks):
        # With so few different rows, repeats are expected.
        return []
    count = int(np.isin(marks[test], marks[train]).sum())
    if count < max(2, DUPLICATES * len(test)):
        return []
    return [
        f"{count:,} of {len(test):,} held-out rows are among the training rows too, so the held-out figures are too good"
    ]


def _unseen(dataset: Dataset, train: Labels, test: Labels) -> list[str]:
    doubts = []
    for position, column in enumerate(dataset.columns):
        if column.kind == "category" and len(test):
            values = dataset.inputs[:, position]
            known, held = values[train], values[test]
            new = int((~np.isin(held[~np.isnan(held)], known[~np.isnan(known)])).sum())
            if new:
                rows = f"{new:,} held-out rows have" if new > 1 else "1 held-out row has"
                doubts.append(f"{rows} a text in {shown(column.name)} that no training row has")
    return doubts

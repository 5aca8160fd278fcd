"""Read a whole table of text cells for training: decide on its columns and its target."""

from __future__ import annotations

import contextlib
import gc
import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from coordinator.data.cells import DASH, PLUS, Decimal, missing_marks, parse_finite
from coordinator.data.columns import (
    INPUT_KINDS,
    Column,
    ColumnCells,
    ColumnRules,
    TextCells,
    decide,
    is_index_name,
    shown_decimal,
)
from coordinator.data.dialect import is_number
from coordinator.data.limits import shown, shown_path
from coordinator.data.opening import BLOCK_BYTES, format_of, opened, read_sample, unpacked
from coordinator.data.options import TableOptions
from coordinator.data.records import Chunk, Records, records_in
from coordinator.data.suggestion import closest
from coordinator.data.table import ColumnFacts, Table, TableColumn, TableFacts, left_out_note
from coordinator.errors import UserError

USUAL_TARGETS = ("target", "class", "label")
"""A column with such a name is the target, if no other is named; otherwise the last column is."""
KNOWN_TARGETS = ("survived", "outcome", "diagnosis")
"""Targets of tables that many people have; they decide where no usual name does."""
PROBABLE_TARGETS = frozenset(
    (*USUAL_TARGETS, *KNOWN_TARGETS, "targets", "labels", "classes", "y", "species", "price", "saleprice", "quality",
     "response", "result", "output", "churn", "exited", "attrition", "income", "medv", "mpg", "fraud", "is_fraud",
     "spam", "is_spam")
)  # fmt: skip
"""Names that make a column the likely target, if the last column has none of them."""
TOTALS = ("total", "totals", "grand total", "sum", "subtotal", "gesamt", "summe", "average", "mean")
MOST_TOTALS = 2
FEW_CLASSES = 20
ROWS_OF_A_DOUBT = 20


def read_text_table(path: Path, options: TableOptions) -> Table:
    """Read the table in a file of text cells, in any format that `records.py` knows.

    Raises:
        UserError: the file cannot be read or holds no table, with the line and the column where there is one.
    """
    place = shown_path(path)
    with opened(path, place) as packed:
        sha256 = digest_of(packed)
        file, packing = unpacked(packed, place)
        kind = format_of(read_sample(file, place), place)
        with records_in(file, kind, place, options) as records:
            records.packing = packing
            return _table(records, options, shown_path(Path(path.name)), sha256)


def digest_of(file: BinaryIO) -> str:
    """Return the SHA-256 of a file, in hexadecimal, and go back to its start."""
    digest = hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()


def _table(records: Records, options: TableOptions, name: str, sha256: str) -> Table:
    first = next(records.chunks, Chunk([], []))
    used, target = choose(records, options, first)
    if not used:
        raise UserError(
            f"{records.place}: has one column; at least one input beside the target is needed (comma, ; or tab)"
        )
    lines, cells = _gathered(records, options, first, used, target)
    texts = {index: cells[index].text() for index in used}
    rules = _rules(records, options, texts)
    columns = {index: _decided(records, index, cells[index], texts[index], rules, lines) for index in used}
    texts.clear()
    columns = _with_an_input(records, columns)
    target_text = cells[target].text()
    assert target_text is not None, "the target is kept as text"
    kept = ~_missing_targets(target_text, options)
    chosen = [index for index in used if columns[index].kind in INPUT_KINDS]
    inputs = np.empty((int(kept.sum()), len(chosen)))
    for position, index in enumerate(chosen):
        values = columns[index].values
        assert values is not None
        inputs[:, position] = values[kept]
    facts = _facts(records, columns, target, options, rules.decimal, kept, target_text)
    if records.classes is not None:
        target_text = _named_classes(target_text, records.classes)
    return Table(
        name=name,
        place=records.place,
        inputs=inputs,
        columns=tuple(TableColumn(columns[i].name, columns[i].kind, columns[i].categories) for i in chosen),
        target_name=records.names[target],
        targets=target_text.chosen(kept),
        nominal_target=target in records.nominal,
        sha256=sha256,
        lines=np.frombuffer(lines, dtype=np.int64)[kept].tolist(),
        word=records.word,
        decimal=rules.decimal,
        facts=facts,
        source_columns=records.names,
    )


def choose(records: Records, options: TableOptions, first: Chunk, usual: str | None = None) -> tuple[list[int], int]:
    """Choose the columns to look at and the target's. `usual` is a model's name for the target.

    Columns without a name whose cells are all empty, at the end, are none: a delimiter ends each line.
    """
    width = records.width
    while width > 1 and (not records.has_header or width - 1 in records.unnamed):
        if any(row[width - 1].strip() for row in first.rows):
            break
        width -= 1
    target = _target(records, options, width, usual)
    ignored = _named(records, options.ignore, "--ignore")
    wanted = _named(records, options.inputs, "--inputs")
    for option, chosen in (("--ignore", ignored), ("--inputs", wanted)):
        if target in chosen:
            name = shown(records.names[target])
            raise UserError(f"{option}: {name} is the target of {records.place}; name another with --target")
    used = [
        index for index in range(width) if index != target and index not in ignored and (not wanted or index in wanted)
    ]
    return used, target


def _target(records: Records, options: TableOptions, width: int, usual: str | None) -> int:
    names, asked = records.names, options.target
    if asked is None:
        if usual is not None and usual in names:
            return names.index(usual)
        if records.has_header and width > 1:
            for usual_names in (USUAL_TARGETS, KNOWN_TARGETS):
                known = [index for index, name in enumerate(names[:width]) if name.casefold() in usual_names]
                if len(known) == 1:
                    return known[0]
                if known:
                    break
        named = [index for index in range(width) if index not in records.unnamed]
        return named[-1] if named and records.has_header else width - 1
    if asked in names:
        return names.index(asked)
    if asked in ("first", "last"):
        return 0 if asked == "first" else width - 1
    if asked.isascii() and asked.isdigit() and 1 <= int(asked) <= width:
        return int(asked) - 1
    raise UserError(f"{records.place}: has no column {shown(asked)} for the target; {closest(asked, names)}")


def _named(records: Records, asked: Sequence[str], option: str) -> set[int]:
    """Return the columns of these names, or of these numbers counted from 1."""
    found = set()
    for name in asked:
        if name in records.names:
            found.add(records.names.index(name))
        elif name.isascii() and name.isdigit() and 1 <= int(name) <= records.width:
            found.add(int(name) - 1)
        else:
            raise UserError(f"{option}: {records.place} has no column {shown(name)}; {closest(name, records.names)}")
    return found


def _gathered(
    records: Records, options: TableOptions, first: Chunk, used: Sequence[int], target: int
) -> tuple[array[int], dict[int, ColumnCells]]:
    cells = {index: ColumnCells(options.missing, options.decimal) for index in used}
    cells[target] = ColumnCells(options.missing, options.decimal, keep_text=True)
    lines = array("q")
    chunk: Chunk | None = first
    with _collector_paused():
        while chunk is not None:
            columns = list(zip(*chunk.rows, strict=True))
            if columns:
                for index, gathered in cells.items():
                    gathered.add(columns[index])
            lines.extend(chunk.numbers)
            chunk = next(records.chunks, None)
    if not lines:
        raise UserError(f"{records.place}: holds no rows of data")
    return lines, cells


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the collector of cycles: rows of cells hold none, and the search takes a third of the time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _rules(records: Records, options: TableOptions, texts: dict[int, TextCells | None]) -> ColumnRules:
    decimal: Decimal | None = options.decimal
    if decimal is None and records.format in ("text", "arff"):
        decimal = shown_decimal(list(texts.values()), options.missing)
    return ColumnRules(
        records.has_header, options.missing, decimal, options.decimal is not None, asked=bool(options.inputs)
    )


def _decided(
    records: Records,
    index: int,
    cells: ColumnCells,
    text: TextCells | None,
    rules: ColumnRules,
    lines: Sequence[int],
) -> Column:
    name = records.names[index]
    unnamed = index in records.unnamed
    column = decide(name, cells, text, replace(rules, nominal=index in records.nominal), unnamed=unnamed)
    if column.problem is not None:
        row, what = column.problem
        raise UserError(f"{records.where(lines[row], index)}: {what}")
    return column


def _with_an_input(records: Records, columns: dict[int, Column]) -> dict[int, Column]:
    """Use columns that count the rows after all where there is no other input."""
    if any(column.kind in (*INPUT_KINDS, "date") for column in columns.values()):
        return columns
    found = {
        index: replace(column, kind="number", why="looks like an index, and is used as the only input")
        for index, column in columns.items()
        if column.kind == "index" and column.values is not None and column.why.startswith("counts")
    }
    if not found:
        reasons = "; ".join(f"{shown(column.name)} {column.why}" for column in list(columns.values())[:3])
        raise UserError(f"{records.place}: has no column to learn from ({reasons}); name some with --inputs")
    return columns | found


def _missing_targets(text: TextCells, options: TableOptions) -> np.ndarray:
    marks = missing_marks(text.texts, options.missing)
    if DASH in marks and PLUS in text.texts:
        marks.discard(DASH)
    missing = np.array([cell in marks for cell in text.texts])
    return np.asarray(missing[text.codes], dtype=bool)


def _named_classes(text: TextCells, classes: tuple[str, ...]) -> TextCells:
    """Return the names that a file of scikit-learn lists for its numbers."""
    numbers = {str(index): name for index, name in enumerate(classes)}
    return TextCells(tuple(numbers.get(cell, cell) for cell in text.texts), text.codes)


def _facts(
    records: Records,
    columns: dict[int, Column],
    target: int,
    options: TableOptions,
    decimal: Decimal | None,
    kept: np.ndarray,
    target_text: TextCells,
) -> TableFacts:
    facts, warnings, problems = [], list(records.notes), []
    for index, name in enumerate(records.names):
        column = columns.get(index)
        if index == target:
            facts.append(ColumnFacts(name, "target", int((~kept).sum()), _choice(columns, target, options)))
        elif column is None:
            asked = index in _named(records, options.ignore, "--ignore") or options.inputs
            facts.append(ColumnFacts(name, "ignored", 0, "as asked" if asked else "has no name and is empty"))
        else:
            facts.append(ColumnFacts(name, column.kind, column.missing, column.why))
            if column.kind == "date":
                problems.append(
                    f"{records.column(index)} contains dates, which are not numbers: leave it out with --ignore "
                    f"{_quoted(name)}, or turn it into numbers such as year, month or days since the first"
                )
            elif column.kind == "ignored":
                warnings.append(f"{shown(name)} is left out: {column.why} (use it with --inputs)")
            elif column.kind == "index" or (column.why and column.kind in INPUT_KINDS and "only input" in column.why):
                warnings.append(
                    f"{shown(name)} {column.why}" + (", so it is left out" if column.kind == "index" else "")
                )
            elif column.kind == "constant":
                warnings.append(f"{shown(name)} {column.why}, so it is left out")
            elif column.doubt:
                warnings.append(f"{shown(name)}{':' if column.doubt == column.why else ''} {column.doubt}")
    left = int((~kept).sum())
    warnings += left_out_note(left)
    warnings += _doubts(records, columns, target, target_text, chosen=options.target is not None)
    return TableFacts(
        rows=len(kept),
        columns=tuple(facts),
        format=records.format,
        delimiter=records.delimiter,
        decimal=decimal,
        encoding=records.encoding,
        packing=records.packing,
        header=records.has_header,
        rows_left_out=left,
        warnings=tuple(warnings),
        problems=tuple(problems),
    )


def _choice(columns: dict[int, Column], target: int, options: TableOptions) -> str:
    """Say why a column is the target."""
    if options.target is not None:
        return "as asked"
    return "the last column" if target > max(columns, default=-1) else f"by its name, column {target + 1}"


def _quoted(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else shown(name)


def _doubts(
    records: Records, columns: dict[int, Column], target: int, target_text: TextCells, *, chosen: bool
) -> list[str]:
    """Say what may have been taken for something else. `chosen` says whether the user named the target."""
    doubts = []
    names = [name for index, name in enumerate(records.names) if index not in records.unnamed]
    if records.format == "text" and records.has_header and names and all(map(is_number, names)):
        doubts.append(
            f"the first line is taken for names ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}); "
            "if it is a row, say --header no"
        )
    if not records.has_header and _is_alone(target_text):
        doubts.append(
            f"the target {shown(target_text[0])} is in the first row only; if that row holds names, say --header yes"
        )
    for column in columns.values():
        total = next((text for text in column.categories if text.casefold() in TOTALS), None)
        if total is not None and column.values is not None:
            rows = int((column.values == column.categories.index(total)).sum())
            if rows <= MOST_TOTALS:
                doubts.append(f"{shown(column.name)} is {shown(total)} in {_rows(rows)}: take sums of other rows out")
    for index, column in columns.items():
        folded = Counter(text.casefold() for text in column.categories)
        alike = [text for text in column.categories if folded[text.casefold()] > 1]
        if alike and index not in records.nominal:
            doubts.append(
                f"{shown(column.name)} has texts that differ in case only: {', '.join(map(shown, alike[:4]))}"
            )
    if not chosen:
        doubts += _doubts_about_the_choice(records, columns, target, target_text)
    return doubts


def _is_alone(text: TextCells) -> bool:
    """Whether the text of the first row occurs once, and all others at least twice."""
    counts = np.sort(text.counts()[text.counts() > 0])
    alone = len(text) >= ROWS_OF_A_DOUBT and int(text.counts()[text.codes[0]]) == 1 and not is_number(text[0])
    return alone and len(counts) > 1 and int(counts[1]) > 1


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"


def _doubts_about_the_choice(
    records: Records, columns: dict[int, Column], target: int, target_text: TextCells
) -> list[str]:
    """Say which other column may be the target, if the user named none."""
    name, count = records.names[target], len(target_text)
    counts = target_text.counts()
    different = int((counts > 0).sum())
    if is_index_name(name) and records.has_header and different == count > 2:
        return [
            f"the target {shown(name)} differs in all rows and has the name of an index; name another with --target"
        ]
    if name.casefold() in USUAL_TARGETS:
        return []
    last = max(columns)
    if name.casefold() in KNOWN_TARGETS and target < last:
        return [f"the target is {shown(name)}, by its name; if it is another column, name it with --target"]
    probable = [index for index, column in columns.items() if column.name.casefold() in PROBABLE_TARGETS]
    usual = [index for index, column in columns.items() if column.name.casefold() in USUAL_TARGETS]
    texts = [index for index, column in columns.items() if column.kind == "category"]
    numbers = all(parse_finite(text) is not None for text, some in zip(target_text.texts, counts, strict=True) if some)
    if len(usual) > 1:
        listed = ", ".join(shown(records.names[index]) for index in usual)
        return [f"the target is the last column, {shown(name)}; if it is one of {listed}, name it with --target"]
    if probable and name.casefold() not in PROBABLE_TARGETS and records.has_header:
        listed = " or ".join(shown(records.names[index]) for index in probable[:4])
        return [f"the target is the last column, {shown(name)}; if it is {listed}, name it with --target"]
    if (
        len(texts) == 1
        and len(columns) > 1
        and numbers
        and different > FEW_CLASSES >= len(columns[texts[0]].categories)
    ):
        other = f"column {texts[0] + 1}" if not records.has_header else shown(records.names[texts[0]])
        return [f"the target is the last column; only {other} holds text: if it is the target, name it with --target"]
    first = columns.get(0)
    if not records.has_header and first is not None and first.kind == "number" and first.values is not None:
        values = np.unique(first.values)
        whole = bool(len(values) <= FEW_CLASSES and (values == np.floor(values)).all())
        if whole and numbers and different > count / 2 and count >= ROWS_OF_A_DOUBT:
            return [f"the first column has {len(values)} different values, the last {different:,}; if it is the target, say "
                    "--target first"]  # fmt: skip
    return []

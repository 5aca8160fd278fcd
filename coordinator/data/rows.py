"""Rows for a trained model: to predict and to evaluate, batch by batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import numpy as np

from coordinator.data.arrays import NpzArrays
from coordinator.data.cells import Decimal
from coordinator.data.columns import TextCells
from coordinator.data.decoding import Batch, Decoder, Rows
from coordinator.data.encoding import Encoding
from coordinator.data.limits import shown, shown_path
from coordinator.data.matching import Match, match_columns, start_of
from coordinator.data.npz_file import read_inputs, read_npy_inputs, read_svmlight, svmlight_arrays
from coordinator.data.opening import Format, format_of, opened, place_of, read_sample, read_whole, unpacked
from coordinator.data.options import DEFAULT, TableOptions
from coordinator.data.records import Chunk, Records, records_in
from coordinator.data.semeion import DIGITS, PIXELS, read_semeion
from coordinator.data.semeion import NAME as SEMEION
from coordinator.data.sources import DATASET_NAMES, exists, format_of_file, load_table
from coordinator.data.table import Floats, Table, number_columns
from coordinator.data.tables import choose
from coordinator.data.targets import Labels, as_numbers, match_classes
from coordinator.errors import UserError

ARRAY_ROWS = 4_096
FAR_AWAY = 1_000.0
"""A scaled input beyond this is far from all training rows: they lie within a few units."""


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Rows for the network, and their targets: scaled `inputs` (rows, inputs), encoded `targets` (rows, outputs), and the
    class indices `labels` (rows,) if the targets are classes. `notes` state the assumptions."""

    inputs: Floats
    targets: Floats
    labels: Labels | None
    notes: tuple[str, ...] = ()


@contextlib.contextmanager
def open_rows(
    source: Path | TextIO, encoding: Encoding, options: TableOptions = DEFAULT, *, labelled: bool = False
) -> Iterator[Rows]:
    """Open a table for a model. With `labelled`, each batch has its targets, and rows without one are left out.

    Raises:
        UserError: the rows cannot be read, or are not what the model takes.
    """
    place = place_of(source)
    with opened(source, place) as packed:
        file, _ = unpacked(packed, place)
        kind = format_of(read_sample(file, place), place)
        if kind in ("npz", "npy", "svmlight"):
            yield _array_rows(read_whole(file, place), kind, place, encoding)
            return
        names = [column.name for column in encoding.table_columns]
        with records_in(file, kind, place, options, names) as records:
            if isinstance(source, Path) and encoding.dataset == SEMEION and records.width == PIXELS + DIGITS:
                yield Rows(place, iter([Batch(read_semeion(source).inputs, [])]))
                return
            yield _text_rows(records, encoding, options, labelled=labelled)


def _array_rows(content: bytes, kind: Format, place: str, encoding: Encoding) -> Rows:
    names: tuple[str, ...] | None = None
    own: tuple[str, ...] = ()
    if kind == "npz":
        inputs, names, own = read_inputs(NpzArrays(content, place))
    elif kind == "npy":
        inputs = read_npy_inputs(content, place)
    else:
        inputs = svmlight_arrays(content, place, len(encoding.table_columns), _first_index(encoding))[0]
    inputs, notes = _arranged(inputs, names, encoding, place)
    starts = range(0, len(inputs), ARRAY_ROWS)
    batches = (Batch(inputs[start : start + ARRAY_ROWS], []) for start in starts)
    return Rows(place, batches, [*own, *notes])


def _first_index(encoding: Encoding) -> int | None:
    """Return the index of the first input in svmlight's format, if the names of the model's columns tell it."""
    return start_of([column.name for column in encoding.table_columns])


def _arranged(
    inputs: Floats, names: Sequence[str] | None, encoding: Encoding, place: str
) -> tuple[Floats, tuple[str, ...]]:
    """Return an array's columns in the model's order. Raises `UserError`."""
    if any(column.kind != "number" for column in encoding.table_columns):
        raise UserError(f"{place}: holds numbers only, the model takes texts too; give it a table of text such as CSV")
    if names is None or list(names) == [column.name for column in encoding.table_columns]:
        _check_features(inputs, encoding, place)
        notes: tuple[str, ...] = ()
    else:
        match = match_columns(names, encoding, place, named=True)
        inputs, notes = np.ascontiguousarray(inputs[:, list(match.columns)]), match.notes
    if any(column.fill is None for column in encoding.table_columns) and np.isnan(inputs).any():
        row, column = (int(index) for index in np.argwhere(np.isnan(inputs))[0])
        raise UserError(f"{place}, row {row + 1}, column {column + 1}: is not finite (NaN), a number is needed")
    return inputs, notes


def _text_rows(records: Records, encoding: Encoding, options: TableOptions, *, labelled: bool) -> Rows:
    first = next(records.chunks, Chunk([], []))
    _check_first_row(records, encoding, options, first)
    match = _match(records, encoding, options, first, labelled=labelled)
    decoder = Decoder(records, encoding, options, match)
    rows = Rows(records.place, iter(()), [*records.notes, *match.notes], word=records.word)
    rows.batches = decoder.batches(first, rows, labelled=labelled)
    return rows


def _check_first_row(records: Records, encoding: Encoding, options: TableOptions, first: Chunk) -> None:
    """Refuse a first row of 0, 1, 2, ..., which pandas writes as names, unless its columns may hold just that."""
    if records.has_header or options.header is not None or len(first.rows) < 2 or records.width < 2:
        return
    if not (encoding.has_header and encoding.source_columns):
        return
    cells = [cell.strip() for cell in first.rows[0]]
    if cells != [str(index) for index in range(records.width)]:
        return
    if all(cell.strip() in ("0", "1") for row in first.rows for cell in row):
        return
    raise UserError(
        f"{records.place}, {records.word} {first.numbers[0]}: {', '.join(cells[:4])} may be names or data, and the model's "
        "names are others; say --header yes or --header no"
    )


def _match(records: Records, encoding: Encoding, options: TableOptions, first: Chunk, *, labelled: bool) -> Match:
    named_target = options.target is not None
    used, position = choose(records, options, first, encoding.target_name)
    names = records.names[: max([*used, position]) + 1] if used else records.names
    ignored = set(range(len(names))) - {*used, position}
    target = position if named_target and labelled else None
    match = match_columns(names, encoding, records.place, named=records.has_header, target=target, labelled=labelled)
    if ignored & set(match.columns):
        name = names[min(ignored & set(match.columns))]
        raise UserError(f"{records.place}: the model needs the column {shown(name)}")
    if labelled and match.target is None:
        raise UserError(
            f"{records.place}: has no column {shown(encoding.target_name)} for the target, so there is nothing to compare "
            "with; predict needs none"
        )
    return match


def encoded(encoding: Encoding, batch: Batch, rows: Rows) -> Floats:
    """Return a batch as the input neurons get it. Raises `UserError` for numbers that are too large."""
    with np.errstate(over="ignore"):
        inputs = encoding.encode_rows(batch.rows)
    not_finite = np.argwhere(~np.isfinite(inputs))
    if len(not_finite):
        row, feature = not_finite[0]
        where = f"{rows.word} {batch.lines[row] if batch.lines else row + 1}"
        raise UserError(
            f"{rows.place}, {where}: the number of {shown(encoding.feature_names[feature])} is too large to be scaled; "
            "use numbers in the units of the training data"
        )
    if encoding.scaling != "none":
        rows.far += int((np.abs(inputs).max(axis=1) > FAR_AWAY).sum())
    return inputs


def read_rows(source: Path | TextIO, encoding: Encoding, options: TableOptions = DEFAULT) -> Floats:
    """Return all rows (rows, columns) to predict from, as `Encoding.encode_rows` takes them. Raises `UserError`."""
    with open_rows(source, encoding, options) as rows:
        return np.concatenate([batch.rows for batch in rows])


def read_labelled(
    name: str,
    encoding: Encoding,
    *,
    data: Path | None = None,
    target: str | None = None,
    options: TableOptions = DEFAULT,
    noise: float | None = None,
    seed: int = 0,
) -> LabelledRows:
    """Return rows with targets, from all that `load_dataset` reads, as the model with this encoding takes them.

    The target's column is `target`, or the one with the model's name for it, or the last.

    Raises:
        UserError: they cannot be read, or their features or classes are not the model's.
    """
    if target is not None:
        options = TableOptions(**{**vars(options), "target": target})
    path = Path(name)
    kind: Format | None = None
    if data is None and noise is None and name not in DATASET_NAMES and exists(path):
        kind = format_of_file(path)
        if kind not in ("npz", "npy", "svmlight"):
            return _labelled_text(path, encoding, options)
    if kind == "svmlight":
        table = read_svmlight(path, len(encoding.table_columns), _first_index(encoding))
    else:
        table = load_table(name, data=data, options=options, noise=noise, seed=seed)
    table, own = _own_test_rows(table)
    inputs, notes = _arranged(table.inputs, _own_names(table), encoding, table.place)
    notes = (*own, *notes)
    scaled = encoded(encoding, Batch(inputs, []), Rows(table.place, iter(())))
    return _labelled(table, encoding, scaled, notes)


def _own_test_rows(table: Table) -> tuple[Table, tuple[str, ...]]:
    """Return the rows that the source itself holds out, if it does, and a note about them."""
    if table.held_out is None:
        return table, ()
    chosen = table.held_out
    targets = table.targets.chosen(chosen) if isinstance(table.targets, TextCells) else table.targets[chosen]
    rows = int(chosen.sum())
    return (
        replace(table, inputs=table.inputs[chosen], targets=targets, held_out=None, lines=None),
        (f"the {rows:,} rows that {table.place} holds out are used",),
    )


def _own_names(table: Table) -> tuple[str, ...] | None:
    return table.feature_names if table.facts.header else None


def _labelled_text(path: Path, encoding: Encoding, options: TableOptions) -> LabelledRows:
    place = shown_path(path)
    if encoding.dataset == SEMEION:
        table = load_table(SEMEION, data=path)
        return _labelled(table, encoding, encoding.encode_rows(table.inputs), ())
    inputs: list[Floats] = []
    targets: list[str] = []
    lines: list[int] = []
    with open_rows(path, encoding, options, labelled=True) as rows:
        for batch in rows:
            inputs.append(encoded(encoding, batch, rows))
            targets += batch.targets or []
            lines += batch.lines
        notes = rows.notes()
    everything = np.concatenate(inputs)
    decimal: Decimal | None = options.decimal or ("," if encoding.decimal == "," else None)
    table = Table(
        name=path.name,
        place=place,
        inputs=everything,
        columns=number_columns(encoding.feature_names),
        target_name=encoding.target_name,
        targets=TextCells.of(targets),
        sha256="",
        lines=lines,
        word=rows.word,
        decimal=decimal,
    )
    return _labelled(table, encoding, everything, tuple(notes))


def _labelled(table: Table, encoding: Encoding, inputs: Floats, notes: Sequence[str]) -> LabelledRows:
    said = list(notes)
    if encoding.classes is not None:
        labels = match_classes(table, encoding.classes, said)
        return LabelledRows(inputs, encoding.encode_labels(labels), labels, tuple(said))
    numbers = as_numbers(table)
    if numbers.shape[1] != encoding.outputs:
        raise UserError(f"{table.place}: has {numbers.shape[1]} targets a row, the model has {encoding.outputs}")
    return LabelledRows(inputs, encoding.encode_numbers(numbers), None, tuple(said))


def _check_features(rows: Floats, encoding: Encoding, place: str) -> None:
    count = len(encoding.table_columns)
    if rows.shape[1] != count:
        raise UserError(f"{place}: has {rows.shape[1]} features, the model takes {count}")

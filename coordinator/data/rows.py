"""Rows for a model that is there already: to predict, and to evaluate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from coordinator.data.csv_file import CsvRecords, read_csv, read_numbers
from coordinator.data.encoding import Encoding
from coordinator.data.limits import decode_text, read_file, read_stream, shown, shown_path
from coordinator.data.npz_file import NpzArrays, read_inputs
from coordinator.data.semeion import NAME as SEMEION
from coordinator.data.semeion import read_semeion
from coordinator.data.sources import FILE_READERS, load_table
from coordinator.data.suggestion import closest, listed
from coordinator.data.table import Floats, Table
from coordinator.data.targets import Labels, as_numbers, match_classes
from coordinator.errors import UserError


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Rows ready for the network, and what is right: `inputs` (rows, features) scaled, `targets` (rows, outputs)
    encoded, `labels` (rows,) the class indices where the targets are classes."""

    inputs: Floats
    targets: Floats
    labels: Labels | None


def read_rows(source: Path | TextIO, encoding: Encoding) -> Floats:
    """Raw rows (rows, features) to predict from: a CSV or NPZ file, for a Semeion model its file too, or CSV text.

    A CSV's columns are taken by name where the header has all names of the model, and else by their order. A column
    that has the name of the target is left out.

    Raises:
        UserError: the rows can't be read, or are not what the model takes.
    """
    if not isinstance(source, Path):
        return _rows_of_text(read_stream(source, "standard input"), "standard input", encoding)
    place = shown_path(source)
    suffix = source.suffix.lower()
    if suffix == ".npz":
        rows = read_inputs(NpzArrays(read_file(source), place))
    elif encoding.dataset == SEMEION and suffix == ".data":
        rows = read_semeion(source).inputs
    else:
        return _rows_of_text(decode_text(read_file(source), place), place, encoding)
    _check_features(rows, encoding, place)
    return rows


def read_labelled(
    name: str, encoding: Encoding, *, data: Path | None = None, target: str | None = None
) -> LabelledRows:
    """Rows with targets, from all that `load_dataset` reads, as the model with this encoding takes them.

    The target's column is `target`, or the one with the model's name for it, or the last.

    Raises:
        UserError: they can't be read, or their features or classes are not the model's.
    """
    table = _table(name, encoding, data, target)
    _check_features(table.inputs, encoding, table.place)
    inputs = encoding.scale_inputs(table.inputs)
    if encoding.classes is not None:
        labels = match_classes(table, encoding.classes)
        return LabelledRows(inputs, encoding.encode_labels(labels), labels)
    numbers = as_numbers(table)
    if numbers.shape[1] != encoding.outputs:
        raise UserError(f"{table.place}: has {numbers.shape[1]} targets a row, the model has {encoding.outputs}")
    return LabelledRows(inputs, encoding.encode_numbers(numbers), None)


def _table(name: str, encoding: Encoding, data: Path | None, target: str | None) -> Table:
    path = Path(name)
    if data is None and FILE_READERS.get(path.suffix.lower()) is read_csv:
        return read_csv(path, target, features=encoding.feature_names, usual_target=encoding.target_name)
    return load_table(name, data=data, target=target)


def _rows_of_text(text: str, place: str, encoding: Encoding) -> Floats:
    records = CsvRecords(text, place, encoding.feature_names)
    rows, _, _ = read_numbers(records, _columns(records, encoding), None)
    return rows


def _columns(records: CsvRecords, encoding: Encoding) -> list[int]:
    """The columns of the model's features, in its order."""
    wanted = set(encoding.feature_names)
    extra = [name for name in records.names if name not in wanted]
    if records.has_header and extra in ([], [encoding.target_name]) and wanted <= set(records.names):
        return [records.names.index(name) for name in encoding.feature_names]
    columns = [
        index for index, name in enumerate(records.names) if not (records.has_header and name == encoding.target_name)
    ]
    if len(columns) != encoding.features:
        raise UserError(
            f"{records.place}: has {len(columns)} columns, the model takes {encoding.features} "
            f"({listed(encoding.feature_names, 4)})"
        )
    shared = wanted & set(records.names)
    if records.has_header and shared:
        missing = next(name for name in encoding.feature_names if name not in shared)
        raise UserError(f"{records.place}: has no column {shown(missing)}; {closest(missing, records.names)}")
    return columns


def _check_features(rows: Floats, encoding: Encoding, place: str) -> None:
    if rows.shape[1] != encoding.features:
        raise UserError(f"{place}: has {rows.shape[1]} features, the model takes {encoding.features}")

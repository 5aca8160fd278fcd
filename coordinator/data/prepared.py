"""A data set prepared for a network: split, scaled, encoded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.data.arrays import NpzArrays
from coordinator.data.dataset import Dataset
from coordinator.data.encoding import SCALINGS, EncodedColumn, Encoding, outputs_fit
from coordinator.data.files import read_file
from coordinator.data.fitting import fit_columns, fit_scaling, recode, standard
from coordinator.data.limits import shown, shown_path
from coordinator.data.report import DataReport, report_on
from coordinator.data.splitting import Indices, split
from coordinator.data.table import Floats
from coordinator.data.targets import Labels
from coordinator.errors import UserError

METADATA = "metadata"


@dataclass(frozen=True, eq=False)
class PreparedData:
    """The inputs and targets that the coordinator sends to the neurons.

    Inputs (samples, features) and targets (samples, outputs) are scaled and encoded, float64 in C order; labels
    (samples,) are class indices where the targets are classes. `sha256` identifies the data set's contents. `report` says
    what was understood of the source; it is not saved.
    """

    dataset: str
    sha256: str
    encoding: Encoding
    train_inputs: Floats
    train_targets: Floats
    test_inputs: Floats
    test_targets: Floats
    train_labels: Labels | None
    test_labels: Labels | None
    report: DataReport | None = None

    def save(self, path: Path) -> None:
        """Write all arrays to an NPZ file without pickles.

        Raises:
            UserError: the file cannot be written.
        """
        metadata = json.dumps({"dataset": self.dataset, "sha256": self.sha256, "encoding": self.encoding.to_json()})
        arrays = {name: getattr(self, name) for name in (*_ARRAYS, *_LABELS) if getattr(self, name) is not None}
        try:
            with path.open("wb") as file:
                np.savez(file, allow_pickle=False, **{METADATA: np.array(metadata)}, **arrays)
        except OSError as error:
            raise UserError(f"{shown_path(path)}: cannot be written ({error.strerror})") from None

    @classmethod
    def load(cls, path: Path) -> PreparedData:
        """Return the data in a file that `save` wrote.

        Raises:
            UserError: the file does not exist, or `save` did not write it.
        """
        place = shown_path(path)
        stored = NpzArrays(read_file(path), place)
        if not {METADATA, *_ARRAYS} <= set(stored.names):
            raise UserError(f"{place}: is not a file of prepared data")
        try:
            metadata = json.loads(str(stored.read(METADATA)))
            encoding = Encoding.from_json(metadata["encoding"])
            dataset, sha256 = str(metadata["dataset"]), str(metadata["sha256"])
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{place}: is not a file of prepared data") from None
        arrays: dict[str, Any] = {name: _as(stored.read(name), np.float64, "fiu", place) for name in _ARRAYS}
        labels: dict[str, Any] = {
            name: _as(stored.read(name), np.int64, "iu", place) if name in stored.names else None for name in _LABELS
        }
        prepared = cls(dataset=dataset, sha256=sha256, encoding=encoding, **arrays, **labels)
        prepared._check_fit(place)
        return prepared

    def _check_fit(self, place: str) -> None:
        for inputs, targets, labels in (
            (self.train_inputs, self.train_targets, self.train_labels),
            (self.test_inputs, self.test_targets, self.test_labels),
        ):
            rows = len(inputs)
            fits = (
                inputs.shape == (rows, self.encoding.features)
                and targets.shape == (rows, self.encoding.outputs)
                and rows > 0
                and bool(np.isfinite(inputs).all() and np.isfinite(targets).all())
                and _labels_fit(labels, rows, self.encoding)
            )
            if not fits:
                raise UserError(f"{place}: is damaged, its arrays do not fit one another")


def _labels_fit(labels: Labels | None, rows: int, encoding: Encoding) -> bool:
    if labels is None or encoding.classes is None:
        return labels is None and encoding.classes is None
    return labels.shape == (rows,) and bool(labels.min() >= 0 and labels.max() < len(encoding.classes))


def _as(array: NDArray[Any], dtype: type[np.generic], kinds: str, place: str) -> NDArray[Any]:
    if array.dtype.kind not in kinds:
        raise UserError(f"{place}: is damaged: expected numbers, not {array.dtype}")
    return np.ascontiguousarray(array, dtype=dtype)


_ARRAYS = ("train_inputs", "train_targets", "test_inputs", "test_targets")
_LABELS = ("train_labels", "test_labels")


def prepare(
    dataset: Dataset, *, seed: int, test_fraction: float, outputs: int | None = None, scaling: str | None = None
) -> PreparedData:
    """Split a data set by `seed`, fit the scaling to the training rows only, and encode it.

    Args:
        dataset: the raw data.
        seed: alone decides which rows are held out.
        test_fraction: the share of rows held out, 0 <= test_fraction < 1; 0 tests on the training rows.
        outputs: the number of output neurons; by default the data set's own number.
        scaling: one of `SCALINGS`; by default the data set's own rule.

    Raises:
        UserError: the outputs do not fit the targets, or numbers are too large to be scaled.
    """
    if dataset.facts.problems:
        raise UserError(f"{dataset.place}: {dataset.facts.problems[0]}")
    train, test = _parts(dataset, seed, test_fraction)
    columns = fit_columns(dataset.columns, dataset.inputs[train])
    rows = recode(dataset.columns, columns, dataset.inputs)
    encoding = _encoding(dataset, columns, rows[train], train, outputs, scaling)
    if dataset.labels is not None:
        targets = encoding.encode_labels(dataset.labels)
    else:
        assert dataset.numbers is not None
        targets = encoding.encode_numbers(dataset.numbers)
    inputs = encoding.encode_rows(rows)
    return PreparedData(
        dataset=dataset.name,
        sha256=dataset.sha256,
        encoding=encoding,
        train_inputs=np.ascontiguousarray(inputs[train]),
        train_targets=np.ascontiguousarray(targets[train]),
        test_inputs=np.ascontiguousarray(inputs[test]),
        test_targets=np.ascontiguousarray(targets[test]),
        train_labels=None if dataset.labels is None else dataset.labels[train],
        test_labels=None if dataset.labels is None else dataset.labels[test],
        report=report_on(dataset.place or dataset.name, dataset, encoding, (train, test)),
    )


def inspect(
    dataset: Dataset, *, seed: int, test_fraction: float, outputs: int | None = None, scaling: str | None = None
) -> DataReport:
    """Report on a data set, even if `prepare` would refuse it. Raises `UserError`."""
    if not dataset.facts.problems:
        report = prepare(dataset, seed=seed, test_fraction=test_fraction, outputs=outputs, scaling=scaling).report
        assert report is not None
        return report
    train, test = _parts(dataset, seed, test_fraction)
    columns = fit_columns(dataset.columns, dataset.inputs[train])
    rows = recode(dataset.columns, columns, dataset.inputs)
    encoding = _encoding(dataset, columns, rows[train], train, outputs, scaling)
    return report_on(dataset.place or dataset.name, dataset, encoding, (train, test))


def _parts(dataset: Dataset, seed: int, test_fraction: float) -> tuple[Indices, Indices]:
    """Return the training rows and the held-out rows: the source's own split, or a split by the seed."""
    if dataset.held_out is None:
        return split(dataset.samples, dataset.labels, seed=seed, test_fraction=test_fraction)
    return np.flatnonzero(~dataset.held_out), np.flatnonzero(dataset.held_out)


def _encoding(
    dataset: Dataset,
    columns: tuple[EncodedColumn, ...],
    train_rows: Floats,
    train: Labels,
    outputs: int | None,
    scaling: str | None,
) -> Encoding:
    rule = scaling or dataset.default_scaling
    if rule not in SCALINGS:
        raise UserError(f"no scaling {shown(rule)}; known are {', '.join(SCALINGS)}")
    count = dataset.default_outputs if outputs is None else outputs
    _check_outputs(dataset, count)
    if rule == "range" and dataset.value_range is not None:
        low, high = dataset.value_range
        offset, scale = (low,) * dataset.features, (high - low,) * dataset.features
    else:
        offset, scale = fit_scaling(rule, columns, train_rows)
    target_offset, target_scale = ((), ()) if dataset.numbers is None else standard(dataset.numbers[train])
    inputs = _input_names(columns)
    for values, names in ((offset + scale, inputs * 2), (target_offset + target_scale, ())):
        if not np.isfinite(values).all():
            what = f"input {shown(names[int(np.argmin(np.isfinite(values)))])}" if names else "the target"
            raise UserError(f"{dataset.name}: {what} has numbers too large to be scaled")
    return Encoding(
        dataset=dataset.name,
        feature_names=inputs,
        target_name=dataset.target_name,
        scaling=rule,
        input_offset=offset,
        input_scale=scale,
        classes=dataset.classes,
        outputs=count,
        target_offset=target_offset,
        target_scale=target_scale,
        # Arrays need none: each of their columns is one input.
        columns=columns if dataset.source_columns or any(column.indicator for column in columns) else (),
        source_columns=dataset.source_columns,
        has_header=dataset.facts.header or not dataset.source_columns,
        decimal=dataset.facts.decimal,
    )


def _input_names(columns: tuple[EncodedColumn, ...]) -> tuple[str, ...]:
    """Name the inputs; a name that is already used gets a number."""
    names: dict[str, None] = {}
    for column in columns:
        for name in column.input_names():
            free, number = name, 2
            while free in names:
                free, number = f"{name} ({number})", number + 1
            names[free] = None
    return tuple(names)


def _check_outputs(dataset: Dataset, outputs: int) -> None:
    if dataset.classes is None:
        if outputs != dataset.default_outputs:
            right = f"{dataset.default_outputs} target{'s' if dataset.default_outputs > 1 else ''}"
            raise UserError(f"{outputs} outputs do not fit {dataset.name}: it has {right}, and each takes one")
    elif not outputs_fit(dataset.classes, outputs):
        count = len(dataset.classes)
        right = "1 or 2" if count == 2 else str(count)
        raise UserError(f"{outputs} outputs do not fit the {count} classes of {dataset.name}: {right} are needed")

"""Files of arrays: NPZ and NPY of NumPy, and svmlight.

An NPZ file holds inputs, a row for each sample, and targets, one for each sample, under the names that people use:
`X` and `y`, `inputs` and `targets`, `data` and `target`, `arr_0` and `arr_1`; or in two parts, `x_train`, `y_train`,
`x_test`, `y_test` (Keras) or `train_images`, `train_labels`, `test_images`, `test_labels` (MedMNIST): the second is
then held out. An NPY file of inputs has its targets in a second file in the same folder, such as `X.npy` and `y.npy`.

Inputs may have more than two dimensions (images); the others are flattened. Targets are class names, integers or numbers,
one for each sample, or several numbers; one-hot rows are classes. An array `feature_names` names the inputs,
`target_names` the classes. Pickled objects are refused.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.data.arrays import SUFFIX, NpzArrays, read_npy_array
from coordinator.data.columns import TextCells
from coordinator.data.limits import check_size, sha256_of, shown, shown_path
from coordinator.data.opening import read_unpacked
from coordinator.data.suggestion import closest
from coordinator.data.table import ColumnFacts, Floats, Table, TableFacts, left_out_note, number_columns
from coordinator.errors import UserError

PAIRS = (
    ("X", "y"), ("inputs", "targets"), ("data", "target"), ("x", "y"), ("data", "labels"), ("images", "labels"),
    ("features", "labels"), ("X", "Y"), ("arr_0", "arr_1"),
)  # fmt: skip
INPUTS = ("x", "inputs", "input", "data", "features", "images")
TARGETS = ("y", "targets", "target", "labels", "label")
UNNAMED = ("arr_0", "arr_1", "arr_2", "arr_3")
TARGETS_BESIDE = {"X": "y", "x": "y", "data": "target", "inputs": "targets", "features": "labels", "images": "labels"}
FEATURE_NAMES = "feature_names"
TARGET_NAMES = "target_names"


def read_npz(path: Path, target: str | None) -> Table:
    """Read the table in an NPZ file; `target` names the array of targets if the array has no usual name.

    Raises:
        UserError: an array is missing, or does not fit the other, or is not finite.
    """
    content = read_unpacked(path)
    place = shown_path(path)
    arrays = NpzArrays(content, place)
    parts, unused = _parts(arrays, target)
    pairs = [(_inputs(arrays.read(inputs), place, inputs), arrays.read(targets)) for inputs, targets in parts]
    for (inputs, targets), names in zip(pairs, parts, strict=True):
        _check_fit(inputs, targets, place, names)
    widths = {inputs.shape[1] for inputs, _ in pairs}
    if len(widths) > 1 or len({targets.reshape(len(targets), -1).shape[1] for _, targets in pairs}) > 1:
        raise UserError(f"{place}: its training and test arrays have different shapes")
    held_out = None
    if len(pairs) > 1:
        held_out = np.repeat([False, True], [len(inputs) for inputs, _ in pairs])
    features = pairs[0][0].shape[1]
    columns = number_columns(_feature_names(arrays, features))
    named = FEATURE_NAMES in arrays.names
    warnings = [
        f"the array{'s' if len(unused) > 1 else ''} {_quoted(unused)} {'are' if len(unused) > 1 else 'is'} not used"
    ]
    return _array_table(
        np.concatenate([inputs for inputs, _ in pairs]) if len(pairs) > 1 else pairs[0][0],
        np.concatenate([targets for _, targets in pairs]) if len(pairs) > 1 else pairs[0][1],
        columns=[column.name for column in columns],
        names=(shown_path(Path(path.name)), place, parts[0][1]),
        sha256=sha256_of(content),
        facts=(named, tuple(warnings if unused else ())),
        held_out=held_out,
        classes=_class_names(arrays),
    )


def _quoted(names: list[str]) -> str:
    return ", ".join(shown(name) for name in names)


def _parts(arrays: NpzArrays, target: str | None) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the names of inputs and targets, for training and perhaps for testing, and the arrays that are not used."""
    known = set(arrays.names)
    extra = {FEATURE_NAMES, TARGET_NAMES}
    if target is None:
        parts = _named_parts(known - extra) or _unnamed_parts(arrays, known - extra)
        if parts is not None:
            return parts, sorted(known - {name for part in parts for name in part} - extra)
    inputs = next((name for name, _ in PAIRS if name in known and name != target), None)
    targets = target if target is not None else next((name for _, name in PAIRS if name in known), None)
    if targets is None or targets not in known:
        missing, names = ("y", "'y' or 'targets'") if target is None else (target, shown(target))
        raise UserError(f"{arrays.place}: has no array {names}; {closest(missing, sorted(known))}")
    if inputs is None:
        raise UserError(f"{arrays.place}: has no array 'X' or 'inputs'; {closest('X', sorted(known))}")
    return [(inputs, targets)], sorted(known - {inputs, targets} - extra)


def _named_parts(names: set[str]) -> list[tuple[str, str]] | None:
    """Return inputs and targets by their usual names, in any case: of one part, or of training and test."""
    for pair in PAIRS[:-1]:
        if set(pair) <= names:
            return [pair]
    folded = {name.casefold(): name for name in names}

    def pair_of(*patterns: str) -> tuple[str, str] | None:
        for pattern in patterns:
            inputs = [folded[name] for name in map(pattern.format, INPUTS) if name in folded]
            targets = [folded[name] for name in map(pattern.format, TARGETS) if name in folded]
            if inputs and targets:
                return inputs[0], targets[0]
        return None

    train = pair_of("{}_train", "train_{}", "{}train", "train{}")
    test = pair_of("{}_test", "test_{}", "{}test", "test{}") or pair_of("{}_val", "val_{}", "{}_valid", "valid_{}")
    if train is not None:
        return [train, test] if test is not None else [train]
    whole = pair_of("{}")
    return None if whole is None else [whole]


def _unnamed_parts(arrays: NpzArrays, names: set[str]) -> list[tuple[str, str]] | None:
    """Return the arrays of `savez` without names: inputs and targets, or those of training and test in either order."""
    if names == set(UNNAMED[:2]):
        return [("arr_0", "arr_1")]
    if names != set(UNNAMED):
        return None
    rows = [arrays.shape(name)[:1] for name in UNNAMED]
    dimensions = [len(arrays.shape(name)) for name in UNNAMED]
    for inputs, targets in (((0, 2), (1, 3)), ((0, 1), (2, 3))):
        fits = all(rows[a] == rows[b] and dimensions[a] > 1 for a, b in zip(inputs, targets, strict=True))
        if fits and all(dimensions[b] == 1 for b in targets):
            return [(UNNAMED[a], UNNAMED[b]) for a, b in zip(inputs, targets, strict=True)]
    return None


def read_npy(path: Path, target: str | None) -> Table:
    """Read the inputs in an NPY file, and their targets in the second file of the folder.

    Raises:
        UserError: no file of targets, or one that does not fit.
    """
    place = shown_path(path)
    beside = _targets_beside(path, target)
    content, content_of_targets = read_unpacked(path), read_unpacked(beside)
    inputs = _inputs(read_npy_array(content, place), place, path.stem)
    targets = read_npy_array(content_of_targets, shown_path(beside))
    _check_fit(inputs, targets, place, (path.stem, beside.stem))
    return _array_table(
        inputs,
        targets,
        columns=[f"column {index + 1}" for index in range(inputs.shape[1])],
        names=(shown_path(Path(path.name)), place, beside.stem),
        sha256=sha256_of(content, content_of_targets),
        facts=(False, (f"the targets are those in {shown_path(beside)}",)),
    )


def _targets_beside(path: Path, target: str | None) -> Path:
    if target is not None:
        beside = path.with_name(target if target.endswith(SUFFIX) else target + SUFFIX)
        if beside.is_file() and beside != path:
            return beside
        raise UserError(f"{shown_path(path)}: there is no file {shown_path(beside)} of targets")
    stem = path.stem
    for inputs, targets in TARGETS_BESIDE.items():
        for here, there in ((inputs, targets), (f"{inputs}_", f"{targets}_"), (f"_{inputs}", f"_{targets}")):
            named = (
                stem == here if "_" not in here else (stem.startswith(here) if here[-1] == "_" else stem.endswith(here))
            )
            if named:
                beside = path.with_name(stem.replace(here, there) + path.suffix)
                if beside.is_file():
                    return beside
    raise UserError(
        f"{shown_path(path)}: holds one array; its targets are looked for beside it (X.npy has y.npy), or name their "
        "file with --target"
    )


def read_npy_inputs(content: bytes, place: str) -> Floats:
    """Return the inputs in an NPY file. Raises `UserError`."""
    return _inputs(read_npy_array(content, place), place, "")


def read_svmlight(path: Path, features: int | None = None, start: int | None = None) -> Table:
    """Read the table in a file of svmlight's format, with scikit-learn, as `svmlight_arrays` does. Raises `UserError`."""
    content = read_unpacked(path)
    place = shown_path(path)
    inputs, targets, start = svmlight_arrays(content, place, features, start)
    warnings = ("the query numbers (qid) are not used",) if b" qid:" in content else ()
    return _array_table(
        inputs,
        targets,
        columns=[f"column {index + start}" for index in range(inputs.shape[1])],
        names=(shown_path(Path(path.name)), place, "label"),
        sha256=sha256_of(content),
        facts=(False, warnings),
        kind="svmlight",
    )


def svmlight_arrays(
    content: bytes, place: str, features: int | None = None, start: int | None = None
) -> tuple[Floats, Floats, int]:
    """Return inputs (rows, features) and labels (rows,) of svmlight's format, and the index of the first input.

    A file tells by an index 0 that its indices start at 0. It cannot tell if no row has that input, so a model knows
    the `start` and the number of `features` of its own file.

    Raises:
        UserError: not svmlight's format, or an index that the model does not have.
    """
    from sklearn.datasets import load_svmlight_file  # noqa: PLC0415

    try:
        sparse, labels = load_svmlight_file(io.BytesIO(content), zero_based=True)[:2]
    except (ValueError, OverflowError) as error:
        raise UserError(f"{place}: is not svmlight's format ({' '.join(str(error).split())[:100]})") from None
    lowest = int(sparse.indices.min()) if len(sparse.indices) else 1
    start = 0 if lowest == 0 else 1 if start is None else start
    width = sparse.shape[1] - start
    if features is not None and width > features:
        highest, last = sparse.shape[1] - 1, features - 1 + start
        raise UserError(f"{place}: has the index {highest}, but the model's last input has the index {last}")
    check_size(sparse.shape[0], max(1, width), place)
    if np.isinf(sparse.data).any():
        row = int(np.searchsorted(sparse.indptr, int(np.argmax(np.isinf(sparse.data))), side="right"))
        raise UserError(f"{place}, row {row}: is not finite (infinity), a number is needed")
    inputs = np.zeros((sparse.shape[0], width if features is None else features))
    inputs[:, : max(0, width)] = sparse[:, start:].toarray()
    return inputs, np.asarray(labels, dtype=np.float64), start


def _array_table(
    inputs: Floats,
    targets: NDArray[Any],
    *,
    columns: list[str],
    names: tuple[str, str, str],
    sha256: str,
    facts: tuple[bool, tuple[str, ...]],
    held_out: NDArray[np.bool_] | None = None,
    classes: tuple[str, ...] | None = None,
    kind: str = "array",
) -> Table:
    name, place, target_name = names
    missing = np.isnan(inputs).sum(axis=0)
    described = [ColumnFacts(column, "number", int(count)) for column, count in zip(columns, missing, strict=True)]
    found = _targets(targets, place, target_name)
    rows = len(inputs)
    left_out = 0
    if isinstance(found, np.ndarray) and np.isnan(found).any():
        kept = ~np.isnan(found).any(axis=1)
        left_out = rows - int(kept.sum())
        inputs, found = inputs[kept], found[kept]
        held_out = None if held_out is None else held_out[kept]
        lines = (np.flatnonzero(kept) + 1).tolist()
    else:
        lines = None
    if classes is not None and isinstance(found, np.ndarray) and found.shape[1] == 1:
        numbers = found[:, 0]
        if bool((numbers == np.floor(numbers)).all() and (numbers >= 0).all() and (numbers < len(classes)).all()):
            found = TextCells(classes, numbers.astype(np.int64))
    return Table(
        name=name,
        place=place,
        inputs=inputs,
        columns=number_columns(columns),
        target_name=target_name,
        targets=found,
        sha256=sha256,
        lines=lines,
        word="row",
        held_out=held_out,
        facts=TableFacts(
            rows,
            (*described, ColumnFacts(target_name, "target", left_out)),
            format=kind,
            header=facts[0],
            rows_left_out=left_out,
            warnings=(*facts[1], *left_out_note(left_out)),
        ),
    )


def read_inputs(arrays: NpzArrays) -> tuple[Floats, tuple[str, ...] | None, tuple[str, ...]]:
    """Return the array of inputs as float64 (rows, features) in C order, the names of the features, if it has any, and notes.

    Raises:
        UserError: missing, without rows or features, text, or not finite.
    """
    known = set(arrays.names) - {FEATURE_NAMES, TARGET_NAMES}
    parts = _named_parts(known) or _unnamed_parts(arrays, known)
    folded = {each.casefold(): each for each in known}
    usual = (*INPUTS, "x_test", "test_images", UNNAMED[0])
    name = parts[-1][0] if parts else next((folded[each] for each in usual if each in folded), None)
    if name is None:
        raise UserError(f"{arrays.place}: has no array 'X' or 'inputs'; {closest('X', sorted(arrays.names))}")
    inputs = _inputs(arrays.read(name), arrays.place, name)
    named = FEATURE_NAMES in arrays.names
    notes = (f"the rows are those of {shown(name)}",) if parts is not None and len(parts) > 1 else ()
    return inputs, _feature_names(arrays, inputs.shape[1]) if named else None, notes


def _inputs(array: NDArray[Any], place: str, name: str) -> Floats:
    if array.dtype.kind in "US":
        raise UserError(f"{place}: array {shown(name)} holds text, not numbers")
    if array.ndim < 2 or array.size == 0:
        one = "; a single feature is X.reshape(-1, 1)" if array.ndim == 1 and array.size else ""
        raise UserError(f"{place}: array {shown(name)} has shape {array.shape}; (rows, features) is needed{one}")
    check_size(array.shape[0], array.size // array.shape[0], place)
    inputs = np.ascontiguousarray(array.reshape(array.shape[0], -1), dtype=np.float64)
    infinite = np.isinf(inputs)
    if infinite.any():
        row, column = (int(index) for index in np.argwhere(infinite)[0])
        raise UserError(f"{place}, row {row + 1}, column {column + 1}: is not finite (infinity), a number is needed")
    return inputs


def _check_fit(inputs: Floats, targets: NDArray[Any], place: str, names: tuple[str, str]) -> None:
    if targets.ndim in (1, 2) and len(targets) == len(inputs) and 0 not in targets.shape[1:]:
        return
    turned = ""
    if inputs.shape[1] == targets.size:
        turned = " (if the inputs have a sample in each column, save their transpose)"
    raise UserError(
        f"{place}: array {shown(names[1])} has shape {targets.shape}; "
        f"a target for each of the {len(inputs)} rows is needed{turned}"
    )


def _targets(array: NDArray[Any], place: str, name: str) -> TextCells | Floats:
    columns = array.reshape(len(array), -1)
    if array.dtype.kind in "US":
        if columns.shape[1] > 1:
            raise UserError(f"{place}: array {shown(name)} has {columns.shape[1]} columns of text; one names the class")
        cells = columns[:, 0].tolist()
        return TextCells.of(
            [(cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell).strip() for cell in cells]
        )
    if array.dtype.kind == "b" and columns.shape[1] == 1:
        return TextCells(("False", "True"), columns[:, 0].astype(np.int64))
    if array.dtype.kind in "iu" and columns.shape[1] == 1 and max(int(columns.max()), -int(columns.min())) > 2**53:
        return TextCells.of([str(value) for value in columns[:, 0].tolist()])
    numbers = np.ascontiguousarray(columns, dtype=np.float64)
    one_hot = numbers.shape[1] > 1 and bool(np.isin(numbers, (0.0, 1.0)).all() and (numbers.sum(axis=1) == 1.0).all())
    return np.argmax(numbers, axis=1).astype(np.float64)[:, np.newaxis] if one_hot else numbers


def _feature_names(arrays: NpzArrays, features: int) -> tuple[str, ...]:
    if FEATURE_NAMES not in arrays.names:
        return tuple(f"column {index + 1}" for index in range(features))
    array = arrays.read(FEATURE_NAMES)
    names = tuple(str(name).strip() for name in array.ravel())
    if array.dtype.kind != "U" or len(names) != features or len(set(names)) != features:
        raise UserError(f"{arrays.place}: array {shown(FEATURE_NAMES)} must hold {features} different names")
    return names


def _class_names(arrays: NpzArrays) -> tuple[str, ...] | None:
    if TARGET_NAMES not in arrays.names:
        return None
    array = arrays.read(TARGET_NAMES)
    names = tuple(str(name).strip() for name in array.ravel())
    return names if array.dtype.kind == "U" and len(set(names)) == len(names) > 1 else None

"""NPZ files of NumPy: `X` (or `inputs`) with a row a sample, `y` (or `targets`) with a target a sample.

`X` may have more than two dimensions (images): the rest is flattened. `y` holds class names, integers or numbers, one
a sample, or several numbers a sample; rows of zeros with a single one (one-hot) are classes. An array `feature_names`
names the inputs. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from coordinator.data.limits import FILE_BYTES, check_size, read_file, sha256_of, shown, shown_path
from coordinator.data.suggestion import closest
from coordinator.data.table import Floats, Table
from coordinator.errors import UserError

INPUTS = ("X", "inputs")
TARGETS = ("y", "targets")
FEATURE_NAMES = "feature_names"
SUFFIX = ".npy"

_HEADER_READERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
_BROKEN = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


class NpzArrays:
    """The arrays of an NPZ file, each checked for its size before it is read."""

    def __init__(self, content: bytes, place: str) -> None:
        self.place = place
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
        except _BROKEN:
            raise UserError(f"{place}: is not an NPZ file (as numpy.savez writes it)") from None
        self.names = [name.removesuffix(SUFFIX) for name in self._archive.namelist() if name.endswith(SUFFIX)]

    def read(self, name: str) -> NDArray[Any]:
        """One array.

        Raises:
            UserError: too large, broken, or made of Python objects.
        """
        member = name + SUFFIX
        try:
            if self._archive.getinfo(member).file_size > FILE_BYTES:
                raise UserError(f"{self.place}: array {shown(name)} is larger than {FILE_BYTES:,} bytes")
            with self._archive.open(member) as file:
                self._check_header(name, file)
            with self._archive.open(member) as file:
                array: NDArray[Any] = npy_format.read_array(file, allow_pickle=False)
        except _BROKEN:
            raise UserError(f"{self.place}: array {shown(name)} is broken or not an array of numbers or text") from None
        return array

    def _check_header(self, name: str, file: Any) -> None:
        """A header may promise more than the file holds; refuse it before memory is reserved for the promise."""
        shape, _, dtype = _HEADER_READERS[npy_format.read_magic(file)](file)
        if dtype.hasobject or dtype.kind not in "biufU":
            raise UserError(f"{self.place}: array {shown(name)} is of type {dtype}; numbers or text are needed")
        if math.prod(shape) * dtype.itemsize > self._archive.getinfo(name + SUFFIX).file_size:
            raise ValueError("truncated")


def read_npz(path: Path, target: str | None) -> Table:
    """The table in an NPZ file; `target` names the array of targets where it is not `y` or `targets`.

    Raises:
        UserError: an array is missing, or doesn't fit the other, or is not finite.
    """
    content = read_file(path)
    place = shown_path(path)
    arrays = NpzArrays(content, place)
    target_name = _present(arrays, TARGETS if target is None else (target,))
    inputs = read_inputs(arrays)
    targets = arrays.read(target_name)
    if targets.ndim not in (1, 2) or len(targets) != len(inputs) or 0 in targets.shape[1:]:
        raise UserError(
            f"{place}: array {shown(target_name)} has shape {targets.shape}; "
            f"a target for each of the {len(inputs)} rows is needed"
        )
    return Table(
        name=shown_path(Path(path.name)),
        place=place,
        inputs=inputs,
        feature_names=_feature_names(arrays, inputs.shape[1]),
        target_name=target_name,
        targets=_targets(targets, place, target_name),
        sha256=sha256_of(content),
    )


def read_inputs(arrays: NpzArrays) -> Floats:
    """The array of inputs as float64 (rows, features) in C order.

    Raises:
        UserError: missing, without rows or features, text, or not finite.
    """
    name = _present(arrays, INPUTS)
    array = arrays.read(name)
    if array.dtype.kind == "U":
        raise UserError(f"{arrays.place}: array {shown(name)} holds text where numbers belong")
    if array.ndim < 2 or array.size == 0:
        raise UserError(f"{arrays.place}: array {shown(name)} has shape {array.shape}; (rows, features) is needed")
    check_size(array.shape[0], array.size // array.shape[0], arrays.place)
    inputs = np.ascontiguousarray(array.reshape(array.shape[0], -1), dtype=np.float64)
    finite = np.isfinite(inputs)
    if not finite.all():
        row, column = (int(index) for index in np.argwhere(~finite)[0])
        raise UserError(f"{arrays.place}, row {row + 1}, column {column + 1}: is not finite (NaN or infinity)")
    return inputs


def _present(arrays: NpzArrays, names: tuple[str, ...]) -> str:
    for name in names:
        if name in arrays.names:
            return name
    needed = " or ".join(shown(name) for name in names)
    raise UserError(f"{arrays.place}: has no array {needed}; {closest(names[0], sorted(arrays.names))}")


def _targets(array: NDArray[Any], place: str, name: str) -> list[str] | Floats:
    columns = array.reshape(len(array), -1)
    if array.dtype.kind == "U":
        if columns.shape[1] > 1:
            raise UserError(f"{place}: array {shown(name)} has {columns.shape[1]} columns of text; one names the class")
        return [str(cell).strip() for cell in columns[:, 0]]
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

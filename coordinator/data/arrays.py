"""Read arrays from the bytes of NPZ and NPY files, within bounds and without unpickling."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from typing import Any

from numpy.lib import format as npy_format
from numpy.typing import NDArray

from coordinator.data.limits import FILE_BYTES, shown
from coordinator.errors import UserError

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

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array. Raises `UserError`."""
        try:
            with self._archive.open(name + SUFFIX) as file:
                shape: tuple[int, ...] = _HEADER_READERS[npy_format.read_magic(file)](file)[0]
        except _BROKEN:
            raise UserError(f"{self.place}: array {shown(name)} is broken or not an array of numbers or text") from None
        return shape

    def read(self, name: str) -> NDArray[Any]:
        """Return one array.

        Raises:
            UserError: too large, broken, or made of Python objects.
        """
        member = name + SUFFIX
        try:
            size = self._archive.getinfo(member).file_size
            if size > FILE_BYTES:
                raise UserError(f"{self.place}: array {shown(name)} is larger than {FILE_BYTES:,} bytes")
            with self._archive.open(member) as file:
                _check_header(file, f"{self.place}: array {shown(name)}", size)
            with self._archive.open(member) as file:
                array: NDArray[Any] = npy_format.read_array(file, allow_pickle=False)
        except _BROKEN:
            raise UserError(f"{self.place}: array {shown(name)} is broken or not an array of numbers or text") from None
        return array


def _check_header(file: Any, what: str, size: int) -> None:
    """Refuse arrays of other types; a header may promise more than the file holds: refuse it before it is read."""
    shape, _, dtype = _HEADER_READERS[npy_format.read_magic(file)](file)
    if dtype.hasobject:
        raise UserError(
            f"{what} is of Python objects, which are never unpickled; save it as text or numbers, with .astype(str) or "
            ".astype(float)"
        )
    if dtype.kind not in "biufUS":
        advice = {"c": "; save its real and imaginary parts apart", "M": "; turn the dates into numbers first"}
        raise UserError(f"{what} is of type {dtype}; numbers or text are needed{advice.get(dtype.kind, '')}")
    if math.prod(shape) * dtype.itemsize > size:
        raise ValueError("truncated")


def read_npy_array(content: bytes, place: str) -> NDArray[Any]:
    """Return the array in an NPY file. Raises `UserError`."""
    try:
        _check_header(io.BytesIO(content), f"{place}:", len(content))
        array: NDArray[Any] = npy_format.read_array(io.BytesIO(content), allow_pickle=False)
    except _BROKEN:
        raise UserError(f"{place}: is broken or not an array of numbers or text") from None
    return array

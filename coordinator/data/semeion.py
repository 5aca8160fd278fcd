"""The Semeion handwritten digits: 1,593 images of 16 x 16 black or white pixels.

The file of the UCI repository has one line per sample: 256 pixels, 0 or 1, then ten columns; the column of the digit
is 1. ExMachina reads the same file. Without a file, the set is fetched from OpenML.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from coordinator.data.cells import parse_number
from coordinator.data.columns import TextCells
from coordinator.data.files import read_file
from coordinator.data.limits import ROWS, counted, decode_text, sha256_of, shown, shown_path
from coordinator.data.table import Floats, Table, number_columns
from coordinator.errors import UserError

NAME = "semeion"
PIXELS = 256
DIGITS = 10
FETCH_TIMEOUT_SECONDS = 30.0

_HOW_TO_GET_IT = "download semeion.data from the UCI Machine Learning Repository and pass --data FILE"


def read_semeion(path: Path) -> Table:
    """Return the table of a file in the format of the UCI repository.

    Raises:
        UserError: a line does not consist of 256 pixels and a one-hot digit.
    """
    content = read_file(path)
    place = shown_path(path)
    rows: list[Floats] = []
    lines: list[int] = []
    for number, line in enumerate(decode_text(content, place).splitlines(), start=1):
        cells = line.split()
        if cells:
            rows.append(_row(cells, f"{place}, line {number}"))
            lines.append(number)
        if len(rows) > ROWS:
            raise UserError(f"{place}: has more than {ROWS:,} rows, the most that are read")
    if not rows:
        raise UserError(f"{place}: holds no rows of data")
    values = np.stack(rows)
    labels = np.argmax(values[:, PIXELS:], axis=1)
    return _table(values[:, :PIXELS], labels, place, sha256_of(content), lines)


def fetch_semeion() -> Table:
    """Return the table from OpenML, through scikit-learn, which keeps a copy on the disk.

    Raises:
        UserError: the set cannot be fetched; the message says how to get the file.
    """
    from sklearn.datasets import fetch_openml  # noqa: PLC0415

    home = Path(os.environ.get("SCIKIT_LEARN_DATA") or "~/scikit_learn_data").expanduser()
    timeout_before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(FETCH_TIMEOUT_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # scikit-learn makes its folder before it connects: fetch into another folder, and keep only what has arrived.
            with TemporaryDirectory(prefix="exmachina-fetch-") as fetched:
                place = home if (home / "openml").is_dir() else Path(fetched)
                bunch = fetch_openml(
                    NAME, version=1, as_frame=False, parser="liac-arff", n_retries=1, data_home=str(place)
                )
                if place != home and any(place.iterdir()):
                    with contextlib.suppress(OSError):
                        shutil.copytree(place, home, dirs_exist_ok=True)
        inputs = np.ascontiguousarray(bunch.data, dtype=np.float64)
        labels = np.array([int(target) for target in bunch.target], dtype=np.int64) - 1
        if inputs.shape != (len(labels), PIXELS) or not 0 <= labels.min() <= labels.max() < DIGITS:
            raise ValueError("another data set than expected")
    except (OSError, ValueError, TypeError, ImportError, http.client.HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"semeion cannot be fetched from OpenML ({reason[:100]}); {_HOW_TO_GET_IT}") from None
    finally:
        socket.setdefaulttimeout(timeout_before)
    sha256 = sha256_of(inputs.astype("<f8").tobytes(), labels.astype("<i8").tobytes())
    return _table(inputs, labels, NAME, sha256, None)


def _row(cells: list[str], place: str) -> Floats:
    """Return the 266 numbers of a line. Raises `UserError` if the line is wrong."""
    if len(cells) != PIXELS + DIGITS:
        raise UserError(
            f"{place}: has {counted(len(cells), 'column')}, {PIXELS} pixels and {DIGITS} for the digit are needed"
        )
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        values = None
    if values is None or not np.isin(values, (0.0, 1.0)).all():
        column, cell = next((i, cell) for i, cell in enumerate(cells, 1) if parse_number(cell) not in (0.0, 1.0))
        raise UserError(f"{place}, column {column}: expected 0 or 1, not {shown(cell)}")
    if values[PIXELS:].sum() != 1.0:
        ones = int(values[PIXELS:].sum())
        raise UserError(
            f"{place}: the last {DIGITS} columns hold {counted(ones, 'one')}, exactly one (the digit's) is right"
        )
    return values


def _table(
    inputs: NDArray[np.float64], labels: NDArray[np.int64], place: str, sha256: str, lines: list[int] | None
) -> Table:
    classes = tuple(str(digit) for digit in range(DIGITS))
    return Table(
        name=NAME,
        place=place,
        inputs=np.ascontiguousarray(inputs),
        columns=number_columns([f"pixel {index // 16},{index % 16}" for index in range(PIXELS)]),
        target_name="digit",
        targets=TextCells(classes, np.asarray(labels, dtype=np.int64)),
        sha256=sha256,
        lines=lines,
        classes=classes,
        default_scaling="none",
    )

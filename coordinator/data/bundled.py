"""Data sets that need no file: the bundled sets of scikit-learn, and exclusive or."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from coordinator.data.columns import TextCells
from coordinator.data.limits import sha256_of
from coordinator.data.table import Table, number_columns

DIGITS_RANGE = (0.0, 16.0)
"""A pixel of `digits` counts the black ones of 4 x 4, so the bounds are known."""


def digits() -> Table:
    """Return `digits`: 1,797 images of 8 x 8 pixels from 0 to 16; the digit 0 to 9 is the class."""
    from sklearn.datasets import load_digits  # noqa: PLC0415

    return _from_sklearn("digits", load_digits, "digit", scaling="range", value_range=DIGITS_RANGE)


def iris() -> Table:
    """Return `iris`: 150 flowers of three species, four lengths each."""
    from sklearn.datasets import load_iris  # noqa: PLC0415

    return _from_sklearn("iris", load_iris, "species")


def wine() -> Table:
    """Return `wine`: 178 wines of three growers, thirteen measurements each."""
    from sklearn.datasets import load_wine  # noqa: PLC0415

    return _from_sklearn("wine", load_wine, "grower")


def breast_cancer() -> Table:
    """Return `breast_cancer`: 569 tumours, malignant or benign, thirty measurements each."""
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415

    return _from_sklearn("breast_cancer", load_breast_cancer, "diagnosis")


def xor() -> Table:
    """Return `xor`, exclusive or: the smallest set that a network without a hidden layer cannot learn."""
    inputs = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    targets = ["0", "1", "1", "0"]
    return Table(
        name="xor",
        place="xor",
        inputs=inputs,
        columns=number_columns(("a", "b")),
        target_name="a xor b",
        targets=TextCells.of(targets),
        sha256=sha256_of(inputs.astype("<f8").tobytes(), "".join(targets).encode()),
        classes=("0", "1"),
        default_scaling="none",
        default_outputs=1,
    )


LOADERS: dict[str, Callable[[], Table]] = {
    "digits": digits,
    "iris": iris,
    "wine": wine,
    "breast_cancer": breast_cancer,
    "xor": xor,
}


def _from_sklearn(
    name: str,
    loader: Callable[[], Any],
    target_name: str,
    scaling: str = "standard",
    value_range: tuple[float, float] | None = None,
) -> Table:
    bunch = loader()
    inputs = np.ascontiguousarray(bunch.data, dtype=np.float64)
    classes = tuple(str(item) for item in bunch.target_names)
    return Table(
        name=name,
        place=name,
        inputs=inputs,
        columns=number_columns(bunch.feature_names),
        target_name=target_name,
        targets=TextCells(classes, np.asarray(bunch.target, dtype=np.int64)),
        sha256=sha256_of(inputs.astype("<f8").tobytes(), bunch.target.astype("<i8").tobytes()),
        classes=classes,
        default_scaling=scaling,
        value_range=value_range,
    )

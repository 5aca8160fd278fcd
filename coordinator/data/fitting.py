"""Fit the fill values, categories, offsets and scales of an encoding on training rows, with scikit-learn.

Only numbers and texts are kept; `encoding.expand` applies them, so a saved model needs no scikit-learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from coordinator.data.encoding import EncodedColumn, expand
from coordinator.data.table import Floats, TableColumn

Pair = tuple[tuple[float, ...], tuple[float, ...]]
FAR = 400
"""The binary exponent beyond which squares of numbers leave float64's range."""


def fit_columns(columns: Sequence[TableColumn], train: Floats) -> tuple[EncodedColumn, ...]:
    """Return the rule of each column, from the training rows (rows, columns) only."""
    lacking = np.isnan(train).any(axis=0) if len(train) else np.zeros(len(columns), dtype=bool)
    whole = np.array([column.kind == "number" for column in columns], dtype=bool) & ~lacking
    medians = iter(np.median(train[:, whole], axis=0).tolist() if whole.any() else ())
    return tuple(
        EncodedColumn(column.name, fill=next(medians)) if whole[position] else _fit_column(column, train[:, position])
        for position, column in enumerate(columns)
    )


def _fit_column(column: TableColumn, values: Floats) -> EncodedColumn:
    """Fit a category, or a column that lacks cells."""
    from sklearn.impute import SimpleImputer  # noqa: PLC0415
    from sklearn.preprocessing import OneHotEncoder  # noqa: PLC0415

    missing = np.isnan(values)
    given = values[~missing][:, np.newaxis]
    indicator = bool(missing.any())
    if column.kind == "number":
        fill = float(SimpleImputer(strategy="median").fit(given).statistics_[0]) if len(given) else 0.0
        return EncodedColumn(column.name, fill=fill, indicator=indicator)
    if column.kind == "boolean":
        codes, categories = np.arange(len(column.categories), dtype=np.float64), column.categories
    else:
        codes = OneHotEncoder(handle_unknown="ignore").fit(given).categories_[0] if len(given) else np.array([0.0])
        categories = tuple(column.categories[int(code)] for code in codes)
    most = float(SimpleImputer(strategy="most_frequent").fit(given).statistics_[0]) if len(given) else 0.0
    return EncodedColumn(column.name, column.kind, categories, float(np.searchsorted(codes, most)), indicator)


def recode(columns: Sequence[TableColumn], encoded: Sequence[EncodedColumn], rows: Floats) -> Floats:
    """Return rows with the indices of the data set's categories replaced by those of the fitted ones."""
    if all(
        column.kind != "category" or column.categories == new.categories
        for column, new in zip(columns, encoded, strict=True)
    ):
        return rows
    rows = rows.copy()
    for position, (column, new) in enumerate(zip(columns, encoded, strict=True)):
        if column.kind == "category" and column.categories != new.categories:
            known = {text: float(index) for index, text in enumerate(new.categories)}
            table = np.array([known.get(text, float(len(new.categories))) for text in column.categories])
            values = rows[:, position]
            given = ~np.isnan(values)
            values[given] = table[values[given].astype(np.int64)]
    return rows


def fit_scaling(rule: str, columns: Sequence[EncodedColumn], train: Floats) -> Pair:
    """Return offset and scale of every input, from recoded training rows; those of 0 or 1 stay as they are."""
    inputs = expand(columns, train)
    offset, scale = np.zeros(inputs.shape[1]), np.ones(inputs.shape[1])
    starts = np.cumsum([0, *(column.width for column in columns)])[:-1]
    numbers = [int(start) for start, column in zip(starts, columns, strict=True) if column.kind == "number"]
    if numbers:
        own = inputs if len(numbers) == inputs.shape[1] else inputs[:, numbers]
        offset[numbers], scale[numbers] = RULES[rule](own)
    return tuple(offset.tolist()), tuple(scale.tolist())


def standard(rows: Floats) -> Pair:
    """Return mean and standard deviation of every column; a column that never varies has the scale 1."""
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    shift = _shift(rows)
    with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        scaler = StandardScaler().fit(np.ldexp(rows, -shift) if shift.any() else rows)
        mean, scale = np.ldexp(scaler.mean_, shift), np.where(scaler.scale_ == 1.0, 1.0, np.ldexp(scaler.scale_, shift))
    return tuple(mean.tolist()), tuple(np.where(np.isfinite(scaler.var_), scale, np.inf).tolist())


def _shift(rows: Floats) -> np.ndarray:
    """Return the binary exponents that bring columns of huge or tiny numbers near 1."""
    _, exponents = np.frexp(np.abs(rows).max(axis=0))
    return np.where(np.abs(exponents) > FAR, exponents, 0)


def value_range(rows: Floats) -> Pair:
    """Return minimum and range of every column; a column that never varies has the scale 1."""
    from sklearn.preprocessing import MinMaxScaler  # noqa: PLC0415

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        scaler = MinMaxScaler().fit(rows)
    # The scaler takes a feature that (nearly) never varies as it is.
    ranges = np.where(scaler.scale_ == 1.0, 1.0, scaler.data_range_)
    return tuple(scaler.data_min_.tolist()), tuple(ranges.tolist())


def unscaled(rows: Floats) -> Pair:
    """Return offset 0 and scale 1 for every column."""
    return (0.0,) * rows.shape[1], (1.0,) * rows.shape[1]


RULES = {"standard": standard, "range": value_range, "none": unscaled}

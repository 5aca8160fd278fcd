"""Load a data set by its name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from coordinator.data.bundled import LOADERS
from coordinator.data.dataset import Dataset, dataset_from
from coordinator.data.limits import shown, shown_path
from coordinator.data.npz_file import read_npy, read_npz, read_svmlight
from coordinator.data.opening import Format, format_of, opened, read_sample, unpacked
from coordinator.data.options import DEFAULT, TableOptions
from coordinator.data.semeion import DIGITS, PIXELS, fetch_semeion, read_semeion
from coordinator.data.semeion import NAME as SEMEION
from coordinator.data.suggestion import closest, did_you_mean
from coordinator.data.table import Table
from coordinator.data.tables import read_text_table
from coordinator.data.targets import TargetKind
from coordinator.data.toys import MAKERS, MOST_NOISE, make_toy
from coordinator.errors import UserError

DATASET_NAMES = (*LOADERS, *(name for name in MAKERS if name not in LOADERS), SEMEION)
TOYS = tuple(sorted(MAKERS))
"""The data sets that take noise."""


def load_dataset(
    name: str,
    *,
    data: Path | None = None,
    target: str | None = None,
    target_kind: TargetKind = "auto",
    options: TableOptions = DEFAULT,
    noise: float | None = None,
    seed: int = 0,
) -> Dataset:
    """Load the data set called `name`: one of `DATASET_NAMES`, or the path of a file.

    Args:
        name: the name or path.
        data: the file of `semeion`; without it the set is fetched from OpenML.
        target: the target's column or array, unless `options` name one.
        target_kind: the kind of the targets of a file; `auto` uses the rule in `targets.py`.
        options: the user's overrides for reading the table.
        noise: the noise of a toy data set; None is 0, and with `xor` the table of four rows.
        seed: the seed of a toy data set; other data sets do not depend on it.

    Raises:
        UserError: the data set or file does not exist, or cannot be used for training.
    """
    return dataset_from(
        load_table(name, data=data, target=target, options=options, noise=noise, seed=seed), target_kind
    )


def load_table(
    name: str,
    *,
    data: Path | None = None,
    target: str | None = None,
    options: TableOptions = DEFAULT,
    noise: float | None = None,
    seed: int = 0,
) -> Table:
    """Load a data set as `load_dataset` does, but do not decide whether the targets are classes or numbers.

    Raises:
        UserError: the data set or file does not exist, or cannot be read.
    """
    if target is not None:
        options = replace(options, target=target)
    if data is not None and name != SEMEION:
        raise UserError(f"--data goes with semeion only; to learn from a file, name it in place of {shown(name)}")
    if noise is not None and name not in MAKERS:
        raise UserError(f"--noise goes with {', '.join(TOYS[:-1])} and {TOYS[-1]} only, not with {shown(name)}")
    if noise is not None and not 0.0 <= noise <= MOST_NOISE:
        raise UserError(f"--noise must be a number from 0 to {MOST_NOISE}, not {noise}")
    if name in DATASET_NAMES:
        _check_no_options(name, options)
    if name == SEMEION:
        return fetch_semeion() if data is None else read_semeion(data)
    if name in MAKERS and (noise is not None or name not in LOADERS):
        return make_toy(name, seed=seed, noise=noise or 0.0)
    if name in LOADERS:
        return LOADERS[name]()
    path = Path(name)
    if not exists(path) and not path.suffix and path.name == name:
        raise UserError(f"no data set {shown(name)}; {closest(name, DATASET_NAMES)} (or the path of a file)")
    check_exists(path, DATASET_NAMES)
    return _load_file(path, options)


def check_exists(path: Path, names: Sequence[str] = ()) -> None:
    """Raise `UserError` if a file does not exist; a similar name in its folder, or in `names`, is suggested.

    Another cause, such as a name that is too long, is left to the reader of the file, which names it.
    """
    try:
        path.stat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError):
        return
    else:
        return
    try:
        beside = [str(path.with_name(name)) for name in os.listdir(path.parent)]  # noqa: PTH208 - of names alone
    except (OSError, ValueError):
        beside = []
    raise UserError(f"{shown_path(path)}: no such file{did_you_mean(str(path), [*beside, *names])}")


def exists(path: Path) -> bool:
    """Return whether a file or folder exists; False for a name that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _check_no_options(name: str, options: TableOptions) -> None:
    for field, value in vars(options).items():
        if value != getattr(DEFAULT, field):
            flag = {"missing": "na"}.get(field, field)
            what = f"{name} has a target of its own" if field == "target" else f"{name} is read as it is"
            raise UserError(f"--{flag} goes with a file; {what}")


def _load_file(path: Path, options: TableOptions) -> Table:
    kind = format_of_file(path)
    if kind == "npz":
        return read_npz(path, options.target)
    if kind == "npy":
        return read_npy(path, options.target)
    if kind == "svmlight":
        return read_svmlight(path)
    table = read_text_table(path, options)
    if options == DEFAULT and _is_semeion(table):
        return read_semeion(path)
    return table


def format_of_file(path: Path) -> Format:
    """Tell the format of a file, unpacked where it is packed. Raises `UserError`."""
    place = shown_path(path)
    with opened(path, place) as packed:
        file, _ = unpacked(packed, place)
        return format_of(read_sample(file, place), place)


def _is_semeion(table: Table) -> bool:
    """Whether a table is the Semeion set by its shape: pixels of 0 and 1, then ten columns of which a single one is 1."""
    facts = table.facts
    if facts.delimiter != " " or facts.header or len(facts.columns) != PIXELS + DIGITS:
        return False
    digits = table.inputs[:, PIXELS:].sum(axis=1)
    return bool(np.isin(table.inputs, (0.0, 1.0)).all() and np.isin(digits, (0.0, 1.0)).all())

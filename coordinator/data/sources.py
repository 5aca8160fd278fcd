"""From the name of a data set to its contents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from coordinator.data.bundled import LOADERS
from coordinator.data.csv_file import read_csv
from coordinator.data.dataset import Dataset, dataset_from
from coordinator.data.limits import shown
from coordinator.data.npz_file import read_npz
from coordinator.data.semeion import NAME as SEMEION
from coordinator.data.semeion import fetch_semeion, read_semeion
from coordinator.data.suggestion import closest
from coordinator.data.table import Table
from coordinator.data.targets import TargetKind
from coordinator.errors import UserError

DATASET_NAMES = (*LOADERS, SEMEION)
FILE_READERS: dict[str, Callable[[Path, str | None], Table]] = {".csv": read_csv, ".tsv": read_csv, ".npz": read_npz}


def load_dataset(
    name: str, *, data: Path | None = None, target: str | None = None, target_kind: TargetKind = "auto"
) -> Dataset:
    """The data set called `name`: one of `DATASET_NAMES`, or the path of a .csv, .tsv or .npz file.

    Args:
        name: what to load.
        data: the file of `semeion`; without it the set is fetched from OpenML.
        target: the target's column (CSV; the last by default) or array (NPZ; `y` or `targets` by default).
        target_kind: what the targets of a file are, where the rule in `targets.py` would not see it.

    Raises:
        UserError: no such data set or file, or nothing can be learnt from it.
    """
    return dataset_from(load_table(name, data=data, target=target), target_kind)


def load_table(name: str, *, data: Path | None = None, target: str | None = None) -> Table:
    """As `load_dataset`, before it is decided what the targets are.

    Raises:
        UserError: no such data set or file, or it can't be read.
    """
    if data is not None and name != SEMEION:
        raise UserError(f"--data goes with semeion only; to learn from a file, name it in place of {shown(name)}")
    if target is not None and name in DATASET_NAMES:
        raise UserError(f"--target goes with a file; {name} has a target of its own")
    if name == SEMEION:
        return fetch_semeion() if data is None else read_semeion(data)
    if name in LOADERS:
        return LOADERS[name]()
    path = Path(name)
    reader = FILE_READERS.get(path.suffix.lower())
    if reader is not None:
        return reader(path, target)
    if path.exists():
        raise UserError(f"{shown(name)}: is no .csv, .tsv or .npz file; for semeion.data say semeion --data FILE")
    raise UserError(f"no data set {shown(name)}; {closest(name, DATASET_NAMES)} (or the path of a .csv or .npz file)")

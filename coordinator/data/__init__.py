"""Data sets: reading, splitting, scaling and encoding. Importing this package needs only NumPy."""

from coordinator.data.dataset import Dataset
from coordinator.data.encoding import SCALINGS, Encoding
from coordinator.data.prepared import PreparedData, prepare
from coordinator.data.rows import LabelledRows, read_labelled, read_rows
from coordinator.data.sources import DATASET_NAMES, load_dataset
from coordinator.data.splitting import keyed_order
from coordinator.data.targets import TargetKind

__all__ = [
    "DATASET_NAMES",
    "SCALINGS",
    "Dataset",
    "Encoding",
    "LabelledRows",
    "PreparedData",
    "TargetKind",
    "keyed_order",
    "load_dataset",
    "prepare",
    "read_labelled",
    "read_rows",
]

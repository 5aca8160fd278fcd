"""`data`: what is understood of a data set, before anything is learnt from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from coordinator.cli.options import json_option, settings_options
from coordinator.cli.output import print_json, results
from coordinator.settings import inspect_data, resolve_settings

OF_THE_DATA = (
    "data", "target", "target_kind", "delimiter", "decimal", "encoding", "header", "na", "ignore", "inputs", "seed",
    "test_fraction", "scaling",
)  # fmt: skip


@click.command()
@click.argument("dataset", metavar="FILE")
@settings_options(OF_THE_DATA)
@json_option
def data(dataset: str, config: Path | None, as_json: bool, **flags: Any) -> None:
    """Report what is understood of a data set, before anything is learnt from it.

    FILE is a table (CSV and its kin, Parquet, JSON, ARFF, svmlight), arrays (NPZ, NPY), or the name of a bundled set.
    """
    report = inspect_data(resolve_settings({"dataset": dataset, **flags}, os.environ, config))
    if as_json:
        print_json(report.to_json())
    else:
        results.print("\n".join(report.lines()))

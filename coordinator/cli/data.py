"""The command `data`: report what is understood of a data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from coordinator.cli.completing import complete_dataset
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import json_option, settings_options
from coordinator.cli.output import print_json, results
from coordinator.settings import inspect_data, resolve_settings

SETTINGS_OF_DATA = (
    "data", "target", "target_kind", "delimiter", "decimal", "encoding", "header", "na", "ignore", "inputs", "noise", "seed",
    "test_fraction", "scaling",
)  # fmt: skip


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator data table.csv
    coordinator data table.csv --delimiter semicolon --target price
    """,
)
@click.argument("dataset", metavar="FILE", shell_complete=complete_dataset)
@settings_options(SETTINGS_OF_DATA)
@json_option
def data(dataset: str, config: Path | None, as_json: bool, **flags: Any) -> None:
    """Report what is understood of a data set, without training.

    FILE is a table (CSV, Parquet, JSON, ARFF, svmlight), arrays (NPZ, NPY), or the name of a bundled set.
    """
    report = inspect_data(resolve_settings({"dataset": dataset, **flags}, os.environ, config))
    if as_json:
        print_json(report.to_json())
    else:
        results.print("\n".join(report.lines()))

"""The command `restart`: another run in the place of the present one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from coordinator.cli.ask import ask
from coordinator.cli.completing import complete_dataset
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import SETTINGS, door_options, json_option, one_option_per_setting, runs_option
from coordinator.cli.output import print_json, results

PATIENCE_SECONDS = 300.0
"""A table with a million rows takes a minute to read."""


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator restart --seed 3
    coordinator restart iris --hidden 6 --epochs 100
    coordinator restart my.csv --target price
    """,
)
@click.argument("dataset", required=False, shell_complete=complete_dataset)
@one_option_per_setting(SETTINGS, "as it is")
@partial(door_options, patience_seconds=PATIENCE_SECONDS)
@runs_option
@json_option
def restart(dataset: str | None, runs: Path, as_json: bool, **options: Any) -> None:
    """Begin another run of a service, with other settings; the nodes stay.

    DATASET is a data set, or a file in the service's folder for data (with Compose: config). Settings that are not named stay
    as they are; with another data set, those that describe the data are left out. The present run ends where it is, and its
    folder is kept. If there are more groups than nodes, some nodes host several groups. A run of `coordinator learn` can't be
    restarted.
    """
    settings = {name: value for name in SETTINGS if (value := options.pop(name)) is not None}
    if dataset is not None:
        settings["dataset"] = dataset
    facts = ask(runs, options, "restart", settings=settings)
    if as_json:
        print_json(facts)
        return
    for note in facts["notes"]:
        results.print(f"note: {note}")
    layers = "-".join(map(str, facts["layers"]))
    results.print(
        f"the run {facts['run']} begins: {facts['dataset']} {layers}, {facts['groups']} groups, {facts['nodes']} nodes"
    )

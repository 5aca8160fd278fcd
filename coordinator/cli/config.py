"""The command `config show`: all settings, and where each value comes from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from coordinator.cli.completing import complete_dataset
from coordinator.cli.helping import HelpfulCommand, default_of_setting
from coordinator.cli.options import json_option, settings_options
from coordinator.cli.output import print_json, print_table
from coordinator.cli.suggesting import SuggestingGroup
from coordinator.settings import flag_of, resolve_with_sources


@click.group(cls=SuggestingGroup)
def config() -> None:
    """Show all settings and where each value comes from."""


@config.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator config show
    coordinator config show iris --preset exmachina
    """,
)
@click.argument("dataset", required=False, shell_complete=complete_dataset)
@settings_options()
@json_option
def show(dataset: str | None, config: Path | None, as_json: bool, **flags: Any) -> None:
    """Show each setting of learn, serve and verify: its value, and the option, variable or file that has set it.

    Give the same DATASET and options as to learn.
    """
    settings, sources = resolve_with_sources({"dataset": dataset, **flags}, os.environ, config)
    values = settings.model_dump(mode="json")
    if as_json:
        rows = {name: {"value": value, "source": sources.get(name, "default")} for name, value in values.items()}
        print_json({"config_file": str(config) if config else None, "settings": rows})
        return
    print_table(
        ("setting", "value", "source"),
        [
            (flag_of(name), default_of_setting(name) if value is None else _text(value), sources.get(name, "default"))
            for name, value in values.items()
        ],
    )


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)

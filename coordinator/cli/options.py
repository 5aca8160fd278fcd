"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from coordinator.data.options import TableOptions
from coordinator.errors import UserError
from coordinator.run_directory import RunDirectory
from coordinator.settings import LearnSettings, flag_of, resolve_settings
from neuron_node.program import endpoints_from_environment
from neuron_node.wiring import Endpoints, check_endpoint

Command = TypeVar("Command", bound=Callable[..., Any])

SETTINGS = (
    "data", "target", "target_kind", "delimiter", "decimal", "encoding", "header", "na", "ignore", "inputs",
    "hidden", "layers", "epochs", "batch_size", "learning_rate", "activation",
    "output_activation", "loss", "seed", "group_size", "wiring", "microbatches", "nodes", "test_fraction", "scaling",
    "preset", "snapshot_interval_steps", "regroup_after_seconds", "name",
)  # fmt: skip
"""Every setting but the data set, which is an argument. `coordinator.settings` checks the values, whatever they come from."""

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout, all else on stderr."
)
runs_option = click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=lambda: Path(os.environ.get("EXMACHINA_RUNS") or "runs"),
    help="The folder that holds the runs.  [default: runs]",
)


def settings_options(names: Sequence[str] = SETTINGS) -> Callable[[Command], Command]:
    """One option for each of these settings, and --config."""

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            description = LearnSettings.model_fields[name].description or ""
            metavar = name.rpartition("_")[2].upper()
            command = click.option(flag_of(name), name, metavar=metavar, help=description)(command)
        config = click.Path(path_type=Path)
        return click.option(
            "--config", type=config, envvar="EXMACHINA_CONFIG", help="A TOML file with settings; flags win."
        )(command)

    return decorate


TABLE_SETTINGS = ("delimiter", "decimal", "encoding", "header", "na", "ignore", "inputs")
"""The settings that say how a table is to be read."""


def table_options(command: Command) -> Command:
    """How a table is to be read, where that is not found out."""
    for name in reversed(TABLE_SETTINGS):
        description = LearnSettings.model_fields[name].description or ""
        command = click.option(flag_of(name), name, metavar=name.upper(), help=description)(command)
    return command


def table_options_of(flags: dict[str, Any], target: str | None = None) -> TableOptions:
    """Take the options of `table_options` out of `flags`, and return what they say. Raises `UserError`."""
    values = {name: flags.pop(name) for name in TABLE_SETTINGS}
    return resolve_settings({**values, "target": target}, {}, None).table_options


def broker_endpoint_options(command: Command) -> Command:
    """Where the broker is."""
    command = click.option(
        "--broker-out",
        metavar="ENDPOINT",
        help="Where the broker gives messages.  [default: $EXMACHINA_BROKER_OUT or port 5572 here]",
    )(command)
    return click.option(
        "--broker-in",
        metavar="ENDPOINT",
        help="Where the broker takes messages.  [default: $EXMACHINA_BROKER_IN or port 5571 here]",
    )(command)


def broker_options(command: Command) -> Command:
    """Where a running service is."""
    command = click.option(
        "--patience",
        type=click.FloatRange(0.1, 3600),
        default=10.0,
        show_default=True,
        help="Seconds to wait for an answer.",
    )(command)
    command = click.option("--run", "run_name", metavar="NAME", help="Ask the local run of this name instead.")(command)
    return broker_endpoint_options(command)


def endpoints(runs: Path, run_name: str | None, broker_in: str | None, broker_out: str | None) -> Endpoints:
    """Where to find the service: a local run's broker, or the given endpoints, or the environment's. Raises `UserError`."""
    if run_name:
        directory = RunDirectory.existing(runs, run_name)
        if not (directory.path / "endpoints.json").exists():
            raise UserError(
                f"the run {run_name} is over; its network is in {directory.model} (predict --model), its figures in result.json"
            )
        if directory.holder() is None:
            raise UserError(
                f"the run {run_name} was cut off and nobody is at work on it; go on with: coordinator learn --resume {run_name}"
            )
        stored = directory.read_json("endpoints")
        if not (
            isinstance(stored, list) and len(stored) == 2 and all(isinstance(endpoint, str) for endpoint in stored)
        ):
            raise UserError(f"the run {run_name} does not say where its broker listens")
        return Endpoints(*stored)
    default = endpoints_from_environment()
    return Endpoints(
        check_endpoint("--broker-in", broker_in or default.inward),
        check_endpoint("--broker-out", broker_out or default.outward),
    )

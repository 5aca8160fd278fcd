"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from coordinator.errors import UserError
from coordinator.run_directory import RunDirectory
from coordinator.settings import LearnSettings, flag_of
from neuron_node.program import endpoints_from_environment
from neuron_node.wiring import Endpoints, check_endpoint

Command = TypeVar("Command", bound=Callable[..., Any])

SETTINGS = (
    "data", "target", "target_kind", "hidden", "layers", "epochs", "batch_size", "learning_rate", "activation",
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


def settings_options(command: Command) -> Command:
    """One option a setting, and --config."""
    for name in reversed(SETTINGS):
        description = LearnSettings.model_fields[name].description or ""
        command = click.option(
            flag_of(name),
            name,
            metavar=name.rpartition("_")[2].upper(),
            help=description,
        )(command)
    config = click.Path(path_type=Path)
    return click.option(
        "--config", type=config, envvar="EXMACHINA_CONFIG", help="A TOML file with settings; flags win."
    )(command)


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
        if directory.holder() is None:
            raise UserError(_over(directory))
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


def _over(directory: RunDirectory) -> str:
    """What to do with a run in which no program works any more."""
    name = directory.path.name
    if directory.result() is None:
        why = f"failed ({failure})" if (failure := directory.failure()) else "was interrupted"
        return f"the run {name} {why}, and no program works on it; go on with: coordinator learn --resume {name}"
    return f"the run {name} is over; its network is in {directory.model} (predict --model), its figures in result.json"

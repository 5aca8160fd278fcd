"""Options that several commands share."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from coordinator.cli.completing import complete_run, complete_setting
from coordinator.cli.helping import help_of_setting
from coordinator.cli.output import errors
from coordinator.data.options import TableOptions
from coordinator.settings import flag_of, resolve_settings
from neuron_node.keys import VARIABLE as KEYS_VARIABLE
from neuron_node.program import endpoints_from_environment
from neuron_node.transport import Endpoints, check_endpoint

Command = TypeVar("Command", bound=Callable[..., Any])

SETTINGS = (
    "data", "target", "target_kind", "delimiter", "decimal", "encoding", "header", "na", "ignore", "inputs", "noise",
    "hidden", "layers", "epochs", "batch_size", "learning_rate", "activation",
    "output_activation", "loss", "seed", "group_size", "wiring", "microbatches", "nodes", "test_fraction", "scaling",
    "preset", "snapshot_interval_steps", "history", "regroup_after_seconds", "rebalance", "name",
)  # fmt: skip
"""All settings except the data set, which is an argument. `coordinator.settings` checks the values."""

FOUND = Path("exmachina.toml")
"""The file with settings that is used if no other is named."""


class FiniteRange(click.FloatRange):
    """A number between two limits. click's own type lets nan through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number. Fails if it is not within the limits."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"nan is not in the range {self._describe_range()}", param, ctx)
        return number


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


model_option = click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="A saved model to use instead of a running service; its neurons run in memory.",
)


def _be_quiet(_context: click.Context, _parameter: click.Parameter, quiet: bool) -> None:
    errors.quiet = errors.quiet or quiet


quiet_option = click.option(
    "--quiet",
    "-q",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_be_quiet,
    help="Print only results and errors, no progress and no notes.",
)
runs_option = click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=lambda: Path(os.environ.get("EXMACHINA_RUNS") or "runs"),
    help="The folder of all runs.  [default: $EXMACHINA_RUNS or runs]",
)


def one_option_per_setting(names: Sequence[str], default: str | None = None) -> Callable[[Command], Command]:
    """Add the options of these settings to a command. `default` says which value they have in this command."""

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            metavar = name.rpartition("_")[2].upper()
            command = click.option(
                flag_of(name),
                name,
                metavar=metavar,
                help=help_of_setting(name, default),
                shell_complete=complete_setting(name),
            )(command)
        return command

    return decorate


def settings_options(names: Sequence[str] = SETTINGS) -> Callable[[Command], Command]:
    """Add one option per setting, and --config, to a command."""

    def decorate(command: Command) -> Command:
        config = click.Path(path_type=Path)
        return click.option(
            "--config",
            type=config,
            envvar="EXMACHINA_CONFIG",
            default=lambda: FOUND if FOUND.is_file() else None,
            help="A TOML file with settings; options and variables take precedence.  "
            "[default: $EXMACHINA_CONFIG or ./exmachina.toml, if there is one]",
        )(one_option_per_setting(names)(command))

    return decorate


TABLE_SETTINGS = ("delimiter", "decimal", "encoding", "header", "na", "ignore", "inputs")
"""The settings that override how a table is read."""


def table_options(command: Command) -> Command:
    """Add the options of `TABLE_SETTINGS` to a command."""
    for name in reversed(TABLE_SETTINGS):
        command = click.option(flag_of(name), name, metavar=name.upper(), help=help_of_setting(name))(command)
    return command


def table_options_of(flags: dict[str, Any], target: str | None = None) -> TableOptions:
    """Take the options of `table_options` out of `flags`, and return their values. Raises `UserError`."""
    values = {name: flags.pop(name) for name in TABLE_SETTINGS}
    return resolve_settings({**values, "target": target}, {}, None).table_options


def broker_endpoint_options(command: Command) -> Command:
    """Add the options with the endpoints of the broker to a command."""
    command = click.option(
        "--broker-out",
        metavar="ENDPOINT",
        help="Endpoint that the broker sends from.  [default: $EXMACHINA_BROKER_OUT or local port 5572]",
    )(command)
    return click.option(
        "--broker-in",
        metavar="ENDPOINT",
        help="Endpoint that the broker receives at.  [default: $EXMACHINA_BROKER_IN or local port 5571]",
    )(command)


def key_options(command: Command) -> Command:
    """Add the options with the keys of a program that uses TCP to a command."""
    command = click.option(
        "--insecure",
        is_flag=True,
        help="Use TCP without keys and encryption; on this machine only, and with a warning.",
    )(command)
    return click.option(
        "--keys",
        metavar="FOLDER",
        help=f"Folder with the keys of this program, for connections over TCP.  [default: ${KEYS_VARIABLE}]",
    )(command)


def door_options(command: Command, patience_seconds: float = 10.0) -> Command:
    """Add the options that locate a running service to a command."""
    command = click.option(
        "--patience",
        type=FiniteRange(0.1, 3600),
        default=patience_seconds,
        show_default=True,
        help="Seconds to wait for an answer.",
    )(command)
    command = key_options(command)
    command = click.option(
        "--key", metavar="NAME", default="", help="Name of your key, if the folder of keys has several."
    )(command)
    command = click.option(
        "--door",
        metavar="ENDPOINT",
        help="Front door of a coordinator on another host or in a container.  [default: $EXMACHINA_DOOR, else that of the run]",
    )(command)
    return click.option(
        "--run",
        "run_name",
        metavar="NAME",
        shell_complete=complete_run,
        help="Name of a local run.  [default: the only run that is live]",
    )(command)


def broker_endpoints(broker_in: str | None, broker_out: str | None) -> Endpoints:
    """Return the broker's endpoints from the options, else from the environment. Raises `UserError`."""
    default = endpoints_from_environment()
    return Endpoints(
        check_endpoint("--broker-in", broker_in or default.inward),
        check_endpoint("--broker-out", broker_out or default.outward),
    )

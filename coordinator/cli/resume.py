"""The option `learn --resume RUN`: find and check the run to continue."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from coordinator.data.options import DEFAULT
from coordinator.data.sources import DATASET_NAMES, load_table
from coordinator.errors import UserError
from coordinator.resumption import config_to_go_on, nodes_of
from coordinator.run_directory import RunDirectory
from coordinator.settings import LearnSettings, flag_of


def run_to_resume(runs: Path, name: str, dataset: str | None, flags: Mapping[str, Any]) -> tuple[RunDirectory, int]:
    """Return the folder of the run and its number of nodes, without writing anything. Raises `UserError`."""
    _check_no_setting(flags)
    directory = RunDirectory.existing(runs, name)
    config = config_to_go_on(directory)
    if dataset is not None or flags["data"] is not None:
        _check_same_data(name, config, dataset, flags["data"])
    if result := directory.result():
        accuracy = result.get("test_accuracy")
        figure = "" if accuracy is None else f" with a held-out accuracy of {accuracy:.4f}"
        raise UserError(
            f"the run {name} has finished{figure}; use its network: coordinator predict --model {directory.model}, "
            f"or see: coordinator runs show {name}"
        )
    directory.check_free()
    return directory, nodes_of(config)


def remove_sockets(directory: RunDirectory) -> None:
    """Remove the sockets that a killed run has left behind."""
    try:
        inward = str(directory.read_json("endpoints")[0])
    except (UserError, LookupError, TypeError):
        return
    folder = Path(inward.removeprefix("ipc://")).parent
    # Only folders that a launcher makes.
    if (
        folder.parent == Path(tempfile.gettempdir())
        and folder.name.startswith("exmachina-")
        and not folder.is_symlink()
    ):
        shutil.rmtree(folder, ignore_errors=True)


def _check_no_setting(flags: Mapping[str, Any]) -> None:
    given = [flag_of(name) for name, value in flags.items() if value is not None and name != "data"]
    if click.get_current_context().get_parameter_source("config") is ParameterSource.COMMANDLINE:
        given.append("--config")
    if given:
        raise UserError(
            f"{given[0]} cannot be used with --resume: a run continues with the settings that it was started with"
        )


def _check_same_data(name: str, config: Mapping[str, Any], dataset: str | None, data: str | None) -> None:
    settings = config["settings"]
    asked = dataset or settings.get("dataset", "")
    known = {key: value for key, value in settings.items() if key in LearnSettings.model_fields}
    options = DEFAULT if asked in DATASET_NAMES else LearnSettings.model_validate(known).table_options
    table = load_table(asked, data=Path(data) if data is not None else None, options=options)
    if table.sha256 != config["data_sha256"]:
        raise UserError(
            f"{data or asked} is not the data that the run {name} was started with (another SHA-256); "
            "leave it out to continue with the copy of the run, or start another run"
        )

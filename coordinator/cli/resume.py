"""The option `learn --resume RUN`: find and check the run to continue."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from coordinator.cli.output import errors, say_all
from coordinator.data.options import DEFAULT
from coordinator.data.sources import DATASET_NAMES, load_table
from coordinator.errors import UserError
from coordinator.local.remains import remove_remains_of
from coordinator.settings import LearnSettings, flag_of
from coordinator.storage.restoration import fault_of_model, restore_model
from coordinator.storage.resumption import config_to_go_on, nodes_of
from coordinator.storage.run_folder import RunFolder


class ToResume(NamedTuple):
    """A run to continue and its number of nodes. If `restored`, the run has finished, and only its model was missing."""

    directory: RunFolder
    nodes: int
    restored: bool = False


def run_to_resume(runs: Path, name: str, dataset: str | None, flags: Mapping[str, Any]) -> ToResume:
    """Return the run to continue. Writes only the model of a finished run, if it is missing. Raises `UserError`."""
    _check_no_setting(flags)
    directory = RunFolder.existing(runs, name)
    config = config_to_go_on(directory)
    if dataset is not None or flags["data"] is not None:
        _check_same_data(name, config, dataset, flags["data"])
    if result := directory.result():
        if directory.holder() is None:
            # It was killed after its end, before it removed its sockets.
            say_all(remove_remains_of(directory))
        _restore(directory, config, result)
        return ToResume(directory, 0, restored=True)
    directory.check_free()
    return ToResume(directory, nodes_of(config))


def _restore(directory: RunFolder, config: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Restore the model of a run that has finished. Raises `UserError` if it is good, or cannot be restored."""
    name, accuracy, digest = directory.path.name, result.get("test_accuracy"), result.get("weights_sha256")
    figure = "" if accuracy is None else f" with an accuracy of {accuracy:.4f}"
    fault = fault_of_model(directory, digest)
    if fault is None:
        raise UserError(
            f"the run {name} has finished{figure}; use its network: coordinator predict --model {directory.model}, "
            f"or see: coordinator runs show {name}"
        )
    directory.check_free()
    try:
        restore_model(directory, config, digest)
    except UserError as why:
        raise UserError(f"the run {name} has finished{figure}, but {fault}; it can't be restored: {why}") from None
    errors.print(f"{fault}; it was restored from the run's final snapshot", markup=False)


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
    noise = settings.get("noise") if asked == settings.get("dataset") else None
    table = load_table(
        asked, data=Path(data) if data is not None else None, options=options, noise=noise, seed=settings.get("seed", 0)
    )
    if table.sha256 != config["data_sha256"]:
        raise UserError(
            f"{data or asked} is not the data that the run {name} was started with (another SHA-256); "
            "leave it out to continue with the copy of the run, or start another run"
        )

"""The link of a page: the settings of a run, the selected neuron, and the hidden panels. A teacher prepares a lesson with it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any
from urllib.parse import quote, urlencode

from coordinator.data.sources import DATASET_NAMES
from coordinator.defaults import NetworkSettings

SETTINGS = ("dataset", "target", "hidden", "learning_rate", "epochs", "seed")
"""The settings of a run that a link has: those of the dialog *Restart…*."""
LONGEST_VALUE = 200


def settings_of_link(query: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that a link asks for."""
    given = {name: query.get(name, "").strip()[:LONGEST_VALUE] for name in SETTINGS}
    return {name: value for name, value in given.items() if value}


def settings_of_run(status: Mapping[str, Any], network: NetworkSettings) -> dict[str, str]:
    """Return the settings of a run, as a link has them.

    Every setting has its value, also where it is the default. The data set of a file is left out: its path is not known.
    """
    settings = {"dataset": status["dataset"]} if status["dataset"] in DATASET_NAMES else {}
    if len(network.layers) > 2:
        settings["hidden"] = ",".join(map(str, network.layers[1:-1]))
    rate = network.learning_rate
    settings["learning_rate"] = f"{rate:g}" if float(f"{rate:g}") == rate else repr(rate)
    return {**settings, "epochs": str(network.epochs), "seed": str(status["seed"])}


def differences(wanted: Mapping[str, str], status: Mapping[str, Any], network: NetworkSettings) -> dict[str, str]:
    """Return those of the wanted settings that are not those of the run.

    `target` tells nothing: a run does not say which column it was.
    """
    found = settings_of_run(status, network)
    found.setdefault("dataset", status["dataset"])
    return {
        name: value
        for name, value in wanted.items()
        if name != "target" and _meaning(name, value) != _meaning(name, found.get(name, ""))
    }


def link_of(settings: Mapping[str, str], selected: str, hidden: Iterable[str]) -> str:
    """Return the query of a link."""
    query = {**settings, "select": selected, "hide": ",".join(hidden)}
    link = urlencode({name: value for name, value in query.items() if value}, safe=",", quote_via=quote)
    return f"?{link}" if link else ""


def command_of(settings: Mapping[str, str]) -> str:
    """Return the command that starts a run with the settings of a link and its page."""
    words = ["coordinator", "learn", settings.get("dataset", "digits")]
    for name, value in settings.items():
        if name != "dataset":
            words += [f"--{name.replace('_', '-')}", value]
    # A link may come from anybody: quoted, no part of it is a command of its own.
    return shlex.join([*words, "--dashboard"])


def _meaning(name: str, value: str) -> object:
    """Return what a value means: 0.50 is 0.5, `my.csv` is the data set `my`."""
    if name == "dataset":
        return value if value in DATASET_NAMES else PurePath(value).stem
    try:
        return [float(part) for part in value.split(",")]
    except ValueError:
        return value

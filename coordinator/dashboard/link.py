"""The link of a page: the settings of a run, the selected neuron, and the hidden panels. A teacher prepares a lesson with it.

A link may come from a stranger: its values are checked, and it never begins a run by itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from coordinator.data.sources import DATASET_NAMES
from coordinator.defaults import NetworkSettings

SETTINGS = {
    "dataset": "data set",
    "target": "target column",
    "hidden": "hidden layers",
    "learning_rate": "learning rate",
    "epochs": "epochs",
    "seed": "seed",
}
"""The settings of a run that a link and the dialog *Restart…* have, and the words for them."""
LONGEST_VALUE = 400
LONGEST_SHOWN = 40
NO_HIDDEN_LAYER = "none"


class Wanted(NamedTuple):
    """The settings of a link, and the words for those that can't be used."""

    settings: dict[str, str]
    unusable: list[str]


def settings_of_link(query: Mapping[str, str]) -> Wanted:
    """Return the settings that a link asks for.

    A value that is too long, has characters that can't be seen, or looks like an option can't be used.
    """
    given = {name: value for name in SETTINGS if (value := query.get(name, "").strip())}
    usable = {name: value for name, value in given.items() if _is_usable(value)}
    return Wanted(usable, [SETTINGS[name] for name in given if name not in usable])


def _is_usable(value: str) -> bool:
    return len(value) <= LONGEST_VALUE and value.isprintable() and not value.startswith("-")


def settings_of_run(status: Mapping[str, Any], network: NetworkSettings) -> dict[str, str]:
    """Return the settings of a run, as a link has them.

    Every setting has its value, also where it is the default. A file and its target column are left out: the path of the file
    is not known.
    """
    rate = network.learning_rate
    return {
        **({"dataset": status["dataset"]} if status["dataset"] in DATASET_NAMES else {}),
        "hidden": ",".join(map(str, network.layers[1:-1])) or NO_HIDDEN_LAYER,
        "learning_rate": f"{rate:g}" if float(f"{rate:g}") == rate else repr(rate),
        "epochs": str(network.epochs),
        "seed": str(status["seed"]),
    }


def differences(
    wanted: Mapping[str, str], status: Mapping[str, Any], network: NetworkSettings, target: str
) -> dict[str, str]:
    """Return those of the wanted settings that are not those of the run; `target` is the name of its target column."""
    found = {**settings_of_run(status, network), "dataset": status["dataset"], "target": target}
    return {name: value for name, value in wanted.items() if _meaning(name, value) != _meaning(name, found[name])}


def settings_to_begin(wanted: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """Return the settings to begin the wanted run with; `others` are those that differ from the present run.

    With another data set these are all of them: a restart keeps no setting of the data before, such as the target column.
    """
    return dict(wanted if "dataset" in others else others)


def link_of(settings: Mapping[str, str], selected: str, hidden: Iterable[str]) -> str:
    """Return the query of a link."""
    query = {**settings, "select": selected, "hide": ",".join(hidden)}
    link = urlencode({name: value for name, value in query.items() if value}, safe=",", quote_via=quote)
    return f"?{link}" if link else ""


def words_of(settings: Mapping[str, str]) -> str:
    """Return settings in words, such as `hidden layers 4, seed 3`. Long values are shortened."""
    return ", ".join(f"{SETTINGS[name]} {shortened(value)}" for name, value in settings.items())


def shortened(value: str) -> str:
    """Return a value that does not fill the page."""
    return value if len(value) <= LONGEST_SHOWN else f"{value[: LONGEST_SHOWN - 1]}…"


def command_of(settings: Mapping[str, str], dataset: str) -> str | None:
    """Return the command that starts a run with the settings of a link and its page. `dataset` is that of the present run.

    None: the data set is a file that the link does not name, or a value is too long to be typed.
    """
    chosen = settings.get("dataset", dataset if dataset in DATASET_NAMES else "")
    if not chosen or any(len(value) > LONGEST_SHOWN for value in settings.values()):
        return None
    words = ["coordinator", "learn", chosen]
    for name, value in settings.items():
        if name != "dataset":
            words += [f"--{name.replace('_', '-')}", value]
    # Quoted, no part of a value is a command of its own.
    return shlex.join([*words, "--dashboard"])


def _meaning(name: str, value: str) -> object:
    """Return what a value means to the settings: 0.50 is 0.5, `4-3` is `4,3`, `data/my.csv` is `my.csv`."""
    if name == "dataset":
        return PurePath(value).name
    if name == "hidden" and value.lower() == NO_HIDDEN_LAYER:
        return []
    try:
        if name == "hidden":
            return [int(part) for part in value.replace("-", ",").split(",")]
        return {"learning_rate": float, "target": str}.get(name, int)(value)
    except ValueError:
        return value

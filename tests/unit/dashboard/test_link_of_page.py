"""The link of a page: what it says, and how it differs from a run."""

from __future__ import annotations

import shlex
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.dashboard.link import (
    LONGEST_VALUE,
    SETTINGS,
    command_of,
    differences,
    link_of,
    settings_of_link,
    settings_of_run,
)
from coordinator.dashboard.panels import restart
from coordinator.defaults import NetworkSettings

STATUS: dict[str, Any] = {"dataset": "xor", "seed": 3}


def network(*layers: int, rate: float = 0.5) -> NetworkSettings:
    return NetworkSettings(layers, "identity", "tanh", "logistic", "cross_entropy", rate, 8, 20)


def test_the_link_of_a_run_is_for_this_run() -> None:
    """All its settings are there, with their values, and none of them differs."""
    settings = settings_of_run(STATUS, network(2, 4, 3, 1))
    assert settings == {"dataset": "xor", "hidden": "4,3", "learning_rate": "0.5", "epochs": "20", "seed": "3"}
    assert not differences(settings, STATUS, network(2, 4, 3, 1))


@given(st.floats(min_value=1e-300, max_value=1e3))
def test_the_learning_rate_keeps_all_its_digits(rate: float) -> None:
    assert float(settings_of_run(STATUS, network(2, 1, rate=rate))["learning_rate"]) == rate


@pytest.mark.parametrize(
    ("wanted", "others"),
    [
        ({"hidden": "4, 3", "learning_rate": "0.50", "seed": "3"}, {}),
        ({"hidden": "3,4"}, {"hidden": "3,4"}),
        ({"hidden": "many"}, {"hidden": "many"}),
        ({"dataset": "iris", "seed": "3"}, {"dataset": "iris"}),
        ({"seed": "4", "epochs": "20"}, {"seed": "4"}),
        ({"target": "kind"}, {}),
    ],
)
def test_only_what_differs_is_told(wanted: dict[str, str], others: dict[str, str]) -> None:
    """The same number in other digits is no difference."""
    assert differences(wanted, STATUS, network(2, 4, 3, 1)) == others


def test_a_file_is_the_data_set_of_its_name() -> None:
    """The link of such a run leaves it out: another person may not have the file."""
    status = {"dataset": "flowers", "seed": 0}
    assert "dataset" not in settings_of_run(status, network(2, 1))
    assert not differences({"dataset": "flowers.csv"}, status, network(2, 1))
    assert differences({"dataset": "birds.csv"}, status, network(2, 1)) == {"dataset": "birds.csv"}


def test_a_network_without_hidden_neurons() -> None:
    assert "hidden" not in settings_of_run(STATUS, network(2, 1))
    assert differences({"hidden": "4"}, STATUS, network(2, 1)) == {"hidden": "4"}


@given(st.dictionaries(st.sampled_from(SETTINGS), st.text(min_size=1, max_size=20)), st.text(max_size=20))
def test_a_link_comes_back_as_it_was(settings: dict[str, str], selected: str) -> None:
    """With any characters in it."""
    settings = {name: value.strip() for name, value in settings.items() if value.strip()}
    query = {name: value for name, [value] in parse_qs(link_of(settings, selected, ()).removeprefix("?")).items()}
    assert settings_of_link(query) == settings and query.get("select", "") == selected


def test_a_link_without_anything_is_empty() -> None:
    assert link_of({}, "", ()) == ""
    assert link_of({}, "hidden.1", ["nodes", "curves"]) == "?select=hidden.1&hide=nodes,curves"


def test_what_a_link_asks_for_has_limits() -> None:
    assert settings_of_link({"seed": "9" * 999, "runs": "/etc", "hidden": "  "}) == {"seed": "9" * LONGEST_VALUE}


@given(st.text(min_size=1))
def test_no_part_of_a_link_is_a_command(value: str) -> None:
    """A visitor copies the line into a terminal."""
    words = shlex.split(command_of({"dataset": value, "seed": value}))
    assert words == ["coordinator", "learn", value, "--seed", value, "--dashboard"]


def test_the_dialog_has_the_settings_of_a_link() -> None:
    assert tuple(restart.FIELDS) == SETTINGS

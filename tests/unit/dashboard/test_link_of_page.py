"""The link of a page: what it says, and how it differs from a run."""

from __future__ import annotations

import shlex
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from coordinator.dashboard.link import (
    LONGEST_SHOWN,
    LONGEST_VALUE,
    SETTINGS,
    command_of,
    differences,
    link_of,
    settings_of_link,
    settings_of_run,
    settings_to_begin,
    words_of,
)
from coordinator.defaults import NetworkSettings

STATUS: dict[str, Any] = {"dataset": "xor", "seed": 3}
SHOWN = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)


def network(*layers: int, rate: float = 0.5) -> NetworkSettings:
    return NetworkSettings(layers, "identity", "tanh", "logistic", "cross_entropy", rate, 8, 20)


@pytest.mark.parametrize("layers", [(2, 4, 3, 1), (2, 1)])
def test_the_link_of_a_run_is_for_this_run(layers: tuple[int, ...]) -> None:
    """All its settings are there, with their values, and none of them differs."""
    settings = settings_of_run(STATUS, network(*layers))
    hidden = ",".join(map(str, layers[1:-1])) or "none"
    assert settings == {"dataset": "xor", "hidden": hidden, "learning_rate": "0.5", "epochs": "20", "seed": "3"}
    assert not differences(settings, STATUS, network(*layers), "class")


def test_the_longest_list_of_layers_comes_back() -> None:
    """A page that is loaded again has the link of its run."""
    deep = network(2, *(100,) * 62, 1)
    settings = settings_of_run(STATUS, deep)
    assert settings_of_link(settings).settings == settings and not differences(settings, STATUS, deep, "")


@given(st.floats(min_value=1e-300, max_value=1e3))
def test_the_learning_rate_keeps_all_its_digits(rate: float) -> None:
    assert float(settings_of_run(STATUS, network(2, 1, rate=rate))["learning_rate"]) == rate


@pytest.mark.parametrize(
    ("wanted", "others"),
    [
        ({"hidden": "4, 3", "learning_rate": "0.50", "seed": "03"}, ""),
        ({"hidden": "4-3"}, ""),
        ({"hidden": "3,4"}, "hidden layers 3,4"),
        ({"hidden": "many"}, "hidden layers many"),
        ({"hidden": "None"}, "hidden layers None"),
        ({"dataset": "iris", "seed": "3"}, "data set iris"),
        ({"dataset": "xor.csv"}, "data set xor.csv"),
        ({"seed": "4", "epochs": "20"}, "seed 4"),
        ({"learning_rate": "nan"}, "learning rate nan"),
        ({"target": "class"}, ""),
        ({"target": "kind"}, "target column kind"),
    ],
)
def test_only_what_differs_is_told(wanted: dict[str, str], others: str) -> None:
    """A number in other digits is no difference."""
    assert words_of(differences(wanted, STATUS, network(2, 4, 3, 1), "class")) == others


def test_large_seeds_are_told_apart() -> None:
    """Also those that are the same floating-point number."""
    status = {**STATUS, "seed": 2**53}
    assert differences({"seed": str(2**53 + 1)}, status, network(2, 1), "")
    assert not differences({"seed": str(2**53)}, status, network(2, 1), "")


def test_a_file_is_known_by_its_name() -> None:
    """The link of such a run leaves it out, because its path is not known."""
    status = {"dataset": "iris.csv", "seed": 0}
    assert "dataset" not in settings_of_run(status, network(2, 1))
    assert not differences({"dataset": "data/iris.csv"}, status, network(2, 1), "")
    assert all(differences({"dataset": other}, status, network(2, 1), "") for other in ("iris", "iris.parquet"))


def test_another_data_set_begins_with_all_settings_of_the_link() -> None:
    """Also with a target column of the same name: the coordinator forgets that of the present data."""
    wanted = {"dataset": "flowers.csv", "target": "class", "seed": "3"}
    others = differences(wanted, STATUS, network(2, 1), "class")
    assert others == {"dataset": "flowers.csv"} and settings_to_begin(wanted, others) == wanted
    assert settings_to_begin({"seed": "4", "target": "class"}, {"seed": "4"}) == {"seed": "4"}


def test_a_network_without_hidden_neurons() -> None:
    assert not differences({"hidden": "none"}, STATUS, network(2, 1), "")
    assert differences({"hidden": "4"}, STATUS, network(2, 1), "") == {"hidden": "4"}


@given(st.dictionaries(st.sampled_from(list(SETTINGS)), SHOWN), SHOWN)
def test_a_link_comes_back_as_it_was(settings: dict[str, str], selected: str) -> None:
    """With any characters in it."""
    assume(not any(value.startswith("-") for value in settings.values()))
    query = {name: value for name, [value] in parse_qs(link_of(settings, selected, ()).removeprefix("?")).items()}
    assert settings_of_link(query).settings == settings and query["select"] == selected


def test_a_link_without_anything_is_empty() -> None:
    assert link_of({}, "", ()) == ""
    assert link_of({}, "hidden.1", ["nodes", "curves"]) == "?select=hidden.1&hide=nodes,curves"


@pytest.mark.parametrize("value", ["9" * (LONGEST_VALUE + 1), "--config=x", "a\x15b", "a\u202eb", "\ud800"])
def test_a_value_that_cannot_be_used_is_left_out_and_told(value: str) -> None:
    """It is too long, an option, or has characters that a reader can't see."""
    wanted = settings_of_link({"hidden": value, "seed": "3", "runs": "/etc", "epochs": "  "})
    assert wanted.settings == {"seed": "3"} and wanted.unusable == ["hidden layers"]


@given(SHOWN)
def test_no_part_of_a_link_is_a_command(value: str) -> None:
    """A visitor copies the line into a terminal."""
    assume(not value.startswith("-"))
    settings = settings_of_link({"dataset": value, "seed": value}).settings
    assert shlex.split(command_of(settings, "digits") or "") == [
        "coordinator", "learn", value, "--seed", value, "--dashboard",
    ]  # fmt: skip


def test_the_command_is_for_the_data_set_of_the_run() -> None:
    """Unless the link names one. There is no command for a file that it does not name, and none with a value that is cut."""
    assert command_of({"hidden": "3"}, "xor") == "coordinator learn xor --hidden 3 --dashboard"
    assert command_of({"hidden": "3"}, "flowers.csv") is None
    assert command_of({"dataset": "my.csv"}, "xor") == "coordinator learn my.csv --dashboard"
    long = "1," * LONGEST_SHOWN
    assert command_of({"hidden": long}, "xor") is None
    assert words_of({"hidden": long}) == f"hidden layers {long[: LONGEST_SHOWN - 1]}…"

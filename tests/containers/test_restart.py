"""A coordinator's container is restarted, killed and replaced: the run goes on, in its volume, to the same weights."""

from __future__ import annotations

import pytest

from .compose import NO_PAGE
from .conftest import Projects

pytestmark = [pytest.mark.containers, pytest.mark.slow]

SETTINGS = {
    "NEURONS": "3",
    "EXMACHINA_DATASET": "xor",
    "EXMACHINA_GROUP_SIZE": "layer",
    "EXMACHINA_BATCH_SIZE": "2",
    "EXMACHINA_EPOCHS": "1500",
    "EXMACHINA_SNAPSHOT_INTERVAL_STEPS": "100",
}


def test_a_coordinator_that_is_restarted_goes_on(projects: Projects) -> None:
    """`docker compose restart coordinator` in mid-training: the neurons stay, the steps since the last snapshot are
    repeated, and the weights are those of an undisturbed run; restarted once more, it answers with them at once, and its
    one run is still the only one.
    """
    project = projects(SETTINGS)
    project.must("up", "--detach", "--no-build", *NO_PAGE)
    neurons = {container["Id"]: container["State"]["StartedAt"] for container in project.containers()}
    project.await_snapshot("xor")
    project.must("restart", "--timeout", "20", "coordinator")
    disturbed = project.await_status(state="idle")
    assert "goes on after step" in project.must("logs", "coordinator")
    started = {container["Id"]: container["State"]["StartedAt"] for container in project.containers()}
    assert len({name for name in neurons if started[name] == neurons[name]}) == len(neurons) - 1
    project.must("restart", "--timeout", "20", "coordinator")
    again = project.await_status(state="idle")
    assert (again["weights_sha256"], again["step"]) == (disturbed["weights_sha256"], disturbed["steps"])
    assert [row["name"] for row in project.ask("runs")["runs"]] == ["xor"]
    undisturbed = project.ask("learn", "--name", "undisturbed")
    assert undisturbed["weights_sha256"] == disturbed["weights_sha256"]
    project.down()


@pytest.mark.slow
def test_another_run_begins_in_the_same_containers(projects: Projects) -> None:
    """`coordinator restart` with another data set of more groups than containers: no container ends, the three neurons share
    the groups, and the coordinator's next start continues the new run.
    """
    project = projects(SETTINGS)
    project.must("up", "--detach", "--no-build", *NO_PAGE)
    started = {container["Id"]: container["State"]["StartedAt"] for container in project.containers()}
    project.await_snapshot("xor")
    answer = project.ask("restart", "iris", "--group-size", "1", "--epochs", "2")
    assert (answer["run"], answer["groups"], answer["nodes"]) == ("iris", 15, 3)
    trained = project.await_status(state="idle", dataset="iris")
    assert {container["Id"]: container["State"]["StartedAt"] for container in project.containers()} == started
    project.must("restart", "--timeout", "20", "coordinator")
    again = project.await_status(state="idle")
    assert again["weights_sha256"] == trained["weights_sha256"]
    assert sorted(row["name"] for row in project.ask("runs")["runs"]) == ["iris", "xor"]
    project.down()

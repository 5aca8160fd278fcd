"""Direct wiring, from container to container: to the same weights as through the broker, whoever is killed meanwhile."""

from __future__ import annotations

import json
import re

import pytest

from .compose import NO_PAGE, Project
from .conftest import Projects
from .disturbing import container_of, kill, recovering, service_of

pytestmark = pytest.mark.containers

SETTINGS = {
    "EXMACHINA_DATASET": "iris",
    "EXMACHINA_HIDDEN": "5",
    "EXMACHINA_SEED": "3",
    "EXMACHINA_SNAPSHOT_INTERVAL_STEPS": "100",
    "EXMACHINA_NAME": "straight",
    "EXMACHINA_WIRING": "direct",
}
STEPS_AN_EPOCH = 15
GOES_ON = re.compile(r"goes on after step ([\d,]+)")


def steps_gone_back_to(project: Project) -> list[int]:
    """After which steps the network went on, of all recoveries and the coordinator's further lives."""
    log = project.must("logs", "coordinator")
    return [int(step.replace(",", "")) for step in GOES_ON.findall(log)]


@pytest.mark.parametrize(
    ("group_size", "nodes", "epochs"),
    [pytest.param("layer", 3, 600, marks=pytest.mark.slow), pytest.param("2", 7, 300, marks=pytest.mark.slow)],
)
def test_killed_containers_in_direct_wiring_come_to_the_bits_of_the_broker(
    projects: Projects, group_size: str, nodes: int, epochs: int
) -> None:
    """A neuron's container and the coordinator's are killed in mid-training and come back, to be heard at other ports than
    before; the weights are those of an undisturbed network of the same groups whose data go through the broker.
    """
    sizes = {"NEURONS": str(nodes), "EXMACHINA_GROUP_SIZE": group_size, "EXMACHINA_EPOCHS": str(epochs)}
    project = projects({**SETTINGS, **sizes})
    project.must("up", "--detach", "--no-build", *NO_PAGE)
    victim = next(container["Id"] for container in project.containers() if service_of(container) == "neuron")
    coordinator = container_of(project, "coordinator")
    project.await_snapshot("straight")
    with recovering(project, nodes):
        kill(victim, "neuron-node")
    kill(coordinator, "coordinator")
    status = project.await_status(state="idle")
    assert (status["step"], status["recoveries"]) == (epochs * STEPS_AN_EPOCH, 2)
    gone_back_to = steps_gone_back_to(project)
    assert len(gone_back_to) == 2
    assert max(gone_back_to) < epochs * STEPS_AN_EPOCH
    config = json.loads(project.must("exec", "-T", "coordinator", "cat", "/runs/straight/config.json"))
    assert (config["wiring"], status["groups"]) == ("direct", nodes)
    undisturbed = project.ask("learn", "--name", "round", "--wiring", "broker")
    assert status["weights_sha256"] == undisturbed["weights_sha256"]
    project.down()
    assert project.left_behind() == {}

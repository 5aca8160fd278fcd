"""Containers that are killed, frozen and unplugged while they train: the weights are those of an undisturbed run."""

from __future__ import annotations

import pytest

from .compose import NO_PAGE
from .conftest import Projects
from .disturbing import container_of, engine, host_of, kill, recovering

pytestmark = [pytest.mark.containers, pytest.mark.slow]

GROUPS = 6
SPARES = 1
EPOCHS, STEPS = 1_200, 2_400
"""Two steps an epoch, of two samples each: more than are done before the last disturbance."""
SETTINGS = {
    "NEURONS": str(GROUPS + SPARES),
    "EXMACHINA_DATASET": "xor",
    "EXMACHINA_BATCH_SIZE": "2",
    "EXMACHINA_EPOCHS": str(EPOCHS),
    "EXMACHINA_SEED": "3",
    "EXMACHINA_NAME": "chaos",
}


def test_disturbed_containers_and_undisturbed_processes_come_to_the_same_bits(projects: Projects) -> None:
    """A neuron killed, one frozen and one unplugged until a spare has taken over, the broker and the coordinator killed."""
    project = projects(SETTINGS)
    project.must("up", "--detach", "--no-build", *NO_PAGE)
    project.await_status(state="training")
    with recovering(project, GROUPS):
        kill(host_of(project, "hidden.0"), "neuron-node")
    frozen = host_of(project, "output.0")
    with recovering(project, GROUPS):
        engine("pause", frozen)
    engine("unpause", frozen)
    unplugged = host_of(project, "input.1")
    with recovering(project, GROUPS):
        engine("network", "disconnect", f"{project.name}_default", unplugged)
    engine("network", "connect", f"{project.name}_default", unplugged)
    kill(container_of(project, "broker"), "neuron-broker")
    assert project.ask("status", "--patience", "120")["nodes_needed"] == GROUPS
    kill(container_of(project, "coordinator"), "coordinator")
    status = project.await_status(state="idle")
    assert (status["step"], status["epochs"]) == (STEPS, EPOCHS)
    # Three that were missed, and the coordinator's second life.
    assert status["recoveries"] >= 4
    # The same image, the same settings, the same arithmetic, and nobody disturbs it.
    undisturbed = project.ask("learn", "--name", "undisturbed")
    assert status["weights_sha256"] == undisturbed["weights_sha256"]
    project.down()
    assert project.left_behind() == {}

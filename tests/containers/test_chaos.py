"""Containers that are killed, frozen and unplugged while they train: the weights are those of an undisturbed run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .compose import COMMAND_SECONDS, Project
from .conftest import Projects

pytestmark = pytest.mark.containers

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
KILL = """
import os, pathlib, signal, sys
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if path.read_bytes().split(b"\\0")[1:2] == [sys.argv[1].encode()]:
        os.kill(int(path.parent.name), signal.SIGKILL)
"""
"""`docker kill` would switch the restart policy off; a program that dies in its container is started again."""


def engine(*command: str, codes: tuple[int, ...] = (0,)) -> None:
    """A command of the engine's own, for one of our containers."""
    done = subprocess.run(["docker", *command], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    assert done.returncode in codes, f"docker {' '.join(command)}: {done.stdout}{done.stderr}"


def kill(container: str, program: str) -> None:
    """kill -9 of the program in a container; the container ends with it, and may take this command along (137)."""
    engine("exec", container, "python", "-c", KILL, f"/opt/exmachina/bin/{program}", codes=(0, 137))


def container_of(project: Project, service: str, host: str | None = None) -> str:
    """A container of a service, by its host name where there are several."""
    [found] = [
        container["Id"]
        for container in project.containers()
        if container["Config"]["Labels"]["com.docker.compose.service"] == service
        and host in (None, container["Config"]["Hostname"])
    ]
    return str(found)


def host_of(project: Project, neuron: str) -> str:
    """The container in which a neuron lives now."""
    [row] = [row for row in project.ask("neurons", "--patience", "60")["neurons"] if row["neuron"] == neuron]
    return container_of(project, "neuron", row["host"])


@contextmanager
def recovering(project: Project) -> Iterator[None]:
    """What is done inside makes the network recover; afterwards it stands again."""
    before = project.must("logs", "coordinator").count("recovering: ")
    yield
    # From the beginning: whoever began to listen now might be too late.
    logs = project.start("logs", "--follow", "coordinator", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with logs:
        try:
            for _ in range(before + 1):
                project.line_with(logs, "recovering: ")
            project.line_with(logs, f"wired: {GROUPS} nodes")
        finally:
            logs.kill()


def test_disturbed_containers_and_undisturbed_processes_come_to_the_same_bits(projects: Projects) -> None:
    """A neuron killed, one frozen and one unplugged until a spare has taken over, the broker and the coordinator killed."""
    project = projects(SETTINGS)
    project.must("up", "--detach", "--no-build")
    project.await_status(state="training")
    with recovering(project):
        kill(host_of(project, "hidden.0"), "neuron-node")
    frozen = host_of(project, "output.0")
    with recovering(project):
        engine("pause", frozen)
    engine("unpause", frozen)
    unplugged = host_of(project, "input.1")
    with recovering(project):
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

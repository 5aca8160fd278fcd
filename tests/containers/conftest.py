"""Where there is no container engine these tests are skipped, unless EXMACHINA_CONTAINER_TESTS=required."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest

from .compose import Project

Projects = Callable[[Mapping[str, str]], Project]
PROBES = {
    "docker info": "no container engine answers",
    "docker compose version": "Docker Compose is not installed",
    "docker buildx version": "Docker Buildx is not installed",
}


def what_is_missing() -> str | None:
    """Why no container can be started here, if none can."""
    for command, reason in PROBES.items():
        try:
            done = subprocess.run(command.split(), capture_output=True, timeout=30, check=False)
        except OSError:
            return "there is no docker command"
        if done.returncode:
            return f"{reason} ({command})"
    return None


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Projects]:
    """Makes projects from settings, with both images built, and takes all of them down at the end."""
    if reason := what_is_missing():
        if os.environ.get("EXMACHINA_CONTAINER_TESTS") == "required":
            pytest.fail(f"container tests are required here, but {reason}")
        pytest.skip(reason)
    # Every project is taken down, also when another one cannot be, and when the tests are interrupted.
    with ExitStack() as made:

        def make(settings: Mapping[str, str]) -> Project:
            project = Project(settings, tmp_path_factory.mktemp("config"))
            made.callback(project.down)
            return project

        make({}).must("build", "--quiet")
        yield make


@pytest.fixture(scope="session")
def network(projects: Projects) -> Project:
    """Twelve neurons, each in a container, that have learnt iris."""
    project = projects({"NEURONS": "12", "EXMACHINA_DATASET": "iris", "EXMACHINA_HIDDEN": "5", "EXMACHINA_SEED": "1"})
    project.must("up", "--detach", "--no-build")
    project.await_status(state="idle")
    return project

"""What can happen to a container, and how a network shows that it has got over it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .compose import COMMAND_SECONDS, Project

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


def service_of(container: dict[str, Any]) -> str:
    """The service in compose.yaml that a container is of."""
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def container_of(project: Project, service: str, host: str | None = None) -> str:
    """A container of a service, by its host name where there are several."""
    [found] = [
        container["Id"]
        for container in project.containers()
        if service_of(container) == service and host in (None, container["Config"]["Hostname"])
    ]
    return str(found)


def host_of(project: Project, neuron: str) -> str:
    """The container in which a neuron lives now."""
    [row] = [row for row in project.ask("neurons", "--patience", "60")["neurons"] if row["neuron"] == neuron]
    return container_of(project, "neuron", row["host"])


@contextmanager
def recovering(project: Project, nodes: int) -> Iterator[None]:
    """What is done inside makes the network recover; afterwards it stands again, with so many nodes."""
    before = project.must("logs", "coordinator").count("recovering: ")
    yield
    # From the beginning: whoever began to listen now might be too late.
    logs = project.start("logs", "--follow", "coordinator", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with logs:
        try:
            for _ in range(before + 1):
                project.line_with(logs, "recovering: ")
            project.line_with(logs, f"wired: {nodes} nodes")
        finally:
            logs.kill()

"""What a program on the network of the containers can read: nothing of the run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from coordinator.bench.transports import TCP, prepared
from coordinator.data.prepared import PreparedData
from coordinator.job import Job
from coordinator.local.launcher import LocalRun

from .compose import NO_PAGE, Project
from .conftest import Projects

pytestmark = [pytest.mark.containers, pytest.mark.slow]

CAPTURE_MB, CAPTURE_BUFFER_KB = 200, 65_536
STARTS_SECONDS = 20.0
NAMES = (b"bias", b"weights", b"logistic", b"numpy")
"""Words of the messages of every run: of states and roles, and of the fingerprint of the arithmetic."""
SETTINGS = {"dataset": "iris", "hidden": "5", "seed": 7, "epochs": 30}


@contextmanager
def captured(interface: str, file: Path) -> Iterator[None]:
    """Write all packets of an interface into a file."""
    command = [
        "tcpdump",
        "-i",
        interface,
        "-w",
        str(file),
        "-U",
        "-B",
        str(CAPTURE_BUFFER_KB),
        "-C",
        str(CAPTURE_MB),
        "-W",
        "1",
        "tcp",
    ]
    process = subprocess.Popen([*command, "-Z", "root"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        while first and "listening on" not in first:
            first = process.stderr.readline()
        assert first, "tcpdump did not start"
        yield
    finally:
        process.terminate()
        process.communicate(timeout=STARTS_SECONDS)


def numbers_of(data: PreparedData) -> list[bytes]:
    """The inputs that the coordinator sends, as they are on the wire. Numbers that others might send are left out."""
    values = np.unique(np.concatenate([data.train_inputs.ravel(), data.test_inputs.ravel()]))
    return [value.astype("<f8").tobytes() for value in values if np.float32(value) != value]


def found_in(file: Path, needles: list[bytes]) -> list[bytes]:
    [written] = [path for path in file.parent.iterdir() if path.name.startswith(file.name)]
    content = written.read_bytes()
    assert len(content) > 100_000, "too little was captured to say anything"
    return [needle for needle in needles if needle in content]


@pytest.fixture(scope="module")
def sniffing() -> None:
    """Skip where packets can't be captured."""
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    if os.geteuid() != 0:
        pytest.skip("only root may capture packets")


def test_the_capture_would_find_names_and_numbers(sniffing: None, tmp_path: Path) -> None:
    """Without keys, the same search finds names and numbers, over TCP on this machine."""
    job = Job.from_flags(SETTINGS, None)
    directory = job.create_run(tmp_path / "runs")
    where = prepared(TCP, tmp_path)
    with (
        captured("lo", tmp_path / "packets"),
        directory.claimed(),
        LocalRun(directory, job.nodes, broker=where.broker) as run,
    ):
        assert "finished" in [event["event"] for event in run.events()]
    numbers = numbers_of(job.data)
    assert len(found_in(tmp_path / "packets", numbers)) > 0.9 * len(numbers)
    assert found_in(tmp_path / "packets", [*NAMES, b"node-1"]) == [*NAMES, b"node-1"]


@pytest.mark.parametrize("wiring", ["broker", "direct"])
def test_the_network_of_the_containers_shows_nothing(
    sniffing: None, projects: Projects, tmp_path: Path, wiring: str
) -> None:
    """A whole run, from the first handshake to the last weight, has no number and no name in clear text."""
    settings = {f"EXMACHINA_{name.upper()}": str(value) for name, value in SETTINGS.items()}
    project = projects({"NEURONS": "12", "EXMACHINA_WIRING": wiring, **settings})
    project.must("up", "--no-start", "--no-build", *NO_PAGE)
    with captured(bridge_of(project), tmp_path / "packets"):
        project.must("up", "--detach", "--no-build", *NO_PAGE)
        project.await_status(state="idle")
    names = [container["Config"]["Hostname"].encode() for container in project.containers()]
    numbers = numbers_of(Job.from_flags(SETTINGS, None).data)
    # Docker's own name service has the names of the services.
    assert found_in(tmp_path / "packets", [*NAMES, *names, *numbers]) == []
    project.down()


def bridge_of(project: Project) -> str:
    """Return the interface of this host at the project's network."""
    label = f"label=com.docker.compose.project={project.name}"
    listed = subprocess.run(
        ["docker", "network", "ls", "--quiet", "--no-trunc", "--filter", label],
        capture_output=True,
        text=True,
        check=True,
    )
    [network] = listed.stdout.split()
    shown = subprocess.run(["docker", "network", "inspect", network], capture_output=True, text=True, check=True)
    options = json.loads(shown.stdout)[0]["Options"] or {}
    return str(options.get("com.docker.network.bridge.name", f"br-{network[:12]}"))

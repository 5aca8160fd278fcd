"""compose.yaml with a real engine: a network of containers learns, answers, is confined, and leaves nothing behind."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.processes.programs import await_that

from .compose import CHECKOUT, NO_PAGE, Project
from .conftest import Projects
from .disturbing import service_of

pytestmark = pytest.mark.containers

FLOWERS = "5.1,3.5,1.4,0.2\n6.0,2.9,4.5,1.5\n6.9,3.1,5.4,2.1\n"
KILLED = 137
KILL_THE_NEURON = """
import os, pathlib, signal
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if path.read_bytes().split(b"\\0")[1:2] == [b"/opt/exmachina/bin/neuron-node"]:
        os.kill(int(path.parent.name), signal.SIGKILL)
"""
IMAGES = {
    "keys": "exmachina-coordinator", "broker": "exmachina-node", "coordinator": "exmachina-coordinator", "neuron": "exmachina-node",
    "dashboard": "exmachina-dashboard",
}  # fmt: skip


def test_a_network_of_containers_learns(network: Project) -> None:
    """Twelve neurons in twelve containers learn iris, through the broker, to what one process would reach."""
    status = network.ask("status")
    assert (status["dataset"], status["layers"], status["seed"]) == ("iris", [4, 5, 3], 1)
    assert status["groups"] == 12
    assert status["test_accuracy"] >= 0.85
    assert status["weights_sha256"]


def test_every_neuron_has_a_container_of_its_own(network: Project) -> None:
    """The table of neurons names twelve hosts, and they are the neuron service's containers."""
    rows = network.ask("neurons")["neurons"]
    containers = {
        container["Config"]["Hostname"] for container in network.containers() if service_of(container) == "neuron"
    }
    assert len(rows) == 12
    assert {row["host"] for row in rows} == containers
    assert len(containers) == 12


def test_running_network_predicts_rows_from_standard_input(network: Project) -> None:
    """One flower of each kind, asked of the running containers, is recognised by name."""
    answer = network.ask("predict", "-", text=FLOWERS)
    assert [row["class"] for row in answer["predictions"]] == ["setosa", "versicolor", "virginica"]


def test_status_from_the_host_equals_status_inside(network: Project, tmp_path: Path) -> None:
    """`coordinator status` outside the containers, through the published front door and with a key, gives the same account."""
    keys = str(network.export_key("operator", tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "coordinator", "status", "--json", "--door", network.door(), "--keys", keys],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=CHECKOUT,
    )
    inside = network.ask("status")
    outside = json.loads(done.stdout)
    assert outside["weights_sha256"] == inside["weights_sha256"]


def test_containers_run_without_privileges(network: Project) -> None:
    """Every container: another user than root, no capability, no way to more of them, a read-only root, an init."""
    for container in network.containers():
        host, config = container["HostConfig"], container["Config"]
        assert config["User"] == "exmachina"
        assert host["ReadonlyRootfs"] is True
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert host["Init"] is True
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0
        assert config["Image"] == IMAGES[service_of(container)]


@pytest.mark.parametrize("service", ["broker", "coordinator", "dashboard", "neuron"])
def test_processes_in_containers_have_no_capabilities_and_cannot_write(network: Project, service: str) -> None:
    """Seen from inside: the user is not root, holds no capability, and can't write to the image."""
    assert int(network.must("exec", "-T", service, "id", "-u")) > 0
    state = network.must("exec", "-T", service, "cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in state
    assert "NoNewPrivs:\t1" in state
    refused = network.run("exec", "-T", service, "touch", "/opt/exmachina/new")
    assert "Read-only file system" in refused.stderr


def test_only_front_door_and_page_have_ports_and_only_on_loopback(network: Project) -> None:
    """Nothing listens on another address of the host than 127.0.0.1."""
    addresses = {
        (service_of(container), binding["HostIp"])
        for container in network.containers()
        for bindings in container["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    }
    assert addresses == {("coordinator", "127.0.0.1"), ("dashboard", "127.0.0.1")}


def test_the_last_line_names_the_page(network: Project) -> None:
    """With an operator's token, which the page takes at its port on this machine."""

    def last_line() -> str:
        lines = network.must("logs", "--no-log-prefix", "dashboard").splitlines()
        # Compose may begin a line with a control sequence of the terminal.
        return lines[-1] if lines and "operator " in lines[-1] else ""

    address = urlsplit(await_that(last_line, "the address of the page").split()[-1])
    connection = http.client.HTTPConnection(network.must("port", "dashboard", "8420").strip(), timeout=30)
    connection.request("GET", f"/?{address.query}")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Location")) == (303, "/")
    connection.close()


def test_health_checks_are_no_programs_of_ours(network: Project) -> None:
    """Broker and coordinator have a file test as health check; the others have none."""
    for container in network.containers():
        check = container["Config"].get("Healthcheck")
        expected = ["CMD", "test", "-e", "/tmp/healthy"] if service_of(container) in ("broker", "coordinator") else None
        assert (check and check["Test"]) == expected


def test_a_neuron_that_is_killed_comes_back(network: Project) -> None:
    """The engine starts the container again, the network takes it in, and answers with the same numbers as before."""
    before = network.ask("predict", "-", text=FLOWERS)
    done = network.run("exec", "-T", "--index", "3", "neuron", "python", "-c", KILL_THE_NEURON)
    # The container ends with its neuron, and may take the command with it: 137 is SIGKILL.
    assert done.returncode in (0, 137), done.stderr
    with network.start("logs", "--follow", "coordinator", stdout=subprocess.PIPE) as logs:
        network.line_with(logs, "recovering: ")
        network.line_with(logs, "wired: 12 nodes")
        logs.kill()
    assert network.ask("predict", "-", text=FLOWERS) == before


def test_a_wrong_setting_is_told_in_one_line(projects: Projects) -> None:
    """The coordinator names the variable, says what would be right, and exits with 2."""
    project = projects({"EXMACHINA_EPOCHS": "0"})
    done = project.run("run", "--rm", "--no-deps", "-T", "coordinator")
    [line] = [line for line in done.stderr.splitlines() if line.startswith("coordinator:")]
    assert done.returncode == 2
    assert "EXMACHINA_EPOCHS" in line
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_network_with_too_few_neurons_waits_and_learns_when_more_come(projects: Projects) -> None:
    """`docker compose up` with four containers for six groups says so, shows nothing but the coordinator, and goes on
    when two more are added; settings and data come from mounted files; all end when asked to, none has to be killed;
    `down -v` leaves nothing.
    """
    project = projects({"NEURONS": "4", "EXMACHINA_CONFIG": "/config/network.toml"})
    rows = [f"{x / 8},{y / 8},{'abcd'[2 * (x > y) + (x + y > 8)]}" for x in range(9) for y in range(9)]
    project.config.joinpath("plane.csv").write_text("\n".join(["x,y,quarter", *rows]) + "\n", encoding="utf-8")
    settings = 'dataset = "plane.csv"\nhidden = [6]\nepochs = 2\ngroup_size = 2\n'
    project.config.joinpath("network.toml").write_text(settings, encoding="utf-8")
    up = project.start("up", "--no-build", *NO_PAGE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert "2 more are needed" in project.line_with(up, "4 of 6 are here")
        project.must("up", "--detach", "--no-build", "--no-recreate", *NO_PAGE, "--scale", "neuron=6")
        status = project.await_status(state="idle")
        assert (status["layers"], status["epochs"]) == ([2, 6, 4], 2)
        project.must("stop")
        assert KILLED not in {container["State"]["ExitCode"] for container in project.containers()}
    finally:
        project.down()
        project.said += up.communicate(timeout=60)[0].splitlines()
    speakers = set(re.findall(r"([a-z]+-\d+) +\|", "\n".join(project.said)))
    # The neurons do not print into the terminal: each of them has its own log.
    assert speakers == {"broker-1", "coordinator-1"}
    assert project.left_behind() == {}

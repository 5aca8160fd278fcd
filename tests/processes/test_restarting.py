"""`coordinator restart`: a service begins another run with the same nodes, and loses neither the nodes nor the present run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.processes.programs import Bench, Program, await_that, in_memory_sha256
from tests.processes.test_serve_again import Service

pytestmark = pytest.mark.processes

RESTARTED = 5


def await_trained(program: Program, folder: Path) -> None:
    """Wait until the program has trained this run, with the weights of the textbook."""
    digest = in_memory_sha256(folder)
    await_that(lambda: f"weights sha256 {digest}" in program.said(), f"the end of the run {folder.name}")


def test_another_run_begins_with_the_same_nodes(bench: Bench) -> None:
    """In mid-training: the coordinator answers, and ends with a code of its own. The next one, with the same settings of its
    own, begins the new run; the nodes stay, and its weights are those of the textbook's run of these settings.
    """
    service = Service(bench)
    first = service.serve()
    service.await_snapshots()
    answer = service.ask("restart", "--seed", "3", "--epochs", "60").result()
    assert (answer["run"], answer["nodes"], answer["notes"]) == ("xor-2", 6, [])
    assert first.end() == RESTARTED
    assert [node.process.poll() for node in service.nodes] == [None] * 6
    second = service.serve()
    second.await_line("the run xor-2 was begun by `coordinator restart`")
    line = second.await_line("trained")
    folder = bench.runs / "xor-2"
    config = json.loads((folder / "config.json").read_text())
    assert (config["seed"], config["settings"]["batch_size"]) == (3, 2), "a setting that is not named stays as it is"
    assert in_memory_sha256(folder) in line
    # The run before is kept, and can go on.
    assert not (bench.runs / "xor" / "result.json").exists()
    assert service.ask("stop").end() == 0
    assert [program.end() for program in (second, *service.nodes)] == [0] * 7
    assert "Traceback" not in first.said() + second.said()


@pytest.mark.slow
def test_a_service_begins_the_other_run_by_itself(bench: Bench) -> None:
    """With --start-again the same process goes on, several times, also after the training; and more groups than nodes
    share the nodes that are present, which the answer says.
    """
    service = Service(bench)
    program = service.serve("xor", "--epochs", "60", "--start-again")
    program.await_line("trained")
    answer = service.ask("restart", "iris", "--epochs", "20").result()
    assert (answer["layers"], answer["groups"], answer["nodes"]) == ([4, 8, 3], 15, 6)
    assert answer["notes"] == ["the network has 15 groups, and 6 nodes are present: some nodes host several groups"]
    program.await_line("the run iris was begun")
    await_trained(program, bench.runs / "iris")
    assert service.ask("restart", "xor", "--hidden", "2", "--epochs", "20").result()["run"] == "xor-2"
    program.await_line("the run xor-2 was begun")
    await_trained(program, bench.runs / "xor-2")
    assert service.ask("stop").end() == 0
    assert [each.end() for each in (program, *service.nodes)] == [0] * 7


@pytest.mark.slow
def test_a_run_that_cannot_begin_changes_nothing(bench: Bench) -> None:
    """One line says what is wrong, the exit code is 2, no folder and no file is left, and the present run goes on to its end."""
    service = Service(bench)
    program = service.serve()
    service.await_snapshots()
    refused = bench.start("coordinator", "restart", "missing.csv")
    assert refused.end() == 2
    [line] = refused.said().splitlines()
    assert "'missing.csv' is no data set and no file in the service's folder for data" in line
    assert in_memory_sha256(bench.run_folder()) in program.await_line("trained")
    assert [path.name for path in bench.runs.iterdir()] == ["xor"]

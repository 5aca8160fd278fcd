"""Direct wiring with real programs: the same bits as through the broker, whatever dies, and nothing is left behind."""

from __future__ import annotations

import json
import re

import pytest

from tests.processes.programs import Bench, await_that, in_memory_sha256

pytestmark = pytest.mark.processes

DIRECT = ("--wiring", "direct")


@pytest.mark.parametrize(
    "group_size", [pytest.param("1", marks=pytest.mark.slow), pytest.param("2", marks=pytest.mark.slow), "layer"]
)
def test_direct_wiring_gives_the_bits_of_the_broker(bench: Bench, group_size: str) -> None:
    """At every group size; and the sockets are gone."""
    program = bench.learn("iris", "--epochs", "4", "--group-size", group_size, *DIRECT)
    result = program.result()
    config = json.loads((bench.run_folder() / "config.json").read_text(encoding="utf-8"))
    assert config["wiring"] == "direct"
    assert result["weights_sha256"] == in_memory_sha256(bench.run_folder())
    bench.check_nothing_left()


def test_data_go_from_program_to_program(bench: Bench) -> None:
    """While it learns, each of the four programs listens at an outlet of its own."""
    program = bench.learn("xor", "--epochs", "100000", "--group-size", "layer", *DIRECT)
    bench.await_wired()
    [sockets] = bench.sockets.iterdir()
    outlets = [path.name for path in sockets.iterdir() if re.fullmatch("[0-9a-f]{16}", path.name)]
    assert len(outlets) == 4
    program.process.terminate()
    program.end()
    bench.check_nothing_left()


@pytest.mark.slow
def test_programs_killed_in_direct_wiring_change_no_weight(bench: Bench) -> None:
    """Nodes, the broker, the coordinator, and all of them at once, with a spare; compared with an undisturbed run."""
    chaos = ("--chaos", "kill=3,pause=1,broker=1,coordinator=1,everything=1", "--chaos-seed", "3", "--compare")
    program = bench.learn("iris", "--epochs", "20", "--group-size", "2", "--spares", "1", *chaos, *DIRECT)
    result = program.result()
    assert result["identical"] is True
    assert all(facts["done"] for facts in result["chaos"].values())


@pytest.mark.slow
def test_resumed_run_keeps_its_wiring(bench: Bench) -> None:
    """Killed with all its programs, and resumed."""
    begun = ("xor", "--batch-size", "2", "--epochs", "300", "--snapshot-interval-steps", "20", "--name", "r", *DIRECT)
    bench.learn(*begun)
    await_that(lambda: len(list(bench.runs.glob("r/snapshots/*.snapshot"))) == 2, "two snapshots")
    bench.kill_all()
    await_that(lambda: not bench.programs(), "the end of all programs")
    result = bench.learn("--resume", "r").result()
    assert result["step"] == 600
    assert result["weights_sha256"] == in_memory_sha256(bench.run_folder())
    bench.check_nothing_left()


def test_verify_in_direct_wiring_agrees_with_the_textbook(bench: Bench) -> None:
    """`verify`, wired directly."""
    document = bench.start("coordinator", "verify", "xor", "--steps", "8", "--json", *DIRECT).result()
    assert document["verified"] is True


def test_nodes_of_one_s_own_listen_over_tcp(bench: Bench) -> None:
    """A service wired directly: a node that listens nowhere is refused with a line, those that do are taken."""
    ends = (f"ipc://{bench.sockets}/in", f"ipc://{bench.sockets}/out")
    where = ("--broker-in", ends[0], "--broker-out", ends[1])
    bench.start("neuron_node.broker", "--bind-in", ends[0], "--bind-out", ends[1])
    serve = ("coordinator", "serve", "xor", "--epochs", "60", "--group-size", "layer", "--name", "s")
    service = bench.start(*serve, *where, *DIRECT, "--insecure")
    refused = bench.start("neuron_node", *where, "--name", "deaf")
    assert refused.end() == 1 and "start it with --listen" in refused.said()
    listen = ("--listen", "tcp://127.0.0.1:*", "--insecure")
    nodes = [bench.start("neuron_node", *where, *listen, "--name", f"n-{number}") for number in range(1, 4)]
    service.await_line("trained")
    assert json.loads((bench.run_folder() / "result.json").read_text())["weights_sha256"] == in_memory_sha256(
        bench.run_folder()
    )
    bench.start("coordinator", "stop").end()
    assert {node.end() for node in nodes} == {0}


def test_options_that_exclude_each_other_are_refused(bench: Bench) -> None:
    """One line: a node can't be cut off that is not reached through a relay; and where a program can't listen."""
    program = bench.learn("iris", "--chaos", "partition=1", *DIRECT)
    assert program.end() == 2
    assert program.said().splitlines() == [
        "coordinator: --chaos partition cuts nodes off from the broker, and this run is wired directly; "
        "take --wiring broker"
    ]
    node = bench.start("neuron_node", "--listen", "here")
    assert node.end() == 2 and len(node.said().splitlines()) == 1 and "--listen" in node.said()


@pytest.mark.parametrize(
    ("layers", "picked"), [("4,3,3", "direct"), pytest.param("4,30,3", "broker", marks=pytest.mark.slow)]
)
def test_wiring_auto_says_its_choice(bench: Bench, layers: str, picked: str) -> None:
    """One line: direct where few programs hear each other."""
    program = bench.learn("iris", "--epochs", "1", "--layers", layers, "--wiring", "auto")
    program.result()
    [line] = [line for line in program.said().splitlines() if line.startswith("wiring auto")]
    assert line.startswith(f"wiring auto: {picked}, ")
    assert json.loads((bench.run_folder() / "config.json").read_text())["wiring"] == picked

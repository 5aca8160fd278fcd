"""`coordinator learn` with real processes, from outside."""

from __future__ import annotations

import json
import signal

import pytest
from safetensors.numpy import load_file

from coordinator.storage.run_folder import RunFolder
from tests.processes.programs import Bench, await_that, in_memory_sha256

pytestmark = pytest.mark.processes

KEYS = {
    "dataset", "layers", "neurons", "synapses", "groups", "nodes", "processes", "epochs", "steps", "batch_size", "seed",
    "train_accuracy", "test_accuracy", "test_loss", "seconds_starting", "seconds_training", "samples_per_second",
    "messages", "messages_per_second", "weights_sha256", "model_path",
}  # fmt: skip
XOR = ("xor", "--epochs", "400", "--name", "r")
"""400 steps of six neurons: long enough for something to happen in between."""
ENDLESS = ("xor", "--epochs", "1000000", "--name", "r")


def test_one_json_object_tells_everything(bench: Bench) -> None:
    """Its figures fit together; stderr has the rest; the model is there; nothing is left running."""
    program = bench.learn("iris", "--hidden", "3", "--epochs", "2")
    result = program.result()
    assert set(result) >= KEYS
    assert (result["dataset"], result["layers"], result["neurons"], result["synapses"]) == ("iris", [4, 3, 3], 10, 21)
    assert result["groups"] == result["nodes"] == result["processes"] == 10
    assert (result["epochs"], result["batch_size"], result["steps"]) == (2, 8, 30)
    assert 0.0 <= result["test_accuracy"] <= 1.0 and result["seconds_training"] > 0.0
    # Each neuron with receivers sends signals, each one with senders an error, and the outputs a result. All inputs are one
    # message, and so are all targets. The input neurons report the last step of each epoch.
    assert result["messages"] > 30 * (7 + 6 + 3 + 1 + 1) + 2 * 4
    lines = program.said().splitlines()
    assert any(line.startswith("epoch 2") for line in lines)
    assert "layer1.weight" in load_file(result["model_path"])
    bench.check_nothing_left()


@pytest.mark.parametrize("group_size", ["1", pytest.param("4", marks=pytest.mark.slow), "layer"])
def test_real_processes_and_machines_in_memory_come_to_the_same_bits(bench: Bench, group_size: str) -> None:
    """One digest, whatever carries the messages."""
    result = bench.learn("iris", "--hidden", "5", "--epochs", "2", "--seed", "3", "--group-size", group_size).result()
    assert result["weights_sha256"] == in_memory_sha256(bench.run_folder())
    assert result["processes"] == {"1": 12, "4": 4, "layer": 3}[group_size]


def test_the_same_run_twice_comes_to_the_same_bits(bench: Bench) -> None:
    """And another seed to others."""
    digests = [
        bench.learn("xor", "--epochs", "5", "--seed", seed).result()["weights_sha256"] for seed in ("1", "1", "2")
    ]
    assert digests[0] == digests[1] != digests[2]


def test_result_counts_processes_as_the_kernel_does(bench: Bench) -> None:
    """Children of one supervisor, a process a neuron; and those that hosted neurons, says the run, are these."""
    program = bench.learn(*XOR)
    folder = bench.await_wired()
    [coordinator] = bench.programs("coordinator")
    coordinator.send_signal(signal.SIGSTOP)
    nodes = {process.pid for process in bench.programs("neuron-node")}
    [supervisor] = bench.programs("supervisor")
    assert {child.pid for child in supervisor.children()} == nodes | {coordinator.pid} | {
        broker.pid for broker in bench.programs("neuron-broker")
    }
    coordinator.send_signal(signal.SIGCONT)
    result = program.result()
    placements = RunFolder(folder).read_json("placements")
    assert len(nodes) == 6 == result["processes"]
    assert {place["process"] for place in placements.values()} == nodes
    assert list(placements) == ["input.0", "input.1", "hidden.0", "hidden.1", "hidden.2", "output.0"]
    assert sorted(path.name for path in (folder / "logs").iterdir()) == sorted(
        [*(f"node-{number}.log" for number in range(1, 7)), "broker.log", "coordinator.log", "supervisor.log"]
    )


def test_a_neuron_that_is_killed_leaves_no_trace(bench: Bench) -> None:
    """kill -9 in the middle: the run says so, goes on with another process, and ends with the same bits."""
    program = bench.learn(*XOR)
    program.await_line("epoch 20")
    victim = bench.programs("neuron-node")[3]
    victim.send_signal(signal.SIGKILL)
    result = program.result()
    assert result["recoveries"] >= 1 and result["processes"] == 7
    assert str(victim.pid) in next(line for line in program.said().splitlines() if "was ended by SIGKILL" in line)
    assert result["weights_sha256"] == in_memory_sha256(bench.run_folder())
    bench.check_nothing_left()


def test_a_broker_that_is_killed_leaves_no_trace(bench: Bench) -> None:
    """kill -9: another one takes its place, every link is proved again, and the same bits come out."""
    program = bench.learn(*XOR)
    program.await_line("epoch 20")
    [broker] = bench.programs("neuron-broker")
    broker.send_signal(signal.SIGKILL)
    result = program.result()
    assert result["weights_sha256"] == in_memory_sha256(bench.run_folder())
    bench.check_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_run_leaves_nothing(bench: Bench, number: signal.Signals) -> None:
    """In the middle of training: exit 130, one word about it, no process and no socket."""
    program = bench.learn(*ENDLESS)
    program.await_line("epoch 1")
    assert len(bench.programs()) == 10 and list(bench.sockets.iterdir())
    program.process.send_signal(number)
    assert program.end() == 130
    assert program.said().splitlines()[-1] == "coordinator: interrupted"
    assert "Traceback" not in program.said()
    assert json.loads(program.stdout.read_bytes())["error"]["kind"] == "interrupted"
    bench.check_nothing_left()


def test_run_interrupted_while_starting_leaves_nothing(bench: Bench) -> None:
    """As soon as the first program is there."""
    program = bench.learn(*ENDLESS)
    await_that(lambda: len(bench.programs()) > 1, "a second program")
    program.process.send_signal(signal.SIGINT)
    assert program.end() == 130
    assert "Traceback" not in program.said()
    bench.check_nothing_left()


@pytest.mark.parametrize("victim", ["the command line", pytest.param("supervisor", marks=pytest.mark.slow)])
def test_run_whose_parent_is_killed_leaves_nothing(bench: Bench, victim: str) -> None:
    """kill -9, which nobody can catch: everything else ends by itself; who is left to say so says why in one line, exit 1."""
    program = bench.learn(*ENDLESS)
    program.await_line("epoch 1")
    if victim == "the command line":
        program.process.kill()
        assert program.end() == -signal.SIGKILL
    else:
        [process] = bench.programs(victim)
        process.send_signal(signal.SIGKILL)
        assert program.end() == 1
        assert victim in program.said().splitlines()[-1] and "9" in program.said().splitlines()[-1]
        assert "Traceback" not in program.said()
    bench.check_nothing_left()


def test_a_run_that_diverges_says_where_and_what_to_try(bench: Bench) -> None:
    """Exit 3 and one line that names neuron and step, also as JSON; nothing is left."""
    program = bench.learn(
        "xor", "--hidden", "4", "--activation", "relu", "--output-activation", "identity", "--learning-rate", "1000"
    )
    assert program.end() == 3
    [line] = [line for line in program.said().splitlines() if line.startswith("coordinator: ")]
    for word in ("diverged", "neuron", "step", "learning rate"):
        assert word in line
    assert any(f" {name}" in line for name in ("hidden.", "output.", "input."))
    message = line.removeprefix("coordinator: ")
    error = {"kind": "diverged", "message": message, "exit_code": 3}
    assert json.loads(program.stdout.read_bytes()) == {"error": error} and "Traceback" not in program.said()
    bench.check_nothing_left()


def test_verify_finds_programs_and_textbook_alike(bench: Bench) -> None:
    """For real, at two group sizes, over every number of every step."""
    result = bench.start("coordinator", "verify", "xor", "--steps", "6", "--group-sizes", "1,layer", "--json").result()
    assert result["verified"] is True
    assert [
        (comparison["group_size"], comparison["nodes"], comparison["steps"]) for comparison in result["comparisons"]
    ] == [
        ("1", 6, 6),
        ("layer", 3, 6),
    ]
    # A step: 6 biases, 9 weights, an activity and an error of 6 neurons for 4 samples.
    assert all(comparison["numbers"] == 6 * (6 + 9 + 2 * 6 * 4) for comparison in result["comparisons"])
    bench.check_nothing_left()


def test_events_are_json_lines(bench: Bench) -> None:
    """Each event is one JSON object on stdout, the last one is the result; with --quiet, stderr is empty."""
    program = bench.start("coordinator", "learn", "xor", "--epochs", "3", "--json-lines", "--quiet")
    assert program.end() == 0 and program.said() == ""
    events = [json.loads(line) for line in program.stdout.read_text(encoding="utf-8").splitlines()]
    names = [event["event"] for event in events]
    assert {"wired", "epoch", "finished"} <= set(names) and names.index("wired") < names.index("epoch")
    assert names[-1] == "result" and events[-1]["steps"] == 3 and len(events[-1]["weights_sha256"]) == 64

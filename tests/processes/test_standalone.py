"""Broker, nodes and service, each started by hand, as Compose does it."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from tests.processes.programs import Bench, Program, await_that, in_memory_sha256

pytestmark = pytest.mark.processes

CAUGHT = {signal.SIGTERM, signal.SIGINT}


def catches_signals(program: Program) -> bool:
    """Whether the program has taken over SIGTERM and SIGINT: the kernel knows.

    Signals that are merely held back do not count: while a program starts a thread, all of them are for a moment.
    """
    assert program.process.poll() is None, program.said()
    lines = Path(f"/proc/{program.process.pid}/status").read_text().splitlines()
    caught = next(int(line.partition(":")[2], 16) for line in lines if line.startswith("SigCgt:"))
    return all(caught >> (number - 1) & 1 for number in CAUGHT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_node_without_a_broker_keeps_trying_and_stops_cleanly(bench: Bench, number: signal.Signals) -> None:
    """Exit 0, and no traceback."""
    program = bench.start(
        "neuron_node", "--broker-in", f"ipc://{bench.sockets}/in", "--broker-out", f"ipc://{bench.sockets}/out"
    )
    await_that(lambda: catches_signals(program), "a node that lives")
    program.process.send_signal(number)
    assert program.end() == 0
    assert "Traceback" not in program.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_broker_stops_cleanly(bench: Bench, number: signal.Signals) -> None:
    """Exit 0, and no socket file stays."""
    program = bench.start(
        "neuron_node.broker", "--bind-in", f"ipc://{bench.sockets}/in", "--bind-out", f"ipc://{bench.sockets}/out"
    )
    await_that((bench.sockets / "out").exists, "a broker that listens")
    program.process.send_signal(number)
    assert program.end() == 0
    assert "Traceback" not in program.said()
    bench.check_nothing_left()


class Network:
    """A service for xor with its broker, and nodes one by one."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        ends = (f"ipc://{bench.sockets}/in", f"ipc://{bench.sockets}/out")
        self.where = ("--broker-in", ends[0], "--broker-out", ends[1])
        self.broker = bench.start("neuron_node.broker", "--bind-in", ends[0], "--bind-out", ends[1])
        self.service = bench.start("coordinator", "serve", "xor", "--epochs", "60", "--name", "s", *self.where)
        self.nodes: list[Program] = []

    def start_nodes(self, count: int) -> None:
        for _ in range(count):
            self.nodes.append(self.bench.start("neuron_node", *self.where, "--name", f"n-{len(self.nodes) + 1}"))

    def ask(self, *command: str) -> dict[str, Any]:
        return self.bench.start("coordinator", *command, "--patience", "60", "--json").result()


def test_a_service_waits_trains_answers_and_stops(bench: Bench) -> None:
    """From too few nodes to a trained network that predicts, and to a clean end of all programs."""
    network = Network(bench)
    network.start_nodes(4)
    await_that(lambda: "connected programs: " in network.broker.said(), "the number of programs")
    line = network.service.await_line("waiting for nodes: 4 of 6")
    assert "2 more" in line
    status = network.ask("status")
    assert (status["state"], status["nodes_registered"], status["nodes_needed"]) == ("gathering", 4, 6)
    network.start_nodes(2)
    line = network.service.await_line("trained")
    status = network.ask("status")
    [folder] = bench.runs.iterdir()
    assert status["state"] == "idle" and status["weights_sha256"] == in_memory_sha256(folder)
    assert status["weights_sha256"] in line
    assert {row["process"] for row in network.ask("neurons")["neurons"]} == {node.process.pid for node in network.nodes}
    neuron = network.ask("neuron", "hidden.1")
    assert [len(neuron[side]) for side in ("dendrites", "axon")] == [2, 1]
    rows = bench.folder / "rows.csv"
    rows.write_text("0,0\n0,1\n", encoding="utf-8")
    through_service = network.ask("predict", str(rows))
    model = str(folder / "model.safetensors")
    offline = bench.start("coordinator", "predict", "--model", model, str(rows), "--json").result()
    assert through_service == offline
    rows.write_text("0,0\n0,1.7e308\n", encoding="utf-8")
    refused = bench.start("coordinator", "predict", str(rows))
    assert refused.end() == 2 and len(refused.said().splitlines()) == 1 and "too large" in refused.said()
    bench.start("coordinator", "stop").end()
    ends = {program.end() for program in (network.service, *network.nodes)}
    assert ends == {0}, [program.said() for program in (network.service, *network.nodes)]
    network.broker.process.send_signal(signal.SIGTERM)
    assert network.broker.end() == 0
    bench.check_nothing_left()


def test_a_node_that_is_killed_is_replaced_by_one_that_comes_later(bench: Bench) -> None:
    """The trained network loses a neuron, waits, and has the same weights and answers again."""
    network = Network(bench)
    network.start_nodes(6)
    network.service.await_line("trained")
    before = network.ask("neuron", "hidden.0")
    network.nodes[2].process.kill()
    network.nodes[2] = bench.start("neuron_node", *network.where, "--name", "n-3")
    network.service.await_line("recovering")
    after = network.ask("neuron", "hidden.0")
    for key in ("bias", "step"):
        assert after[key] == before[key]
    for side in ("axon", "dendrites"):
        # The numbers of the last step are not kept: only the state is granted again.
        assert [synapse["weight"] for synapse in after[side]] == [synapse["weight"] for synapse in before[side]]
    [folder] = bench.runs.iterdir()
    assert json.loads((folder / "result.json").read_text())["weights_sha256"] == in_memory_sha256(folder)


def test_question_without_a_coordinator_fails_with_one_line(bench: Bench) -> None:
    """Exit 4 and one line: there is nobody."""
    program = bench.start("coordinator", "status", "--door", f"ipc://{bench.sockets}/door", "--patience", "0.2")
    assert program.end() == 4
    [line] = program.said().splitlines()
    assert "no coordinator answers" in line and line.startswith("coordinator: ")


@pytest.mark.parametrize("_attempt", [0, *(pytest.param(more, marks=pytest.mark.slow) for more in (1, 2))])
def test_a_busy_broker_stops_too(bench: Bench, _attempt: int) -> None:
    """A signal that comes while it passes messages on is not lost, though no message follows to wake it."""
    inward = f"ipc://{bench.sockets}/in"
    program = bench.start("neuron_node.broker", "--bind-in", inward, "--bind-out", f"ipc://{bench.sockets}/out")
    await_that((bench.sockets / "out").exists, "a broker that listens")
    enough = threading.Event()

    def flood() -> None:
        with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.SNDTIMEO, 100)
            socket.connect(inward)
            with contextlib.suppress(zmq.Again):
                while not enough.is_set():
                    socket.send(b"nobody's.....")

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        burned = psutil.Process(program.process.pid).cpu_times
        await_that(lambda: sum(burned()[:2]) > 0.3, "a broker that is busy")
        program.process.send_signal(signal.SIGTERM)
    finally:
        enough.set()
        thread.join()
    assert program.end() == 0

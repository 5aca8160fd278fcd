"""The front door of real runs: commands find it, clients that never read do not disturb it, and one program has one endpoint."""

from __future__ import annotations

import json
import signal
import socket
import stat
import threading
from pathlib import Path

import pytest
import zmq

from coordinator.client import Client
from coordinator.front_door import published
from neuron_node.codec import encode
from neuron_node.protocol import NOBODY, Header, Request
from tests.processes.programs import Bench, Program, await_that, in_memory_sha256
from tests.roles import NO_ROWS

pytestmark = pytest.mark.processes

LONG = ("--epochs", "100000", "--batch-size", "1")


def door_of(bench: Bench, name: str) -> str:
    """Return where the front door of a run is, once a program listens there."""
    path = bench.runs / name / "endpoints.json"
    await_that(path.exists, "endpoints.json")
    door = str(json.loads(path.read_text(encoding="utf-8"))["door"])
    await_that(Path(published(door).removeprefix("ipc://")).exists, "a front door")
    return door


def pause(door: str) -> None:
    """Pause a run that only has to be there: its training would take the time of both cores."""
    with Client(door, 30.0) as client:
        client.ask("pause")


@pytest.mark.slow
@pytest.mark.parametrize("wiring", ["broker", "direct"])
def test_watching_shows_the_neurons_and_changes_no_weight(bench: Bench, wiring: str) -> None:
    """Updates of all neurons and of one arrive while a run learns, and the run ends with the weights of an unwatched one."""
    program = bench.learn("xor", "--epochs", "1500", "--wiring", wiring, "--name", "a")
    door_of(bench, "a")
    everything = bench.start("coordinator", "watch", "--rate", "50", "--json-lines", "--count", "3")
    one = bench.start("coordinator", "watch", "--neuron", "hidden.1", "--count", "2")
    wrong = bench.start("coordinator", "watch", "--neuron", "hiden.1")
    assert wrong.end() == 2 and "did you mean 'hidden.1'?" in wrong.said()
    assert everything.end() == 0, everything.said()
    updates = [json.loads(line) for line in everything.stdout.read_text(encoding="utf-8").splitlines()]
    assert len({update["step"] for update in updates}) == 3
    for update in updates:
        assert [len(neuron["activity"]) for neuron in update["neurons"]] == [4] * 6
        assert update["neurons"][0]["axon"][0].keys() == {"neuron", "before", "gradient", "weight"}
    assert one.end() == 0, one.said()
    assert one.stdout.read_text(encoding="utf-8").count("hidden.1") == 2
    assert program.result()["weights_sha256"] == in_memory_sha256(bench.run_folder())
    bench.check_nothing_left()


def test_commands_find_the_only_live_run_and_list_several(bench: Bench) -> None:
    """A command finds the only live run. With several, or none, it lists the runs. Only their user can open the sockets."""
    none = bench.start("coordinator", "status")
    assert none.end() == 2 and "no run is live" in none.said() and "coordinator learn" in none.said()
    first = bench.learn("xor", *LONG, "--name", "a")
    folder = Path(door_of(bench, "a").removeprefix("ipc://")).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert bench.start("coordinator", "status", "--json").result()["dataset"] == "xor"
    second = bench.learn("xor", *LONG, "--name", "b")
    for name in ("a", "b"):
        pause(door_of(bench, name))
    several = bench.start("coordinator", "neurons")
    assert several.end() == 2
    [line] = several.said().splitlines()
    assert line == f"coordinator: several runs are live in {bench.runs}: a, b; name one: coordinator neurons --run a"
    for name in ("a", "b"):
        assert len(bench.start("coordinator", "neurons", "--run", name, "--json").result()["neurons"]) == 6
    unknown = bench.start("coordinator", "status", "--run", "c")
    assert unknown.end() == 2 and "a, b" in unknown.said()
    for name, program in (("a", first), ("b", second)):
        assert bench.start("coordinator", "stop", "--run", name).end() == 0
        program.end()
    ended = bench.start("coordinator", "status")
    assert ended.end() == 2 and "these have ended: a, b" in ended.said() and "--resume b" in ended.said()
    bench.check_nothing_left()


@pytest.mark.slow
def test_clients_that_never_read_change_nothing(bench: Bench) -> None:
    """Beside a client that asks all the time and never reads, other clients get answers, and the weights are those of a calm run."""
    program = bench.learn("xor", "--epochs", "1000", "--name", "r")
    door = door_of(bench, "r")
    over = threading.Event()

    def misbehave() -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as deaf, context.socket(zmq.DEALER) as rude:
            deaf.setsockopt(zmq.RCVHWM, 1)
            rude.setsockopt(zmq.RCVHWM, 1)
            for end in (deaf, rude):
                end.setsockopt(zmq.LINGER, 0)
            deaf.connect(published(door))
            deaf.setsockopt(zmq.SUBSCRIBE, b"")
            rude.setsockopt(zmq.SNDTIMEO, 50)
            rude.connect(door)
            number = 0
            while not over.wait(0.005):
                number += 1
                request = Request(Header(NOBODY, 0, 0, NOBODY), number.to_bytes(8, "big"), "neurons", "{}", NO_ROWS)
                for frame in (b"nonsense", encode(request)):
                    try:
                        rude.send(frame)
                    except zmq.Again:
                        continue

    thread = threading.Thread(target=misbehave)
    thread.start()
    try:
        statuses = [bench.start("coordinator", "status", "--run", "r", "--json") for _ in range(2)]
        assert [status.result()["layers"] for status in statuses] == [[2, 3, 1]] * 2
        result = program.result()
    finally:
        over.set()
        thread.join()
    assert result["recoveries"] == 0 and result["weights_sha256"] == in_memory_sha256(bench.run_folder())
    bench.check_nothing_left()


@pytest.mark.slow
def test_watching_ends_with_the_run(bench: Bench) -> None:
    """`status --watch` prints the state until the run is stopped."""
    program = bench.learn("xor", *LONG, "--name", "r")
    door_of(bench, "r")
    watching = bench.start("coordinator", "status", "--watch", "--run", "r", "--json")
    await_that(lambda: watching.stdout.read_text(encoding="utf-8").count("\n") >= 2, "two states")
    assert bench.start("coordinator", "stop", "--run", "r").end() == 0
    assert watching.end() in (0, 2, 4), watching.said()
    assert "Traceback" not in watching.said()
    program.end()


class Service:
    """A broker, a service for xor and its nodes."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        ends = (f"ipc://{bench.sockets}/in", f"ipc://{bench.sockets}/out")
        self.bind, self.where = (
            ("--bind-in", ends[0], "--bind-out", ends[1]),
            ("--broker-in", ends[0], "--broker-out", ends[1]),
        )
        self.broker = bench.start("neuron_node.broker", *self.bind)
        self.first = self.serve("xor", "--epochs", "60", "--name", "first")
        self.nodes = [bench.start("neuron_node", *self.where, "--name", f"n-{number}") for number in range(6)]

    def serve(self, *arguments: str) -> Program:
        return self.bench.start("coordinator", "serve", *arguments, *self.where)


def test_second_coordinator_and_second_broker_are_refused(bench: Bench) -> None:
    """Each ends with one line and exit code 2, and begins no run; the network and its nodes continue."""
    service = Service(bench)
    line = service.first.await_line("trained")
    second = service.serve("iris", "--name", "second")
    assert second.end() == 2
    *_, reason = second.said().splitlines()
    assert f"the coordinator of the run first (process {service.first.process.pid} on" in reason
    assert "works at this broker already" in reason
    assert [path.name for path in bench.runs.iterdir()] == ["first"]
    broker = bench.start("neuron_node.broker", *service.bind)
    assert broker.end() == 2
    [reason] = broker.said().splitlines()
    assert "another program listens there already" in reason
    status = bench.start("coordinator", "status", "--json").result()
    assert (status["state"], status["recoveries"]) == ("idle", 0) and status["weights_sha256"] in line
    assert bench.start("coordinator", "stop").end() == 0
    assert [program.end() for program in (service.first, *service.nodes)] == [0] * 7
    service.broker.process.send_signal(signal.SIGTERM)
    assert service.broker.end() == 0
    bench.check_nothing_left()


@pytest.mark.parametrize("which", ["--bind-in", "--bind-out"])
def test_a_file_at_the_path_of_a_socket_is_kept(bench: Bench, which: str) -> None:
    """The broker ends with one line and exit code 2, and the file keeps its content."""
    path = bench.folder / "thesis"
    path.write_text("years of work")
    other = {"--bind-in": "--bind-out", "--bind-out": "--bind-in"}[which]
    broker = bench.start("neuron_node.broker", which, f"ipc://{path}", other, f"ipc://{bench.sockets}/other")
    assert broker.end() == 2
    [line] = broker.said().splitlines()
    assert str(path) in line and "no socket" in line
    assert path.read_text() == "years of work"
    bench.check_nothing_left()


def test_socket_of_a_killed_broker_is_taken_over(bench: Bench) -> None:
    """The socket file of a dead broker does not stop the next broker."""
    bind = ("--bind-in", f"ipc://{bench.sockets}/in", "--bind-out", f"ipc://{bench.sockets}/out")
    first = bench.start("neuron_node.broker", *bind)
    await_that((bench.sockets / "out").exists, "a broker that listens")
    first.process.kill()
    first.end()
    listening = bench.folder / "listening"
    second = bench.start("neuron_node.broker", *bind, environment={"EXMACHINA_HEALTH_FILE": str(listening)})
    await_that(lambda: listening.exists() or second.process.poll() is not None, "a broker that listens")
    second.process.send_signal(signal.SIGTERM)
    assert second.end() == 0, second.said()
    bench.check_nothing_left()


class ForeignProgram:
    """A server of another protocol."""

    def __enter__(self) -> int:
        self._socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.close()
            except OSError:
                return


def test_another_program_at_the_port_is_told(bench: Bench) -> None:
    """A command, a coordinator and a node each end with one line and exit code 2, and leave no run."""
    with ForeignProgram() as port:
        endpoint = f"tcp://127.0.0.1:{port}"
        where = ("--broker-in", endpoint, "--broker-out", endpoint, "--insecure")
        programs = [
            bench.start("coordinator", "status", "--door", endpoint, "--patience", "1", "--insecure"),
            bench.start("coordinator", "serve", "xor", *where),
            bench.start("neuron_node", *where),
        ]
        assert [program.end() for program in programs] == [2, 2, 2]
    for program, kind in zip(programs, ("no coordinator", "no broker", "no broker"), strict=True):
        assert kind in program.said().splitlines()[-1] and "a connection broke" not in program.said()
        assert endpoint in program.said() and "Traceback" not in program.said()
    assert list(bench.runs.iterdir()) == []

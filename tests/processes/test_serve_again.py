"""`serve` after its end: the next coordinator goes on with the run, and the nodes find it."""

from __future__ import annotations

import json
import signal

import pytest

from tests.processes.programs import Bench, Program, await_that, in_memory_sha256

pytestmark = pytest.mark.processes

STEPS = 600
SETTINGS = ("xor", "--batch-size", "2", "--epochs", str(STEPS // 2), "--snapshot-interval-steps", "20")


class Service:
    """A broker and six nodes that stay, and one coordinator after another."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        ends = (f"ipc://{bench.sockets}/in", f"ipc://{bench.sockets}/out")
        self.where = ("--broker-in", ends[0], "--broker-out", ends[1])
        self.broker = bench.start("neuron_node.broker", "--bind-in", ends[0], "--bind-out", ends[1])
        self.nodes = [bench.start("neuron_node", *self.where, "--name", f"n-{number}") for number in range(1, 7)]

    def serve(self, *arguments: str) -> Program:
        return self.bench.start("coordinator", "serve", *(arguments or SETTINGS), *self.where)

    def ask(self, *command: str) -> Program:
        return self.bench.start("coordinator", *command, "--patience", "60", "--json")

    def await_snapshots(self, name: str = "xor") -> None:
        folder = self.bench.runs / name / "snapshots"
        await_that(lambda: folder.is_dir() and len(list(folder.iterdir())) >= 2, "two snapshots")


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, *(pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGTERM, signal.SIGINT))],
    ids=["kill -9", "SIGTERM", "Ctrl-C"],
)
def test_the_next_coordinator_goes_on(bench: Bench, number: signal.Signals) -> None:
    """In mid-training: the nodes stay, whatever ended it; the run goes on in its folder, with the weights of the
    undisturbed one; then `stop` ends all.
    """
    service = Service(bench)
    first = service.serve()
    service.await_snapshots()
    first.process.send_signal(number)
    assert first.end() == {signal.SIGKILL: -9, signal.SIGTERM: 0, signal.SIGINT: 130}[number]
    assert [node.process.poll() for node in service.nodes] == [None] * 6
    second = service.serve()
    assert "run xor goes on after step " in second.await_line("xor 2-3-1")
    line = second.await_line("trained")
    folder = bench.run_folder()
    assert in_memory_sha256(folder) in line
    assert json.loads((folder / "result.json").read_text())["step"] == STEPS
    assert service.ask("stop").end() == 0
    assert [program.end() for program in (second, *service.nodes)] == [0] * 7
    assert "Traceback" not in first.said() + second.said()


@pytest.mark.slow
def test_a_network_that_has_learned_answers_again_at_once(bench: Bench) -> None:
    """The next coordinator of a finished run trains nothing: result and metrics stay as they are, and the answers too."""
    service = Service(bench)
    short = ("xor", "--epochs", "60")
    first = service.serve(*short)
    first.await_line("trained")
    folder = bench.run_folder()
    kept = {name: (folder / name).read_bytes() for name in ("result.json", "metrics.csv", "config.json")}
    before = service.ask("neuron", "hidden.1").result()
    first.process.kill()
    first.end()
    second = service.serve(*short)
    line = second.await_line("trained")
    status = service.ask("status").result()
    result = json.loads(kept["result.json"])
    for key in ("weights_sha256", "step", "test_accuracy", "train_loss", "steps_per_second"):
        assert status[key] == result[key], key
    assert status["state"] == "idle" and status["weights_sha256"] in line
    after = service.ask("neuron", "hidden.1").result()
    assert after["bias"] == before["bias"]
    for side in ("axon", "dendrites"):
        # The numbers of the last step are not kept: only the state is granted again.
        assert [synapse["weight"] for synapse in after[side]] == [synapse["weight"] for synapse in before[side]]
    assert {name: (folder / name).read_bytes() for name in kept} == kept
    [row] = bench.start("coordinator", "runs", "--json").result()["runs"]
    assert (row["state"], row["accuracy"]) == ("answering", result["test_accuracy"])


@pytest.mark.slow
def test_service_with_other_settings_begins_a_run_of_its_own(bench: Bench) -> None:
    """A name that is taken by other settings gets a number; the run of that number goes on afterwards."""
    service = Service(bench)
    for settings, name in (("59", "xor"), ("60", "xor-2"), ("59", "xor"), ("60", "xor-2")):
        program = service.serve("xor", "--epochs", settings)
        assert program.await_line("xor 2-3-1").split("run ")[1].split()[0] == name
        program.await_line("trained")
        program.process.terminate()
        assert program.end() == 0
    assert sorted(path.name for path in bench.runs.iterdir()) == ["xor", "xor-2"]


@pytest.mark.slow
def test_two_coordinators_on_one_folder(bench: Bench) -> None:
    """The second is refused in one line, below the data's, that names the first; the first is not disturbed."""
    service = Service(bench)
    first = service.serve()
    service.await_snapshots()
    second = service.serve()
    assert second.end() == 2
    of_the_data, line = second.said().splitlines()
    assert of_the_data.startswith("data: xor")
    assert f"process {first.process.pid} on" in line and "at work" in line
    assert in_memory_sha256(bench.run_folder()) in first.await_line("trained")


def test_a_run_that_cannot_go_on_makes_room_for_another(bench: Bench) -> None:
    """Its data are damaged: a line says so, and a new run begins under a number."""
    service = Service(bench)
    first = service.serve()
    service.await_snapshots()
    first.process.kill()
    first.end()
    (bench.runs / "xor" / "data.npz").write_bytes(b"something else")
    second = service.serve()
    assert "run xor-2" in second.await_line("xor 2-3-1")
    assert "data.npz is not the data" in second.said()

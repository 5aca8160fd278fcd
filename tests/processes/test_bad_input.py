"""A command that cannot work prints one line, exits with 2, and leaves no process and no folder of a run."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from coordinator.cli.main import run
from tests.processes.programs import Bench

pytestmark = pytest.mark.processes

GOOD = "a,b,class\n1,2,x\n2,1,y\n3,4,x\n4,3,y\n"
FILES = {
    "good.csv": GOOD,
    "empty.csv": "",
    "header.csv": "a,b,class\n",
    "ragged.csv": GOOD + "1,2\n",
    "text.csv": GOOD + "1,two,x\n",
    "inf.csv": GOOD + "1,inf,x\n",
    "one.csv": "a,b,class\n1,2,x\n2,1,x\n",
    "bad.toml": "epochs = \n",
    "unknown.toml": "epoch = 3\n",
    "model": "not a model",
}
BAD: dict[str, tuple[list[str], str]] = {
    "a file that is not there": (["learn", "nothing.csv"], "nothing.csv"),
    "an empty file": (["learn", "empty.csv"], "empty.csv"),
    "a file without rows": (["learn", "header.csv"], "header.csv"),
    "a ragged file": (["learn", "ragged.csv"], "line 6"),
    "text where numbers belong": (["learn", "text.csv"], "line 6"),
    "an infinity": (["learn", "inf.csv"], "line 6"),
    "one class only": (["learn", "one.csv"], "one.csv"),
    "an unknown data set": (["learn", "irsi"], "iris"),
    "layers that do not fit": (["learn", "iris", "--layers", "5,3,3"], "4-3-3"),
    "outputs that do not fit": (["learn", "iris", "--layers", "4,3,2"], "3"),
    "no epochs": (["learn", "iris", "--epochs", "0"], "--epochs"),
    "negative epochs": (["learn", "iris", "--epochs", "-3"], "--epochs"),
    "epochs that are no number": (["learn", "iris", "--epochs", "many"], "--epochs"),
    "a batch of none": (["learn", "iris", "--batch-size", "0"], "--batch-size"),
    "a rate of zero": (["learn", "iris", "--learning-rate", "0"], "--learning-rate"),
    "a rate that is NaN": (["learn", "iris", "--learning-rate", "nan"], "--learning-rate"),
    "a group of none": (["learn", "iris", "--group-size", "0"], "--group-size"),
    "a negative seed": (["learn", "iris", "--seed", "-1"], "--seed"),
    "a test fraction beyond one": (["learn", "iris", "--test-fraction", "1.5"], "--test-fraction"),
    "an unknown activation": (["learn", "iris", "--activation", "softmax"], "logistic"),
    "cross-entropy without logistic outputs": (
        ["learn", "iris", "--loss", "cross_entropy", "--output-activation", "tanh"],
        "cross_entropy",
    ),
    "layers and hidden": (["learn", "iris", "--hidden", "3", "--layers", "4,3,3"], "--layers"),
    "a config that is not there": (["learn", "iris", "--config", "no.toml"], "no.toml"),
    "a config that is no TOML": (["learn", "iris", "--config", "bad.toml"], "bad.toml"),
    "a config with an unknown key": (["learn", "iris", "--config", "unknown.toml"], "epochs"),
    "a folder to save in that is not there": (["learn", "iris", "--save", "no/such/model"], "--save"),
    "a folder to save as a model": (["learn", "iris", "--save", "."], "--save"),
    "runs in a file": (["learn", "iris", "--runs", "good.csv"], "--runs"),
    "an unknown option": (["learn", "iris", "--explode"], "--explode"),
    "an unknown command": (["explode"], "explode"),
    "a model that is none": (["predict", "--model", "model", "good.csv"], "model"),
    "a model that is not there": (["evaluate", "--model", "no-model", "iris"], "no-model"),
    "an endpoint that is none": (["status", "--door", "5573"], "tcp://"),
    "a run that is not there": (["status", "--run", "nothing"], "nothing"),
    "a verification of no steps": (["verify", "xor", "--steps", "0"], "--steps"),
    "a verification of an unknown group size": (["verify", "xor", "--group-sizes", "1,many"], "group"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the files are; signal handlers are put back afterwards."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("arguments", "word"), BAD.values(), ids=BAD.keys())
def test_bad_input_gets_one_line(
    arguments: list[str], word: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It says what and where, or what would be right; what was understood of good data may stand before it."""
    code = run(arguments)
    out, err = capfd.readouterr()
    assert code == 2, err
    assert out == ""
    lines = [line for line in err.splitlines() if line and not line.startswith("data: ")]
    assert len(lines) == 1, err
    assert word in lines[0]
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert psutil.Process().children() == []


def test_bad_input_of_the_real_program(bench: Bench) -> None:
    """The same from outside: one line on stderr, the error as JSON on stdout, nothing left."""
    program = bench.learn("nothing.csv")
    assert program.end() == 2
    assert len(program.said().splitlines()) == 1
    assert json.loads(program.stdout.read_bytes())["error"]["exit_code"] == 2
    assert not bench.runs.exists()
    bench.check_nothing_left()


def test_too_few_open_files_are_told_with_how_many_are_needed(bench: Bench) -> None:
    """Before anything is started: ZeroMQ would abort in the middle."""
    program = bench.start("coordinator", "learn", "digits", first="ulimit -n 100")
    assert program.end() == 2
    [line] = program.said().splitlines()
    assert "86 nodes" in line and "100" in line and "ulimit -n" in line
    needed = int(line.rpartition("ulimit -n ")[2].split(")")[0])
    assert 86 * 2 < needed < 1_000
    assert not bench.runs.exists()
    bench.check_nothing_left()


def test_as_many_open_files_as_are_needed_are_enough(bench: Bench) -> None:
    """What the line says is right: a soft limit below it is raised, and the run works."""
    needed = 2 * 6 + 128
    program = bench.start(
        "coordinator", "learn", "xor", "--epochs", "3", "--json",
        first=f"ulimit -Sn 64 && ulimit -Hn {needed}",
    )  # fmt: skip
    assert program.result()["steps"] == 3


@pytest.mark.parametrize("megabytes", [60, 100, *(pytest.param(size, marks=pytest.mark.slow) for size in (200, 400))])
def test_too_little_memory_is_told_with_how_much_is_needed(bench: Bench, megabytes: int) -> None:
    """Before the libraries are imported, which would end in tracebacks or never; exit 2, and nothing was begun."""
    program = bench.start("coordinator", "learn", "iris", first=f"ulimit -v {megabytes * 1024}")
    assert program.end() == 2
    [line] = program.said().splitlines()
    assert f"{megabytes} MB" in line and "512" in line and "ulimit -v" in line
    assert not bench.runs.exists()


def test_as_much_memory_as_is_needed_is_enough(bench: Bench) -> None:
    """What the line says is right: no bound on a file's size is taken as memory at once."""
    program = bench.start("coordinator", "learn", "iris", "--epochs", "2", "--json", first=f"ulimit -v {512 * 1024}")
    assert program.result()["epochs"] == 2
    bench.check_nothing_left()


def test_a_path_of_temporary_files_that_is_too_long_leaves_no_run(bench: Bench) -> None:
    """Sockets cannot have it: one line that says what to set."""
    long = bench.sockets / ("d" * 100)
    long.mkdir()
    program = bench.start("coordinator", "learn", "xor", environment={"TMPDIR": str(long)})
    assert program.end() == 2
    [line] = program.said().splitlines()
    assert "TMPDIR" in line
    assert not bench.runs.exists() or not list(bench.runs.iterdir())
    assert list(long.iterdir()) == []


@pytest.mark.parametrize("which", ["--bind-in", "--bind-out"])
def test_a_port_in_use_is_one_line(bench: Bench, which: str) -> None:
    """That names it; exit 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = {"--bind-in": "--bind-out", "--bind-out": "--bind-in"}[which]
        program = bench.start(
            "neuron_node.broker", which, f"tcp://127.0.0.1:{port}", other, f"ipc://{bench.sockets}/other", "--insecure"
        )
        assert program.end() == 2
    *_, line = program.said().splitlines()
    assert str(port) in line and line.startswith("neuron-broker: ")
    bench.check_nothing_left()


@pytest.mark.parametrize("module", ["neuron_node", "neuron_node.broker"])
@pytest.mark.parametrize("endpoint", ["", "tcp://h", "tcp://h:0", "tcp://h:99999", "udp://x:1", "ipc://" + "x" * 200])
def test_an_endpoint_that_is_none_is_one_line(bench: Bench, module: str, endpoint: str) -> None:
    """Of node and broker."""
    flag = "--broker-in" if module == "neuron_node" else "--bind-in"
    program = bench.start(module, flag, endpoint)
    assert program.end() == 2
    assert flag in program.said().splitlines()[-1] and "Traceback" not in program.said()
    assert sys.platform != "linux" or not bench.programs()

"""Signals other than SIGKILL, from outside, to any program of a run: it goes on, or ends as its owner asked."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

import psutil
import pytest

from tests.processes.programs import Bench, Program, await_that, in_memory_sha256

pytestmark = pytest.mark.processes

XOR = ("xor", "--name", "r", "--snapshot-interval-steps", "50")
ENDLESS = ("xor", "--epochs", "1000000", "--name", "r")
POLITE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def send(programs: Iterable[psutil.Process], number: signal.Signals) -> None:
    """The signal to all of them at the same instant."""
    for program in programs:
        with contextlib.suppress(psutil.NoSuchProcess):
            program.send_signal(number)


def of_run(bench: Bench, who: str) -> list[psutil.Process]:
    """The programs of the one run that are meant."""
    names = {"a node": ["neuron-node"], "nodes": ["neuron-node"], "broker": ["neuron-broker"]}.get(who, [who])
    if who == "all":
        names = ["neuron-node", "neuron-broker", "coordinator"]
    found = [program for name in names for program in bench.programs(name) if is_forked(program)]
    return found[:1] if who == "a node" else found


def is_forked(program: psutil.Process) -> bool:
    """Whether the supervisor forked it: the command line is called `coordinator` too by some kernels' tables."""
    with contextlib.suppress(psutil.Error):
        parent = program.parent()
        return parent is not None and parent.name() == "supervisor"
    return False


def await_progress(bench: Bench) -> None:
    """Until another snapshot is durable."""
    folder = bench.runs / "r" / "snapshots"
    before = max(folder.iterdir(), default=None) if folder.is_dir() else None
    await_that(lambda: folder.is_dir() and max(folder.glob("*.snapshot"), default=before) != before, "another snapshot")


def check_undisturbed(bench: Bench, program: Program) -> None:
    """The bits of machines in memory, and nothing is left."""
    result = program.result()
    assert result["weights_sha256"] == in_memory_sha256(bench.run_folder())
    assert "Traceback" not in program.said()
    bench.check_nothing_left()


@pytest.mark.parametrize(
    ("who", "arguments"),
    [
        pytest.param("a node", (), marks=pytest.mark.slow),
        ("nodes", ("--group-size", "layer", "--wiring", "direct")),
        pytest.param("broker", ("--group-size", "layer", "--wiring", "direct"), marks=pytest.mark.slow),
        pytest.param("coordinator", (), marks=pytest.mark.slow),
        ("all", ("--nodes", "2")),
    ],
)
def test_a_polite_signal_ends_no_run(bench: Bench, who: str, arguments: tuple[str, ...]) -> None:
    """SIGTERM, SIGINT and SIGHUP, one after the other: the program is started again, with any exit code."""
    program = bench.learn(*XOR, "--epochs", "500", *arguments)
    for number in POLITE:
        await_progress(bench)
        victims = of_run(bench, who)
        assert victims
        send(victims, number)
    check_undisturbed(bench, program)
    said = program.said()
    assert said.count("was started again") >= len(POLITE) and "is not started again" not in said


@pytest.mark.slow
def test_a_node_that_is_terminated_often_is_not_put_aside(bench: Bench) -> None:
    """It did nothing wrong, so it comes back, however often it is ended in a short time, though later and later."""
    program = bench.learn(*XOR, "--epochs", "1500", "--group-size", "layer")
    bench.await_wired()
    for _ in range(7):
        before = {process.pid for process in bench.programs("neuron-node")}
        # The youngest is the one that was ended before.
        send([max(bench.programs("neuron-node"), key=lambda process: process.pid)], signal.SIGTERM)
        await_that(
            lambda: len(after := {process.pid for process in bench.programs("neuron-node")}) == 3 and after != before,  # noqa: B023
            "another life of the node",
        )
    check_undisturbed(bench, program)
    assert "ends again and again" in program.said() and "is not started again" not in program.said()


@pytest.mark.slow
def test_programs_that_stay_stopped_are_replaced(bench: Bench) -> None:
    """SIGSTOP to all programs of a run, the supervisor too, and no SIGCONT: all the same it comes to its end, and says why
    it took so long.
    """
    program = bench.learn(*XOR, "--epochs", "200")
    await_progress(bench)
    send([*of_run(bench, "all"), *bench.programs("supervisor")], signal.SIGSTOP)
    check_undisturbed(bench, program)
    assert (
        "supervisor" in program.said()
        and "stayed stopped by a signal, was killed, and was started again" in program.said()
    )


def test_run_whose_terminal_hangs_up_ends_and_says_how_to_resume(bench: Bench) -> None:
    """The command line that is hung up ends the run in order, and says how it goes on."""
    program = bench.learn(*ENDLESS)
    program.await_line("epoch 1")
    program.process.send_signal(signal.SIGHUP)
    assert program.end() == 130
    assert "continue the run r with: coordinator learn --resume r" in program.said()
    bench.check_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_supervisor_that_is_told_to_end_says_how_the_run_goes_on(bench: Bench, number: signal.Signals) -> None:
    """One line, exit 1, and nothing is left."""
    program = bench.learn(*ENDLESS)
    program.await_line("epoch 1")
    send(bench.programs("supervisor"), number)
    assert program.end() == 1
    assert program.said().splitlines()[-1] == (
        "coordinator: the run r was stopped before it finished; continue it with: coordinator learn --resume r"
    )
    bench.check_nothing_left()


@pytest.mark.parametrize(
    ("stopped", "killed", "wiring"),
    [
        pytest.param("broker", "supervisor", "broker", marks=pytest.mark.slow),
        ("all", "supervisor", "direct"),
        pytest.param("all", "the command line", "broker", marks=pytest.mark.slow),
        pytest.param("supervisor", "the command line", "direct", marks=pytest.mark.slow),
    ],
)
def test_stopped_programs_end_when_their_parent_is_killed(bench: Bench, stopped: str, killed: str, wiring: str) -> None:
    """SIGSTOP of some programs, then SIGKILL of the supervisor or of the command line: no process, no socket is left."""
    program = bench.learn(*ENDLESS, "--group-size", "layer", "--wiring", wiring)
    program.await_line("epoch 1")
    send(bench.programs("supervisor") if stopped == "supervisor" else of_run(bench, stopped), signal.SIGSTOP)
    if killed == "supervisor":
        send(bench.programs("supervisor"), signal.SIGKILL)
        assert program.end() == 1
        assert "continue it with: coordinator learn --resume r" in program.said().splitlines()[-1]
    else:
        program.process.kill()
    bench.check_nothing_left()


@pytest.mark.parametrize(
    "command", [pytest.param(("learn", "--resume", "r", "--json"), marks=pytest.mark.slow), ("runs", "--json")]
)
def test_next_command_removes_sockets_of_a_killed_run(bench: Bench, command: tuple[str, ...]) -> None:
    """SIGKILL of the command line and of the supervisor at the same instant leaves sockets, and a file that says where they
    are; the next command removes both, says so, and leaves those of a run alone that goes on.
    """
    program = bench.learn(*XOR, "--epochs", "400", "--group-size", "layer", "--wiring", "direct")
    await_progress(bench)
    os.kill(program.process.pid, signal.SIGSTOP)
    send(bench.programs("supervisor"), signal.SIGKILL)
    program.process.kill()
    await_that(lambda: not bench.programs(), "the end of all programs")
    [left] = bench.sockets.iterdir()
    other = bench.learn(*ENDLESS[:-1], "other")
    other.await_line("epoch 1")
    # That command was the next one.
    assert f"removed the sockets of the run {bench.runs / 'r'}, which was killed: {left}" in other.said()
    assert not left.exists() and len(list(bench.sockets.iterdir())) == 1
    assert (bench.runs / "r" / "endpoints.json").exists()
    again = bench.start("coordinator", *command)
    again.result()
    assert not (bench.runs / "r" / "endpoints.json").exists()
    assert other.process.poll() is None and len(list(bench.sockets.iterdir())) == 1
    other.process.send_signal(signal.SIGINT)
    assert other.end() == 130
    bench.check_nothing_left()

"""`learn --resume`: a run goes on from its folder, whatever ended it, and ends as if nothing had happened."""

from __future__ import annotations

import csv
import json
import re
import signal
from pathlib import Path

import pytest

from coordinator.job import Job
from tests.processes.programs import CHECKOUT, Bench, Program, await_that, in_memory_sha256

pytestmark = pytest.mark.processes

STEPS = 600
XOR = ("xor", "--batch-size", "2", "--epochs", str(STEPS // 2), "--name", "r")
"""Steps of six neurons: enough to be killed in the middle."""
OFTEN = ("--snapshot-interval-steps", "20")


def begun(bench: Bench, *arguments: str) -> Program:
    """A run that has two snapshots, and has not finished."""
    program = bench.learn(*XOR, *OFTEN, *arguments)
    await_that(lambda: len(list(bench.runs.glob("r/snapshots/*.snapshot"))) == 2, "two snapshots")
    return program


def check_as_undisturbed(bench: Bench, program: Program) -> None:
    """The resumed run ends with the weights of the undisturbed one, and each step has one row."""
    result = program.result()
    folder = bench.run_folder()
    assert result["run"] == "r" and result["step"] == result["steps"] == STEPS
    assert result["weights_sha256"] == in_memory_sha256(folder)
    assert json.loads((folder / "result.json").read_text())["weights_sha256"] == result["weights_sha256"]
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(set(steps)) and steps[-1] == STEPS
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    told = re.search(
        r"```\nruns/\S+/\n(.*?)```", (CHECKOUT / "docs/reference/run-folder.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert told
    for path in folder.iterdir():
        # `generation.1` stands in the line of the other.
        assert f"  {path.name.replace('generation.1', 'generation.0')}" in told[1] or path.name == "launcher.lock"
    bench.check_nothing_left()


def test_run_goes_on_after_all_its_programs_were_killed(bench: Bench) -> None:
    """kill -9 of the command line, the supervisor, the broker, the coordinator and all neurons at once, twice: the same
    weights, no step counted twice, and nothing is left of the killed ones either.
    """
    begun(bench)
    for _ in range(2):
        bench.kill_all()
        await_that(lambda: not bench.programs(), "the end of all programs")
        before = max((bench.run_folder() / "snapshots").iterdir())
        program = bench.learn("--resume", "r")
        await_that(lambda: max((bench.run_folder() / "snapshots").iterdir()) > before, "another snapshot")  # noqa: B023
    check_as_undisturbed(bench, program)


@pytest.mark.slow
def test_a_resumed_run_has_as_many_nodes_as_it_was_begun_with(bench: Bench) -> None:
    """Each with several groups, to the weights of one group a node; and the number can't be changed."""
    begun(bench, "--nodes", "2")
    bench.kill_all()
    await_that(lambda: not bench.programs(), "the end of all programs")
    assert bench.learn("--resume", "r", "--nodes", "3").end() == 2
    program = bench.learn("--resume", "r")
    check_as_undisturbed(bench, program)
    result = program.result()
    assert (result["nodes"], result["groups"], result["processes"]) == (2, 6, 2)


def test_an_interrupted_run_says_how_it_goes_on_and_does(bench: Bench) -> None:
    """Ctrl-C names the command; it goes on after the last snapshot and not at the beginning."""
    program = begun(bench)
    program.process.send_signal(signal.SIGINT)
    assert program.end() == 130
    assert "continue the run r with: coordinator learn --resume r" in program.said().splitlines()
    again = bench.learn("--resume", "r")
    check_as_undisturbed(bench, again)
    assert not any(line.startswith("epoch 1:") for line in again.said().splitlines())


@pytest.mark.slow
def test_a_run_that_was_stopped_before_its_first_snapshot_begins_anew(bench: Bench) -> None:
    """There is nothing to go on from but the settings and the data, and they are enough."""
    program = bench.learn(*XOR, "--snapshot-interval-steps", "1000000")
    program.await_line("wired")
    bench.kill_all()
    await_that(lambda: not bench.programs(), "the end of all programs")
    check_as_undisturbed(bench, bench.learn("--resume", "r"))


@pytest.mark.slow
def test_a_run_that_goes_on_is_not_resumed(bench: Bench) -> None:
    """While one coordinator is at work the second is refused, with the number of the first; so are questions about
    removing it; nobody's files change, and the first one finishes.
    """
    program = begun(bench)
    [coordinator] = bench.programs("coordinator")
    coordinator.send_signal(signal.SIGSTOP)
    folder = bench.run_folder()
    before = snapshot_of(folder)
    for command in (("learn", "--resume", "r"), ("runs", "rm", "r")):
        other = bench.start("coordinator", *command)
        assert other.end() == 2
        [line] = other.said().splitlines()
        assert f"process {coordinator.pid} on" in line and "at work" in line
    assert snapshot_of(folder) == before
    listed = bench.start("coordinator", "runs", "--json").result()
    assert [row["state"] for row in listed["runs"]] == ["running"]
    coordinator.send_signal(signal.SIGCONT)
    check_as_undisturbed(bench, program)


def snapshot_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, except the logs: the broker goes on and may write a line."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".log"
    }


def test_a_question_to_a_run_that_was_killed(bench: Bench) -> None:
    """At once one line that says how it would go on, and no waiting for an answer."""
    begun(bench)
    bench.kill_all()
    program = bench.start("coordinator", "status", "--run", "r", "--patience", "3600")
    assert program.end() == 2
    assert "learn --resume r" in program.said() and len(program.said().splitlines()) == 1


def test_deaths_that_the_supervisor_saw_are_in_the_log_of_events(bench: Bench) -> None:
    """A neuron that is killed: its end, the recovery, and how the run stands, in events.jsonl and in `runs show`."""
    program = begun(bench)
    victim = bench.programs("neuron-node")[3]
    victim.send_signal(signal.SIGKILL)
    check_as_undisturbed(bench, program)
    facts = bench.start("coordinator", "runs", "show", "r", "--json").result()
    events = {event["event"]: event for event in facts["recoveries"]}
    assert events["ended"]["process"] == victim.pid and events["ended"]["code"] == -signal.SIGKILL
    assert events["recovery"]["generation"] >= 2 and events["recovery"]["reason"]
    assert events["recovered"]["generation"] >= 2 and events["recovered"]["seconds"] > 0.0
    assert (facts["state"], facts["step"], facts["steps"]) == ("finished", STEPS, STEPS)
    assert [snapshot["whole"] for snapshot in facts["snapshots"]] == [True, True]


@pytest.mark.slow
def test_resumed_run_with_a_limit_of_steps_ends_there(bench: Bench) -> None:
    """As `verify` makes them: of so many steps at most. One that was never begun is as good as any."""
    job = Job.from_flags({"dataset": "xor", "epochs": 30}, None)
    job.create_run(bench.runs, name="short", steps_at_most=10)
    result = bench.learn("--resume", "short").result()
    assert (result["step"], result["steps"], result["run"]) == (10, 10, "short")
    bench.check_nothing_left()

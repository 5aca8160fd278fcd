"""`learn --chaos` with real processes: whatever is done to them, the weights are those of an undisturbed run."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.commands import Terminal
from tests.processes.programs import Bench, await_that, in_memory_sha256

pytestmark = pytest.mark.processes

XOR = ("xor", "--batch-size", "2", "--epochs", "200", "--name", "r", "--chaos-seed", "7")
"""400 steps, and a measurement after every second one."""
ENDLESS = ("xor", "--epochs", "1000000", "--name", "r")


def logs(bench: Bench) -> str:
    """What all programs of the one run have logged."""
    return "".join(path.read_text(encoding="utf-8") for path in sorted(bench.run_folder().glob("logs/*.log")))


def learnt_as_undisturbed(bench: Bench, *arguments: str) -> dict[str, Any]:
    """The result of a disturbed run, whose weights are those of machines in memory, and of which nothing is left behind."""
    program = bench.learn(*arguments)
    result = program.result()
    if "--chaos-overlap" not in arguments:
        # Where they overlap, one may hit a program that another has just killed.
        check_done(result)
    assert result["weights_sha256"] == in_memory_sha256(bench.run_folder())
    assert "Traceback" not in program.said() + logs(bench)
    bench.check_nothing_left()
    return result


def check_done(result: dict[str, Any]) -> None:
    """Everything that was asked for was done, and its recoveries were measured."""
    for kind, facts in result["chaos"].items():
        assert facts["done"] == facts["asked"], (kind, facts)
    assert 0.0 < result["recovery_seconds_p50"] <= result["recovery_seconds_p99"] <= result["recovery_seconds_most"]


@pytest.mark.parametrize(
    ("chaos", "arguments"),
    [
        ("layer=1,all=1", ()),
        ("kill=2,pause=1,partition=1,broker=1,coordinator=1,everything=1", ("--spares", "1")),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("kill=4", ("--nodes", "2")),
                ("kill=6", ()),
                ("kill=6", ("--spares", "2")),
                ("kill=2,pause=1", ("--nodes", "2", "--spares", "1")),
                ("pause=2", ()),
                ("partition=2", ()),
                ("broker=3", ()),
                ("coordinator=3", ()),
                ("everything=2", ()),
                ("terminate=3,interrupt=3", ()),
                ("layer=2,all=2", ()),
                ("layer=2,all=2", ("--nodes", "2", "--spares", "1")),
                ("stop-broker=1", ()),
                (
                    "kill=4,pause=2,partition=2,broker=1,coordinator=1,everything=1",
                    ("--spares", "2", "--chaos-overlap"),
                ),
            )
        ),
    ],
)
def test_disturbed_and_undisturbed_weights_are_the_same(bench: Bench, chaos: str, arguments: tuple[str, ...]) -> None:
    """To the last bit, and to those of machines in memory that no process can disturb; nothing is left behind."""
    learnt_as_undisturbed(bench, *XOR, "--chaos", chaos, *arguments)


@pytest.mark.slow
def test_a_comparison_runs_once_more_without_chaos(bench: Bench) -> None:
    """In a folder of its own; the two digests are told to be the same, and both runs' figures are kept."""
    result = bench.learn(*XOR, "--chaos", "kill=3", "--compare").result()
    check_done(result)
    assert result["identical"] is True
    assert result["weights_sha256"] == result["undisturbed_weights_sha256"]
    assert (
        {folder.name for folder in bench.runs.iterdir()}
        == {"r", "r-undisturbed"}
        == {
            result["run"],
            result["undisturbed_run"],
        }
    )
    assert result["weights_sha256"] == in_memory_sha256(bench.runs / "r-undisturbed")
    bench.check_nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize("chaos", ["pause=2", "partition=2"])
def test_node_that_was_replaced_while_it_was_held_is_ignored(bench: Bench, chaos: str) -> None:
    """A spare takes over; who was held wakes up, speaks as the life that is over, is told so, and begins another one. The
    weights are those of an undisturbed run.
    """
    result = learnt_as_undisturbed(bench, *XOR, "--chaos", chaos, "--spares", "1")
    assert result["stale_messages"] > 0
    assert "another node has replaced this one" in logs(bench)


@pytest.mark.slow
def test_program_killed_often_by_chaos_is_started_again(bench: Bench) -> None:
    """A program that is killed oftener than a crash loop would be tolerated is not put aside: sixteen deaths of three nodes,
    so that one of them dies six times.
    """
    program = bench.learn("xor", "--group-size", "layer", "--epochs", "400", "--name", "r", "--chaos", "kill=16")
    result = program.result()
    check_done(result)
    assert "not started again" not in program.said()
    assert result["weights_sha256"] == in_memory_sha256(bench.run_folder())


@pytest.mark.slow
def test_the_same_seed_disturbs_the_same_neurons(bench: Bench) -> None:
    """In the same order; the run's log of events has them."""
    victims = []
    for name in ("one", "two"):
        program = bench.learn(
            "xor", "--epochs", "200", "--name", name, "--chaos", "kill=4,broker=1", "--chaos-seed", "3"
        )
        program.result()
        lines = [line for line in program.said().splitlines() if line.startswith("chaos ")]
        victims.append([line.partition(" (")[0].partition(" step ")[2].partition(" ")[2] for line in lines])
        assert (bench.runs / name / "events.jsonl").read_text(encoding="utf-8").count('"struck"') == 5
    assert victims[0] == victims[1] and len(victims[0]) == 5


def test_spares_of_a_run_host_no_groups(bench: Bench) -> None:
    """They are nodes of the run and host nothing."""
    result = bench.learn("xor", "--epochs", "20", "--spares", "2").result()
    assert (result["nodes"], result["groups"], result["processes"]) == (8, 6, 6)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL])
def test_stopped_node_ends_with_its_run(bench: Bench, number: signal.Signals) -> None:
    """Ctrl-C or a kill -9 of the supervisor while a node is stopped: no process stays, stopped or not."""
    program = bench.learn(*ENDLESS, "--chaos", "pause=10000", "--chaos-overlap")
    await_that(
        lambda: any(node.status() == psutil.STATUS_STOPPED for node in bench.programs("neuron-node")),
        "a stopped node",
    )
    if number is signal.SIGINT:
        program.process.send_signal(number)
    else:
        bench.programs("supervisor")[0].send_signal(number)
    assert program.end() == (130 if number is signal.SIGINT else 1)
    bench.check_nothing_left()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--chaos", "murder=1"), "--chaos: 'murder=1' is not a kind of fault"),
        (("--chaos", "kill=0"), "--chaos: kill must be a whole number from 1 to 10,000"),
        (("--chaos-seed", "1"), "--chaos-seed needs --chaos"),
        (("--compare",), "--compare needs --chaos"),
        (("--chaos-overlap",), "--chaos-overlap needs --chaos"),
        (("--chaos", "kill=1", "--chaos-seed", "-1"), "--chaos-seed must be a whole number"),
        (("--spares", "1001"), "--spares must be a whole number from 0 to 1,000"),
        (("--resume", "r", "--chaos", "kill=1", "--compare"), "--compare cannot be used with --resume"),
    ],
)
def test_chaos_that_cannot_be_done_is_refused_in_one_line(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: Terminal
) -> None:
    """Exit 2, what and why, and no folder was made."""
    monkeypatch.chdir(tmp_path)
    said = terminal.type("learn", *(() if "--resume" in arguments else ("xor",)), *arguments)
    assert said.code == 2
    [line] = said.err.splitlines()
    assert line.startswith("coordinator: ") and words in line
    assert not list(tmp_path.iterdir())

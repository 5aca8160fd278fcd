"""`bench` as a program: what it prints, and what it leaves behind, which is nothing. Its numbers are nobody's business here."""

from __future__ import annotations

import signal

import pytest

from coordinator.bench.measuring import wire_speed
from coordinator.bench.profiled import STAGES
from coordinator.bench.wire import Order
from tests.processes.programs import Bench, Program, await_that

pytestmark = pytest.mark.processes

SHORT = ("--repeats", "1", "--seconds", "0.02")


@pytest.mark.slow
def test_bench_measures_each_combination_of_sizes(bench: Bench) -> None:
    """A row for each combination; wire, network and NumPy have got steps done in each."""
    program = bench.start(
        "coordinator",
        "bench",
        "--layers",
        "2,2,1",
        "--batch-sizes",
        "1,3",
        "--group-sizes",
        "1,layer",
        *SHORT,
        "--json",
    )
    rows = program.result()["rows"]
    assert [(row["batch_size"], row["group_size"], row["nodes"]) for row in rows] == [
        (1, 1, 5),
        (1, "layer", 3),
        (3, 1, 5),
        (3, "layer", 3),
    ]
    for row in rows:
        assert row["layers"] == [2, 2, 1] and row["wiring"] == "broker"
        for key in ("steps_per_second", "wire_steps_per_second", "numpy_steps_per_second", "seconds_starting"):
            assert row[key] > 0, key
            assert row["spread"][key][0] <= row[key] <= row["spread"][key][1]
        assert row["ratio_to_wire"] == pytest.approx(row["steps_per_second"] / row["wire_steps_per_second"])
    bench.check_nothing_left()


def test_a_data_set_stands_for_its_sizes(bench: Bench) -> None:
    """The table for people has a line for it."""
    program = bench.start("coordinator", "bench", "xor", "--batch-sizes", "2", "--group-sizes", "2", *SHORT)
    assert program.end() == 0, program.said()
    heading, line = program.stdout.read_text(encoding="utf-8").splitlines()
    assert heading.split()[:5] == ["layers", "batch", "group", "nodes", "work"]
    assert line.split()[:5] == ["2-3-1", "2", "2", "4", "training"]
    bench.check_nothing_left()


@pytest.mark.slow
def test_bench_compares_encryption_with_plain_tcp(bench: Bench) -> None:
    """Network and wire get steps done over both; the ratios are those of the repeats, and no key file stays behind."""
    program = bench.start(
        "coordinator", "bench", "xor", "--batch-sizes", "2", "--group-sizes", "2", *SHORT, "--curve", "--json"
    )
    plain, encrypted = program.result()["rows"]
    assert (plain["transport"], encrypted["transport"]) == ("tcp", "curve")
    for key, of in (("ratio_to_tcp", "steps_per_second"), ("wire_ratio_to_tcp", "wire_steps_per_second")):
        assert encrypted[key] == pytest.approx(encrypted[of] / plain[of])
    ratios = encrypted["ratio_to_wire"] / plain["ratio_to_wire"]
    assert encrypted["ratio_of_ratios_to_wire"] == pytest.approx(ratios)
    bench.check_nothing_left()


@pytest.mark.parametrize("more", [("--work", "prediction"), ("--wirings", "direct"), ("--profile",), ("--nodes", "2")])
def test_bench_of_encryption_refuses_what_it_does_not_measure(bench: Bench, more: tuple[str, ...]) -> None:
    """One line, and exit code 2."""
    program = bench.start("coordinator", "bench", "xor", *SHORT, "--curve", *more)
    assert program.end() == 2
    assert "--curve" in program.said().splitlines()[-1]


@pytest.mark.parametrize(
    ("batch_size", "learning", "wiring"),
    [
        (1, True, "broker"),
        pytest.param(10_000, True, "direct", marks=pytest.mark.slow),
        (1, False, "direct"),
        pytest.param(1, True, "direct", marks=pytest.mark.slow),
        pytest.param(1, False, "broker", marks=pytest.mark.slow),
        pytest.param(10_000, True, "broker", marks=pytest.mark.slow),
        pytest.param(10_000, False, "broker", marks=pytest.mark.slow),
        pytest.param(10_000, False, "direct", marks=pytest.mark.slow),
    ],
)
def test_the_bare_wire_goes_round(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, batch_size: int, learning: bool, wiring: str
) -> None:
    """Small frames and large ones, whole steps and their forward half, in several groups a layer."""
    monkeypatch.setenv("TMPDIR", str(bench.sockets))
    for arithmetic in (False, True):
        order = Order((5, 4, 3), 2, batch_size, 0.02, learning, arithmetic, 2 if learning else 4, wiring)
        assert wire_speed(order) > 0
    bench.check_nothing_left()


@pytest.mark.slow
def test_prediction_is_measured(bench: Bench) -> None:
    """Forward passes of a network of programs, beside a wire with one on its way and one with many."""
    program = bench.start(
        "coordinator", "bench", "--layers", "2,2,1", "--batch-sizes", "1,3", "--group-sizes", "1", *SHORT, "--json",
        "--work", "prediction",
    )  # fmt: skip
    rows = program.result()["rows"]
    assert [(row["work"], row["batch_size"]) for row in rows] == [("prediction", 1), ("prediction", 3)]
    for row in rows:
        for name in ("", "wire_", "wire_many_at_once_", "wire_and_arithmetic_", "numpy_"):
            assert row[f"{name}steps_per_second"] > 0, name
        assert row["seconds_starting"] > 0
    bench.check_nothing_left()


@pytest.mark.slow
def test_wirings_and_parts_of_a_batch_are_measured(bench: Bench) -> None:
    """A row for each of them; `auto` takes direct wiring for so few programs, and predictions have no parts."""
    program = bench.start(
        "coordinator", "bench", "--layers", "4,3,2", "--batch-sizes", "6", "--group-sizes", "layer", *SHORT, "--json",
        "--wirings", "auto", "--microbatches", "1,3", "--work", "training,prediction",
    )  # fmt: skip
    rows = program.result()["rows"]
    assert [(row["work"], row["wiring"], row["microbatches"]) for row in rows] == [
        ("training", "direct", 1),
        ("training", "direct", 3),
        ("prediction", "direct", 1),
    ]
    assert all(row["steps_per_second"] > 0 and row["wire_steps_per_second"] > 0 for row in rows)
    bench.check_nothing_left()


def test_a_profile_tells_where_time_goes(bench: Bench) -> None:
    """By role, for every stage, and every role has done some arithmetic and some sending."""
    program = bench.start(
        "coordinator", "bench", "--layers", "3,2,1", "--batch-sizes", "2", "--group-sizes", "1", *SHORT, "--profile", "--json"
    )  # fmt: skip
    [row] = program.result()["rows"]
    assert list(row["profile"]) == ["coordinator", "hidden", "input", "output"]
    for spent in row["profile"].values():
        assert list(spent) == list(STAGES)
        assert spent["arithmetic"] > 0 and spent["sending"] > 0 and spent["waiting"] > 0
    bench.check_nothing_left()


def test_bench_that_is_interrupted_leaves_no_programs(bench: Bench) -> None:
    """Whatever is being measured at the moment: all programs end, and no socket stays."""
    program = bench.start("coordinator", "bench", "--layers", "4,3,2", "--seconds", "3600", "--json")
    await_that(lambda: bench.programs("neuron-node"), "a network")
    program.process.send_signal(signal.SIGINT)
    assert program.end() == 130
    assert program.said().splitlines()[-1] == "coordinator: interrupted"
    bench.check_nothing_left()


def wire_for_ever(bench: Bench, wiring: str) -> Program:
    """A bare wire of nine programs that is being measured; in direct wiring all ten have an outlet."""
    order = Order((4, 3, 2), 1, 1, 3600.0, wiring=wiring)
    script = f"from coordinator.bench import measuring, wire; measuring.wire_speed(wire.{order!r})"
    (bench.folder / "measure_for_ever.py").write_text(script, encoding="utf-8")
    program = bench.start("measure_for_ever")
    await_that(lambda: len(bench.programs("neuron-node")) == 9, "the bare wire")
    outlets = 10 if wiring == "direct" else 0
    await_that(lambda: len(list(bench.sockets.glob("exmachina-*/" + 16 * "[0-9a-f]"))) == outlets, "its outlets")
    return program


@pytest.mark.parametrize("wiring", [pytest.param("broker", marks=pytest.mark.slow), "direct"])
def test_kill_9_of_bench_takes_the_bare_wire_along(bench: Bench, wiring: str) -> None:
    """The kernel tells its programs of their parent's death."""
    program = wire_for_ever(bench, wiring)
    program.process.kill()
    bench.check_nothing_left()


@pytest.mark.parametrize("wiring", ["broker", pytest.param("direct", marks=pytest.mark.slow)])
def test_kill_9_of_the_bare_wire_leaves_nothing(bench: Bench, wiring: str) -> None:
    """Its broker, the last to live, removes all sockets; `bench` says which program ended."""
    program = wire_for_ever(bench, wiring)
    [broker] = bench.programs("neuron-broker")
    wire = broker.parent()
    assert wire is not None and "coordinator.bench.wire" in wire.cmdline()
    wire.kill()
    assert program.end() == 1 and "wire ended with -9" in program.said()
    bench.check_nothing_left()


def test_the_broker_of_the_bare_wire_is_told_twice(bench: Bench) -> None:
    """The kernel says once for each of its threads that the parent is dead; the sockets are removed all the same."""
    script = """
import os, signal
from pathlib import Path
from coordinator.bench import wire

def run_broker(*_, **options):
    os.kill(os.getpid(), signal.SIGTERM)
    return 0

wire.run_broker = run_broker
with wire.Wire(wire.Order((2, 1), 1, 1, 1.0)) as bare:
    _, status = os.waitpid(bare._fork("neuron-broker", bare._run_broker, signal.SIGTERM), 0)
    print(os.waitstatus_to_exitcode(status), Path(bare._sockets).exists())
"""
    (bench.folder / "tell_twice.py").write_text(script, encoding="utf-8")
    program = bench.start("tell_twice")
    assert program.end() == 0 and program.stdout.read_text(encoding="utf-8") == "0 False\n", program.said()
    bench.check_nothing_left()

"""`bench`: rows, pictures, and what is refused. Nothing here looks at how fast anything is."""

from __future__ import annotations

import importlib.util
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator.bench import measuring, picture
from coordinator.bench.measuring import WORKS, Case, Samples, measure_case, row_of
from coordinator.bench.network import Measured, made_data, made_network, made_samples
from coordinator.bench.nine_steps import NineSteps
from coordinator.bench.reference import numpy_speed
from coordinator.bench.wire import Order
from coordinator.capacity.host import Host
from coordinator.capacity.resources import needs_of
from coordinator.core.inflight import FORWARD_AT_ONCE
from coordinator.data.prepared import PreparedData
from coordinator.errors import JobError, UserError
from coordinator.topology import Topology
from coordinator.verify.textbook import Textbook
from tests.commands import Terminal

PROMISED = {
    "work", "wire_and_arithmetic_steps_per_second", "ratio_to_wire_and_arithmetic",
    "layers", "batch_size", "group_size", "wiring", "steps_per_second", "samples_per_second", "wire_steps_per_second",
    "ratio_to_wire", "numpy_steps_per_second", "numpy_all_cores_steps_per_second", "ratio_to_numpy", "spread",
    "messages_per_step", "bytes_per_step", "microseconds_per_message", "seconds_starting", "memory_megabytes_per_node",
}  # fmt: skip


def samples_of(**speeds: list[float]) -> Samples:
    return Samples(speeds, [0.5] * len(speeds["network"]), [5.0] * len(speeds["network"]))


def made_rows(*layers: tuple[int, ...]) -> list[dict[str, Any]]:
    samples = samples_of(network=[10.0, 12.0], wire=[20.0, 20.0], numpy=[1000.0, 900.0], numpy_all_cores=[800.0, 950.0])
    return [row_of(Case(each, batch, size), samples) for each in layers for batch in (1, 64) for size in (1, "layer")]


def test_a_row_holds_medians_and_spreads() -> None:
    """Every promised key is there; what was not measured is None, and is no 0."""
    row = row_of(Case((64, 12, 10), 64, 1), samples_of(network=[10.0, 30.0, 20.0], wire=[40.0, 40.0, 25.0]))
    assert row.keys() >= PROMISED
    assert (row["steps_per_second"], row["samples_per_second"], row["wire_steps_per_second"]) == (20.0, 1280.0, 40.0)
    assert row["spread"]["steps_per_second"] == [10.0, 30.0]
    assert (row["messages_per_step"], row["nodes"], row["repeats"]) == (110, 86, 3)
    assert row["numpy_steps_per_second"] is row["ratio_to_numpy"] is row["spread"]["ratio_to_numpy"] is None
    assert row["microseconds_per_message"] == pytest.approx(1e6 / 20.0 / 110)
    json.dumps(row, allow_nan=False)


def test_a_ratio_is_of_one_repeat() -> None:
    """A machine that was busy in one repeat slowed both, so the ratio is taken there, and then the median."""
    row = row_of(Case((4, 3, 2), 1, 1), samples_of(network=[10.0, 2.0, 30.0], wire=[20.0, 4.0, 30.0]))
    assert (row["ratio_to_wire"], row["spread"]["ratio_to_wire"]) == (0.5, [0.5, 1.0])


@pytest.mark.parametrize("work", WORKS)
def test_measurements_take_turns_in_each_repeat(monkeypatch: pytest.MonkeyPatch, work: str) -> None:
    """Each is measured once a repeat, in an order that is turned round every time."""
    done: list[str] = []

    def wire(order: Order) -> float:
        # In training each step is sent while another is under way.
        others = order.at_once - order.learning
        done.append(f"wire{' and arithmetic' * order.arithmetic}{f' {others}' * (others > 1)}")
        return 2.0

    def network(_order: Order) -> Measured:
        done.append("network")
        return Measured(1.0, 0.1, None)

    def reference(_order: Order, library: str, threads: int) -> float:
        done.append(f"{library} {threads}")
        return 4.0

    monkeypatch.setattr(measuring, "wire_speed", wire)
    monkeypatch.setattr(measuring, "measure_network", network)
    monkeypatch.setattr(measuring, "reference_speed", reference)
    monkeypatch.setattr(measuring, "has_pytorch", lambda: True)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    row = measure_case(Case((4, 3, 2), 1, 1, work), 2, 0.1, lambda _text: None)
    others = [f"wire {FORWARD_AT_ONCE}"] if work == "prediction" else []
    once = ["network", "wire", "wire and arithmetic", *others, "numpy 1", "numpy 2", "pytorch 2"]
    assert done == once + once[::-1]
    assert (row["ratio_to_wire"], row["ratio_to_pytorch"], row["memory_megabytes_per_node"]) == (0.5, 0.25, None)


@pytest.mark.parametrize("wiring", ["broker", "direct"])
def test_the_bare_wire_is_wired_as_the_network(monkeypatch: pytest.MonkeyPatch, wiring: str) -> None:
    """Each of its orders is the row's, with arithmetic and without, with one pass on its way and with many."""
    orders: list[Order] = []

    def program(module: str, _arguments: object, order: Order, _environment: object) -> float:
        if module == "wire":
            orders.append(order)
        return 2.0

    monkeypatch.setattr(measuring, "_program", program)
    monkeypatch.setattr(measuring, "measure_network", lambda _order: Measured(1.0, 0.1, None))
    measure_case(Case((4, 3, 2), 1, 1, "prediction", wiring), 1, 0.1, lambda _text: None)
    assert [(order.arithmetic, order.at_once > 1) for order in orders] == [(False, False), (True, False), (False, True)]
    assert {order.wiring for order in orders} == {wiring}


def test_groups_that_share_programs_have_no_bare_wire_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network has as many programs as were asked for; the bare wire, which has one a group, is not measured."""
    orders: list[Order] = []

    def network(order: Order) -> Measured:
        orders.append(order)
        return Measured(1.0, 0.1, None)

    monkeypatch.setattr(measuring, "_program", lambda module, *_rest: {"reference": 4.0}[module])
    monkeypatch.setattr(measuring, "measure_network", network)
    row = measure_case(Case((4, 3, 2), 1, 1, nodes=2), 1, 0.1, lambda _text: None)
    assert [order.nodes for order in orders] == [2]
    assert (row["nodes"], row["ratio_to_wire"], row["ratio_to_numpy"]) == (2, None, 0.25)


def test_direct_wiring_takes_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """For its many connections: a network that fits with the broker is refused in direct wiring."""
    enough = needs_of((40, 40)).memory_megabytes
    monkeypatch.setattr(measuring, "this_machine", lambda: Host(None, None, enough))
    measuring.check_case(Case((40, 40), 1, 1))
    with pytest.raises(UserError, match="of memory"):
        measuring.check_case(Case((40, 40), 1, 1, wiring="direct"))


def test_a_program_that_fails_is_named() -> None:
    """Its last line is the job's line."""
    with pytest.raises(JobError, match=r"bench: reference ended with 1: .*KeyError: 'nothing'"):
        measuring.reference_speed(Order((2, 2), 1, 1, 0.01), "nothing", 1)


@pytest.mark.parametrize(("layers", "batch_size"), [((4, 3, 2), 3), ((3, 1), 1), ((784, 10), 4096)])
def test_made_samples_can_be_learnt(layers: tuple[int, ...], batch_size: int, tmp_path: Path) -> None:
    """They are whole batches of bounded size, a run can read them, and they are the same every time."""
    data = made_data(layers, batch_size)
    data.save(tmp_path / "data.npz")
    loaded = PreparedData.load(tmp_path / "data.npz")
    assert np.array_equal(loaded.train_inputs, made_samples(layers, batch_size)[0])
    assert len(loaded.train_inputs) % batch_size == 0 and len(loaded.test_inputs) == 1
    assert loaded.train_inputs.nbytes <= 128 * 1024 * 1024
    assert np.isfinite(
        Textbook(made_network(layers, batch_size), 1)
        .step(loaded.train_inputs[:batch_size], loaded.train_targets[:batch_size])
        .activities[-1]
    ).all()


@pytest.mark.parametrize("learning", [True, False])
def test_the_reference_runs(learning: bool) -> None:
    """Matrices get at least one step or forward pass done, however short the time."""
    assert numpy_speed(Order((4, 3, 2), 1, 5, 0.001, learning)) > 0.0


def test_prediction_has_the_messages_of_a_forward_pass() -> None:
    """A row of it counts those, and not what errors would take."""
    training, prediction = (
        row_of(Case((64, 12, 10), 64, 1, work), samples_of(network=[10.0], wire=[40.0])) for work in WORKS
    )
    assert (training["work"], prediction["work"]) == WORKS
    assert (training["messages_per_step"], prediction["messages_per_step"]) == (174 - 64, 1 + 64 + 12 + 10)
    assert prediction["microseconds_per_message"] == pytest.approx(1e6 / 10.0 / 87)


@pytest.mark.parametrize("batch", [1, 3, 700])
@pytest.mark.parametrize("group_size", [1, 2, 40])
def test_the_arithmetic_of_the_wire_is_of_the_right_shapes(group_size: int, batch: int) -> None:
    """Every group of every layer gets through its nine steps, again and again, with finite numbers."""
    topology = Topology((5, 40, 3), group_size)
    for number, group in topology.groups.items():
        steps = NineSteps(topology, number, batch)
        for _ in range(2):
            steps.fire()
            steps.reply()
            steps.learn()
        assert steps._activity.shape == steps._own_error.shape == (batch, group.size)
        assert all(np.isfinite(array).all() for array in (steps._weights, steps._bias, steps._own_error))


def test_auto_is_settled_once(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What it stands for is said on stderr, and the rows have the number, whatever is measured."""
    measured: list[Case] = []

    def measure(case: Case, *_: object) -> dict[str, Any]:
        measured.append(case)
        return row_of(case, samples_of(network=[1.0], wire=[2.0], wire_and_arithmetic=[2.0]))

    monkeypatch.setattr("coordinator.cli.bench.measure_case", measure)
    said = Terminal(capfd).type(
        "bench", "--layers", "64,12,10", "--batch-sizes", "4", "--group-sizes", "auto", "--work", "training,prediction", "--json"
    )  # fmt: skip
    assert said.code == 0 and said.err.count("64-12-10, batch 4: group size auto: 64") == 1
    rows = json.loads(said.out)["rows"]
    assert [(row["group_size"], row["work"]) for row in rows] == [(64, "training"), (64, "prediction")]
    assert [case.group_size for case in measured] == [64, 64]


def test_growth_is_the_exponent() -> None:
    """Of what grows as the square, and of what grows in proportion."""
    sizes = [10.0, 20.0, 40.0, 80.0]
    assert picture.growth(sizes, [3.0 * size**2 for size in sizes]) == pytest.approx((2.0, 3.0))
    assert picture.growth(sizes, sizes) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize("name", ["rows.svg", "rows.PNG"])
@pytest.mark.parametrize("sizes", [1, 4])
def test_a_picture_is_drawn(tmp_path: Path, name: str, sizes: int) -> None:
    """Of one size of network, and of several, in both formats."""
    pytest.importorskip("matplotlib")
    path = tmp_path / name
    picture.check_picture(path)
    picture.save_picture(made_rows(*itertools.islice(((n, 3, 2) for n in (4, 8, 16, 32)), sizes)), path)
    begin = path.read_bytes()[:200]
    assert begin.startswith(b"\x89PNG") if name.endswith("PNG") else b"<?xml" in begin


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is measured, in one line."""
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else found(name))
    with pytest.raises(UserError, match=r"--picture needs matplotlib.*'exmachina\[coordinator,bench\]'"):
        picture.check_picture(tmp_path / "rows.svg")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--picture", "rows.pdf"], "ends in .svg or .png"),
        (["--picture", "nowhere/rows.svg"], "a writable folder"),
        (["--layers", "4"], "--layers needs 2"),
        (["--batch-sizes", "1,none"], "--batch-sizes: 'none'"),
        (["--group-sizes", ""], "--group-sizes: ''"),
        (["--group-sizes", "1,all"], "--group-sizes: 'all'"),
        (["--work", "training,sleeping"], "--work: 'sleeping' is not training or prediction"),
        (["--wirings", "broker,wires"], "--wirings: 'wires' is not broker or direct or auto"),
        (["--microbatches", "1,65"], "--microbatches: '65' is not a whole number from 1 to 64"),
        (["--nodes", "group,0"], "--nodes: '0' is not a whole number from 1 to 65,536 or group"),
        (["--layers", "4,3", "--group-sizes", "layer", "--nodes", "3"], "nodes must be a whole number from 1 to 2"),
        (["--repeats", "0"], "--repeats"),
        (["irsi"], "iris"),
    ],
)
def test_wrong_arguments_of_bench_are_refused(
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    what: str,
) -> None:
    """Exit 2 before anything is measured, and nothing on stdout."""
    monkeypatch.chdir(tmp_path)
    said = Terminal(capfd).type("bench", *arguments)
    assert (said.code, said.out) == (2, "") and what in said.err


def test_a_network_that_does_not_fit_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    """As by `plan`, before anything is measured."""
    said = Terminal(capfd).type("bench", "--layers", "60000,10", "--group-sizes", "1")
    assert (said.code, said.out) == (2, "") and said.err.startswith("coordinator: 60,010 nodes need")
    assert said.err.count("\n") == 1 and "it fits with --group-size" in said.err

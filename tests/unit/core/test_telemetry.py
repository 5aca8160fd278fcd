"""Telemetry: who gets the numbers of which steps, and that a watcher changes no run."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.access import Access
from coordinator.core.events import Asked, Publish
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.telemetry import ALL, LEASE_MS, LEASES_AT_MOST, SHARE_AT_MOST, TOPIC
from coordinator.core.traffic import Pass, load_of
from coordinator.verify.textbook import Textbook
from neuron_node.addresses import ADDRESS_LENGTH, COORDINATOR
from neuron_node.errors import WrongShape
from neuron_node.events import Received
from neuron_node.frames import DataFrame, DataKind, Mode, parse, split
from neuron_node.protocol import NOBODY, Header, Request
from neuron_node.role import OUTSIDE
from neuron_node.telemetry import SHOWN_ROWS, ShownNumbers, packed, unpacked
from tests.coordinators import THREE, by, finish_step, tell, wired
from tests.networks import RUN, made_data, numbers, plan_of, settings_of, xor_data
from tests.roles import NO_ROWS
from tests.simulation.scenario import Scenario

PLAN = plan_of(settings_of((2, 3, 1), epochs=150), xor_data())


def request(number: int, **arguments: Any) -> Request:
    asked = {"watcher": "w", "rate": 50, **arguments}
    return Request(Header(NOBODY, 0, 0, NOBODY), number.to_bytes(8, "big"), "watch", json.dumps(asked), NO_ROWS)


class Watched(Scenario):
    """A simulated run with a watcher; `sets` are the published sets, by topic."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.sets: list[tuple[bytes, dict[str, Any], dict[int, DataFrame]]] = []
        super().__init__(*arguments, **options)

    def _published(self, action: Publish) -> None:
        super()._published(action)
        header, frames = action.frames
        shown = {data.sender: data for data in map(parse, split(bytes(ADDRESS_LENGTH) + frames))}
        self.sets.append((action.topic, json.loads(header), shown))


@pytest.mark.parametrize("microbatches", [1, 2])
@pytest.mark.parametrize("group_size", [1, 3])
def test_a_watched_run_ends_with_the_same_weights(group_size: int, microbatches: int) -> None:
    """The run ends as the undisturbed one, and each update has the numbers of one whole step."""
    scenario = Watched(plan_of(PLAN.network, PLAN.data, group_size=group_size, microbatches=microbatches), seed=1)
    scenario.run_to(2)
    scenario.ask(request(1))
    scenario.finish()
    assert len(scenario.sets) > 1
    steps = [facts["step"] for _, facts, _ in scenario.sets]
    assert steps == sorted(set(steps))
    assert all(topic == TOPIC + ALL for topic, _, _ in scenario.sets)


@pytest.mark.parametrize("seed", range(3))
def test_a_lost_frame_costs_an_update_and_nothing_else(seed: int) -> None:
    """With lost and repeated messages and a dead node, only whole sets are published, and a repeated step shows the same numbers."""
    scenario = Watched(PLAN, seed=seed, lost=0.05, doubled=0.05)
    scenario.run_to(2)
    for number, step in enumerate((2, 8, 40, 80), start=1):
        scenario.run_to(step)
        scenario.ask(request(number))
        if step == 8:
            scenario.replace("node-4")
    scenario.finish()
    assert scenario.sets


def test_the_numbers_of_an_update_are_those_of_the_step() -> None:
    """Activities, errors, gradients and weights before and after are those of the textbook, for every group of a marked step."""
    network = settings_of((3, 4, 2), epochs=60)
    plan = plan_of(network, made_data(22, 3, 2), seed=5)
    scenario = Watched(plan, seed=1)
    scenario.run_to(3)
    scenario.ask(request(1))
    scenario.finish()
    topology = plan.topology()
    for _, facts, shown in scenario.sets:
        book, schedule, data = Textbook(network, plan.seed), plan.schedule(), plan.data
        before: list[Any] = []
        for step in range(1, facts["step"] + 1):
            rows = schedule.samples_of(step - 1)
            before = [np.array(array) for array in (*book.weights, *book.biases)]
            trace = book.step(data.train_inputs[rows], data.train_targets[rows])
        layers = len(topology.layers)
        for number, frame in shown.items():
            group = topology.groups[number]
            layer, at = group.layer, group.columns.start
            receivers = topology.layers[layer + 1] if layer < layers - 1 else 0
            found = unpacked(frame.values[0], group.size, receivers)
            np.testing.assert_allclose(found.activity, trace.activities[layer][:, group.columns], atol=1e-12)
            np.testing.assert_allclose(found.own_error, trace.errors[layer][:, group.columns], atol=1e-12)
            if receivers:
                np.testing.assert_allclose(found.weights[0], before[layer][at], atol=1e-12)
                np.testing.assert_allclose(found.weights_after[0], book.weights[layer][at], atol=1e-12)
                change = found.weights - network.learning_rate * found.gradients
                np.testing.assert_allclose(change, found.weights_after, atol=1e-12)
    assert len(scenario.sets) > 1


def test_a_watcher_gets_the_groups_that_it_names() -> None:
    """Each named neuron's group has a topic of its own; the answer says which, and an unknown neuron is refused in one line."""
    scenario = Watched(PLAN, seed=2)
    scenario.run_to(2)
    scenario.ask(request(1, neurons=["hidden.1"]))
    scenario.ask(request(2, neurons=["hidden.9"]))
    scenario.finish()
    lease, refusal = (scenario.answers[number.to_bytes(8, "big")] for number in (1, 2))
    [number] = json.loads(lease.result)["groups"]
    assert json.loads(lease.result)["topics"] == [f"telemetry.{number}"]
    assert {topic for topic, _, _ in scenario.sets} == {TOPIC + number.encode()}
    assert all(shown.keys() == {int(number)} for _, _, shown in scenario.sets)
    assert not refusal.good and "there is no neuron 'hidden.9'" in refusal.result


def watch(machine: CoordinatorMachine, number: int, now_ms: float, **arguments: Any) -> dict[str, Any]:
    """Ask to watch; return the answer."""
    actions = machine.handle(Asked(request(number, **arguments), Access.VIEWER), now_ms)
    [answer] = [action.reply for action in actions if hasattr(action, "reply")]
    found: dict[str, Any] = json.loads(answer.result)
    return found


def modes_of(machine: CoordinatorMachine, steps: int, now_ms: float, ms_a_step: float) -> list[Mode]:
    """Do some steps; return the mode of each next one."""
    modes = []
    for _ in range(steps):
        now_ms += ms_a_step
        finish_step(machine, now_ms)
        modes += [flight.mode for flight in machine.trainer.in_flight.flights.values()]
    return modes


def test_no_step_is_marked_without_a_lease() -> None:
    """Steps are marked while a lease lasts, no more often than asked for, and not after its end."""
    plan = plan_of(settings_of((2, 1)), made_data(4_000, 2, 1), snapshot_interval_steps=10**6)
    machine, _ = wired(plan)
    assert set(modes_of(machine, 20, 0.0, 1.0)) == {Mode.TRAIN}
    watch(machine, 1, 100.0, rate=1)
    seen = modes_of(machine, 100, 100.0, 40.0)
    marked = seen.count(Mode.TRAIN_AND_REPORT)
    # A step is under way together with the next one, so each is counted once or twice.
    assert 4 <= marked <= 10
    assert Mode.TRAIN_AND_REPORT not in modes_of(machine, 50, 100.0 + LEASE_MS + 4_000.0, 40.0)


def test_telemetry_stays_below_its_share() -> None:
    """At the highest rate, the steps between two marked ones keep the share of the messages and of their bytes."""
    for layers in ((2, 3, 1), (64, 12, 10), (784, 100, 10)):
        plan = plan_of(settings_of(layers), made_data(22, layers[0], layers[-1]))
        machine = CoordinatorMachine(plan)
        topology = plan.topology()
        load = load_of(topology, Pass(plan.network.batch_size, followed=True))
        between = machine.trainer.telemetry._steps_between
        groups = len(topology.groups)
        assert groups / (between * load.deliveries + groups) <= SHARE_AT_MOST
        size = sum(machine.trainer.telemetry._bytes.values())
        assert size / (between * load.delivered_bytes + size) <= SHARE_AT_MOST
        fewer = between - 1
        shares = (groups, fewer * load.deliveries), (size, fewer * load.delivered_bytes)
        assert any(ours / (theirs + ours) > SHARE_AT_MOST for ours, theirs in shares)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"rate": 0}, "a rate is a number from 0.1 to 50"),
        ({"rate": True}, "a rate is a number"),
        ({"rate": "fast"}, "a rate is a number"),
        ({"watcher": ""}, "a watcher needs a name"),
        ({"watcher": "w" * 65}, "a watcher needs a name"),
        ({"neurons": []}, "a list of 1 to"),
        ({"neurons": "hidden.1"}, "a list of 1 to"),
    ],
)
def test_a_wrong_request_is_refused(arguments: dict[str, Any], line: str) -> None:
    """One line says what would be right."""
    machine, _ = wired(THREE)
    assert line in watch(machine, 1, 0.0, **arguments)["error"]


def test_leases_are_limited() -> None:
    """One watcher too many is refused; a watcher that asks again keeps its place, and ended leases make room."""
    machine, _ = wired(THREE)
    for number in range(LEASES_AT_MOST):
        assert "topics" in watch(machine, number, 0.0, watcher=f"w{number}")
    assert "watch already" in watch(machine, 100, 0.0, watcher="another")["error"]
    assert "topics" in watch(machine, 101, 0.0, watcher="w0")
    assert "topics" in watch(machine, 102, LEASE_MS + 1.0, watcher="another")


def telemetry(machine: CoordinatorMachine, group: int, number: int, columns: int, **changes: Any) -> DataFrame:
    fields: dict[str, Any] = {
        "kind": DataKind.TELEMETRY, "run": RUN, "generation": machine.outbox.generation, "receiver": OUTSIDE,
        "sender": group, "attempt": 0, "low": number, "high": number, "pass_number": number,
        "mode": Mode.TRAIN_AND_REPORT, "part": 0, "parts": 1, "values": np.zeros((1, columns)), **changes,
    }  # fmt: skip
    return DataFrame(**fields)


def test_frames_of_another_step_are_dropped() -> None:
    """Only the frames of the marked step, in this generation and of the right length, make a set; others are counted."""
    plan = plan_of(settings_of((2, 1)), made_data(4_000, 2, 1))
    machine, _ = wired(plan)
    watch(machine, 1, 0.0)
    now = 0.0
    while machine.trainer.telemetry._marked is None:
        now += 100.0
        finish_step(machine, now)
    number = machine.trainer.telemetry._marked[0]
    rows = plan.network.batch_size
    columns = {1: 2 * rows + 6, 2: 2 * rows + 6, 3: 2 * rows + 3}
    dropped = machine.dropped.total()
    wrong = [
        telemetry(machine, 1, number - 1, columns[1]),
        telemetry(machine, 1, number, columns[1] + 1),
        telemetry(machine, 1, number, columns[1], mode=Mode.TRAIN),
        telemetry(machine, 1, number, columns[1], generation=9),
        telemetry(machine, 9, number, columns[1]),
    ]
    for frame in wrong:
        actions = machine.handle(Received(COORDINATOR + frame.encode()), now)
        assert not [action for action in actions if isinstance(action, Publish)]
    assert machine.dropped.total() == dropped + len(wrong)
    found: list[Any] = []
    for group in (1, 2, 2, 3):
        frame = telemetry(machine, group, number, columns[group])
        found += machine.handle(Received(COORDINATOR + frame.encode()), now)
    [published] = [action for action in found if isinstance(action, Publish)]
    assert published.topic == TOPIC + ALL


@given(st.integers(1, 4), st.integers(0, 5), st.integers(1, 40), st.integers(0, 3))
def test_the_layout_gives_back_what_was_packed(neurons: int, synapses: int, rows: int, more: int) -> None:
    """Numbers come back in their places, with at most SHOWN_ROWS rows; another length is refused."""
    shapes = [(rows, neurons)] * 2 + [(neurons,)] * 3 + [(neurons, synapses)] * 3
    made = ShownNumbers(
        *(numbers(f"n{index}", 1, int(np.prod(shape))).reshape(shape) for index, shape in enumerate(shapes))
    )
    row = packed(made)[0]
    back = unpacked(row, neurons, synapses)
    assert np.array_equal(back.activity, made.activity[:SHOWN_ROWS])
    for ours, theirs in zip(back[2:], made[2:], strict=True):
        assert np.array_equal(ours, theirs)
    if more % (2 * neurons):
        with pytest.raises(WrongShape):
            unpacked(np.concatenate([row, np.zeros(more)]), neurons, synapses)


def test_a_set_that_never_becomes_whole_is_forgotten() -> None:
    """The next marked step begins a new set, and a rollback forgets the old one."""
    plan = plan_of(settings_of((2, 1)), made_data(4_000, 2, 1))
    machine, _ = wired(plan)
    watch(machine, 1, 0.0)
    now = 0.0
    while machine.trainer.telemetry._marked is None:
        now += 100.0
        finish_step(machine, now)
    first = machine.trainer.telemetry._marked
    tell(machine, telemetry(machine, 1, first[0], 2 * plan.network.batch_size + 6), now)
    while machine.trainer.telemetry._marked == first:
        now += 100.0
        finish_step(machine, now)
    assert machine.trainer.telemetry._frames == {}
    assert by(machine, 1).generation == machine.outbox.generation

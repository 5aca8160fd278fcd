"""What a command line can ask a running coordinator, and that it gets one answer."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from coordinator.core.access import Access
from coordinator.core.events import Answer, Asked
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.run_plan import RunPlan
from coordinator.core.tracing import REQUESTS
from coordinator.defaults import NetworkSettings
from neuron_node.codec import decode
from neuron_node.events import Send, Tick
from neuron_node.frames import DataFrame, DataKind, Mode
from neuron_node.protocol import NOBODY, Header, NamedArray, Request, Stop, TraceReport, TraceRequest
from tests.coordinators import (
    answers,
    by,
    finish_step,
    linked,
    ready,
    register,
    request,
    result,
    tell,
    wired,
)
from tests.networks import (
    made_data,
    parameters,
    plan_of,
    seed_settings,
    settings_of,
    trained,
    weights_sha256,
    xor_data,
)
from tests.roles import matrix, messages
from tests.simulation.scenario import Scenario

PLAN = plan_of(settings_of((2, 1)), xor_data())
LONG = plan_of(settings_of((2, 1), epochs=50), xor_data())


def answer(actions: list[Any]) -> dict[str, Any]:
    [reply] = answers(actions)
    assert reply.good, reply.result
    facts: dict[str, Any] = json.loads(reply.result)
    return facts


def fault(actions: list[Any]) -> str:
    [reply] = answers(actions)
    assert not reply.good and reply.rows.shape == (0, 0)
    line: str = json.loads(reply.result)["error"]
    assert "\n" not in line
    return line


Ask = Callable[..., tuple[dict[str, Any], np.ndarray]]


def running(plan: RunPlan, *, finished: bool = False) -> tuple[Scenario, Ask]:
    """A simulated network in the middle of its training, or after it, and how to ask it."""
    scenario = Scenario(plan, seed=2)
    scenario.run(lambda: scenario.steps_done >= 3 and (scenario.trainer.done or not finished))

    def ask(command: str, rows: Any = None, **arguments: Any) -> tuple[dict[str, Any], np.ndarray]:
        request_id = next(numbers).to_bytes(8, "big")
        given = np.empty((0, 0)) if rows is None else rows
        message = Request(Header(NOBODY, 0, 0, NOBODY), request_id, command, json.dumps(arguments), given)
        assert scenario.coordinator is not None
        scenario.give(scenario.coordinator, Asked(message, Access.VIEWER))
        scenario.run(lambda: request_id in scenario.answers)
        reply = scenario.answers[request_id]
        assert reply.good == ("error" not in json.loads(reply.result))
        return json.loads(reply.result), reply.rows

    numbers = itertools.count()
    return scenario, ask


def test_an_unknown_command_is_answered_with_those_that_are_known() -> None:
    """In one line."""
    line = fault(request(wired(PLAN)[0], "explode"))
    assert "'explode'" in line and all(name in line for name in ("status", "neurons", "neuron", "forward", "stop"))


@pytest.mark.parametrize("neuron", ["input.9", "", None, 3, ["input.0"], {"a": 1}])
def test_an_unknown_neuron_is_answered_with_how_they_are_named(neuron: object) -> None:
    """Whatever was given for a name."""
    line = fault(request(wired(PLAN)[0], "neuron", json.dumps({"neuron": neuron})))
    assert "input.0" in line and "output.0" in line


@pytest.mark.parametrize("arguments", ["", "no JSON", "[1]", "3", "null", "[" * 20_000, '{"neuron": "input.0"', "NaN"])
def test_arguments_that_are_no_object_are_a_fault_of_the_asker(arguments: str) -> None:
    """One line, and the coordinator lives on."""
    assert "JSON" in fault(request(wired(PLAN)[0], "neuron", arguments))


@pytest.mark.parametrize(
    "rows", [np.zeros((1, 3)), np.zeros((1, 1)), np.zeros((0, 2)), np.zeros((0, 0)), np.zeros((2, 0))]
)
def test_rows_of_another_width_are_a_fault_of_the_asker(rows: np.ndarray) -> None:
    """It says how many numbers a row has and should have."""
    line = fault(request(wired(PLAN)[0], "forward", rows=rows))
    assert str(rows.shape[1]) in line and "2 input neurons" in line


def test_a_request_without_rows_says_so() -> None:
    """Its line does not only say that rows of 2 numbers are wrong for 2 input neurons."""
    assert "0 rows of 2 numbers" in fault(request(wired(PLAN)[0], "forward", rows=np.zeros((0, 2))))


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("neuron", {"neuron": "n" * 60_000}),
        ("kill", {"neuron": ["n" * 60_000]}),
        ("step", {"count": "9" * 60_000}),
        ("set", {"what": {"n" * 60_000: 1}}),
    ],
)
def test_a_refusal_is_short_however_long_the_wrong_value_is(command: str, arguments: dict[str, object]) -> None:
    """The beginning of the value is quoted, and the end of the line still says what would be right."""
    sent = json.dumps(arguments)
    line = fault(request(wired(PLAN)[0], command, sent))
    plain = fault(request(wired(PLAN)[0], command, sent.replace("n" * 60_000, "n").replace("9" * 60_000, "9")))
    assert len(line) < 1_100
    assert line[-25:] == plain[-25:]


def test_a_repeated_request_is_answered_once_and_then_again_from_memory() -> None:
    """While it is open the repetition does nothing; afterwards the same reply comes, and nothing is computed again."""
    machine, _ = wired(PLAN)
    number = machine.trainer.in_flight.oldest
    assert answers(request(machine, "forward", rows=matrix((0.0, 1.0)))) == []
    assert request(machine, "forward", rows=matrix((0.0, 1.0))) == []
    actions = finish_step(machine)
    forward = [frame for frame in messages(actions) if isinstance(frame, DataFrame)]
    assert [(frame.kind, frame.mode, frame.values.tolist()) for frame in forward] == [
        (DataKind.AXON, Mode.FORWARD, [[0.0, 1.0]])
    ]
    answered = result(machine, DataKind.OUTPUT, 3, number + 1, matrix((0.75,)), mode=Mode.FORWARD)
    actions = tell(machine, answered)
    [reply] = answers(actions)
    assert reply.good and reply.rows.tolist() == [[0.75]]
    passes = machine.trainer.in_flight.passes
    [again] = answers(request(machine, "forward", rows=matrix((0.0, 1.0))))
    assert again.rows.tolist() == [[0.75]] and machine.trainer.in_flight.passes == passes


def test_there_is_an_end_to_open_requests() -> None:
    """The sixty-fifth is told to come again, and the coordinator remembers a bounded number of answers."""
    machine, _ = wired(PLAN)
    for number in range(64):
        assert (
            answers(
                request(machine, "forward", request_id=number.to_bytes(8, "big"), rows=matrix((0.0, 1.0))),
                number.to_bytes(8, "big"),
            )
            == []
        )
    assert "again" in fault(request(machine, "forward", rows=matrix((0.0, 1.0))))


def test_status_is_known_in_every_state() -> None:
    """Before a node has come, and while training: the same keys, null where nothing is known."""
    before = answer(request(linked(PLAN), "status"))
    assert (before["state"], before["nodes_registered"], before["nodes_needed"]) == ("gathering", 0, 3)
    assert before["weights_sha256"] is None and before["test_accuracy"] is None
    machine, _ = wired(PLAN)
    during = answer(request(machine, "status"))
    assert during["state"] == "training" and set(during) >= set(before)
    assert (during["neurons"], during["synapses"], during["groups"], during["nodes"], during["processes"]) == (
        3,
        2,
        3,
        3,
        3,
    )


def test_status_of_a_finished_network_counts_later_recoveries() -> None:
    """Two nodes are lost after the training: the figures of the training stay, the counts go on."""
    plan = plan_of(settings_of((2, 1), epochs=50), xor_data(), stop_when_finished=False)
    scenario, ask = running(plan, finished=True)
    scenario.run(lambda: scenario.machine.finished is not None)
    before, _ = ask("status")
    for generation in (2, 3):
        scenario.replace("node-1")
        scenario.run(
            lambda wanted=generation: (  # type: ignore[misc]
                scenario.machine.outbox.generation == wanted and scenario.machine.state.value == "idle"
            )
        )
    after, _ = ask("status")
    assert (before["recoveries"], before["generation"]) == (0, 1)
    assert (after["recoveries"], after["generation"]) == (2, 3)
    for key in ("seconds_training", "messages_per_second", "weights_sha256", "train_loss"):
        assert after[key] == before[key], key


def test_neurons_are_listed_with_who_hosts_them() -> None:
    """And those without a host."""
    machine = linked(PLAN)
    register(machine, 1)
    rows = answer(request(machine, "neurons"))["neurons"]
    assert [(row["neuron"], row["layer"], row["process"]) for row in rows] == [
        ("input.0", 0, None),
        ("input.1", 0, None),
        ("output.0", 1, None),
    ]
    rows = answer(request(wired(PLAN)[0], "neurons"))["neurons"]
    assert [(row["host"], row["process"], row["node"]) for row in rows] == [
        ("host", 1000 + n, f"node-{n}") for n in (1, 2, 3)
    ]


@pytest.mark.parametrize("microbatches", [1, 2])
@pytest.mark.parametrize("group_size", [1, 2, 3])
def test_a_neuron_tells_all_of_itself(group_size: int, microbatches: int) -> None:
    """Report one step: each synapse on both sides with its weight before and after, gradient, bias, activities and errors.

    The last step has two rows; with two microbatches each part has one row, which a group of one neuron computes in plain floats.
    """
    plan = plan_of(settings_of((3, 4, 3)), group_size=group_size, microbatches=microbatches, stop_when_finished=False)
    scenario, ask = running(plan, finished=True)
    facts, _ = ask("neuron", neuron="hidden.2")
    whole = parameters(scenario.machine)
    assert (facts["neuron"], facts["layer"], facts["activation"], facts["step"]) == ("hidden.2", 1, "logistic", 12)
    assert facts["bias"] == whole.biases[1][2]
    assert [(synapse["neuron"], synapse["weight"]) for synapse in facts["dendrites"]] == [
        (f"input.{index}", weight) for index, weight in enumerate(whole.weights[0][:, 2].tolist())
    ]
    assert [(synapse["neuron"], synapse["weight"]) for synapse in facts["axon"]] == [
        (f"output.{index}", weight) for index, weight in enumerate(whole.weights[1][2].tolist())
    ]
    # All numbers are of the last training step, whose batch is smaller, and not of the forward passes after it.
    assert (facts["rows"], len(facts["last_activity"]), len(facts["last_error"])) == (2, 2, 2)
    samples = plan.schedule().samples_of(11)
    before = np.array([synapse["before"] for synapse in facts["dendrites"]])
    totals = plan.data.train_inputs[samples] @ before + facts["bias_before"]
    assert facts["last_activity"] == pytest.approx((1.0 / (1.0 + np.exp(-totals))).tolist(), rel=1e-12)
    rate = plan.network.learning_rate
    for synapse in (*facts["axon"], *facts["dendrites"]):
        assert synapse["weight"] == pytest.approx(synapse["before"] - rate * synapse["gradient"], rel=1e-12)
    for synapse in facts["axon"]:
        products = np.array(synapse["error"]) * np.array(facts["last_activity"])
        assert synapse["gradient"] == pytest.approx(products.mean(), rel=1e-12)
    for synapse in facts["dendrites"]:
        products = np.array(facts["last_error"]) * np.array(synapse["activity"])
        assert synapse["gradient"] == pytest.approx(products.mean(), rel=1e-12)
    assert facts["bias"] == pytest.approx(facts["bias_before"] - rate * np.mean(facts["last_error"]), rel=1e-12)


def asked(actions: list[Any]) -> list[int]:
    return [message.group for message in messages(actions) if isinstance(message, TraceRequest)]


def data_frames(actions: list[Any]) -> list[DataFrame]:
    return [message for message in messages(actions) if isinstance(message, DataFrame)]


def state_report(machine: CoordinatorMachine, group: int, weights: tuple[float, ...]) -> TraceReport:
    """Return the report of a group that keeps no numbers of a step: its state only."""
    state = NamedArray("bias_after", matrix((0.0,))), NamedArray("weights_after", matrix(weights))
    step = machine.trainer.training.progress.step
    return TraceReport(by(machine, group), group, step, Mode.FORWARD, state, 0, 0)


def test_a_neuron_is_asked_about_between_two_steps_until_all_have_answered() -> None:
    """Its own group and its senders'; the next step waits, so that all numbers are of one pass."""
    machine, _ = wired(PLAN)
    assert asked(request(machine, "neuron", '{"neuron": "output.0"}')) == []
    actions = finish_step(machine)
    assert asked(actions) == [1, 2, 3] and not data_frames(actions)
    assert not data_frames(tell(machine, state_report(machine, 1, (0.5,))))
    assert asked(machine.handle(Tick(), 600.0)) == [2, 3]
    assert not data_frames(tell(machine, state_report(machine, 2, (0.25,))))
    actions = tell(machine, state_report(machine, 3, ()))
    assert [each["weight"] for each in answer(actions)["dendrites"]] == [0.5, 0.25]
    assert data_frames(actions)


def test_the_numbers_of_an_earlier_step_are_dropped() -> None:
    """A report may be the answer to a repeated request, and arrive when the numbers of a later step are wanted."""
    machine, _ = wired(PLAN)
    request(machine, "neuron", '{"neuron": "output.0"}')
    finish_step(machine)
    tell(machine, state_report(machine, 1, (0.5,))._replace(step=0))
    assert machine.dropped["stale"] == 1
    assert asked(machine.handle(Tick(), 600.0)) == [1, 2, 3]


def test_a_group_that_does_not_report_keeps_the_training_waiting_for_a_while_only() -> None:
    """Its numbers are requested some times; then the client reads one line, and the next step begins."""
    machine, _ = wired(PLAN)
    request(machine, "neuron", '{"neuron": "output.0"}')
    finish_step(machine)
    tell(machine, state_report(machine, 1, (0.5,)))
    wrong = state_report(machine, 2, (0.25, 0.25))
    for time in range(1, REQUESTS):
        assert not data_frames(tell(machine, wrong, 600.0 * time))
        assert asked(machine.handle(Tick(), 600.0 * time)) == [2, 3]
    actions = machine.handle(Tick(), 600.0 * REQUESTS)
    line = fault(actions)
    assert "input.1 did not report" in line and "\n" not in line
    assert data_frames(actions) and not asked(actions) and machine.recoveries == 0


def test_numbers_that_are_too_many_are_refused() -> None:
    """The groups would send more bytes than the broker can hold; one line says what to do."""
    settings = settings_of((2, 300, 2), batch_size=10_000)
    line = fault(request(wired(plan_of(settings, xor_data()))[0], "neuron", '{"neuron": "output.1"}'))
    assert "bytes" in line and "coordinator trace --sample 1 --neuron output.1" in line


def test_what_the_old_generation_said_of_a_neuron_is_forgotten() -> None:
    """After a recovery all groups are asked again."""
    machine, _ = wired(PLAN)
    request(machine, "neuron", '{"neuron": "output.0"}')
    assert asked(finish_step(machine)) == [1, 2, 3]
    tell(machine, state_report(machine, 1, (0.5,)))
    register(machine, 33, name="node-3", now_ms=700.0)
    actions = [action for number in (1, 2, 33) for action in ready(machine, number, 700.0)]
    assert asked(actions) == [1, 2, 3]


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 1_500])
def test_any_number_of_rows_comes_back_in_order(rows: int) -> None:
    """In batches or not, in the middle of training: each row's activities at its own place."""
    _, ask = running(plan_of(settings_of((2, 1), epochs=50), xor_data()))
    given = np.linspace(-1.0, 1.0, 2 * rows).reshape(rows, 2)
    _, activities = ask("forward", rows=given)
    assert activities.shape == (rows, 1)
    order = np.argsort(activities[:, 0])
    assert order.tolist() in (list(range(rows)), list(reversed(range(rows))))


def test_questions_do_not_change_what_is_learned() -> None:
    """A run that is asked all the time ends with the weights of one that is left alone."""
    plan = plan_of(seed_settings((2, 3, 1), epochs=2))
    scenario, ask = running(plan)
    while scenario.code is None and scenario.trainer.training.progress.step < plan.schedule().steps - 2:
        ask("status")
        ask("neuron", neuron="hidden.1")
        ask("forward", rows=np.ones((3, 2)))
        ask("trace", rows=np.ones((1, 3)))
        ask("trace", sample=1, neurons=["hidden.1"])
        ask("held_out")
    scenario.finish()


def test_a_stop_is_answered_before_it_is_done() -> None:
    """The reply leaves before the nodes are told."""
    machine, _ = wired(PLAN)
    actions = [action for action in request(machine, "stop") if isinstance(action, Answer | Send)]
    assert isinstance(actions[0], Answer)
    assert [type(decode(action.message[9:])) for action in actions[1:] if isinstance(action, Send)] == [Stop] * 3
    assert machine.state.value == "stopping"


def test_the_held_out_samples_come_back_with_their_targets() -> None:
    """Activities and targets side by side, for whoever makes a report of them."""
    _, ask = running(plan_of(settings_of((2, 1), epochs=50), xor_data()))
    _, rows = ask("held_out")
    assert rows.shape == (4, 2) and rows[:, 1].tolist() == [0.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("finished", [False, True])
def test_rows_that_overflow_are_refused_and_end_nothing(finished: bool) -> None:
    """Whoever sent them is told which neuron could not bear them; the run goes on, with the same weights in the end."""
    settings = settings_of((8, 1), epochs=60, output_activation="identity", learning_rate=0.005)
    plan = plan_of(settings, made_data(4, 8, 1), stop_when_finished=False)
    scenario, ask = running(plan, finished=finished)
    # Whatever the signs of the weights are, in one of these rows all signals have the same one.
    answer, _ = ask("forward", np.array([*itertools.product((-1.79e308, 1.79e308), repeat=8)]))
    assert "output.0 were no longer finite" in answer["error"]
    good, rows = ask("forward", np.zeros((1, 8)))
    assert good == {} and rows.shape == (1, 1)
    scenario.run(lambda: scenario.machine.finished is not None)
    assert scenario.machine.finished is not None
    assert scenario.machine.finished["weights_sha256"] == weights_sha256(
        trained(replace(plan, stop_when_finished=True))
    )


def test_the_held_out_samples_come_in_parts_of_a_limited_size() -> None:
    """From `first` on: the parts together are all samples, and after the last one there are none."""
    _, ask = running(plan_of(settings_of((2, 1), epochs=50), xor_data()))
    _, whole = ask("held_out")
    _, part = ask("held_out", first=1)
    # Training goes on in between, so only the targets are the same.
    assert part.shape == (3, 2) and part[:, 1].tolist() == whole[1:, 1].tolist()
    facts, rest = ask("held_out", first=4)
    assert facts == {} and rest.shape == (0, 2)
    for wrong in (5, -1, "1", True):
        assert "first must be a whole number from 0 to 4" in ask("held_out", first=wrong)[0]["error"]


def test_the_held_out_samples_come_with_their_inputs_and_as_many_as_asked() -> None:
    """So that a page can show them as pictures."""
    _, ask = running(LONG)
    _, some = ask("held_out", first=1, count=2, inputs=True)
    data = LONG.data
    assert some.shape == (2, 4)
    assert np.array_equal(some[:, [0, 1, 3]], np.concatenate([data.test_inputs, data.test_targets], axis=1)[1:3])
    assert "'many' is no number of samples" in ask("held_out", first=0, count="many")[0]["error"]


def test_a_description_has_all_settings_of_the_network() -> None:
    """A program that has nothing else can build the same settings."""
    _, ask = running(LONG)
    assert NetworkSettings.from_json(ask("describe")[0]["network"]) == LONG.network


def test_a_description_says_how_many_samples_are_held_out() -> None:
    """None, if those of the training are measured."""
    data = xor_data()
    assert np.array_equal(data.train_inputs, data.test_inputs)
    _, ask = running(LONG)
    assert ask("describe")[0]["held_out"] == 0
    some = replace(data, test_inputs=data.test_inputs[:3], test_targets=data.test_targets[:3])
    _, ask = running(replace(LONG, data=some))
    assert ask("describe")[0]["held_out"] == 3

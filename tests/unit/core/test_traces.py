"""A trace in a network with faults: it is answered whole, and the training does not notice it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from coordinator.core.inflight import ATTEMPTS
from coordinator.core.queries import DESCRIBED_AT_MOST
from coordinator.core.run_plan import RunPlan
from coordinator.topology import Topology
from coordinator.trace.numbers import neuron_facts
from neuron_node.addresses import COORDINATOR
from neuron_node.codec import encode
from neuron_node.events import Received, Tick
from neuron_node.frames import Mode
from neuron_node.protocol import (
    NOBODY,
    Diverged,
    Header,
    NamedArray,
    NodeStatus,
    Request,
    Stage,
    TraceReport,
    Waits,
)
from tests.coordinators import answers, by, finish_step, request, tell, tell_all, wired
from tests.coordinators import results_of_step as results
from tests.networks import plan_of, settings_of, xor_data
from tests.roles import NO_ROWS, matrix
from tests.simulation.scenario import Scenario

PLAN = plan_of(settings_of((2, 3, 1), epochs=12), xor_data())
THREE = plan_of(settings_of((2, 1)), xor_data())


def ask(scenario: Scenario, request_id: bytes, rows: Any = NO_ROWS, **arguments: Any) -> None:
    """Send a request for a trace."""
    scenario.ask(Request(Header(NOBODY, 0, 0, NOBODY), request_id, "trace", json.dumps(arguments), rows))


def told(scenario: Scenario, request_id: bytes) -> dict[str, Any]:
    """Wait for the answer to a request, and return it."""
    scenario.run(lambda: request_id in scenario.answers)
    reply = scenario.answers[request_id]
    assert reply.good, reply
    facts: dict[str, Any] = json.loads(reply.result)
    return facts


@pytest.mark.parametrize("microbatches", [1, 2])
def test_a_trace_in_the_midst_of_a_training_changes_no_bit(microbatches: int) -> None:
    """The run ends with the weights and the metrics of the undisturbed one; each trace is of a whole network after one step."""
    scenario = Scenario(plan_of(PLAN.network, PLAN.data, microbatches=microbatches), seed=3)
    steps = []
    for number, step in enumerate((1, 4, 8)):
        scenario.run_to(step)
        ask(scenario, bytes([number]) * 8, sample=2)
        facts = told(scenario, bytes([number]) * 8)
        assert (facts["rows"], facts["sample"], len(facts["neurons"])) == (1, 2, 6)
        steps.append(facts["step"])
    assert steps == sorted(steps) and steps[0] >= 1
    scenario.finish()


@pytest.mark.parametrize("seed", range(3))
def test_a_trace_survives_lost_messages_and_a_dead_node(seed: int) -> None:
    """Lost frames and reports are sent again; a node that dies in a trace costs a recovery, and the trace is done after it."""
    scenario = Scenario(PLAN, seed=seed, lost=0.05, doubled=0.05)
    scenario.run_to(3)
    ask(scenario, b"a client", rows=matrix((1.0, 0.0, 1.0)))
    scenario.run(lambda: any(flight.mode is Mode.TRACE for flight in scenario.trainer.in_flight.flights.values()))
    scenario.replace("node-4")
    facts = told(scenario, b"a client")
    assert [each["neuron"] for each in facts["neurons"]][-1] == "output.0"
    assert facts["inputs"] == [[1.0, 0.0]] and facts["targets"] == [[1.0]]
    scenario.finish()


def report(machine: Any, group: int, number: int, **changed: Any) -> TraceReport:
    """The report of a group of the network 2-1 with zeros."""
    outputs = group == 3
    shapes = {
        **dict.fromkeys(("activity", "own_error", "sum", "slope"), (1, 1)),
        **dict.fromkeys(("bias", "bias_gradient", "bias_after"), (1, 1)),
        **dict.fromkeys(("weights", "gradients", "weights_after"), (1, 0 if outputs else 1)),
        "signals": (1, 2 if outputs else 1),
        "errors": (1, 1),
        **({} if outputs else {"fired": (1, 1), "error_sum": (1, 1)}),
        **changed,
    }
    arrays = tuple(NamedArray(name, np.zeros(shape)) for name, shape in shapes.items())
    return TraceReport(by(machine, group, number), group, 1, Mode.TRACE, arrays, 5, 7)


def tracing() -> tuple[Any, int]:
    """A coordinator whose nodes 1 to 3 are in a traced pass, and its number."""
    machine, _ = wired(THREE)
    request(machine, "trace", '{"sample": 1}')
    finish_step(machine)
    [(number, flight)] = machine.trainer.in_flight.flights.items()
    assert flight.mode is Mode.TRACE
    return machine, number


def test_a_trace_waits_for_the_report_of_every_group() -> None:
    """Outputs and input errors alone do not end it; a report that comes twice, or late, is dropped."""
    machine, number = tracing()
    tell_all(machine, results(machine, number, 1, Mode.TRACE))
    tell(machine, report(machine, 1, number))
    tell(machine, report(machine, 1, number))
    assert machine.dropped["duplicate"] == 1
    tell(machine, report(machine, 2, number))
    [reply] = answers(tell(machine, report(machine, 3, number)))
    assert reply.good and [each["neuron"] for each in json.loads(reply.result)["neurons"]] == list(
        machine.topology.group_of
    )
    tell(machine, report(machine, 3, number))
    assert machine.dropped["stale"] == 1


@pytest.mark.parametrize(
    "changed", [{"activity": (2, 1)}, {"weights": (1, 2)}, {"signals": (1, 3)}, {"sum": (0, 0)}], ids=str
)
def test_a_report_of_another_shape_is_dropped(changed: dict[str, Any]) -> None:
    """It is counted, and the report of the group is still missing."""
    machine, number = tracing()
    tell(machine, report(machine, 1, number, **changed))
    assert machine.dropped["shape"] == 1
    [flight] = machine.trainer.in_flight.flights.values()
    assert flight.trace.missing == [1, 2, 3]


def test_numbers_that_overflow_in_a_trace_end_the_trace_and_not_the_run() -> None:
    """The client is told which neuron it was, and the training goes on."""
    machine, number = tracing()
    [reply] = answers(tell(machine, Diverged(by(machine, 3, number), 3, "output.0", 1)))
    assert not reply.good and "output.0" in reply.result
    assert machine.failure is None and not machine.trainer.in_flight.traces


def test_the_last_report_ends_the_pass_before_the_next_frame_of_its_message() -> None:
    """A relay joins frames: the answer of a node that was asked why a trace waits may follow the last report."""
    machine, number = tracing()
    tell_all(machine, results(machine, number, 1, Mode.TRACE))
    for group in (1, 2):
        tell(machine, report(machine, group, number))
    request(machine, "why", request_id=b"why then")
    statuses = [
        NodeStatus(by(machine, group, number), "working", (Waits(group, Stage.DONE, ()),)) for group in (1, 2, 3)
    ]
    frames = [encode(report(machine, 3, number)), *map(encode, statuses)]
    actions = machine.handle(Received(COORDINATOR + b"".join(frames)), 0.0)
    assert answers(actions)[0].good and answers(actions, b"why then")[0].good


def test_a_traced_pass_that_does_not_end_is_given_up_and_the_training_goes_on() -> None:
    """The pass is repeated some times; then the client reads one line, and the next pass begins in the same generation."""
    machine, number = tracing()
    tell(machine, report(machine, 1, number))
    attempts = []
    for second in range(60):
        for group in (1, 2, 3):
            waits = (Waits(group, Stage.FIRED, ()),)
            tell(machine, NodeStatus(by(machine, group, number), "working", waits), 1_000.0 * second)
        actions = machine.handle(Tick(), 1_000.0 * second)
        if answers(actions):
            break
        attempts += [flight.attempt for flight in machine.trainer.in_flight.flights.values()]
    line = json.loads(answers(actions)[0].result)["error"]
    assert "output.0 did not report" in line and "\n" not in line
    assert max(attempts) == ATTEMPTS and machine.recoveries == 0 and machine.failure is None
    [flight] = machine.trainer.in_flight.flights.values()
    assert (flight.trace, flight.number) == (None, number + 1)


@pytest.mark.parametrize("layers", [(2, 1), (2, 2, 1)])
def test_a_sum_that_overflows_in_a_trace_is_refused(layers: tuple[int, ...]) -> None:
    """The activity of an infinite sum may be finite: tanh gives 1. A report holds the sum, and no infinity."""
    network = settings_of(layers, hidden_activation="tanh", output_activation="tanh", epochs=12)
    scenario = Scenario(plan_of(network, xor_data(), stop_when_finished=False), seed=3)
    scenario.run_to(2)
    rows = [matrix((first, second, 1.0)) for first in (1.79e308, -1.79e308) for second in (1.79e308, -1.79e308)]
    for number, row in enumerate(rows):
        ask(scenario, bytes([number]) * 8, rows=row)
    scenario.run(lambda: len(scenario.answers) == len(rows))
    refused = [reply for reply in scenario.answers.values() if not reply.good]
    assert refused and all("were no longer finite" in reply.result for reply in refused)
    scenario.run(lambda: scenario.machine.finished is not None)
    assert scenario.machine.recoveries == 0


@pytest.mark.parametrize(
    ("arguments", "rows", "said"),
    [
        ({}, NO_ROWS, "one row of 2 inputs and 1 targets"),
        ({}, matrix((1.0, 0.0)), "one row of 2 inputs and 1 targets"),
        ({"sample": 0}, NO_ROWS, "numbered 1 to 4"),
        ({"sample": 5}, NO_ROWS, "numbered 1 to 4"),
        ({"sample": True}, NO_ROWS, "numbered 1 to 4"),
        ({"sample": "x"}, NO_ROWS, "numbered 1 to 4"),
        ({"sample": 1, "neurons": ["hidden.9"]}, NO_ROWS, "there is no neuron 'hidden.9'"),
        ({"sample": 1, "neurons": []}, NO_ROWS, "a list of 1 to"),
        ({"sample": 1, "neurons": "input.0"}, NO_ROWS, "a list of 1 to"),
        ({"sample": 1, "neurons": [["input.0"]]}, NO_ROWS, "there is no neuron"),
    ],
)
def test_a_wrong_request_is_answered_with_what_would_be_right(arguments: Any, rows: Any, said: str) -> None:
    """In one line, at once."""
    machine, _ = wired(THREE)
    [reply] = answers(request(machine, "trace", json.dumps(arguments), rows=rows))
    line = json.loads(reply.result)["error"]
    assert not reply.good and said in line and "\n" not in line


def test_a_large_network_is_described_neuron_by_neuron() -> None:
    """All neurons in one answer would be more than an answer holds."""
    wide = DESCRIBED_AT_MOST // 2
    plan = plan_of(settings_of((2, wide, 1)), xor_data(), group_size=wide)
    machine, _ = wired(plan)
    [reply] = answers(request(machine, "trace", '{"sample": 1}'))
    assert "--neuron" in json.loads(reply.result)["error"]
    named = request(machine, "trace", '{"sample": 1, "neurons": ["hidden.7"]}', request_id=b"another!")
    assert not answers(named, b"another!")


def test_the_facts_name_the_groups_that_send() -> None:
    """A neuron gets one signal from a group of several neurons: the sum over them."""
    plan: RunPlan = plan_of(settings_of((3, 2, 1)), group_size=3)
    topology = Topology(plan.network.layers, 3)
    arrays = {"signals": (1, 2), **dict.fromkeys(("activity", "sum", "slope", "own_error", "error_sum"), (1, 2))}
    arrays |= {**dict.fromkeys(("bias", "bias_gradient", "bias_after"), (1, 2)), "fired": (1, 1), "errors": (1, 1)}
    arrays |= dict.fromkeys(("weights", "gradients", "weights_after"), (2, 1))
    made = tuple(NamedArray(name, np.zeros(shape)) for name, shape in arrays.items())
    reports = {2: TraceReport(Header(NOBODY, 1, 1, NOBODY), 2, 0, 3, made, 5, 7)}
    facts = neuron_facts(topology, plan.network, reports, "hidden.1", {2: "laptop"})
    assert facts["signals"] == [{"from": "input.0…input.2", "signal": [0.0]}]
    assert facts["axon"][0]["signal"] is None
    assert (facts["host"], facts["fired_us"], facts["replied_us"]) == ("laptop", 5, 7)

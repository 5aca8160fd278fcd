"""A coordinator alone; the test plays its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coordinator.core.access import Access
from coordinator.core.events import Answer, Asked, GenerationPersisted, PersistGeneration, Report
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.run_plan import RunPlan
from coordinator.core.state import CoordinatorState
from neuron_node.activations import Array
from neuron_node.addresses import COORDINATOR, stage_address
from neuron_node.codec import encode
from neuron_node.events import Interrupted, Received, Tick
from neuron_node.frames import DataFrame, DataKind, Mode
from neuron_node.protocol import (
    NOBODY,
    Grant,
    Header,
    Heartbeat,
    Message,
    Probe,
    Ready,
    Register,
    Reply,
    Request,
    Traffic,
)
from neuron_node.role import OUTSIDE
from tests.networks import FINGERPRINT, RUN, plan_of, settings_of, xor_data
from tests.roles import NO_ROWS, data, encoded, sent

NO_TRAFFIC = Traffic(0, 0, 0)


def life(number: int) -> bytes:
    """Return the incarnation of a node."""
    return number.to_bytes(8, "big")


def handle(machine: CoordinatorMachine, event: Any, now_ms: float = 0.0) -> list[Any]:
    """Return the coordinator's actions for an event. The disk never fails: generations are durable at once."""
    return on_disk(machine, machine.handle(event, now_ms), now_ms)


def on_disk(machine: CoordinatorMachine, actions: list[Any], now_ms: float = 0.0) -> list[Any]:
    """Return the actions, and those that follow when their generation is durable."""
    for action in actions:
        if isinstance(action, PersistGeneration):
            actions = [*actions, *machine.handle(GenerationPersisted(action.generation), now_ms)]
    return actions


def to_coordinator(message: Message | DataFrame) -> bytes:
    """Return the message of a frame to the coordinator: at its own address, or at the address of results for data frames."""
    return (stage_address(OUTSIDE) if isinstance(message, DataFrame) else COORDINATOR) + encoded(message)


def tell(machine: CoordinatorMachine, message: Message | DataFrame, now_ms: float = 0.0) -> list[Any]:
    """Return the coordinator's actions for a message."""
    return handle(machine, Received(to_coordinator(message)), now_ms)


def linked(plan: RunPlan) -> CoordinatorMachine:
    """Return a coordinator that has proved its own link."""
    machine = CoordinatorMachine(plan)
    [(address, probe)] = sent(on_disk(machine, machine.start(0.0)))
    assert isinstance(probe, Probe)
    machine.handle(Received(address + encode(probe)), 0.0)
    return machine


def register(
    machine: CoordinatorMachine,
    number: int,
    name: str = "",
    fingerprint: str = FINGERPRINT,
    now_ms: float = 0.0,
    generation: int = 0,
    run: bytes = RUN,
) -> list[Any]:
    """Register a node as its supervisor starts it, or without a run; with a generation, one that hosted groups of the run in it."""
    header = Header(run, generation, 0, life(number))
    return tell(
        machine, Register(header, name or f"node-{number}", "host", 1000 + number, "0.2.0", fingerprint), now_ms
    )


def by(machine: CoordinatorMachine, number: int, pass_number: int = 0, generation: int | None = None) -> Header:
    """Return the header of a node's message, in the present generation unless given."""
    return Header(RUN, machine.outbox.generation if generation is None else generation, pass_number, life(number))


def ready(machine: CoordinatorMachine, number: int, now_ms: float = 0.0) -> list[Any]:
    """Let a node say that it is ready."""
    return tell(machine, Ready(by(machine, number), NO_TRAFFIC), now_ms)


def wired(plan: RunPlan) -> tuple[CoordinatorMachine, list[Any]]:
    """Return a coordinator whose nodes are ready, one per group, numbered from 1; and its actions for the last `Ready`."""
    machine = linked(plan)
    for number in machine.topology.groups:
        register(machine, number)
    actions: list[Any] = []
    for number in machine.topology.groups:
        actions = ready(machine, number)
    return machine, actions


def request(
    machine: CoordinatorMachine,
    command: str,
    arguments: str = "{}",
    request_id: bytes = b"a client",
    rows: Any = NO_ROWS,
    access: Access = Access.OPERATOR,
) -> list[Any]:
    """Send the request of a client."""
    asked = Asked(Request(Header(NOBODY, 0, 0, NOBODY), request_id, command, arguments, rows), access)
    return handle(machine, asked)


def answers(actions: list[Any], request_id: bytes = b"a client") -> list[Reply]:
    """Return the answers to a request among the actions."""
    return [action.reply for action in actions if isinstance(action, Answer) and action.request_id == request_id]


def grants(actions: list[Any]) -> dict[bytes, Grant]:
    """Return the grants among the actions, by the incarnation of their node."""
    return {address[1:]: message for address, message in sent(actions) if isinstance(message, Grant)}


def reports(actions: list[Any], event: str) -> list[dict[str, Any]]:
    """Return the facts of the reports of one kind."""
    return [action.facts for action in actions if isinstance(action, Report) and action.event == event]


def result(
    machine: CoordinatorMachine, kind: DataKind, group: int, number: int, values: Array, **said: Any
) -> DataFrame:
    """Return the result of a group in a pass, in the present generation unless given; `said` goes to `data`."""
    return data(kind, OUTSIDE, group, values, number, **{"generation": machine.outbox.generation, **said})


def output(machine: CoordinatorMachine, number: int, rows: int, **said: Any) -> DataFrame:
    """Return the message with the activities of node-3's output group, all 0.5."""
    return result(machine, DataKind.OUTPUT, 3, number, np.full((rows, 1), 0.5), **said)


def input_done(machine: CoordinatorMachine, group: int, number: int, rows: int, **said: Any) -> DataFrame:
    """Return the message with the empty error of an input group that learns no bias."""
    return result(machine, DataKind.INPUT_ERROR, group, number, np.empty((rows, 0)), **said)


def finish_step(machine: CoordinatorMachine, now_ms: float = 0.0) -> list[Any]:
    """Play all three nodes of one training step."""
    number = machine.trainer.in_flight.oldest
    flight = machine.trainer.in_flight.flights[number]
    return tell_all(machine, results_of_step(machine, number, len(flight.inputs), flight.mode), now_ms)


def results_of_step(machine: CoordinatorMachine, number: int, rows: int, mode: Mode = Mode.TRAIN) -> list[DataFrame]:
    """Return the messages of the three nodes to the coordinator in a training step."""
    done = [input_done(machine, group, number, rows, mode=mode) for group in (1, 2)]
    return [output(machine, number, rows, mode=mode), *done]


def tell_all(machine: CoordinatorMachine, told: Sequence[Message | DataFrame], now_ms: float = 0.0) -> list[Any]:
    """Handle several messages; return the coordinator's actions for the last."""
    actions: list[Any] = []
    for message in told:
        actions = tell(machine, message, now_ms)
    return actions


THREE = plan_of(settings_of((2, 1)), xor_data())
"""Three groups of one neuron: node-1 and node-2 host the inputs, node-3 the output."""


def in_state(state: CoordinatorState) -> CoordinatorMachine:
    """Return a coordinator of three nodes in this state."""
    match state:
        case CoordinatorState.GATHERING:
            machine = linked(THREE)
            register(machine, 1)
        case CoordinatorState.WIRING:
            machine = linked(THREE)
            for number in (1, 2, 3):
                register(machine, number)
        case _:
            machine, _ = wired(THREE)
    match state:
        case CoordinatorState.IDLE:
            machine.trainer.done = True
            tell(machine, Heartbeat(by(machine, 1), "working", NO_TRAFFIC))
            machine.run.state = CoordinatorState.IDLE
        case CoordinatorState.STOPPING | CoordinatorState.ENDED:
            machine.handle(Interrupted(), 0.0)
    if state is CoordinatorState.ENDED:
        machine.handle(Tick(), 1e6)
    assert machine.state is state
    return machine

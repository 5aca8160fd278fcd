"""`why` names what a run waits for, whichever kind of message does not come through."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from coordinator.core.access import Access
from coordinator.core.events import Asked
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.state import CoordinatorState
from coordinator.core.wait_graph import Chain
from coordinator.in_memory import MemoryNetwork
from neuron_node.frames import DataFrame, DataKind
from neuron_node.identity import NodeIdentity
from neuron_node.node import Node
from neuron_node.protocol import (
    NOBODY,
    Fetch,
    Grant,
    GroupState,
    Header,
    Heartbeat,
    Message,
    NodeStatus,
    NodeStatusRequest,
    Probe,
    Ready,
    Register,
    Request,
    Stop,
    Stopped,
    Welcome,
)
from neuron_node.role import OUTSIDE
from tests.networks import made_data, plan_of, settings_of
from tests.roles import NO_ROWS, frames_of

PLAN = plan_of(settings_of((2, 2, 1), epochs=1, batch_size=1), made_data(6, 2, 1), snapshot_interval_steps=4)
"""Six steps, and nothing else in between."""
Blocked = Callable[[Message | DataFrame], bool]


def data(kind: DataKind, sender: int | None = None) -> Blocked:
    """Of data frames, those of a kind; of a sender, where one is given."""
    return lambda frame: isinstance(frame, DataFrame) and frame.kind == kind and sender in (None, frame.sender)


class Censored(MemoryNetwork):
    """Five nodes and their coordinator; `blocked` says which messages vanish."""

    def __init__(self) -> None:
        super().__init__()
        self.blocked: Blocked = lambda _frame: False
        self.machine = CoordinatorMachine(PLAN)
        self.questions = 0
        self.hears_disk = True

    def begin(self) -> None:
        """Start every program."""
        self.add(self.machine)
        for number in self.machine.topology.groups:
            born = NodeIdentity(
                number.to_bytes(8, "big"), f"node-{number}", "here", 100 + number, "test", PLAN.fingerprint
            )
            self.add(Node(born))

    def send(self, message: bytes) -> None:
        """Deliver what is not blocked."""
        [frame] = frames_of(message)
        if not self.blocked(frame):
            super().send(message)

    def reach(self, condition: Callable[[], bool]) -> None:
        """Run until something holds."""
        self.run_until(condition)

    def why(self, neuron: str | None = None) -> Chain:
        """Ask as a client, and wait for the answer."""
        self.questions += 1
        client = f"why-{self.questions:04}".encode()
        arguments = json.dumps({} if neuron is None else {"neuron": neuron})
        self.ask(client, arguments)
        self.run_until(lambda: client in self.answers)
        reply = self.answers[client]
        assert reply.good
        answer = json.loads(reply.result)
        return Chain(tuple(answer["why"]), answer["blocked_by"])

    def ask(self, request_id: bytes, arguments: str) -> None:
        """Send a request to the coordinator, which starts first."""
        request = Request(Header(NOBODY, 0, 0, NOBODY), request_id, "why", arguments, NO_ROWS)
        self.give(0, Asked(request, Access.VIEWER))

    def waits(self, milliseconds: float) -> None:
        """Let time pass."""
        until_ms = self.now_ms + milliseconds
        self.run_until(lambda: self.now_ms >= until_ms)


def in_mid_training(blocked: Blocked, for_ms: float = 1_000.0) -> Censored:
    """A network that loses some messages from its third step on, and has tried for a while."""
    network = Censored()
    network.begin()
    network.reach(lambda: network.machine.trainer.training.progress.step == 2)
    network.blocked = blocked
    network.waits(for_ms)
    return network


@pytest.mark.parametrize(
    ("kind", "sender", "cause", "names"),
    [
        (DataKind.AXON, OUTSIDE, "input", "waits for its input from the coordinator"),
        (DataKind.TARGET, OUTSIDE, "target", "output.0 waits for its target from the coordinator"),
        (DataKind.SIGNAL, None, "signal", "output.0 waits for the signal of hidden.0"),
        (DataKind.AXON, 1, "signal", "hidden.0 waits for the signal of input.0"),
        (DataKind.ERROR, 5, "error", "hidden.0 waits for the error of output.0"),
        (DataKind.OUTPUT, None, "lost result", "the coordinator waits for the activity of output.0"),
        (DataKind.INPUT_ERROR, None, "lost result", "the coordinator waits for the error of input.0"),
    ],
)
def test_data_that_does_not_come_is_named(kind: DataKind, sender: int | None, cause: str, names: str) -> None:
    """By the group that waits, the kind of message, and the group that sent it."""
    network = in_mid_training(data(kind, sender))
    found = network.why()
    assert found.blocked_by == cause
    assert names in " → ".join(found.sentences)
    # A step that is confirmed by the outputs of the next one ends later than its own outputs came.
    begin = r"step ([3-6]) \(pass \1\) has been under way for [01]\.\d s and was repeated 2 times"
    assert re.fullmatch(begin, found.sentences[0])


def test_the_chain_begins_at_the_neuron_that_is_asked_for() -> None:
    """An input neuron waits for the error of a hidden one, that for the output's, which waits for its target."""
    network = in_mid_training(data(DataKind.TARGET))
    assert [sentence.split(" from ")[0] for sentence in network.why("input.1").sentences[1:]] == [
        "input.1 waits for the error of hidden.0 and 1 more",
        "hidden.0 waits for the error of output.0",
        "output.0 waits for its target",
    ]


def sender_of(frame: Message | DataFrame) -> bytes | int:
    """The incarnation of a control frame's sender, the group of a data frame's."""
    return frame.sender if isinstance(frame, DataFrame) else frame.header.incarnation


def test_a_node_that_hangs_is_named_with_where_it_runs() -> None:
    """Nothing of it arrives: by its silence it is told from one whose message was lost."""
    output = (5).to_bytes(8, "big")
    network = in_mid_training(lambda frame: sender_of(frame) in (output, 5), for_ms=0.0)
    found = network.why()
    assert found.blocked_by == "node"
    assert "output.0 on node node-5 (here, process 105) was last heard " in found.sentences[-1]


@pytest.mark.parametrize(
    ("kind", "state", "cause"),
    [
        (Register, CoordinatorState.GATHERING, "register"),
        (Welcome, CoordinatorState.WIRING, "ready"),
        (Grant, CoordinatorState.WIRING, "ready"),
        (Ready, CoordinatorState.WIRING, "ready"),
        (Probe, CoordinatorState.GATHERING, "probe"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_control_that_does_not_come_is_named(kind: type, state: CoordinatorState, cause: str) -> None:
    """Before the network stands."""
    network = Censored()
    network.blocked = lambda message: isinstance(message, kind)
    network.begin()
    network.waits(1_000.0)
    assert network.machine.state is state
    found = network.why()
    assert found.blocked_by == cause
    assert (
        cause != "register"
        or "input.0, input.1, hidden.0, hidden.1, output.0 wait for nodes: 0 of 5" in found.sentences[0]
    )


def test_a_snapshots_missing_part_is_named() -> None:
    """The run does not end without it."""
    network = Censored()
    network.begin()
    network.blocked = lambda message: isinstance(message, GroupState) and message.group == 3
    network.waits(3_000.0)
    found = network.why()
    assert (found.blocked_by, found.sentences) == (
        "state",
        ("the snapshot after step 6 waits for the state of hidden.0",),
    )


def test_nodes_that_do_not_say_that_they_end_are_named() -> None:
    """While the run stops."""
    network = Censored()
    network.begin()
    network.blocked = lambda message: isinstance(message, Stopped)
    network.reach(lambda: network.machine.state is CoordinatorState.STOPPING)
    found = network.why()
    assert found.blocked_by == "stopped" and found.sentences[0].startswith("node-1, node-2, ")


def trained(network: Censored) -> str:
    """The weights in the end."""
    network.reach(lambda: network.machine.finished is not None)
    assert network.machine.finished is not None
    return str(network.machine.finished["weights_sha256"])


@pytest.mark.parametrize(
    "kind", [Fetch, Heartbeat, NodeStatusRequest, NodeStatus, Stop], ids=lambda kind: kind.__name__
)
def test_the_other_kinds_block_nothing(kind: type) -> None:
    """The training ends without them, with the same weights."""
    weights = []
    for blocked in (False, True):
        network = Censored()
        if blocked:
            network.blocked = lambda message: isinstance(message, kind)
        network.begin()
        weights.append(trained(network))
    assert weights[0] == weights[1]


def test_a_run_in_which_nothing_is_blocked_says_so() -> None:
    """When it has trained, and stays to answer."""
    network = Censored()
    network.machine.run.plan = replace(PLAN, stop_when_finished=False)
    network.begin()
    network.reach(lambda: network.machine.state is CoordinatorState.IDLE)
    assert network.why() == Chain(("nothing is blocked: step 6 is done",), None)


def test_a_person_asks_by_a_request() -> None:
    """The answer has the sentences and the kind of the cause; a neuron that is not there is a line that says so."""
    network = in_mid_training(data(DataKind.OUTPUT))
    answers = network.answers
    for client, arguments in ((b"client-1", '{"neuron": "output.0"}'), (b"client-2", '{"neuron": "hidden.9"}')):
        network.ask(client, arguments)
    network.reach(lambda: len(answers) == 2)
    good, bad = json.loads(answers[b"client-1"].result), json.loads(answers[b"client-2"].result)
    assert good["blocked_by"] == "lost result" and good["why"][1].startswith("output.0 has sent all it has to")
    assert "there is no neuron 'hidden.9'" in bad["error"] and not answers[b"client-2"].good

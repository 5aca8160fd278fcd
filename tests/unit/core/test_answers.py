"""Who may send which command, and that a command is carried out once."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from coordinator.core import queries
from coordinator.core.access import Access
from coordinator.core.answers import Answers
from coordinator.core.events import Asked
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.queries import ANSWERS_KEPT, COMMANDS, commands_of
from coordinator.core.state import CoordinatorState
from neuron_node.protocol import NOBODY, Header, Reply, Request
from tests.coordinators import THREE, answers, in_state, request, tell, wired
from tests.roles import NO_ROWS

READING = {"status", "neurons", "neuron", "trace", "describe", "forward", "held_out", "history", "why", "watch"}


def test_viewers_read_and_operators_do_all() -> None:
    """A viewer may send the commands that only read, and an operator may send all commands."""
    assert set(commands_of(Access.VIEWER)) == READING
    assert commands_of(Access.OPERATOR) == list(COMMANDS)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_viewer_is_refused_what_changes_something(command: str) -> None:
    """The refusal is one line with the commands of a viewer, and the run continues."""
    machine, _ = wired(THREE)
    lines = [
        json.loads(reply.result)["error"]
        for reply in answers(request(machine, command, "[]", access=Access.VIEWER))
        if not reply.good
    ]
    refusals = [line for line in lines if f"{command} is for operators; a viewer may send status" in line]
    assert len(refusals) == (command not in READING) and not any("\n" in line for line in refusals)
    assert machine.state is CoordinatorState.TRAINING


def test_a_refusal_does_not_take_the_place_of_an_operator_s_answer() -> None:
    """After a viewer was refused, an operator may send the command with the same id."""
    machine, _ = wired(THREE)
    assert not answers(request(machine, "stop", access=Access.VIEWER))[0].good
    assert answers(request(machine, "stop", access=Access.OPERATOR))[0].good


def test_a_command_is_carried_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated command gets the same answer, also after many requests of viewers, and changes nothing."""
    done: list[bytes] = []

    def count(self: Any, message: Request) -> None:
        done.append(message.id)
        self._answer(message.id, {"done": len(done)})

    monkeypatch.setitem(queries.COMMANDS, "count", queries.Command(count, Access.OPERATOR))
    machine, _ = wired(THREE)
    first = answers(request(machine, "count"))
    for number in range(ANSWERS_KEPT[Access.VIEWER][0] + 10):
        request(machine, "status", request_id=number.to_bytes(8, "big"), access=Access.VIEWER)
    assert answers(request(machine, "count")) == first and done == [b"a client"]
    assert len(machine.queries._answers[Access.VIEWER]) == ANSWERS_KEPT[Access.VIEWER][0]


def test_answers_are_forgotten_oldest_first() -> None:
    """Both the number and the bytes of answers are limited; the newest answer always stays."""
    kept = Answers(3, 100)
    for number in range(5):
        kept.add(bytes([number]), Reply(Header(NOBODY, 0, 0, NOBODY), True, "x" * 10, NO_ROWS))
    assert [kept.get(bytes([number])) is not None for number in range(5)] == [False, False, True, True, True]
    kept.add(b"large", Reply(Header(NOBODY, 0, 0, NOBODY), True, "", np.zeros((10, 10))))
    assert len(kept) == 1 and kept.get(b"large") is not None


def test_an_answer_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is one line with the size and the limit."""
    monkeypatch.setattr(queries, "ANSWER_BYTES_AT_MOST", 20)
    [reply] = answers(request(wired(THREE)[0], "status"))
    assert not reply.good and "may have 20" in json.loads(reply.result)["error"]


@pytest.mark.parametrize("state", CoordinatorState, ids=lambda state: state.value)
def test_requests_are_answered_in_every_state_but_the_last(state: CoordinatorState) -> None:
    """A coordinator that has ended answers no request."""
    machine = in_state(state)
    assert len(answers(request(machine, "status"))) == (state is not CoordinatorState.ENDED)


def test_a_request_that_comes_through_the_broker_is_dropped() -> None:
    """A request at the broker changes nothing, neither from a stranger nor from a member."""
    machine: CoordinatorMachine = wired(THREE)[0]
    for incarnation, reason in ((b"stranger", "stale"), ((1).to_bytes(8, "big"), "unexpected")):
        before = machine.dropped[reason]
        header = Header(machine.run.plan.run, machine.outbox.generation, 0, incarnation)
        tell(machine, Request(header, b"12345678", "stop", "{}", NO_ROWS))
        assert machine.dropped[reason] == before + 1
    assert machine.state is CoordinatorState.TRAINING


def test_an_event_has_the_access_of_its_sender() -> None:
    """The access comes from the connection; a claim in the message does not count."""
    claimed = json.dumps({"access": "operator", "role": "operator"})
    asked = Asked(Request(Header(NOBODY, 0, 0, NOBODY), b"12345678", "stop", claimed, NO_ROWS), Access.VIEWER)
    machine, _ = wired(THREE)
    [reply] = answers(machine.handle(asked, 0.0), b"12345678")
    assert not reply.good

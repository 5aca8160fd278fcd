"""The request `restart`: the coordinator asks its shell for another run, and ends for it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from coordinator.core.access import Access
from coordinator.core.events import Answer, Asked, PrepareRun, RunPrepared
from coordinator.core.state import RESTARTED
from neuron_node.codec import encode
from neuron_node.events import End
from neuron_node.protocol import NOBODY, Header, Reply, Request
from tests.coordinators import handle, linked
from tests.networks import plan_of, settings_of
from tests.roles import NO_ROWS

REQUEST = bytes(range(8))
PLAN = plan_of(settings_of((2, 2, 1)), restarts=True)


def asked(settings: Any, access: Access = Access.OPERATOR, number: bytes = REQUEST) -> Asked:
    """Return a request for another run."""
    return Asked(
        Request(Header(NOBODY, 0, 0, NOBODY), number, "restart", json.dumps({"settings": settings}), NO_ROWS), access
    )


def answers(actions: list[Any]) -> list[Reply]:
    """Return the replies to clients."""
    return [action.reply for action in actions if isinstance(action, Answer)]


def test_another_run_ends_this_one() -> None:
    """The shell prepares the run; then the client gets its answer, before the coordinator ends with a code of its own."""
    machine = linked(PLAN)
    [wanted] = handle(machine, asked({"seed": "3"}))
    assert wanted == PrepareRun(REQUEST, {"seed": "3"}, 0)
    actions = handle(machine, RunPrepared(REQUEST, {"run": "xor-2"}))
    [reply] = answers(actions)
    assert reply.good and json.loads(reply.result) == {"run": "xor-2", "step": 0}
    assert End(RESTARTED) in actions
    assert not any(isinstance(action, End) for action in actions[: actions.index(Answer(REQUEST, reply))])


def test_a_run_that_cannot_begin_ends_nothing() -> None:
    """The client gets the reason, and the same reason when it asks again."""
    machine = linked(PLAN)
    handle(machine, asked({"seed": "x"}))
    actions = handle(machine, RunPrepared(REQUEST, {}, "--seed must be a whole number"))
    [reply] = answers(actions)
    assert not reply.good and "--seed" in reply.result
    assert not any(isinstance(action, End) for action in actions)
    assert answers(handle(machine, asked({"seed": "x"}))) == [reply]


def test_one_other_run_at_a_time() -> None:
    """A second client is refused in one line while a run is prepared, and may ask again if that one can't begin."""
    machine = linked(PLAN)
    handle(machine, asked({"seed": "x"}))
    second = bytes(8)
    [refused] = answers(handle(machine, asked({"seed": "4"}, number=second)))
    assert not refused.good and "another run is being prepared already" in refused.result
    handle(machine, RunPrepared(REQUEST, {}, "--seed must be a whole number"))
    [wanted] = handle(machine, asked({"seed": "4"}, number=b"again..."))
    assert wanted == PrepareRun(b"again...", {"seed": "4"}, 0)


def test_a_repeated_request_is_not_carried_out_twice() -> None:
    """The reply was lost, and the client repeats its request to the next coordinator: it gets the answer, and no other run begins."""
    machine = linked(replace(PLAN, begun_by=(REQUEST, {"run": "xor-2"})))
    actions = handle(machine, asked({"seed": "3"}))
    [reply] = answers(actions)
    assert json.loads(reply.result) == {"run": "xor-2", "again": True}
    assert not any(isinstance(action, PrepareRun | End) for action in actions)


def test_who_and_what() -> None:
    """A viewer, a run of `learn`, and settings that are no text are refused in one line each."""
    for plan, request, line in (
        (PLAN, asked({}, Access.VIEWER), "restart is for operators"),
        (replace(PLAN, restarts=False), asked({}), "begin another one with: coordinator learn"),
        (PLAN, asked({"seed": 3}), "its value as text"),
        (PLAN, asked(None), "its value as text"),
    ):
        actions = handle(linked(plan), request)
        [reply] = answers(actions)
        assert not reply.good and line in reply.result and encode(reply)
        assert not any(isinstance(action, PrepareRun) for action in actions)

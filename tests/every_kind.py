"""One well-formed message of every kind, of the tests' run and its first generation."""

from __future__ import annotations

from neuron_node.messages import (
    KINDS,
    LATEST_STEP,
    Axon,
    Diverged,
    Echo,
    Enquire,
    Error,
    Fetch,
    Grant,
    GroupState,
    Heartbeat,
    Input,
    InputError,
    Lacking,
    Message,
    Mode,
    Output,
    Placement,
    Probe,
    Query,
    Ready,
    Refuse,
    Register,
    Reply,
    Request,
    Signal,
    Stage,
    State,
    Stop,
    Stopped,
    Superseded,
    Target,
    Traffic,
    Waiting,
    Waits,
    Welcome,
)
from tests.networks import FINGERPRINT
from tests.roles import NO_ROWS, OTHER_LIFE, header, matrix, role_of

NUMBERS = matrix((0.5,))


def of_every_kind(life: bytes = OTHER_LIFE) -> list[Message]:
    """`life` is the incarnation of whatever a node says."""
    node, none = header(incarnation=life), Traffic(0, 0, 0)
    data, result = (header(1), 0, Mode.TRAIN, 1, NUMBERS), (header(1, incarnation=life), 0, Mode.TRAIN, 1, NUMBERS)
    made: list[Message] = [
        Register(node, "n", "h", 1, "0.1.0", FINGERPRINT),
        Welcome(header(), 1_000),
        Refuse(header(), "no"),
        Grant(header(), (Placement(role_of(), 0, None),)),
        Ready(node, none),
        Heartbeat(node, "spare", none),
        Enquire(header()),
        Fetch(header(), 2, LATEST_STEP),
        GroupState(node, 2, 0, State(NUMBERS, NUMBERS), NUMBERS, NUMBERS, none),
        Diverged(node, 2, "n", 1),
        Stop(header()),
        Stopped(node, none),
        Probe(header()),
        Echo(header(incarnation=life)),
        Lacking(node, (2,)),
        Query(header(1)),
        Waiting(node, "working", (Waits(2, Stage.FIRED, (3,)),)),
        Superseded(header()),
        Input(*data),
        Target(*data),
        Signal(*data),
        Axon(*data),
        Error(*data),
        Output(*result),
        InputError(*result),
        Request(node, life, "status", "{}", NO_ROWS),
        Reply(header(), True, "{}", NO_ROWS),
    ]
    assert {type(message) for message in made} == set(KINDS.values())
    return made

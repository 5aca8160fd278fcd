"""One valid frame of every kind, in the tests' run and its first generation."""

from __future__ import annotations

from neuron_node.frames import DataFrame, DataKind
from neuron_node.protocol import (
    KINDS,
    LATEST_STEP,
    Diverged,
    Echo,
    Fetch,
    Grant,
    GroupState,
    Heartbeat,
    Message,
    NamedArray,
    NodeStatus,
    NodeStatusRequest,
    Placement,
    Probe,
    Ready,
    Register,
    Reject,
    Reply,
    Request,
    Reregister,
    SnapshotMissing,
    Stage,
    Stop,
    Stopped,
    Superseded,
    TraceReport,
    TraceRequest,
    Traffic,
    Waits,
    Welcome,
    state_of,
)
from neuron_node.role import OUTSIDE
from tests.networks import FINGERPRINT
from tests.roles import NO_ROWS, OTHER_LIFE, data, header, matrix, role_of

NUMBERS = matrix((0.5,))


def of_every_kind(life: bytes = OTHER_LIFE) -> list[Message | DataFrame]:
    """Return control messages and data frames; `life` is the incarnation of the nodes."""
    return [*control_of_every_kind(life), *data_of_every_kind()]


def control_of_every_kind(life: bytes = OTHER_LIFE) -> list[Message]:
    """Return a control message of every kind; `life` is the incarnation of the nodes."""
    node, none = header(incarnation=life), Traffic(0, 0, 0)
    made: list[Message] = [
        Register(node, "n", "h", 1, "0.2.0", FINGERPRINT),
        Welcome(header(), 1_000),
        Reject(header(), "no"),
        Grant(header(), (Placement(role_of(), 0, None),)),
        Ready(node, none),
        Heartbeat(node, "spare", none),
        Reregister(header()),
        Fetch(header(), 2, LATEST_STEP),
        GroupState(node, 2, 0, state_of(NUMBERS, NUMBERS), NUMBERS, NUMBERS, none),
        Diverged(node, 2, "n", 1),
        Stop(header()),
        Stopped(node, none),
        Probe(header()),
        Echo(header(incarnation=life)),
        SnapshotMissing(node, (2,)),
        NodeStatusRequest(header(1)),
        NodeStatus(node, "working", (Waits(2, Stage.FIRED, (3,)),)),
        Superseded(header()),
        Request(node, life, "status", "{}", NO_ROWS),
        Reply(header(), True, "{}", NO_ROWS),
        TraceRequest(header(), 2),
        TraceReport(node, 2, 1, 3, (NamedArray("activity", NUMBERS),), 5, 7),
    ]
    assert {type(message) for message in made} == set(KINDS.values())
    return made


def data_of_every_kind() -> list[DataFrame]:
    """Return a data frame of every kind, from group 1 to group 2 and its stage 2; results also come from group 1."""
    results, outside = (DataKind.OUTPUT, DataKind.INPUT_ERROR), (DataKind.TARGET, DataKind.TARGETS)
    return [
        data(kind, OUTSIDE if kind in results else 2, OUTSIDE if kind in outside else 1, NUMBERS) for kind in DataKind
    ]

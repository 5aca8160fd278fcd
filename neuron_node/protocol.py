"""Every kind of control message, on one page: its number, its fields, their types and bounds. `docs/protocol.md` says who sends what when.

A control frame is its length and a msgpack array `version, kind, run, generation, pass, incarnation, fields…`. Data frames
have a layout of their own: see `frames.py`. Old numbers are never given to new kinds. The body of `Reject` is the same in every
version, so that a program of another version can be told why.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NamedTuple

import numpy as np

from neuron_node.activations import Array
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.peer import Endpoint, Peer
from neuron_node.role import Role
from neuron_node.schema import (
    MAX_BATCH,
    MAX_GROUP,
    MAX_NUMBER,
    Blob,
    Flag,
    Many,
    Matrix,
    Maybe,
    Record,
    Text,
    Whole,
    record_of,
)

MAX_HOSTED = 4096
MAX_PEERS = 65_536
MAX_ARRAYS = 8
DIGEST_LENGTH = 32
MISSING_AT_MOST = 16

Identity = Annotated[bytes, Blob(IDENTITY_LENGTH)]
Count = Annotated[int, Whole()]
GroupNumber = Annotated[int, Whole(0, 2**32 - 1)]
Digest = Annotated[bytes | None, Maybe(Blob(DIGEST_LENGTH))]
NOBODY = bytes(IDENTITY_LENGTH)
LATEST_STEP = MAX_NUMBER


class Stage(IntEnum):
    """How far a group has come in one pass. No frame of an unheard pass has reached it."""

    UNHEARD = 0
    LISTENING = 1
    FIRED = 2
    DONE = 3


class Header(NamedTuple):
    """The sender, and the run, generation and pass of a message."""

    run: Identity
    generation: Count
    pass_number: Count
    incarnation: Identity


Values = Annotated[Array, Matrix()]


class NamedArray(NamedTuple):
    """An array of a group's state, and its name."""

    name: Annotated[str, Text(32)]
    values: Annotated[Array, Matrix(MAX_GROUP, 2**32)]


class State(NamedTuple):
    """A group's learned numbers, as named arrays: `bias` (1, neurons) and `weights` (neurons, synapses)."""

    arrays: Annotated[tuple[NamedArray, ...], Many(record_of(NamedArray), MAX_ARRAYS)]

    @property
    def bias(self) -> Array:
        """(1, neurons); empty if there is none of that name."""
        return self._named("bias")

    @property
    def weights(self) -> Array:
        """(neurons, synapses); empty if there is none of that name."""
        return self._named("weights")

    @property
    def numbers(self) -> tuple[Array, Array]:
        """Bias and weights."""
        return self.bias, self.weights

    def _named(self, name: str) -> Array:
        return next((array.values for array in self.arrays if array.name == name), np.empty((0, 0)))


def state_of(bias: Array, weights: Array) -> State:
    """The state of a group with a bias (1, neurons) and weights (neurons, synapses)."""
    return State((NamedArray("bias", bias), NamedArray("weights", weights)))


class Placement(NamedTuple):
    """A group for a node: its role, the step it stands at, and its state then.

    With a digest instead of a state the node takes the copy that it kept; with neither it draws the initial state.
    """

    role: Annotated[Role, record_of(Role)]
    step: Count
    state: Annotated[State | None, Maybe(record_of(State))]
    digest: Digest = None


class Waits(NamedTuple):
    """Where a group stands in a pass: its stage, and the first of those whose messages it has not (0: the coordinator)."""

    group: GroupNumber
    stage: Annotated[int, Whole(0, max(Stage))]
    missing: Annotated[tuple[int, ...], Many(Whole(0, 2**32 - 1), MISSING_AT_MOST)]


class Traffic(NamedTuple):
    """What a node has counted since it was born."""

    sent: Count
    received: Count
    dropped: Count


# Control: cheap and verbose, idempotent, repeated until answered.


class Register(NamedTuple):
    """Node → coordinator: here I am. Repeated, ever more slowly, until it is answered.

    The name outlives a life: a second registration under it, by another incarnation, says that the first one is dead.
    """

    header: Header
    name: Annotated[str, Text(255)]
    host: Annotated[str, Text(255)]
    process: Count
    software: Annotated[str, Text(64)]
    fingerprint: Annotated[str, Text(512)]
    endpoint: Endpoint = ""
    """Where its data can be heard without the broker; empty: nowhere."""


class Welcome(NamedTuple):
    """Coordinator → node: you are a spare of this run."""

    header: Header
    heartbeat_interval_ms: Annotated[int, Whole(1, 3_600_000)]


class Reject(NamedTuple):
    """Coordinator → node: you can't take part, and why. The node says so and ends."""

    header: Header
    reason: Annotated[str, Text(1024)]


class Grant(NamedTuple):
    """Coordinator → node: from this generation on, host these groups (none: be a spare).

    The header's pass is the first one of the generation. In direct wiring the node connects to the outlets of these peers.
    """

    header: Header
    placements: Annotated[tuple[Placement, ...], Many(record_of(Placement), MAX_HOSTED)]
    peers: Annotated[tuple[Peer, ...], Many(record_of(Peer), MAX_PEERS)] = ()


class Ready(NamedTuple):
    """Node → coordinator: my groups are in place and my links are proved, in the header's generation."""

    header: Header
    traffic: Annotated[Traffic, record_of(Traffic)]


class SnapshotMissing(NamedTuple):
    """Node → coordinator: I keep no such copy of these groups; grant them with their states."""

    header: Header
    groups: Annotated[tuple[int, ...], Many(Whole(1, 2**32 - 1), MAX_HOSTED)]


class NodeStatusRequest(NamedTuple):
    """Coordinator → node: are you there, and which senders do you wait for in this pass?"""

    header: Header


class NodeStatus(NamedTuple):
    """Node → coordinator: the answer, in any generation."""

    header: Header
    state: Annotated[str, Text(32)]
    waits: Annotated[tuple[Waits, ...], Many(record_of(Waits), MAX_HOSTED)]


class Heartbeat(NamedTuple):
    """Node → coordinator, at the interval of the welcome."""

    header: Header
    state: Annotated[str, Text(32)]
    traffic: Annotated[Traffic, record_of(Traffic)]


class Reregister(NamedTuple):
    """Coordinator → node, or → every node when it begins another life: I don't know you; register."""

    header: Header


class Superseded(NamedTuple):
    """Coordinator → node: another has taken your place; this life counts for nothing. Begin another one."""

    header: Header


class Fetch(NamedTuple):
    """Coordinator → node: send the state of a group as it was after this step (`LATEST_STEP`: as it is now)."""

    header: Header
    group: GroupNumber
    step: Count


class GroupState(NamedTuple):
    """Group → coordinator: my state after that step; activity and own error of the last pass, empty if there was none.

    Sent when asked for, and unasked at the end of a step that is copied for a snapshot.
    """

    header: Header
    group: GroupNumber
    step: Count
    state: Annotated[State, record_of(State)]
    activity: Values
    error: Values
    traffic: Annotated[Traffic, record_of(Traffic)]


class Diverged(NamedTuple):
    """Group → coordinator: my own numbers are no longer finite; the run can't go on."""

    header: Header
    group: GroupNumber
    neuron: Annotated[str, Text(64)]
    step: Count


class Stop(NamedTuple):
    """Coordinator → node: end yourself, cleanly."""

    header: Header


class Stopped(NamedTuple):
    """Node → coordinator: I am about to end (asked to, or by a signal)."""

    header: Header
    traffic: Annotated[Traffic, record_of(Traffic)]


class Probe(NamedTuple):
    """A program → itself: if this comes back, all earlier subscriptions hold at the broker."""

    header: Header


class Echo(NamedTuple):
    """A peer → a program that has just subscribed to a probe's address at its outlet: all earlier subscriptions hold here.

    It is of no run, and counts for the one probe at whose address it comes.
    """

    header: Header


# Command line ↔ coordinator.


class Request(NamedTuple):
    """Client → coordinator: a command with JSON arguments, and rows of numbers where it needs some."""

    header: Header
    client: Identity
    command: Annotated[str, Text(32)]
    arguments: Annotated[str, Text(65_536)]
    rows: Annotated[Array, Matrix(MAX_BATCH, MAX_GROUP)]


class Reply(NamedTuple):
    """Coordinator → client: a JSON result and rows of numbers, or one line that says what was wrong."""

    header: Header
    good: Annotated[bool, Flag()]
    result: Annotated[str, Text(64 * 1024 * 1024)]
    rows: Annotated[Array, Matrix(MAX_BATCH, MAX_GROUP)]


Message = (
    Register | Welcome | Reject | Grant | Ready | SnapshotMissing | NodeStatusRequest | NodeStatus | Heartbeat | Reregister
    | Superseded | Fetch | GroupState | Diverged | Stop | Stopped | Probe | Echo | Request | Reply
)  # fmt: skip

KINDS: dict[int, type[Message]] = {
    1: Register, 2: Welcome, 3: Reject, 4: Grant, 5: Ready, 6: Heartbeat, 7: Reregister, 8: Fetch, 9: GroupState,
    10: Diverged, 11: Stop, 12: Stopped, 13: Probe, 14: Superseded, 15: SnapshotMissing, 16: NodeStatusRequest, 17: NodeStatus, 18: Echo,
    30: Request, 31: Reply,
}  # fmt: skip
"""Numbers from 20 to 29 are those of data frames."""

RECORDS: dict[int, Record] = {number: record_of(kind) for number, kind in KINDS.items()}

"""Every kind of control message: its number, its fields, their types and bounds. `docs/protocol.md` says which program sends it when.

A control frame is its length and a msgpack array `version, kind, run, generation, pass, incarnation, fields…`. `frames.py`
defines the layout of data frames. A new kind never takes the number of an old one. `Reject` has the same body in every
version, so that a program of another version can read the reason.

A change of the fields, types or meaning of an existing kind raises `PROTOCOL_VERSION` of `frames.py`. A new kind does not.

To add a kind, write its class here, and add it to `Message` and `KINDS`. Its receiver handles it in `TRANSITIONS`, of
`neuron_node/node.py` for a node, of `coordinator/core/machine.py` for the coordinator. `CONTRIBUTING.md` lists the other files.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NamedTuple

import numpy as np

from neuron_node.activations import Array
from neuron_node.frames import IDENTITY_LENGTH, Mode
from neuron_node.peer import Endpoint, Peer
from neuron_node.registration_proof import PROOF_BYTES, Registrant
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
MAX_TRACED = 16
DIGEST_LENGTH = 32
MISSING_AT_MOST = 16

Identity = Annotated[bytes, Blob(IDENTITY_LENGTH)]
Count = Annotated[int, Whole()]
GroupNumber = Annotated[int, Whole(0, 2**32 - 1)]
Digest = Annotated[bytes | None, Maybe(Blob(DIGEST_LENGTH))]
NOBODY = bytes(IDENTITY_LENGTH)
LATEST_STEP = MAX_NUMBER
CALLED = "called by another run"
"""The state in the `Heartbeat` of a node that asks whether its coordinator is there."""


class Stage(IntEnum):
    """The progress of a group in one pass."""

    UNHEARD = 0
    """No frame of the pass has arrived."""
    LISTENING = 1
    """Signals are missing."""
    FIRED = 2
    """The signals are sent; errors are missing."""
    DONE = 3
    """The group has finished the pass."""


class Header(NamedTuple):
    """The sender, and the run, generation and pass of a message."""

    run: Identity
    generation: Count
    pass_number: Count
    incarnation: Identity


Values = Annotated[Array, Matrix()]


class NamedArray(NamedTuple):
    """One array of a group's state, and its name."""

    name: Annotated[str, Text(32)]
    values: Annotated[Array, Matrix(MAX_GROUP, 2**32)]


class State(NamedTuple):
    """The learned numbers of a group, as named arrays: `bias` (1, neurons) and `weights` (neurons, synapses)."""

    arrays: Annotated[tuple[NamedArray, ...], Many(record_of(NamedArray), MAX_ARRAYS)]

    @property
    def bias(self) -> Array:
        """The array `bias` (1, neurons); empty if the state has none."""
        return self._named("bias")

    @property
    def weights(self) -> Array:
        """The array `weights` (neurons, synapses); empty if the state has none."""
        return self._named("weights")

    @property
    def numbers(self) -> tuple[Array, Array]:
        """The bias (1, neurons) and the weights (neurons, synapses)."""
        return self.bias, self.weights

    def _named(self, name: str) -> Array:
        return next((array.values for array in self.arrays if array.name == name), np.empty((0, 0)))


def state_of(bias: Array, weights: Array) -> State:
    """Return the state with this bias (1, neurons) and these weights (neurons, synapses)."""
    return State((NamedArray("bias", bias), NamedArray("weights", weights)))


class Placement(NamedTuple):
    """A group for a node: its role, the number of steps it has learned, and its state after them.

    With a digest instead of a state, the node uses the copy that it kept. With neither, the node draws the initial state.
    """

    role: Annotated[Role, record_of(Role)]
    step: Count
    state: Annotated[State | None, Maybe(record_of(State))]
    digest: Digest = None


class Waits(NamedTuple):
    """The progress of a group in a pass, and the first senders whose frames are missing (0: the coordinator)."""

    group: GroupNumber
    stage: Annotated[int, Whole(0, max(Stage))]
    missing: Annotated[tuple[int, ...], Many(Whole(0, 2**32 - 1), MISSING_AT_MOST)]


class Traffic(NamedTuple):
    """The counters of a node since it started: messages sent and received, frames dropped."""

    sent: Count
    received: Count
    dropped: Count


# Control messages are idempotent. The sender repeats each request until it is answered.


class Register(NamedTuple):
    """Node → coordinator: registers a program. Repeated at growing intervals until the coordinator answers.

    A program that restarts keeps its name and draws a new incarnation. A registration under a known name by another
    incarnation that names the run says that the earlier incarnation is dead; without the run, the coordinator asks the
    earlier one.
    """

    header: Header
    name: Annotated[str, Text(255)]
    host: Annotated[str, Text(255)]
    process: Count
    software: Annotated[str, Text(64)]
    fingerprint: Annotated[str, Text(512)]
    endpoint: Endpoint = ""
    """The endpoint of the node's outlet for direct wiring; empty if it has none."""
    key: Annotated[str, Text(64)] = ""
    """The name of the node's key; empty without keys."""
    proof: Annotated[bytes | None, Maybe(Blob(PROOF_BYTES))] = None
    """The proof that the registration came with this key; see `registration_proof.py`."""

    @property
    def registrant(self) -> Registrant:
        """What the proof covers."""
        return Registrant(self.header.incarnation, self.name, self.host, self.process, self.endpoint)


class Welcome(NamedTuple):
    """Coordinator → node: accepts the node as a spare of this run. The header's pass is the CRC-32 of the registration."""

    header: Header
    heartbeat_interval_ms: Annotated[int, Whole(1, 3_600_000)]


class Reject(NamedTuple):
    """Coordinator → node, or coordinator → coordinator: refuses the receiver, which logs the reason and ends.

    The header's pass is the CRC-32 of the refused frame: a node obeys only the rejection of its own registration.
    """

    header: Header
    reason: Annotated[str, Text(1024)]


class Grant(NamedTuple):
    """Coordinator → node: begins a generation, in which the node hosts these groups (none: the node is a spare).

    The header's pass is the first pass of the generation. In direct wiring the node connects to the outlets of the peers.
    """

    header: Header
    placements: Annotated[tuple[Placement, ...], Many(record_of(Placement), MAX_HOSTED)]
    peers: Annotated[tuple[Peer, ...], Many(record_of(Peer), MAX_PEERS)] = ()


class Ready(NamedTuple):
    """Node → coordinator: confirms a grant. The groups have their states, and the links are proved."""

    header: Header
    traffic: Annotated[Traffic, record_of(Traffic)]


class SnapshotMissing(NamedTuple):
    """Node → coordinator: asks for the states of these groups, because the node keeps no copy with the granted digest."""

    header: Header
    groups: Annotated[tuple[int, ...], Many(Whole(1, 2**32 - 1), MAX_HOSTED)]


class NodeStatusRequest(NamedTuple):
    """Coordinator → node: asks for a sign of life, and for the senders that the groups wait for in the header's pass."""

    header: Header


class NodeStatus(NamedTuple):
    """Node → coordinator: answers a `NodeStatusRequest`, in any generation."""

    header: Header
    state: Annotated[str, Text(32)]
    waits: Annotated[tuple[Waits, ...], Many(record_of(Waits), MAX_HOSTED)]


class Heartbeat(NamedTuple):
    """Node → coordinator: a sign of life, at the interval that `Welcome` states.

    The state `called by another run` asks the coordinator for a `NodeStatusRequest`.
    """

    header: Header
    state: Annotated[str, Text(32)]
    traffic: Annotated[Traffic, record_of(Traffic)]


class Reregister(NamedTuple):
    """Coordinator → node: tells an unknown node to register. A coordinator that restarts sends it to every node."""

    header: Header


class Superseded(NamedTuple):
    """Coordinator → node: another node now hosts the groups. The node begins again under a new incarnation."""

    header: Header


class Fetch(NamedTuple):
    """Coordinator → node: asks for the state of a group after a step (`LATEST_STEP`: the present state)."""

    header: Header
    group: GroupNumber
    step: Count


class GroupState(NamedTuple):
    """Group → coordinator: the group's state after a step.

    `activity` and `error` (rows, neurons) are those of the last pass; empty if there was none. The group sends this message as
    the answer to `Fetch`, and without a request at the end of a step that is copied for a snapshot.
    """

    header: Header
    group: GroupNumber
    step: Count
    state: Annotated[State, record_of(State)]
    activity: Values
    error: Values
    traffic: Annotated[Traffic, record_of(Traffic)]


class TraceRequest(NamedTuple):
    """Coordinator → node: asks for the numbers of a group's last training step. The node answers with `TraceReport`."""

    header: Header
    group: GroupNumber


class TraceReport(NamedTuple):
    """Group → coordinator: the numbers of the nine steps in one pass, the header's pass.

    The group sends this message at the end of a pass of mode 3, and, with another mode, as the answer to `TraceRequest`. `step`
    counts the steps that the group has learned. `fired_us` and `replied_us` are the times of steps 2 and 6 by the host's own
    clock, in microseconds; 0 if they were not measured.
    """

    header: Header
    group: GroupNumber
    step: Count
    mode: Annotated[int, Whole(0, int(max(Mode)))]
    numbers: Annotated[tuple[NamedArray, ...], Many(record_of(NamedArray), MAX_TRACED)]
    fired_us: Count
    replied_us: Count


class Diverged(NamedTuple):
    """Group → coordinator: reports a neuron whose numbers are no longer finite. The run ends."""

    header: Header
    group: GroupNumber
    neuron: Annotated[str, Text(64)]
    step: Count


class Stop(NamedTuple):
    """Coordinator → node: tells the program to end: in order, or `at_once` by SIGKILL, without a last message."""

    header: Header
    at_once: Annotated[bool, Flag()] = False


class Stopped(NamedTuple):
    """Node → coordinator: says that the program ends now, because of `Stop` or of a signal."""

    header: Header
    traffic: Annotated[Traffic, record_of(Traffic)]


class Probe(NamedTuple):
    """Program → itself: when this message returns, the broker knows all earlier subscriptions.

    Coordinator → coordinators: asks whether another coordinator works at the broker, which then answers with `Reject`.
    """

    header: Header


class Echo(NamedTuple):
    """Peer → program: answers a new subscription to a probe's address. The peer's outlet knows all earlier subscriptions.

    An echo belongs to no run. It answers only the probe to whose address it is sent.
    """

    header: Header


# Client ↔ coordinator, through the front door.


class Request(NamedTuple):
    """Client → coordinator: a command with JSON arguments, and rows of numbers for commands that need them.

    A repeated request has the same id, and gets the same reply.
    """

    header: Header
    id: Identity
    command: Annotated[str, Text(32)]
    arguments: Annotated[str, Text(65_536)]
    rows: Annotated[Array, Matrix(MAX_BATCH, MAX_GROUP)]


class Reply(NamedTuple):
    """Coordinator → client: a JSON result and rows of numbers; if not `good`, one line that names the fault."""

    header: Header
    good: Annotated[bool, Flag()]
    result: Annotated[str, Text(64 * 1024 * 1024)]
    rows: Annotated[Array, Matrix(MAX_BATCH, MAX_GROUP)]


Message = (
    Register | Welcome | Reject | Grant | Ready | SnapshotMissing | NodeStatusRequest | NodeStatus | Heartbeat | Reregister
    | Superseded | Fetch | GroupState | Diverged | Stop | Stopped | Probe | Echo | Request | Reply | TraceRequest | TraceReport
)  # fmt: skip

KINDS: dict[int, type[Message]] = {
    1: Register, 2: Welcome, 3: Reject, 4: Grant, 5: Ready, 6: Heartbeat, 7: Reregister, 8: Fetch, 9: GroupState,
    10: Diverged, 11: Stop, 12: Stopped, 13: Probe, 14: Superseded, 15: SnapshotMissing, 16: NodeStatusRequest, 17: NodeStatus, 18: Echo,
    30: Request, 31: Reply, 40: TraceRequest, 41: TraceReport,
}  # fmt: skip
"""The kind of each number. Numbers from 20 to 29 belong to data frames."""

RECORDS: dict[int, Record] = {number: record_of(kind) for number, kind in KINDS.items()}

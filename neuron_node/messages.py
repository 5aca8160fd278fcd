"""Every kind of message, on one page: its number, its fields, their types and bounds. `docs/protocol.md` tells who sends what when.

A message is one frame: a 9-byte address, then a msgpack array `version, kind, run, generation, pass, incarnation, fields…`.
Old numbers are never given to new kinds. `Refuse` keeps its layout in every version, so that a stranger can be told why.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NamedTuple

from neuron_node.activations import Array
from neuron_node.fields import (
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
from neuron_node.peer import Endpoint, Peer
from neuron_node.role import Role

PROTOCOL_VERSION = 5
MAX_FRAME_BYTES = 256 * 1024 * 1024
MAX_HOSTED = 4096
MAX_PEERS = 65_536
IDENTITY_LENGTH = 8
DIGEST_LENGTH = 32
MISSING_AT_MOST = 16
MAX_PARTS = 64

Identity = Annotated[bytes, Blob(IDENTITY_LENGTH)]
Count = Annotated[int, Whole()]
GroupNumber = Annotated[int, Whole(0, 2**32 - 1)]
Digest = Annotated[bytes | None, Maybe(Blob(DIGEST_LENGTH))]
NOBODY = bytes(IDENTITY_LENGTH)
LATEST_STEP = MAX_NUMBER


class Mode(IntEnum):
    """What a pass is for; it travels with every signal, because hidden groups hear it from nobody else."""

    FORWARD = 0
    TRAIN = 1
    TRAIN_AND_COPY = 2
    """Train, and keep a copy of the group as it is when the step ends: the snapshot's part."""


class Stage(IntEnum):
    """How far a group has come in one pass; of one that is unheard no message has reached it."""

    UNHEARD = 0
    LISTENING = 1
    FIRED = 2
    DONE = 3


class Header(NamedTuple):
    """Who speaks, and of what: messages of another run, generation, pass or life count for nothing."""

    run: Identity
    generation: Count
    pass_number: Count
    incarnation: Identity


Attempt = Annotated[int, Whole(0, 1_000_000)]
PassMode = Annotated[int, Whole(0, max(Mode))]
PassChain = Annotated[int, Whole(0, 3)]
Values = Annotated[Array, Matrix()]
Part = Annotated[int, Whole(0, MAX_PARTS)]


class State(NamedTuple):
    """A group's learned numbers: bias (1, neurons) and weights (neurons, synapses)."""

    bias: Annotated[Array, Matrix(1)]
    weights: Annotated[Array, Matrix(MAX_GROUP, 2**32)]


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


class Refuse(NamedTuple):
    """Coordinator → node: you can't take part, and why. The node says so and ends."""

    header: Header
    reason: Annotated[str, Text(1024)]


class Grant(NamedTuple):
    """Coordinator → node: from this generation on, host these groups (none: be a spare).

    In direct wiring the node hears the data of these peers where they send them.
    """

    header: Header
    placements: Annotated[tuple[Placement, ...], Many(record_of(Placement), MAX_HOSTED)]
    peers: Annotated[tuple[Peer, ...], Many(record_of(Peer), MAX_PEERS)] = ()


class Ready(NamedTuple):
    """Node → coordinator: my groups are in place and my links are proved, in the header's generation."""

    header: Header
    traffic: Annotated[Traffic, record_of(Traffic)]


class Lacking(NamedTuple):
    """Node → coordinator: I keep no such copy of these groups; grant them with their states."""

    header: Header
    groups: Annotated[tuple[int, ...], Many(Whole(1, 2**32 - 1), MAX_HOSTED)]


class Query(NamedTuple):
    """Coordinator → node: are you there, and whom do you wait for in this pass?"""

    header: Header


class Waiting(NamedTuple):
    """Node → coordinator: the answer, whatever generation the node is in."""

    header: Header
    state: Annotated[str, Text(32)]
    waits: Annotated[tuple[Waits, ...], Many(record_of(Waits), MAX_HOSTED)]


class Heartbeat(NamedTuple):
    """Node → coordinator, at the interval of the welcome."""

    header: Header
    state: Annotated[str, Text(32)]
    traffic: Annotated[Traffic, record_of(Traffic)]


class Enquire(NamedTuple):
    """Coordinator → node, or → every node when it begins another life: I don't know you; register."""

    header: Header


class Superseded(NamedTuple):
    """Coordinator → node: another has taken your place; this life counts for nothing. Begin another one."""

    header: Header


class Fetch(NamedTuple):
    """Coordinator → group: send me your state as it was after this step (`LATEST_STEP`: as it is now)."""

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
    """A peer → whoever has just subscribed to a probe's address at its outlet: all earlier subscriptions hold here.

    It is of no run, and counts for the one probe at whose address it comes.
    """

    header: Header


# Data: terse. Outputs' activities and inputs' errors acknowledge a whole pass, of which each of a batch's `parts` has its own.


class Input(NamedTuple):
    """Coordinator → input group: the values of its neurons, (batch, neurons)."""

    header: Header
    attempt: Attempt
    mode: PassMode
    sender: GroupNumber
    values: Values
    part: Part = 0
    parts: Part = 1
    chain: PassChain = 0


class Target(NamedTuple):
    """Coordinator → output group: what its activities should be, (batch, neurons)."""

    header: Header
    attempt: Attempt
    mode: PassMode
    sender: GroupNumber
    values: Values
    part: Part = 0
    parts: Part = 1
    chain: PassChain = 0


class Signal(NamedTuple):
    """Group → group below: weight × activity, (batch, the receiver's neurons)."""

    header: Header
    attempt: Attempt
    mode: PassMode
    sender: GroupNumber
    values: Values
    part: Part = 0
    parts: Part = 1
    chain: PassChain = 0


class Axon(NamedTuple):
    """Group → all groups below, published once: the signals of its whole axons.

    `values` is (batch, synapses) in size only: the block for each receiver, (batch, its neurons), follows the one before.
    """

    header: Header
    attempt: Attempt
    mode: PassMode
    sender: GroupNumber
    values: Annotated[Array, Matrix(MAX_BATCH, 2**32 - 1)]
    part: Part = 0
    parts: Part = 1
    chain: PassChain = 0


class Error(NamedTuple):
    """Group → all groups that sent it signals: its own error, (batch, the sender's neurons)."""

    header: Header
    attempt: Attempt
    mode: PassMode
    sender: GroupNumber
    values: Values
    part: Part = 0
    parts: Part = 1
    chain: PassChain = 0


class Output(NamedTuple):
    """Output group → coordinator: its activities."""

    header: Header
    attempt: Attempt
    mode: PassMode
    sender: GroupNumber
    values: Values
    part: Part = 0
    parts: Part = 1
    chain: PassChain = 0


class InputError(NamedTuple):
    """Input group → coordinator: its own errors, no columns if it learns no biases. The step is done with all of these and all outputs."""

    header: Header
    attempt: Attempt
    mode: PassMode
    sender: GroupNumber
    values: Values
    part: Part = 0
    parts: Part = 1
    chain: PassChain = 0


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


Data = Input | Target | Signal | Axon | Error | Output | InputError
Message = (
    Register | Welcome | Refuse | Grant | Ready | Heartbeat | Enquire | Fetch | GroupState | Diverged | Stop | Stopped | Probe | Superseded
    | Lacking | Query | Waiting | Echo | Data | Request | Reply
)  # fmt: skip

KINDS: dict[int, type[Message]] = {
    1: Register, 2: Welcome, 3: Refuse, 4: Grant, 5: Ready, 6: Heartbeat, 7: Enquire, 8: Fetch, 9: GroupState,
    10: Diverged, 11: Stop, 12: Stopped, 13: Probe, 14: Superseded, 15: Lacking, 16: Query, 17: Waiting, 18: Echo,
    20: Input, 21: Target, 22: Signal, 23: Error, 24: Output, 25: InputError, 26: Axon, 30: Request, 31: Reply,
}  # fmt: skip

RECORDS: dict[int, Record] = {number: record_of(kind) for number, kind in KINDS.items()}

"""Roles, groups and messages by hand, for tests of one node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuron_node.activations import Array
from neuron_node.addresses import DATA_LETTERS, group_address, node_address, stage_address
from neuron_node.codec import decode, encode
from neuron_node.events import Action, Received, Send
from neuron_node.frames import DataFrame, DataKind, Mode, parse, split
from neuron_node.identity import NodeIdentity, NodeState
from neuron_node.node import Node
from neuron_node.protocol import Grant, Header, Message, Placement, Probe, State, Welcome
from neuron_node.role import OUTSIDE, Block, Role, Sender

RUN = b"the-run."
COORDINATOR_LIFE = b"coordin."
NODE_LIFE = b"node-one"
OTHER_LIFE = b"node-two"
NO_ROWS: Array = np.empty((0, 0))


def role_of(names: tuple[str, ...] = ("hidden.0",), **changes: Any) -> Role:
    """Group 2, alone in stage 2, between group 1 (two neurons) and group 3 (one neuron), unless said otherwise."""
    usual: dict[str, Any] = {
        "group": 2,
        "stage": 2,
        "first": 0,
        "width": len(names),
        "senders": (Sender(1, 1, 2),),
        "blocks": (Block(3, 3, 1, -1.0, 1.0),),
        "activation": "logistic",
        "loss": "squared_error",
        "learning_rate": 0.5,
        "bias_low": 0.0,
        "bias_high": 0.0,
        "bias_learned": True,
        "seed": 0,
    }
    return Role(names=names, **{**usual, **changes})


def input_role(**changes: Any) -> Role:
    """Group 1: one input neuron above group 2."""
    usual: dict[str, Any] = {
        "group": 1,
        "stage": 1,
        "senders": (),
        "blocks": (Block(2, 2, 1, -1.0, 1.0),),
        "activation": "identity",
        "bias_learned": False,
    }
    return role_of(("input.0",), **{**usual, **changes})


def output_role(**changes: Any) -> Role:
    """Group 3: one output neuron below group 2."""
    return role_of(("output.0",), **{"group": 3, "stage": 3, "senders": (Sender(2, 2, 1),), "blocks": (), **changes})


def matrix(*rows: tuple[float, ...]) -> Array:
    """float64, one tuple a row."""
    return np.array(rows, dtype=np.float64)


def header(
    pass_number: int = 0, generation: int = 1, incarnation: bytes = COORDINATOR_LIFE, run: bytes = RUN
) -> Header:
    """Of what the coordinator says, unless said otherwise."""
    return Header(run, generation, pass_number, incarnation)


def born() -> NodeIdentity:
    """A node."""
    return NodeIdentity(NODE_LIFE, "node-1", "host", 17, "0.2.0", "arithmetic")


def state_now(machine: Node) -> NodeState:
    """Where the node is in its life."""
    return machine.state


def encoded(message: Message | DataFrame) -> bytes:
    """The frame of a control message or of data."""
    return message.encode() if isinstance(message, DataFrame) else encode(message)


def heard(machine: Node, address: bytes, message: Message | DataFrame, now_ms: float = 0.0) -> Sequence[Action]:
    """What the node does when a message reaches it."""
    return machine.handle(Received(address + encoded(message)), now_ms)


def frames_of(message: bytes) -> list[Message | DataFrame]:
    """What a message says, frame by frame: its address tells data from control."""
    read = parse if message[0] in DATA_LETTERS else decode
    return [read(frame) for frame in split(message)]


def sent(actions: Sequence[Action]) -> list[tuple[bytes, Message | DataFrame]]:
    """The frames of all messages among the actions, decoded, each with its address."""
    sends = [action for action in actions if isinstance(action, Send)]
    return [(action.address, frame) for action in sends for frame in frames_of(action.message)]


def kinds(actions: Sequence[Action]) -> list[str]:
    """What is sent, by the names of the kinds of data and of control messages."""
    return [
        DataKind(message.kind).name if isinstance(message, DataFrame) else type(message).__name__
        for message in messages(actions)
    ]


def signals_of(role: Role, sends: list[tuple[bytes, Message | DataFrame]]) -> dict[int, list[list[float]]]:
    """What each receiver of a group finds in what was sent, whether each got its own or all of a stage got the whole axons."""
    found: dict[int, list[list[float]]] = {}
    for address, message in sends:
        if not isinstance(message, DataFrame):
            continue
        rows, flat = len(message.values), message.values.reshape(-1)
        if message.kind == DataKind.SIGNAL:
            assert address == group_address(message.receiver)
            found[message.receiver] = message.values.tolist()
        elif message.kind == DataKind.AXON:
            assert address == stage_address(message.receiver)
            at = 0
            for block in (block for block in role.blocks if block.stage == message.receiver):
                found[block.receiver] = flat[rows * at : rows * (at + block.size)].reshape(rows, block.size).tolist()
                at += block.size
    return found


def messages(actions: Sequence[Action]) -> list[Message | DataFrame]:
    """The frames of all messages among the actions, decoded."""
    return [message for _, message in sent(actions)]


def grant(
    machine: Node, *roles: Role, generation: int = 1, step: int = 0, state: State | None = None
) -> Sequence[Action]:
    """Give the node groups, at its own address."""
    placements = tuple(Placement(role, step, state) for role in roles)
    return heard(machine, node_address(machine.born.incarnation), Grant(header(1, generation=generation), placements))


def welcome(machine: Node, interval_ms: int = 1_000) -> Sequence[Action]:
    """Make the node a spare."""
    return heard(machine, node_address(machine.born.incarnation), Welcome(header(generation=0), interval_ms))


def prove(machine: Node, actions: Sequence[Action]) -> Sequence[Action]:
    """Let the probe among the actions come back."""
    address, probe = next(
        (address, message) for address, message in reversed(sent(actions)) if isinstance(message, Probe)
    )
    return heard(machine, address, probe)


def working(*roles: Role, state: State | None = None) -> Node:
    """A node that hosts these groups and has proved its links, in generation 1."""
    machine = Node(born())
    machine.start(0.0)
    welcome(machine)
    prove(machine, grant(machine, *roles, state=state))
    return machine


def data(
    kind: DataKind,
    receiver: int,
    sender: int,
    values: Array,
    number: int = 1,
    *,
    attempt: int = 0,
    mode: Mode = Mode.TRAIN,
    part: int = 0,
    parts: int = 1,
    low: int | None = None,
    high: int | None = None,
    generation: int = 1,
    run: bytes = RUN,
) -> DataFrame:
    """A data frame. Unless said otherwise no other pass is under way: `low` and `high` are the number of the pass."""
    window = (attempt, number if low is None else low, number if high is None else high)
    return DataFrame(int(kind), run, generation, receiver, sender, *window, number, mode, part, parts, values)


def address_of(frame: DataFrame) -> bytes:
    """Where such a frame is sent."""
    to_group = frame.kind in (DataKind.SIGNAL, DataKind.TARGET)
    return group_address(frame.receiver) if to_group else stage_address(frame.receiver)


def message_of(*frames: DataFrame) -> bytes:
    """A message of these frames, which go to one address."""
    [address] = {address_of(frame) for frame in frames}
    return address + b"".join(frame.encode() for frame in frames)


def signal_to(group: int, sender: int, values: Array, number: int = 1, **said: Any) -> bytes:
    """The message of a signal for one group; `said` goes to `data`."""
    return message_of(data(DataKind.SIGNAL, group, sender, values, number, **said))


def axon_to(stage: int, sender: int, values: Array, number: int = 1, **said: Any) -> bytes:
    """The message of the signals for all groups of a stage, in one block for each."""
    return message_of(data(DataKind.AXON, stage, sender, values, number, **said))


def error_from(sender: int, values: Array, number: int = 1, *, stage: int = 2, **said: Any) -> bytes:
    """The message of an error, for the stage that waits for it."""
    return message_of(data(DataKind.ERROR, stage, sender, values, number, **said))


def input_to(group: int, values: Array, number: int = 1, **said: Any) -> bytes:
    """The message of an input: a signal of the coordinator."""
    return signal_to(group, OUTSIDE, values, number, **said)


def target_to(group: int, values: Array, number: int = 1, **said: Any) -> bytes:
    """The message of a target for one group."""
    return message_of(data(DataKind.TARGET, group, OUTSIDE, values, number, **said))


def targets_to(stage: int, values: Array, number: int = 1, **said: Any) -> bytes:
    """The message of the targets for all groups of a stage."""
    return message_of(data(DataKind.TARGETS, stage, OUTSIDE, values, number, **said))


def output_from(sender: int, values: Array, number: int = 1, **said: Any) -> bytes:
    """The message of an output group's activities."""
    return message_of(data(DataKind.OUTPUT, OUTSIDE, sender, values, number, **said))


def input_error_from(sender: int, values: Array, number: int = 1, **said: Any) -> bytes:
    """The message of an input group's own errors."""
    return message_of(data(DataKind.INPUT_ERROR, OUTSIDE, sender, values, number, **said))

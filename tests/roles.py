"""Roles, groups and messages for tests of one node."""

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
    """Return the role of group 2, alone in stage 2, between group 1 (two neurons) and group 3 (one neuron), unless given."""
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
    """Return the role of group 1: one input neuron above group 2."""
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
    """Return the role of group 3: one output neuron below group 2."""
    return role_of(("output.0",), **{"group": 3, "stage": 3, "senders": (Sender(2, 2, 1),), "blocks": (), **changes})


def matrix(*rows: tuple[float, ...]) -> Array:
    """Return float64 with one tuple per row."""
    return np.array(rows, dtype=np.float64)


def header(
    pass_number: int = 0, generation: int = 1, incarnation: bytes = COORDINATOR_LIFE, run: bytes = RUN
) -> Header:
    """Return the header of a message, from the coordinator unless given."""
    return Header(run, generation, pass_number, incarnation)


def born() -> NodeIdentity:
    """Return a node."""
    return NodeIdentity(NODE_LIFE, "node-1", "host", 17, "0.2.0", "arithmetic")


def state_now(machine: Node) -> NodeState:
    """Return the state of a node."""
    return machine.state


def encoded(message: Message | DataFrame) -> bytes:
    """Return the frame of a control message or of a data frame."""
    return message.encode() if isinstance(message, DataFrame) else encode(message)


def heard(machine: Node, address: bytes, message: Message | DataFrame, now_ms: float = 0.0) -> Sequence[Action]:
    """Return the node's actions for a message."""
    return machine.handle(Received(address + encoded(message)), now_ms)


def frames_of(message: bytes) -> list[Message | DataFrame]:
    """Return the decoded frames of a message; its address says whether they are data or control."""
    read = parse if message[0] in DATA_LETTERS else decode
    return [read(frame) for frame in split(message)]


def sent(actions: Sequence[Action]) -> list[tuple[bytes, Message | DataFrame]]:
    """Return the decoded frames of all messages among the actions, each with its address."""
    sends = [action for action in actions if isinstance(action, Send)]
    return [(action.address, frame) for action in sends for frame in frames_of(action.message)]


def kinds(actions: Sequence[Action]) -> list[str]:
    """Return the names of the kinds of all sent frames."""
    return [
        DataKind(message.kind).name if isinstance(message, DataFrame) else type(message).__name__
        for message in messages(actions)
    ]


def signals_of(role: Role, sends: list[tuple[bytes, Message | DataFrame]]) -> dict[int, list[list[float]]]:
    """Return the signals for each receiver of a group, from frames for one group and from frames for a stage."""
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
    """Return the decoded frames of all messages among the actions."""
    return [message for _, message in sent(actions)]


def grant(
    machine: Node, *roles: Role, generation: int = 1, step: int = 0, state: State | None = None
) -> Sequence[Action]:
    """Grant groups to the node, at its own address."""
    placements = tuple(Placement(role, step, state) for role in roles)
    return heard(machine, node_address(machine.born.incarnation), Grant(header(1, generation=generation), placements))


def welcome(machine: Node, interval_ms: int = 1_000) -> Sequence[Action]:
    """Make the node a spare."""
    return heard(
        machine,
        node_address(machine.born.incarnation),
        Welcome(header(generation=0, pass_number=machine.registration), interval_ms),
    )


def prove(machine: Node, actions: Sequence[Action]) -> Sequence[Action]:
    """Return the probe among the actions to the node."""
    address, probe = next(
        (address, message) for address, message in reversed(sent(actions)) if isinstance(message, Probe)
    )
    return heard(machine, address, probe)


def working(*roles: Role, state: State | None = None) -> Node:
    """Return a node that hosts these groups and has proved its links, in generation 1."""
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
    """Return a data frame. Unless given, no other pass is under way: `low` and `high` are the number of the pass."""
    window = (attempt, number if low is None else low, number if high is None else high)
    return DataFrame(int(kind), run, generation, receiver, sender, *window, number, mode, part, parts, values)


def address_of(frame: DataFrame) -> bytes:
    """Return the address of a data frame."""
    to_group = frame.kind in (DataKind.SIGNAL, DataKind.TARGET)
    return group_address(frame.receiver) if to_group else stage_address(frame.receiver)


def message_of(*frames: DataFrame) -> bytes:
    """Return a message of frames with one address."""
    [address] = {address_of(frame) for frame in frames}
    return address + b"".join(frame.encode() for frame in frames)


def signal_to(group: int, sender: int, values: Array, number: int = 1, **said: Any) -> bytes:
    """Return the message of a signal for one group; `said` goes to `data`."""
    return message_of(data(DataKind.SIGNAL, group, sender, values, number, **said))


def axon_to(stage: int, sender: int, values: Array, number: int = 1, **said: Any) -> bytes:
    """Return the message of the signals for all groups of a stage, in one block for each."""
    return message_of(data(DataKind.AXON, stage, sender, values, number, **said))


def error_from(sender: int, values: Array, number: int = 1, *, stage: int = 2, **said: Any) -> bytes:
    """Return the message of an error, for the stage that waits for it."""
    return message_of(data(DataKind.ERROR, stage, sender, values, number, **said))


def input_to(group: int, values: Array, number: int = 1, **said: Any) -> bytes:
    """Return the message of an input: a signal of the coordinator."""
    return signal_to(group, OUTSIDE, values, number, **said)


def target_to(group: int, values: Array, number: int = 1, **said: Any) -> bytes:
    """Return the message of a target for one group."""
    return message_of(data(DataKind.TARGET, group, OUTSIDE, values, number, **said))


def targets_to(stage: int, values: Array, number: int = 1, **said: Any) -> bytes:
    """Return the message of the targets for all groups of a stage."""
    return message_of(data(DataKind.TARGETS, stage, OUTSIDE, values, number, **said))


def output_from(sender: int, values: Array, number: int = 1, **said: Any) -> bytes:
    """Return the message of an output group's activities."""
    return message_of(data(DataKind.OUTPUT, OUTSIDE, sender, values, number, **said))


def input_error_from(sender: int, values: Array, number: int = 1, **said: Any) -> bytes:
    """Return the message of an input group's own errors."""
    return message_of(data(DataKind.INPUT_ERROR, OUTSIDE, sender, values, number, **said))

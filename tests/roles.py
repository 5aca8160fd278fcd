"""Roles, groups and messages by hand, for tests of one node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuron_node.activations import Array
from neuron_node.addresses import axon_address, error_address, group_address, node_address
from neuron_node.codec import decode, encode
from neuron_node.events import Action, Received, Send
from neuron_node.life import NodeState, Self
from neuron_node.machine import NodeMachine
from neuron_node.messages import (
    Axon,
    Error,
    Grant,
    Header,
    Input,
    Message,
    Mode,
    Placement,
    Probe,
    Signal,
    State,
    Target,
    Welcome,
)
from neuron_node.role import OUTSIDE, Block, Role, Sender

RUN = b"the-run."
COORDINATOR_LIFE = b"coordin."
NODE_LIFE = b"node-one"
OTHER_LIFE = b"node-two"
NO_ROWS: Array = np.empty((0, 0))


def role_of(names: tuple[str, ...] = ("hidden.0",), **changes: Any) -> Role:
    """Group 2, between group 1 (two neurons) and group 3 (one neuron), unless said otherwise."""
    usual: dict[str, Any] = {
        "group": 2,
        "senders": (Sender(1, 2),),
        "blocks": (Block(3, 1, -1.0, 1.0),),
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
        "senders": (),
        "blocks": (Block(2, 1, -1.0, 1.0),),
        "activation": "identity",
        "bias_learned": False,
    }
    return role_of(("input.0",), **{**usual, **changes})


def output_role(**changes: Any) -> Role:
    """Group 3: one output neuron below group 2."""
    return role_of(("output.0",), **{"group": 3, "senders": (Sender(2, 1),), "blocks": (), **changes})


def matrix(*rows: tuple[float, ...]) -> Array:
    """float64, one tuple a row."""
    return np.array(rows, dtype=np.float64)


def header(
    pass_number: int = 0, generation: int = 1, incarnation: bytes = COORDINATOR_LIFE, run: bytes = RUN
) -> Header:
    """Of what the coordinator says, unless said otherwise."""
    return Header(run, generation, pass_number, incarnation)


def born() -> Self:
    """A node."""
    return Self(NODE_LIFE, "node-1", "host", 17, "0.1.0", "arithmetic")


def state_now(machine: NodeMachine) -> NodeState:
    """Where the node is in its life."""
    return machine.state


def heard(machine: NodeMachine, address: bytes, message: Message, now_ms: float = 0.0) -> Sequence[Action]:
    """What the node does when a message reaches it."""
    return machine.handle(Received(address + encode(message)), now_ms)


def sent(actions: Sequence[Action]) -> list[tuple[bytes, Message]]:
    """The messages among the actions, decoded, each with its address."""
    return [(action.address, decode(action.frame)) for action in actions if isinstance(action, Send)]


def signals_of(role: Role, sends: list[tuple[bytes, Message]]) -> dict[int, list[list[float]]]:
    """What each receiver of a group finds in what was sent, whether each got its own or all got the whole axons."""
    found: dict[int, list[list[float]]] = {}
    for address, message in sends:
        if isinstance(message, Signal):
            found[int.from_bytes(address[1:], "big")] = message.values.tolist()
        elif isinstance(message, Axon):
            assert address == axon_address(role.group)
            first, batch, flat = 0, len(message.values), message.values.reshape(-1)
            for block in role.blocks:
                own = flat[batch * first : batch * (first + block.size)]
                found[block.receiver] = own.reshape(batch, block.size).tolist()
                first += block.size
    return found


def messages(actions: Sequence[Action]) -> list[Message]:
    """The messages among the actions, decoded."""
    return [message for _, message in sent(actions)]


def grant(
    machine: NodeMachine, *roles: Role, generation: int = 1, step: int = 0, state: State | None = None
) -> Sequence[Action]:
    """Give the node groups, at its own address."""
    placements = tuple(Placement(role, step, state) for role in roles)
    return heard(machine, node_address(machine.born.incarnation), Grant(header(generation=generation), placements))


def welcome(machine: NodeMachine, interval_ms: int = 1_000) -> Sequence[Action]:
    """Make the node a spare."""
    return heard(machine, node_address(machine.born.incarnation), Welcome(header(generation=0), interval_ms))


def prove(machine: NodeMachine, actions: Sequence[Action]) -> Sequence[Action]:
    """Let the probe among the actions come back."""
    address, probe = next(
        (address, message) for address, message in reversed(sent(actions)) if isinstance(message, Probe)
    )
    return heard(machine, address, probe)


def working(*roles: Role, state: State | None = None) -> NodeMachine:
    """A node that hosts these groups and has proved its links, in generation 1."""
    machine = NodeMachine(born())
    machine.start(0.0)
    welcome(machine)
    prove(machine, grant(machine, *roles, state=state))
    return machine


def signal_to(
    group: int, sender: int, values: Array, number: int = 1, attempt: int = 0, mode: Mode = Mode.TRAIN
) -> bytes:
    """The frame of a signal."""
    return group_address(group) + encode(Signal(header(number, incarnation=OTHER_LIFE), attempt, mode, sender, values))


def error_from(sender: int, values: Array, number: int = 1, attempt: int = 0, mode: Mode = Mode.TRAIN) -> bytes:
    """The frame of an error."""
    return error_address(sender) + encode(Error(header(number, incarnation=OTHER_LIFE), attempt, mode, sender, values))


def input_to(group: int, values: Array, number: int = 1, attempt: int = 0, mode: Mode = Mode.TRAIN) -> bytes:
    """The frame of an input."""
    return group_address(group) + encode(Input(header(number), attempt, mode, OUTSIDE, values))


def target_to(group: int, values: Array, number: int = 1, attempt: int = 0, mode: Mode = Mode.TRAIN) -> bytes:
    """The frame of a target."""
    return group_address(group) + encode(Target(header(number), attempt, mode, OUTSIDE, values))

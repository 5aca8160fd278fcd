"""A forger: a program with a valid connection, which reads every message of the coordinator and sends what it likes to nodes.

It knows run, generation and incarnations. It forges messages of every kind, without a signature or with its own, changes signed
ones, sends signed ones to other nodes, and repeats old ones. `invariants.py` sees that no node is refused, stopped, replaced,
sent back or given the groups of another node by them.

Signatures are a keyed hash here: the machines only see a function that signs and a function that verifies.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING

from neuron_node.addresses import ADDRESS_LENGTH, node_address
from neuron_node.codec import encode
from neuron_node.protocol import (
    Fetch,
    Grant,
    Header,
    Message,
    NodeStatusRequest,
    Reject,
    Reregister,
    Stop,
    Superseded,
    Welcome,
)
from neuron_node.signing import SIGNATURE_BYTES, Sign, signed
from tests.simulation.dice import Dice

if TYPE_CHECKING:
    from tests.simulation.network import Life
    from tests.simulation.world import World

KEPT = 200
PAUSE_MS = (2.0, 400.0)
"""Between two of its messages."""
FORGED, REPLAYED, MISDIRECTED, CHANGED = (
    "forged message",
    "replayed message",
    "message for another node",
    "changed message",
)
FORGERIES = (FORGED, REPLAYED, MISDIRECTED, CHANGED)


def signer_with(key: bytes) -> Sign:
    """Return the stand-in for a function that signs."""
    return lambda content: hashlib.blake2b(content, key=key, digest_size=SIGNATURE_BYTES).digest()


SIGN, FORGERS_SIGN = signer_with(b"the coordinator's"), signer_with(b"the forger's")


def verify(signature: bytes, content: bytes) -> bool:
    """Whether the coordinator has signed the content."""
    return signature == SIGN(content)


class Forger:
    """Sends one message after another to nodes, as long as the run lasts."""

    def __init__(self, world: World, dice: Dice) -> None:
        self._world = world
        self._dice = dice
        self._heard: deque[bytes] = deque(maxlen=KEPT)

    def start(self) -> None:
        """Begin after a while."""
        self._world.later(self._dice.spread(*PAUSE_MS), self._act)

    def hear(self, message: bytes) -> None:
        """Keep a message of the coordinator to a node."""
        self._heard.append(message)

    def _act(self) -> None:
        world, dice = self._world, self._dice
        lives = [life for life in world.nodes.values() if life.alive and life.linked]
        if lives:
            life = dice.pick(lives)
            kind = dice.pick(FORGERIES) if self._heard else FORGED
            message = self._made(kind, life)
            if message is not None:
                world.counts[kind] += 1
                world._push(world.now_ms + 5.0 * dice.random(), life, message, life.link)
        self.start()

    def _made(self, kind: str, life: Life) -> bytes | None:
        """One message to a node; None if the forger has not heard what it needs."""
        dice, home = self._dice, node_address(life.incarnation)
        if kind == FORGED:
            address = home if dice.falls(0.8) or not life.subscriptions else dice.pick([*life.subscriptions])
            frame = encode(dice.pick(self._commands(life)))
            return address + (frame if dice.falls(0.5) else signed(address, frame, FORGERS_SIGN))
        own = [message for message in self._heard if message.startswith(home)]
        if kind == MISDIRECTED:
            others = [message for message in self._heard if not message.startswith(home)]
            return home + dice.pick(others)[ADDRESS_LENGTH:] if others else None
        if not own:
            return None
        message = dice.pick(own)
        if kind == REPLAYED:
            return message
        at = dice.between(ADDRESS_LENGTH, len(message) - 1)
        return message[:at] + bytes([message[at] ^ dice.between(1, 255)]) + message[at + 1 :]

    def _commands(self, life: Life) -> list[Message]:
        machine, run = life.machine, self._world.plan.run
        generation = machine.generation + self._dice.below(3)
        said = Header(run, generation, machine.registration, machine._coordinator)
        return [
            Stop(said),
            Superseded(said),
            Reject(said, "out"),
            Welcome(said._replace(generation=0), 1_000),
            Grant(said, ()),
            Reregister(said._replace(incarnation=b"a forger")),
            Fetch(said, self._dice.below(4), 0),
            NodeStatusRequest(said),
        ]

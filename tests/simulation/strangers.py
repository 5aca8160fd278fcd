"""Messages of a stranger, who knows the incarnation or the name of a node and not the run, or speaks another version.

Nothing must come of any of them to a member. `invariants.py` sees that no node is refused, stopped or replaced by them, and that
a network in which nothing else happens does not go back.
"""

from __future__ import annotations

from neuron_node.addresses import COORDINATOR, EVERY_NODE, node_address
from neuron_node.codec import encode
from neuron_node.frames import LENGTH_BYTES
from neuron_node.protocol import (
    NOBODY,
    Diverged,
    Grant,
    Header,
    Heartbeat,
    Message,
    NodeStatus,
    Register,
    Reject,
    Reregister,
    Stop,
    Stopped,
    Superseded,
    Traffic,
    Welcome,
)
from tests.simulation.dice import Dice
from tests.simulation.world import World

VERSION_AT = LENGTH_BYTES + 1
"""In a control frame."""
OTHER_VERSION = b"\x63"
OTHERS, STRANGER = b"another.", b"stranger"
NONE = Traffic(0, 0, 0)


def stranger(world: World, dice: Dice) -> bool:
    """One message. False where there is no node in whose name to speak."""
    lives = [life for life in world.nodes.values() if life.alive]
    if not lives:
        return False
    life = dice.pick(lives)
    about = Header(dice.pick((NOBODY, OTHERS)), dice.below(3), dice.below(3), life.incarnation)
    theirs = about._replace(incarnation=STRANGER)
    address, message = dice.pick(
        [
            *[(node_address(life.incarnation), one) for one in _to_the_node(theirs)],
            *[(COORDINATOR, one) for one in _in_its_name(about, world)],
            (COORDINATOR, _registration(theirs._replace(incarnation=dice_name(dice)), life.name, world)),
            (EVERY_NODE, Reregister(theirs)),
        ]
    )
    frame, version = encode(message), ""
    if dice.falls(0.3):
        frame, version = frame[:VERSION_AT] + OTHER_VERSION + frame[VERSION_AT + 1 :], " of another version"
    world.tell(f"a stranger sends a {type(message).__name__}{version} about {life.name} ({life.number})")
    world.inject(address + frame)
    return True


def dice_name(dice: Dice) -> bytes:
    """Return an incarnation that no program has."""
    return b"other" + dice.below(2**24).to_bytes(3, "big")


def _to_the_node(theirs: Header) -> list[Message]:
    return [
        Reject(theirs, "out"),
        Stop(theirs),
        Superseded(theirs),
        Grant(theirs, ()),
        Reregister(theirs),
        Welcome(theirs, 1_000),
    ]


def _in_its_name(about: Header, world: World) -> list[Message]:
    return [
        Stopped(about, NONE),
        Heartbeat(about, "working", NONE),
        NodeStatus(about, "spare", ()),
        Diverged(about, 1, "input.0", 1),
        _registration(about, "input.0", world)._replace(fingerprint="another arithmetic"),
    ]


def _registration(header: Header, name: str, world: World) -> Register:
    return Register(header, name, "elsewhere", 1, "1", world.plan.fingerprint, "nowhere://" if world.direct else "")

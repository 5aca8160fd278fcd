"""What is asked of a frame without decoding it: the short way of data messages.

In a data message everything has a fixed place (`codec`): a head that says from whom to whom, a tail that says of which
pass and in what shape, and the numbers. A program that waits for 64 signals of a pass knows the tail that they all share,
and from what it has accepted in full before the head of each. So the shell waits until as many frames have come as are
due, their heads and tails are compared as bytes, and the numbers of all of them are taken in one piece. Whatever is not so
is decoded in full: nothing is accepted here that would not be there.

Nothing here is done message by message in Python: with one neuron a program, the caches are cold whenever it wakes up, and
what counts is how much of the interpreter a message touches.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Protocol

from neuron_node.codec import HEAD_LENGTH, NUMBERS_BEGIN

AT_ONCE = 1_024
"""Frames that are waited for at the most before the state machine is asked: time must pass, even if they come slowly."""
head_of = itemgetter(slice(0, HEAD_LENGTH))
tail_of = itemgetter(slice(HEAD_LENGTH, NUMBERS_BEGIN))

Bin = dict[bytes, bytes]
"""Frames by their heads, in the order in which they came."""


class Intake(Protocol):
    """What the shell needs to know of a machine."""

    @property
    def due(self) -> int:
        """How many frames it is worth waiting for before the machine looks at them."""

    @property
    def postponed(self) -> bool:
        """Whether the machine has put something off until its last actions are performed."""


class OneByOne:
    """The intake of a machine that wants to see every frame at once."""

    due = 1
    postponed = False


def pass_of(tail: bytes) -> int:
    """The number of the pass that a tail is of; of anything else than a tail some number."""
    return int.from_bytes(tail[1:9], "big")

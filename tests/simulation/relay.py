"""The broker as a relay: it gathers what waits, joins the frames for one address, and sends once to each address.

A round begins with the first message that comes, and ends a little later. What is in it when the broker ends is lost.
A delivery of joined frames may be lost as a whole, and so may one frame of it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from neuron_node.addresses import ADDRESS_LENGTH

if TYPE_CHECKING:
    from tests.simulation.network import Life, Network

LOST_HERE = 0.3
"""The share of messages that are lost in the relay, relative to those that are lost on their way to it."""


class Round:
    """What the relay sends next, and when. Of each address: who has sent, and the address with all frames."""

    __slots__ = ("bins", "life", "sent_ms")

    def __init__(self, sent_ms: float, life: int) -> None:
        self.sent_ms = sent_ms
        self.life = life
        self.bins: dict[bytes, tuple[dict[Life, None], list[bytes]]] = {}


class Relay:
    """Between the programs' messages and those who have subscribed to them."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._round: Round | None = None
        self._life = 0
        """Of the broker's program."""

    def take(self, life: Life, address: bytes, message: bytes, at_ms: float) -> None:
        """A message of a program comes to the relay."""
        one, network = self._round, self._network
        if one is None or at_ms > one.sent_ms:
            gathered_ms = (network.conditions.joined_ms or 0.0) * network.dice.random()
            one = self._round = Round(at_ms + gathered_ms, self._life)
            network.later(one.sent_ms - network.now_ms, functools.partial(self._send, one))
        found = one.bins.get(address)
        if found is None:
            one.bins[address] = ({life: None}, [message])
        else:
            found[0][life] = None
            found[1].append(message[ADDRESS_LENGTH:])

    def flush(self) -> None:
        """The broker is asked to end: it sends what it has gathered."""
        if self._round is not None:
            self._send(self._round)
            self.forget()

    def forget(self) -> None:
        """The broker ends."""
        self._life += 1
        self._round = None

    def _send(self, one: Round) -> None:
        network = self._network
        if one.life != self._life:
            return
        lost, random = LOST_HERE * network.conditions.lost, network.dice.random
        for senders, frames in one.bins.values():
            if len(frames) > 1:
                network.counts["frames joined"] += 1
                if lost and random() < lost:
                    network.counts["joined frames lost"] += 1
                    continue
                if lost and random() < lost:
                    network.counts["joined frame lost"] += 1
                    # The first one has the address before it.
                    del frames[network.dice.between(1, len(frames) - 1)]
            network.publish(senders, b"".join(frames))

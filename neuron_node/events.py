"""What a state machine takes and gives. Machines know no socket, clock, file, process or random source: all of it is here, as data."""

from __future__ import annotations

from typing import NamedTuple

from neuron_node.addresses import ADDRESS_LENGTH

# Events.


class Received(NamedTuple):
    """A message arrived: an address and frames, still encoded."""

    message: bytes


class Tick(NamedTuple):
    """Time has passed."""


class LinkLost(NamedTuple):
    """A connection broke and all were given up: every one and every subscription is gone, whatever was under way may be lost."""


class Interrupted(NamedTuple):
    """The person at the keyboard (`by_hand`) or the operating system asks the program to end."""

    by_hand: bool = False


# Actions.


class Send(NamedTuple):
    """Send a message: an address and one or more frames."""

    message: bytes

    @property
    def address(self) -> bytes:
        """Where to."""
        return self.message[:ADDRESS_LENGTH]


class Subscribe(NamedTuple):
    """Hear what is sent to an address, from now on."""

    address: bytes


class Unsubscribe(NamedTuple):
    """Hear it no longer."""

    address: bytes


class Connect(NamedTuple):
    """Hear the data of a peer too, where it sends them."""

    endpoint: str


class Disconnect(NamedTuple):
    """Hear it no longer."""

    endpoint: str


class Log(NamedTuple):
    """A line for the program's log, at a level of the logging module."""

    level: int
    text: str


class End(NamedTuple):
    """End the program with this exit code."""

    code: int


Event = Received | Tick | LinkLost | Interrupted
Action = Send | Subscribe | Unsubscribe | Connect | Disconnect | Log | End

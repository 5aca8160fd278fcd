"""The events that a state machine takes, and the actions that it returns.

A machine uses no socket, clock, file, process or random source. The shell turns the outside world into events, and performs
the actions.
"""

from __future__ import annotations

from typing import NamedTuple

from neuron_node.addresses import ADDRESS_LENGTH

# Events.


class Received(NamedTuple):
    """A message arrived: an address and frames, not yet decoded."""

    message: bytes


class Tick(NamedTuple):
    """Time has passed."""


class LinkLost(NamedTuple):
    """A connection broke, and the shell replaced all sockets. Subscriptions are gone; messages under way may be lost."""


class Interrupted(NamedTuple):
    """The program received SIGINT (`by_hand`) or SIGTERM."""

    by_hand: bool = False


# Actions.


class Send(NamedTuple):
    """Send a message: an address and one or more frames."""

    message: bytes

    @property
    def address(self) -> bytes:
        """The address of the message."""
        return self.message[:ADDRESS_LENGTH]


class Subscribe(NamedTuple):
    """Subscribe to the messages for an address."""

    address: bytes


class Unsubscribe(NamedTuple):
    """End the subscription to an address."""

    address: bytes


class Connect(NamedTuple):
    """Connect to the outlet of a peer, in direct wiring."""

    endpoint: str


class Disconnect(NamedTuple):
    """Disconnect from the outlet of a peer."""

    endpoint: str


class Log(NamedTuple):
    """Write a line to the program's log, at a level of the logging module."""

    level: int
    text: str


class End(NamedTuple):
    """End the program with this exit code."""

    code: int


class Die(NamedTuple):
    """End the program by SIGKILL, in the middle of its work."""


Event = Received | Tick | LinkLost | Interrupted
Action = Send | Subscribe | Unsubscribe | Connect | Disconnect | Log | End | Die

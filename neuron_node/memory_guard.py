"""Bounds the memory of a program that other programs connect to: a thread closes the connections that use too much of it.

A high-water mark counts messages, and `MAXMSGSIZE` limits one part of a message. ZeroMQ limits neither the subscriptions of a
connection nor the parts of a message, and it does not say for which connection it uses memory. So the guard reads the memory
of the whole program. Above the limit it closes, in this order, until the memory falls:

1. connections that read nothing (after a longer time also between half of the limit and the limit);
2. connections that send faster than their messages are processed;
3. the newest connection, then the one before it, and so on.

Messages do not pass through the guard. It shuts a connection down in the kernel, and ZeroMQ then frees the memory. A program
whose connection was closed connects again and proves its links again. This takes time, and changes no number.

Because the guard knows all connections, it also logs how many programs are connected.

The guard works on Linux. Other systems do not state the memory in /proc, and the guard is off.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket as sockets
import termios
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import parse_monitor_message

from neuron_node.memory import own_bytes, release_memory
from neuron_node.zap import HANDSHAKE_FAILED, WITHOUT_KEY

CALM_MS, ALERT_MS = 5, 1
"""The time between two checks of the memory, and the same above half of the limit."""
CONNECTION_BYTES = 64 * 1024
"""The memory that ZeroMQ uses for a connection without messages."""
FLOODING_BYTES = 16 * 1024
PRESSURE_KEPT = 0.75
"""The share of a connection's pressure that is left at the next check; then the bytes are added that this program has not read.

The checks are faster than the reading, so a connection that floods has more pressure than `FLOODING_BYTES` in nearly all of them.
"""
RELIEF_SECONDS = 0.03
"""The time that ZeroMQ gets to free the memory of a closed connection, before the next connection is closed for flooding."""
SILENT_SECONDS, SILENT_BELOW_SECONDS = 0.25, 4.0
"""A connection that reads nothing for this time does not read: above the limit, and between half of the limit and the limit."""
UNEXPLAINED_SECONDS = 0.25
"""The time after which the newest connection is closed, if no other reason was found."""
TRIM_SECONDS, TRIM_SOON_SECONDS = 4.0, 0.02
"""The time between two returns of free memory to the kernel, and the same after a connection was closed."""
CLOSED_LATELY_SECONDS = 5.0
TRIM_FROM_BYTES = 8 * 1024 * 1024
LOG_SECONDS = 60.0
COUNT_SECONDS = 4.0
"""The least time between two lines that count the programs: a start of many containers is not silent, and not a page long."""

DOES_NOT_READ = "it does not read its messages"
FLOODS = "it sends faster than its messages are processed"
NEWEST = "the memory is full, and this is the newest connection"

logger = logging.getLogger("exmachina")


@dataclass(slots=True)
class Connection:
    """A connection of a peer, and the results of the last checks."""

    descriptor: int
    inode: int
    """The inode of the socket: another socket may get the same descriptor later."""
    pressure: float = 0.0
    """The bytes that this program had not read at the last checks, with less weight for earlier ones."""
    unread: int = 0
    """The bytes that the peer had not read at the last check."""
    unread_since: float = 0.0
    socket: int = 0
    """Which of the bound sockets has accepted it."""

    def note(self, waiting: int, unread: int, now: float) -> None:
        """Note the result of a check."""
        self.pressure = PRESSURE_KEPT * self.pressure + waiting
        # More unread bytes, such as a heartbeat's, do not show that the peer reads.
        if unread < self.unread or not self.unread:
            self.unread_since = now
        self.unread = unread

    def forget(self, now: float) -> None:
        """Begin again, after a time without checks."""
        self.pressure, self.unread, self.unread_since = 0.0, 0, now


def offenders(
    connections: Sequence[Connection], now: float, above_since: float | None, closed_at: float
) -> list[tuple[Connection, str]]:
    """Return the connections to close while the memory is above half of its limit, each with the reason.

    `connections` are in the order in which they were accepted. `above_since` is the time when the memory exceeded the limit,
    or None if it is below the limit; `closed_at` is the time of the last closing. Of the connections that flood, those with
    little pressure stay.
    """
    patience = SILENT_BELOW_SECONDS if above_since is None else SILENT_SECONDS
    silent = [one for one in connections if one.unread and now - one.unread_since >= patience]
    if silent or above_since is None:
        return [(one, DOES_NOT_READ) for one in silent]
    if now - closed_at >= RELIEF_SECONDS:
        most = max((one.pressure for one in connections), default=0.0)
        if most >= FLOODING_BYTES:
            return [(one, FLOODS) for one in connections if one.pressure >= most / 2]
    if connections and now - max(above_since, closed_at) >= UNEXPLAINED_SECONDS:
        return [(connections[-1], NEWEST)]
    return []


class MemoryGuard:
    """Watches the memory of this program, and the connections of some bound sockets, in a thread of its own."""

    def __init__(
        self, bound: Iterable[zmq.Socket[bytes]], memory_bytes: int, dismissing: threading.Event | None = None
    ) -> None:
        """Start the thread. It ends with the context of the sockets; `memory_bytes` is for messages and subscriptions.

        When `dismissing` is set, the guard closes all connections and clears the event.
        """
        self._dismissing = dismissing or threading.Event()
        self._limit = memory_bytes
        self._before = own_bytes()
        self._least, self._trimmed_at = self._before, time.monotonic()
        self._connections: dict[tuple[int, int], Connection] = {}
        """By the number of the bound socket and the descriptor. Each socket reports its events in order, but not among the
        events of the other: a descriptor may be accepted at one before its end at the other is known."""
        self._alert = False
        self._above_since: float | None = None
        self._closed_at = float("-inf")
        self._said: dict[str, float] = {}
        self._counted, self._counted_at = 0, float("-inf")
        events = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | HANDSHAKE_FAILED
        self._monitors = [socket.get_monitor_socket(events) for socket in bound] if self._before else []
        if self._monitors:
            threading.Thread(target=self._watch, name="memory guard").start()

    def _watch(self) -> None:
        try:
            with contextlib.suppress(zmq.ContextTerminated):
                while True:
                    # Events of connections are not awaited: a wake-up at each would delay the thread that relays messages.
                    self._dismissing.wait((ALERT_MS if self._alert else CALM_MS) / 1_000)
                    for number, monitor in enumerate(self._monitors):
                        self._note_all(monitor, number)
                    if self._dismissing.is_set():
                        self._close_all()
                    self._check(now := time.monotonic())
                    self._count(now)
        finally:
            for monitor in self._monitors:
                monitor.close(0)

    def _close_all(self) -> None:
        """Close all connections: programs with a valid key connect again."""
        self._dismissing.clear()
        for connection in list(self._connections.values()):
            self._close(connection, "its key may no longer be valid")

    def _note_all(self, monitor: zmq.Socket[bytes], socket: int) -> None:
        """Note all events of a bound socket that have arrived."""
        with contextlib.suppress(zmq.Again):
            while True:
                self._note(monitor.recv_multipart(zmq.NOBLOCK), socket)

    def _note(self, message: list[bytes], socket: int) -> None:
        """Add or remove a connection of a bound socket."""
        event = parse_monitor_message(message)
        if event["event"] & HANDSHAKE_FAILED:
            self._say(WITHOUT_KEY)
            return
        descriptor: int = event["value"]
        self._connections.pop((socket, descriptor), None)
        if event["event"] == zmq.EVENT_ACCEPTED and (inode := _inode(descriptor)):
            self._connections[socket, descriptor] = Connection(descriptor, inode, socket=socket)

    def _count(self, now: float) -> None:
        """Log the number of connected programs if it has changed. A program has one connection to each socket."""
        if now - self._counted_at < COUNT_SECONDS:
            return
        self._counted_at = now
        programs = sum(connection.socket == 0 for connection in self._connections.values())
        if programs != self._counted:
            self._counted = programs
            logger.info("connected programs: %d", programs)

    def _check(self, now: float) -> None:
        """Check the memory, and the connections if it is high."""
        used = own_bytes() - self._before - CONNECTION_BYTES * len(self._connections)
        used = self._trimmed(used, now)
        alert = used > self._limit // 2
        if alert and not self._alert:
            for connection in self._connections.values():
                connection.forget(now)
        self._alert = alert
        if not alert:
            self._above_since = None
            return
        connections = list(self._connections.values())
        for connection in connections:
            connection.note(*_queued(connection.descriptor), now)
        if used <= self._limit:
            self._above_since = None
        elif self._above_since is None:
            self._above_since = now
        for connection, why in offenders(connections, now, self._above_since, self._closed_at):
            self._close(connection, why, used)
            self._closed_at = now
        if (
            not connections
            and self._above_since
            and now - max(self._above_since, self._closed_at) >= UNEXPLAINED_SECONDS
        ):
            # No connection is left that could use the memory: the program itself does.
            self._before += used
            self._say(f"{used >> 20} MB of memory belong to no connection")

    def _trimmed(self, used: int, now: float) -> int:
        """Return free memory to the kernel if there may be much of it; return the memory that is used then."""
        soon = used > self._limit or now - self._closed_at < CLOSED_LATELY_SECONDS
        due = self._trimmed_at + (TRIM_SOON_SECONDS if soon else TRIM_SECONDS)
        total = used + self._before + CONNECTION_BYTES * len(self._connections)
        if now < due or total - self._least < TRIM_FROM_BYTES:
            return used
        release_memory()
        after, self._trimmed_at = own_bytes(), time.monotonic()
        self._least = min(self._least, after)
        return used + after - total

    def _close(self, connection: Connection, why: str, used: int = 0) -> None:
        """Shut a connection down in the kernel; ZeroMQ then drops the connection, and frees its memory."""
        self._connections.pop((connection.socket, connection.descriptor), None)
        with contextlib.suppress(OSError), sockets.socket(fileno=os.dup(connection.descriptor)) as peer:
            # Check the copy: the descriptor itself may be closed and used again at any moment.
            if os.fstat(peer.fileno()).st_ino == connection.inode:
                peer.shutdown(sockets.SHUT_RDWR)
                self._say(f"closed a connection: {why}", f" ({used >> 20} MB of memory are used)" if used else "")

    def _say(self, text: str, facts: str = "") -> None:
        """Log a line, at most once in a while for each cause."""
        now = time.monotonic()
        if now - self._said.get(text, float("-inf")) >= LOG_SECONDS:
            self._said[text] = now
            logger.warning("%s%s", text, facts)


def _inode(descriptor: int) -> int:
    """Return the inode of an open file; 0 if there is none."""
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0


def _queued(descriptor: int) -> tuple[int, int]:
    """Return the bytes that this program has not read, and those that the peer has not read."""
    try:
        waiting, unread = (
            int.from_bytes(fcntl.ioctl(descriptor, request, bytes(4)), "little")
            for request in (termios.FIONREAD, termios.TIOCOUTQ)
        )
    except OSError:
        return 0, 0
    return waiting, unread

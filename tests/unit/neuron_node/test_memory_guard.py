"""The decisions of the memory guard: which connections it closes while the memory is above its limit."""

from __future__ import annotations

import socket
import struct

import zmq

from neuron_node.memory_guard import (
    DOES_NOT_READ,
    FLOODING_BYTES,
    FLOODS,
    NEWEST,
    PRESSURE_KEPT,
    RELIEF_SECONDS,
    SILENT_BELOW_SECONDS,
    SILENT_SECONDS,
    UNEXPLAINED_SECONDS,
    Connection,
    MemoryGuard,
    offenders,
)

LONG = max(SILENT_SECONDS, UNEXPLAINED_SECONDS)
LONG_AGO = -100.0


def connection(descriptor: int, *, pressure: float = 0.0, unread: int = 0, since: float = 0.0) -> Connection:
    return Connection(descriptor, descriptor, pressure, unread, since)


def closed(
    *connections: Connection, now: float, above_since: float | None = 0.0, closed_at: float = LONG_AGO
) -> list[tuple[int, str]]:
    return [(one.descriptor, why) for one, why in offenders(connections, now, above_since, closed_at)]


def test_connections_that_do_not_read_are_closed_first() -> None:
    """All silent connections are closed before one that floods and before the newest."""
    peers = (connection(1, unread=1), connection(2, pressure=FLOODING_BYTES), connection(3, unread=9), connection(4))
    assert closed(*peers, now=LONG) == [(1, DOES_NOT_READ), (3, DOES_NOT_READ)]


def test_below_the_limit_only_those_are_closed_that_read_nothing_for_long() -> None:
    """Below the limit, neither a connection that floods nor the newest is closed."""
    peers = (connection(1, unread=1), connection(2, unread=1, since=1.0), connection(3, pressure=FLOODING_BYTES))
    assert closed(*peers, now=SILENT_BELOW_SECONDS, above_since=None) == [(1, DOES_NOT_READ)]
    assert closed(*peers, now=SILENT_BELOW_SECONDS - 0.5, above_since=None) == []


def test_a_connection_that_has_read_lately_stays() -> None:
    """A connection with unread bytes stays until its peer has read nothing for a while."""
    assert closed(connection(1, unread=1, since=1.0), now=1.0 + SILENT_SECONDS / 2, above_since=1.0) == []


def test_of_the_connections_that_flood_those_with_the_most_pressure_are_closed() -> None:
    """A peer that only suffers from the flood of another has fewer bytes waiting."""
    peers = (
        connection(1, pressure=FLOODING_BYTES),
        connection(2, pressure=10 * FLOODING_BYTES),
        connection(3, pressure=6 * FLOODING_BYTES),
        connection(4),
    )
    assert closed(*peers, now=0.0) == [(2, FLOODS), (3, FLOODS)]
    assert closed(connection(1, pressure=FLOODING_BYTES - 1), now=0.0) == []


def test_after_a_closing_the_memory_gets_time_to_fall() -> None:
    """The next connection is not closed for flooding at once: the first one may have used all the memory."""
    one = connection(1, pressure=FLOODING_BYTES)
    assert closed(one, now=1.0, closed_at=1.0 - RELIEF_SECONDS / 2) == []
    assert closed(one, now=1.0, closed_at=1.0 - 2 * RELIEF_SECONDS) == [(1, FLOODS)]


def test_without_another_reason_the_newest_connection_is_closed_after_a_while() -> None:
    """The newest connections are closed one at a time, so that the memory can fall in between."""
    peers = (connection(5), connection(3), connection(4))
    assert closed(*peers, now=UNEXPLAINED_SECONDS / 2) == []
    assert closed(*peers, now=UNEXPLAINED_SECONDS) == [(4, NEWEST)]
    assert closed(*peers, now=2 * UNEXPLAINED_SECONDS, closed_at=1.5 * UNEXPLAINED_SECONDS) == []
    assert closed(now=LONG) == []


def test_pressure_remembers_the_last_checks() -> None:
    """A check that finds a flood affects the next checks too; small messages never add up to a flood."""
    one, small = connection(1), connection(2)
    one.note(2 * FLOODING_BYTES, 0, 0.0)
    one.note(0, 0, 0.0)
    assert one.pressure == PRESSURE_KEPT * 2 * FLOODING_BYTES >= FLOODING_BYTES
    for _ in range(1_000):
        small.note(FLOODING_BYTES // 10, 0, 0.0)
    assert closed(small, now=0.0) == []


def test_a_peer_that_reads_slowly_reads() -> None:
    """The time begins again whenever the number of unread bytes falls, and after a time without checks."""
    one = connection(1)
    for unread, now in ((500, 0.0), (400, 0.9 * SILENT_SECONDS), (600, 1.2 * SILENT_SECONDS)):
        one.note(0, unread, now)
    assert closed(one, now=1.5 * SILENT_SECONDS, closed_at=SILENT_SECONDS) == []
    assert closed(one, now=2.0 * SILENT_SECONDS, closed_at=SILENT_SECONDS) == [(1, DOES_NOT_READ)]
    one.forget(2.0 * SILENT_SECONDS)
    assert closed(one, now=9 * SILENT_SECONDS, above_since=9 * SILENT_SECONDS) == []


def test_a_descriptor_that_another_socket_uses_again_stays_watched() -> None:
    """The end of a connection at one socket may be reported after the same descriptor was accepted at the other."""
    guard = MemoryGuard([], 1)
    with socket.socket() as peer:
        reports = ((zmq.EVENT_ACCEPTED, 1), (zmq.EVENT_ACCEPTED, 0), (zmq.EVENT_DISCONNECTED, 1))
        for event, bound in reports:
            # As libzmq encodes an event.
            guard._note([struct.pack("=hi", event, peer.fileno()), b""], bound)
        assert [(one.descriptor, one.socket) for one in guard._connections.values()] == [(peer.fileno(), 0)]

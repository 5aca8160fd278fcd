"""A ZeroMQ peer that speaks ZMTP 3.0 by hand, so that it can do what libzmq would not let a program do."""

from __future__ import annotations

import os
import select
import socket
from types import TracebackType
from typing import Self

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)
MORE, LARGE, COMMAND = 1, 2, 4
PING, PONG = b"\x04PING", bytes([COMMAND, 5]) + b"\x04PONG"
HANDSHAKE_AT_MOST_SECONDS = 10.0
LARGEST_SHORT_BYTES = 255


class RawPeer:
    """One connection to a ZeroMQ socket. As a context manager, it is closed at the end."""

    def __init__(self, endpoint: str, kind: str) -> None:
        """`kind` is the type of socket that the peer claims to be, such as PUSH."""
        self.closed = False
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(HANDSHAKE_AT_MOST_SECONDS)
        self._socket.connect(endpoint.removeprefix("ipc://"))
        name, value = b"Socket-Type", kind.encode()
        ready = b"\x05READY" + bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value
        self._socket.sendall(GREETING + bytes([COMMAND, len(ready)]) + ready)
        self._await(len(GREETING))
        _, size = self._await(2)
        self._await(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def send(self, body: bytes, *, more: bool = False) -> bool:
        """Send a frame, with another part to follow if there is `more`; False if the other side has closed the connection."""
        return self.send_raw(encoded(body, more=more))

    def send_raw(self, data: bytes) -> bool:
        """Send bytes as they are; False if the other side has closed the connection, or reads no more."""
        try:
            self._socket.sendall(data)
        except OSError:
            self.closed = True
        return not self.closed

    def is_closed(self) -> bool:
        """Whether the other side has closed the connection. Reads what has arrived, and answers heartbeats."""
        while not self.closed and select.select([self._socket], [], [], 0)[0]:
            try:
                read = self._socket.recv(1 << 20)
            except ConnectionError:
                read = b""
            self.closed = not read
            if PING in read:
                self.send_raw(PONG)
        return self.closed

    def _await(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            read = self._socket.recv(size - len(data))
            if not read:
                raise ConnectionError("closed during the handshake")
            data += read
        return data


def encoded(body: bytes, *, more: bool = False) -> bytes:
    """A frame of ZMTP."""
    if len(body) > LARGEST_SHORT_BYTES:
        return bytes([LARGE | more]) + len(body).to_bytes(8, "big") + body
    return bytes([more, len(body)]) + body


def subscription(topic: bytes) -> bytes:
    """A frame that subscribes to a topic."""
    return encoded(b"\x01" + topic)


def resident_bytes(process: int) -> int:
    """Memory of a process that is its own or shared with others, as the kernel counts it; 0 if the process has ended."""
    try:
        with open(f"/proc/{process}/statm", "rb") as file:  # noqa: PTH123 - often
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0

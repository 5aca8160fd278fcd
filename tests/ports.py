"""Free TCP ports of the loopback interface."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """Return ports that no program uses at this moment, each with a free one after it."""
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = first.getsockname()[1]
            try:
                stack.enter_context(socket.create_server(("127.0.0.1", port + 1)))
            except OSError:
                continue
            ports.append(port)
        return ports

"""The broker forwards the messages of all programs by their addresses. It knows no neuron and keeps no state.

If the broker dies and restarts, the programs connect again and prove their links again.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from neuron_node import __version__
from neuron_node.console import MESSAGE_VARIABLE, add_key_options, log_to_stderr, stated_message_bytes
from neuron_node.errors import UserError
from neuron_node.keys import BROKER, COORDINATOR, NODE
from neuron_node.limits import DEFAULT_LIMITS, MESSAGE_BYTES, Limits, limits_for
from neuron_node.memory_guard import MemoryGuard
from neuron_node.security import OwnKeys, own_keys
from neuron_node.transport import PUB, PULL, Endpoints, bound_socket, check_endpoint, new_context, proxy, relay
from neuron_node.zap import ZapHandler

DEFAULT_BIND = Endpoints("tcp://127.0.0.1:5571", "tcp://127.0.0.1:5572")
DESCRIPTORS = 4_096


def run_broker(
    endpoints: Endpoints,
    descriptors: int = DESCRIPTORS,
    *,
    joins: bool = True,
    limits: Limits = DEFAULT_LIMITS,
    keys: OwnKeys | None = None,
) -> int:
    """Forward messages until SIGTERM or SIGINT, then remove the socket files; return the exit code.

    With `joins`, the frames for one address are joined, so a receiver wakes up once for many frames: see `transport.relay`.
    Without it, each message arrives as it was sent, which is faster between few programs.

    The relay runs in a thread; the main thread blocks both signals and waits for them. A signal handler could miss a signal,
    because Python runs handlers only between calls of the relay.

    With `keys`, only the coordinator and nodes with a valid key may connect over TCP, and the connections are encrypted.

    Raises:
        UserError: an endpoint is in use or can't be bound, or the keys can't be read.
    """
    ends = {signal.SIGTERM, signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    context = new_context(descriptors)
    sockets, bound = [], []
    try:
        # The handler must be there before a socket is bound.
        handler = ZapHandler(context, keys.folder, (COORDINATOR, NODE)) if keys else None
        for kind, endpoint in ((PULL, endpoints.inward), (PUB, endpoints.outward)):
            secure = keys.server() if keys else None
            sockets.append(bound_socket(context, kind, endpoint, limits.message_bytes, secure))
            bound.append(endpoint)
        MemoryGuard(sockets, limits.memory_bytes, handler.dismissing if handler else None)
        # The thread owns the sockets from here on, and closes them when the context ends.
        threading.Thread(target=relay if joins else proxy, args=tuple(sockets)).start()
        sockets.clear()
        announce_health()
        signal.sigwait(ends)
    finally:
        for socket in sockets:
            socket.close(0)
        context.term()
        # Keep the paths that this broker could not bind: they belong to another program.
        for endpoint in bound:
            if endpoint.startswith("ipc://"):
                Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return 0


def announce_health() -> None:
    """Create the file that EXMACHINA_HEALTH_FILE names. The health check of a container tests for this file."""
    if path := os.environ.get("EXMACHINA_HEALTH_FILE"):
        Path(path).touch()


def main(arguments: list[str] | None = None) -> int:
    """Run the console script `neuron-broker`. Exit codes: 0 stopped, 2 wrong usage or an endpoint in use."""
    inward = os.environ.get("EXMACHINA_BIND_IN") or DEFAULT_BIND.inward
    outward = os.environ.get("EXMACHINA_BIND_OUT") or DEFAULT_BIND.outward
    parser = argparse.ArgumentParser(prog="neuron-broker", description="The broker of an Exmachina network.")
    parser.add_argument(
        "--bind-in", default=inward, metavar="ENDPOINT", help="endpoint that programs send to (default %(default)s)"
    )
    parser.add_argument(
        "--bind-out",
        default=outward,
        metavar="ENDPOINT",
        help="endpoint that programs receive from (default %(default)s)",
    )
    parser.add_argument(
        "--no-join",
        action="store_true",
        help="forward every message unchanged, instead of joining the frames for one address; faster below 64 programs",
    )
    parser.add_argument(
        "--max-message",
        metavar="BYTES",
        help="size of the largest message; a connection that sends a larger one is closed "
        f"(default ${MESSAGE_VARIABLE} or {MESSAGE_BYTES})",
    )
    add_key_options(parser)
    parser.add_argument("--version", action="version", version=f"neuron-broker {__version__}")
    options = parser.parse_args(arguments)
    log_to_stderr(logging.INFO)
    try:
        endpoints = Endpoints(
            check_endpoint("--bind-in", options.bind_in), check_endpoint("--bind-out", options.bind_out)
        )
        return run_broker(
            endpoints,
            joins=not options.no_join,
            limits=limits_for(stated_message_bytes(options.max_message)),
            keys=own_keys([BROKER], options.keys, insecure=options.insecure, listens=endpoints),
        )
    except UserError as fault:
        print(f"neuron-broker: {fault}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

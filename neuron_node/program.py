"""The console script `neuron-node`: runs one neuron program."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable

from neuron_node import __version__
from neuron_node.activations import quiet
from neuron_node.console import MESSAGE_VARIABLE, log_to_stderr, stated_message_bytes
from neuron_node.direct import DirectLink, Listening, check_listening
from neuron_node.errors import UserError
from neuron_node.fingerprint import fingerprint
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.identity import BEGIN_AGAIN, NodeIdentity
from neuron_node.limits import MESSAGE_BYTES
from neuron_node.node import TICK_MS, Node
from neuron_node.protocol import NOBODY
from neuron_node.shell import Shell
from neuron_node.signing import Verify
from neuron_node.transport import DEFAULT_ENDPOINTS, Endpoints, Link, check_endpoint

DESCRIPTORS_OF_A_LISTENER = 1_024
"""The number of open files of a program with an outlet, if the size of its network is unknown."""


def run_node(
    endpoints: Endpoints,
    arithmetic: str,
    name: str = "",
    orphaned: Callable[[], bool] = lambda: False,
    listening: Listening | None = None,
    run: bytes = NOBODY,
    message_bytes: int = MESSAGE_BYTES,
    verify: Verify | None = None,
) -> int:
    """Run a node until it is stopped; return the exit code. A superseded node begins again as a spare.

    `arithmetic` is the fingerprint; `orphaned` says whether the program that started this one has ended. A supervisor names
    the run. `message_bytes` is the size of the largest message. With `verify`, the node obeys only control messages that the
    coordinator has signed.
    """
    while (code := _live(endpoints, arithmetic, name, orphaned, listening, run, message_bytes, verify)) == BEGIN_AGAIN:
        pass
    return code


def _live(
    endpoints: Endpoints,
    arithmetic: str,
    name: str,
    orphaned: Callable[[], bool],
    listening: Listening | None,
    run: bytes,
    message_bytes: int,
    verify: Verify | None,
) -> int:
    host, incarnation = socket.gethostname()[:64], secrets.token_bytes(IDENTITY_LENGTH)
    link = new_link(endpoints, TICK_MS, incarnation, listening, message_bytes)
    born = NodeIdentity(
        incarnation=incarnation,
        name=name or f"{host}:{os.getpid()}",
        host=host,
        process=os.getpid(),
        software=__version__,
        fingerprint=arithmetic,
        endpoint=link.endpoint,
        run=run,
    )
    try:
        with quiet():
            broker = f" at {endpoints.inward} and {endpoints.outward}"
            return Shell(Node(born, broker, verify), link, orphaned=orphaned).run()
    finally:
        link.close()


def new_link(
    endpoints: Endpoints,
    receive_timeout_ms: int,
    incarnation: bytes,
    listening: Listening | None,
    message_bytes: int = MESSAGE_BYTES,
) -> Link:
    """Return a link to the broker, with an outlet for peers if `listening` is given.

    Raises:
        UserError: the outlet's endpoint can't be bound, or too few files may be open.
    """
    if listening is None:
        return Link(endpoints, receive_timeout_ms, message_bytes=message_bytes)
    return DirectLink(endpoints, receive_timeout_ms, incarnation, listening, message_bytes)


def listening_at(name: str, endpoint: str) -> Listening | None:
    """Return the outlet that an option states; None for an empty endpoint. Raises `UserError` if the endpoint is invalid."""
    return Listening(check_listening(name, endpoint), DESCRIPTORS_OF_A_LISTENER) if endpoint else None


def endpoints_from_environment() -> Endpoints:
    """Return the broker's endpoints from EXMACHINA_BROKER_IN and EXMACHINA_BROKER_OUT; without them, the default ports."""
    return Endpoints(
        os.environ.get("EXMACHINA_BROKER_IN") or DEFAULT_ENDPOINTS.inward,
        os.environ.get("EXMACHINA_BROKER_OUT") or DEFAULT_ENDPOINTS.outward,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the console script `neuron-node`. Exit codes: 0 stopped, 1 refused by the coordinator, 2 wrong usage."""
    default = endpoints_from_environment()
    parser = argparse.ArgumentParser(
        prog="neuron-node", description="One neuron of an Exmachina network, as a program of its own."
    )
    parser.add_argument(
        "--broker-in", default=default.inward, metavar="ENDPOINT", help="endpoint to send to (default %(default)s)"
    )
    parser.add_argument(
        "--broker-out",
        default=default.outward,
        metavar="ENDPOINT",
        help="endpoint to receive from (default %(default)s)",
    )
    parser.add_argument(
        "--listen",
        default=os.environ.get("EXMACHINA_LISTEN") or "",
        metavar="ENDPOINT",
        help="endpoint that peers connect to in direct wiring, tcp://HOST:PORT, * for any (default: none)",
    )
    parser.add_argument(
        "--name", default="", help="a name that stays the same after a restart (default: host and process)"
    )
    parser.add_argument(
        "--max-message",
        metavar="BYTES",
        help=f"size of the largest message; the same as that of the broker (default ${MESSAGE_VARIABLE} or {MESSAGE_BYTES})",
    )
    parser.add_argument("--verbose", action="store_true", help="log every change of state")
    parser.add_argument("--version", action="version", version=f"neuron-node {__version__}")
    options = parser.parse_args(arguments)
    log_to_stderr(logging.INFO if options.verbose else logging.WARNING)
    try:
        endpoints = Endpoints(
            check_endpoint("--broker-in", options.broker_in), check_endpoint("--broker-out", options.broker_out)
        )
        listening = listening_at("--listen", options.listen)
        message_bytes = stated_message_bytes(options.max_message)
        return run_node(endpoints, fingerprint(), options.name[:255], listening=listening, message_bytes=message_bytes)
    except UserError as fault:
        print(f"neuron-node: {fault}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

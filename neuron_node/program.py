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
from neuron_node.console import MESSAGE_VARIABLE, add_key_options, log_to_stderr, stated_message_bytes
from neuron_node.direct import DirectLink, Listening, check_listening
from neuron_node.errors import UserError
from neuron_node.fingerprint import fingerprint
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.identity import BEGIN_AGAIN, NodeIdentity
from neuron_node.keys import BROKER, COORDINATOR, NODE
from neuron_node.limits import MESSAGE_BYTES
from neuron_node.node import TICK_MS, Node
from neuron_node.protocol import NOBODY
from neuron_node.registration_proof import Registrant, prove
from neuron_node.security import OwnKeys, own_keys
from neuron_node.shell import Shell
from neuron_node.signing import Verify
from neuron_node.terminal import add_demo_options, demo_options, run_demo
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
    keys: OwnKeys | None = None,
) -> int:
    """Run a node until it is stopped; return the exit code. A superseded node begins again as a spare.

    `arithmetic` is the fingerprint; `orphaned` says whether the program that started this one has ended. A supervisor names
    the run. `message_bytes` is the size of the largest message. With `verify`, the node obeys only control messages that the
    coordinator has signed. With `keys`, connections over TCP are encrypted.
    """
    while (
        code := _live(endpoints, arithmetic, name, orphaned, listening, run, message_bytes, verify, keys)
    ) == BEGIN_AGAIN:
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
    keys: OwnKeys | None,
) -> int:
    host, incarnation = socket.gethostname()[:64], secrets.token_bytes(IDENTITY_LENGTH)
    link = new_link(endpoints, TICK_MS, incarnation, listening, message_bytes, keys)
    registrant = Registrant(incarnation, name or f"{host}:{os.getpid()}", host, os.getpid(), link.endpoint)
    try:
        born = NodeIdentity(
            **registrant._asdict(),
            software=__version__,
            fingerprint=arithmetic,
            run=run,
            key=keys.own.name if keys else "",
            proof=prove(_secret_with_coordinator(keys), registrant) if keys else None,
        )
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
    keys: OwnKeys | None = None,
) -> Link:
    """Return a link to the broker, with an outlet for peers if `listening` is given. With `keys`, TCP is encrypted.

    Raises:
        UserError: the outlet's endpoint can't be bound, too few files may be open, or the keys can't be read.
    """
    if listening is None:
        secure = keys.client_of(BROKER) if keys else None
        return Link(endpoints, receive_timeout_ms, message_bytes=message_bytes, secure=secure)
    return DirectLink(endpoints, receive_timeout_ms, incarnation, listening, message_bytes, keys)


def listening_at(name: str, endpoint: str) -> Listening | None:
    """Return the outlet that an option states; None for an empty endpoint. Raises `UserError` if the endpoint is invalid."""
    return Listening(check_listening(name, endpoint), DESCRIPTORS_OF_A_LISTENER) if endpoint else None


def endpoints_from_environment() -> Endpoints:
    """Return the broker's endpoints from EXMACHINA_BROKER_IN and EXMACHINA_BROKER_OUT; without them, the default ports."""
    return Endpoints(
        os.environ.get("EXMACHINA_BROKER_IN") or DEFAULT_ENDPOINTS.inward,
        os.environ.get("EXMACHINA_BROKER_OUT") or DEFAULT_ENDPOINTS.outward,
    )


def verify_of(keys: OwnKeys) -> Verify:
    """Return the function that verifies the coordinator's signatures."""
    from neuron_node.ed25519 import verifier  # noqa: PLC0415 - only programs with keys need the memory

    return verifier(keys.folder.holder(COORDINATOR).sign_public)


def _secret_with_coordinator(keys: OwnKeys) -> bytes:
    """Return the secret that this node shares with the coordinator."""
    from neuron_node.x25519 import shared_secret  # noqa: PLC0415 - only programs with keys need the memory

    return shared_secret(keys.own.curve_secret, keys.folder.holder(COORDINATOR).curve_public)


def main(arguments: list[str] | None = None) -> int:
    """Run the console script `neuron-node`.

    Exit codes: 0 stopped, 1 refused by the coordinator, 2 wrong usage; of the demo also 3 diverged, 130 interrupted.
    """
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
    add_key_options(parser, key=True)
    parser.add_argument("--verbose", action="store_true", help="log every change of state")
    parser.add_argument("--version", action="version", version=f"neuron-node {__version__}")
    add_demo_options(parser)
    options = parser.parse_args(arguments)
    log_to_stderr(logging.INFO if options.verbose else logging.WARNING)
    try:
        if (asked := demo_options(options)) is not None:
            return run_demo(asked)
        endpoints = Endpoints(
            check_endpoint("--broker-in", options.broker_in), check_endpoint("--broker-out", options.broker_out)
        )
        listening = listening_at("--listen", options.listen)
        message_bytes = stated_message_bytes(options.max_message)
        listens = [listening.endpoint] if listening else []
        keys = own_keys(
            [NODE], options.keys, options.key, insecure=options.insecure, connects=endpoints, listens=listens
        )
        return run_node(
            endpoints,
            fingerprint(),
            options.name[:255],
            listening=listening,
            message_bytes=message_bytes,
            verify=verify_of(keys) if keys else None,
            keys=keys,
        )
    except UserError as fault:
        print(f"neuron-node: {fault}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

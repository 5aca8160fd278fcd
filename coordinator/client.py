"""A client of a running coordinator. Its requests go through the broker, like all messages."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import numpy as np

from coordinator.errors import NobodyAnswers, UserError
from neuron_node.activations import Array
from neuron_node.addresses import COORDINATOR, client_address
from neuron_node.codec import decode, encode
from neuron_node.errors import PeerError
from neuron_node.frames import IDENTITY_LENGTH, split
from neuron_node.protocol import NOBODY, Header, Probe, Reply, Request
from neuron_node.transport import Endpoints, Link

AGAIN_SECONDS = 0.5
RECEIVE_TIMEOUT_MS = 20
NO_ROWS: Array = np.empty((0, 0))


class Client:
    """One connection for any number of requests."""

    def __init__(self, endpoints: Endpoints, patience_seconds: float) -> None:
        self._endpoints = endpoints
        self._patience_seconds = patience_seconds
        self._link = Link(endpoints, RECEIVE_TIMEOUT_MS)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()

    def ask(self, command: str, rows: Array = NO_ROWS, **arguments: Any) -> tuple[dict[str, Any], Array]:
        """Send a request, again and again until the reply arrives; return its facts and its rows of numbers.

        Raises:
            UserError: the coordinator refuses the request.
            NobodyAnswers: no reply arrives in time.
        """
        name = secrets.token_bytes(IDENTITY_LENGTH)
        header = Header(NOBODY, 0, 0, name)
        address = client_address(name)
        self._link.subscribe(address)
        deadline = time.monotonic() + self._patience_seconds
        # When our own probe has come back, a reply will reach us too.
        if self._await(address, encode(Probe(header)), Probe, address, deadline) is None:
            raise NobodyAnswers(
                f"no broker answers at {self._endpoints.inward}; start the service, or name it with --run or --broker-in"
            )
        request = Request(header, name, command, json.dumps(arguments), rows)
        reply = self._await(COORDINATOR, encode(request), Reply, address, deadline)
        self._link.unsubscribe(address)
        if not isinstance(reply, Reply):
            raise NobodyAnswers(
                f"no coordinator answers at {self._endpoints.inward} within {self._patience_seconds:g} s"
            )
        facts = json.loads(reply.result)
        if not reply.good:
            raise UserError(facts["error"])
        return facts, reply.rows

    def _await(self, to: bytes, body: bytes, kind: type, address: bytes, deadline: float) -> object | None:
        again = 0.0
        while (now := time.monotonic()) < deadline:
            if now >= again:
                self._link.send(to + body)
                again = time.monotonic() + AGAIN_SECONDS
            received = self._link.receive()
            if received is None or not received.startswith(address):
                continue
            for frame in split(received):
                try:
                    message = decode(frame)
                except PeerError:
                    continue
                if isinstance(message, kind):
                    return message
        return None

"""A client of a running coordinator. It sends requests to the coordinator's front door, and receives what is published there."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import numpy as np

from coordinator.errors import NobodyAnswers, UserError
from coordinator.front_door import EVENTS, REQUEST_BYTES_AT_MOST, Visit
from neuron_node.activations import Array
from neuron_node.codec import decode, encode
from neuron_node.errors import PeerError
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.protocol import NOBODY, Header, Reject, Reply, Request
from neuron_node.transport import Secure

AGAIN_SECONDS = 0.5
RECEIVE_TIMEOUT_MS = 100
NO_ROWS: Array = np.empty((0, 0))


class Client:
    """One connection for any number of requests."""

    def __init__(self, endpoint: str, patience_seconds: float, secure: Secure | None = None) -> None:
        """Connect to the front door at `endpoint`. `secure` prepares the sockets."""
        self._patience_seconds = patience_seconds
        self._visit = Visit(endpoint, secure)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._visit.close()

    def ask(self, command: str, rows: Array = NO_ROWS, **arguments: Any) -> tuple[dict[str, Any], Array]:
        """Send a request, again and again until the reply arrives; return its facts and its rows of numbers.

        Raises:
            UserError: the coordinator refuses the request, or another program is at the endpoint.
            NobodyAnswers: no reply arrives in time.
        """
        request_id = secrets.token_bytes(IDENTITY_LENGTH)
        frame = encode(Request(Header(NOBODY, 0, 0, NOBODY), request_id, command, json.dumps(arguments), rows))
        if len(frame) > REQUEST_BYTES_AT_MOST:
            raise UserError(
                f"a request may have {REQUEST_BYTES_AT_MOST:,} bytes, this one has {len(frame):,}; send fewer rows"
            )
        reply = self._await(request_id, frame)
        facts = json.loads(reply.result)
        if not reply.good:
            raise UserError(facts["error"])
        return facts, reply.rows

    def watch_events(self) -> None:
        """Subscribe to the events of the run."""
        self._visit.subscribe(EVENTS)

    def subscribe(self, topic: bytes) -> None:
        """Subscribe to a topic of published messages."""
        self._visit.subscribe(topic)

    def next_published(self, seconds: float) -> list[bytes] | None:
        """Return the frames of the next published message, the topic first; None if there is none within some seconds."""
        return self._visit.next_published(round(1000 * seconds))

    def next_event(self, seconds: float) -> str | None:
        """Return the name of the next event; None if there is none within some seconds."""
        message = self._visit.next_published(round(1000 * seconds))
        return message[0].removeprefix(EVENTS).decode("utf-8", "replace") if message else None

    def _await(self, request_id: bytes, frame: bytes) -> Reply:
        deadline, again = time.monotonic() + self._patience_seconds, 0.0
        while (now := time.monotonic()) < deadline:
            if now >= again:
                self._visit.send(frame)
                again = now + AGAIN_SECONDS
            frames = self._visit.receive(RECEIVE_TIMEOUT_MS)
            if frames is not None and (reply := _reply(request_id, frames)):
                return reply
            if self._visit.is_refused():
                raise UserError(
                    f"the coordinator at {self._visit.endpoint} refuses the key of this program: it is unknown or revoked there, "
                    "or is not that of an operator or a viewer"
                )
        where = self._visit.endpoint
        if self._visit.is_foreign():
            raise UserError(
                f"the program at {where} is no coordinator, or it has other keys; name a front door with --door or --run, and "
                "keys with --keys"
            )
        raise NobodyAnswers(f"no coordinator answers at {where} within {self._patience_seconds:g} s")


def _reply(request_id: bytes, frames: list[bytes]) -> Reply | None:
    """Return the reply to a request; None if the frames are something else. Raises `UserError` if the request is rejected."""
    if len(frames) != 2:
        return None
    try:
        message = decode(frames[1])
    except PeerError:
        return None
    if isinstance(message, Reject):
        raise UserError(f"the coordinator rejects this program: {message.reason}")
    return message if isinstance(message, Reply) and frames[0] == request_id else None

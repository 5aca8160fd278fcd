"""The requests of browsers: each goes through the connection of a viewer or of an operator, as the browser's token allows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from coordinator.client import NO_ROWS, Client
from coordinator.core.access import Access
from coordinator.core.queries import COMMANDS
from coordinator.errors import NobodyAnswers, UserError
from neuron_node.activations import Array

PATIENCE_SECONDS = 10.0
RESTART_PATIENCE_SECONDS = 300.0
"""The coordinator reads the data of another run first."""
WAITING_AT_MOST = 16
"""The most requests of all browsers that wait for one connection."""

Answer = tuple[dict[str, Any], Array]


class _Lane:
    """One connection in a thread of its own. It is made when it is needed, and again after the coordinator was gone."""

    def __init__(self, connect: Callable[[float], Client]) -> None:
        self._connect = connect
        self._client: Client | None = None
        self._thread = ThreadPoolExecutor(1, "door")
        self._waiting = 0

    async def ask(self, command: str, rows: Array, arguments: dict[str, Any]) -> Answer:
        if self._waiting >= WAITING_AT_MOST:
            raise UserError(f"{WAITING_AT_MOST} requests wait already; try again when some are answered")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, command, rows, arguments)
        finally:
            self._waiting -= 1

    def _ask(self, command: str, rows: Array, arguments: dict[str, Any]) -> Answer:
        if self._client is None:
            self._client = self._connect(PATIENCE_SECONDS)
        try:
            return self._client.ask(command, rows, **arguments)
        except NobodyAnswers:
            self._drop()
            raise

    def _drop(self) -> None:
        if self._client is not None:
            self._client.__exit__()
            self._client = None

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._drop()


class Door:
    """The connections of viewers and operators, and one for requests that take long."""

    def __init__(self, connect: Callable[[Access, float], Client]) -> None:
        """`connect` returns a client with the key of a role, and so many seconds of patience."""
        self._lanes = {access: _Lane(lambda patience, access=access: connect(access, patience)) for access in Access}  # type: ignore[misc]
        self._restarts = _Lane(lambda _patience: connect(Access.OPERATOR, RESTART_PATIENCE_SECONDS))

    async def ask(self, access: Access, command: str, rows: Array = NO_ROWS, **arguments: Any) -> Answer:
        """Send the request of a browser with this access.

        On `ipc://` the coordinator takes every client for an operator, so this checks the role first.

        Raises:
            UserError: the browser may not send the command, or the coordinator refuses it, or does not answer.
        """
        if COMMANDS[command].who > access:
            raise UserError(f"{command} is for operators: open the page with the operator's token to change the run")
        lane = self._restarts if command == "restart" else self._lanes[access]
        return await lane.ask(command, rows, arguments)

    def close(self) -> None:
        """Close all connections."""
        for lane in (*self._lanes.values(), self._restarts):
            lane.close()

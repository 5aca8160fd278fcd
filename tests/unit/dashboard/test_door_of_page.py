"""The requests of browsers: a viewer's browser changes nothing, even where the coordinator can't tell viewers from operators."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import numpy as np
import pytest

from coordinator.client import Client
from coordinator.core.access import Access
from coordinator.core.queries import COMMANDS
from coordinator.dashboard.door import WAITING_AT_MOST, Door
from coordinator.errors import NobodyAnswers, UserError


class Connection:
    """A connection that notes what it is asked."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.asked: list[str] = []
        self.closed = False
        self.gone = False
        self.answers = threading.Event()
        self.answers.set()

    def ask(self, command: str, _rows: Any, **_arguments: Any) -> tuple[dict[str, Any], Any]:
        self.answers.wait()
        self.asked.append(command)
        if self.gone:
            raise NobodyAnswers("no coordinator answers")
        return {"access": self.access.name}, np.empty((0, 0))

    def __exit__(self, *_: object) -> None:
        self.closed = True


class Made:
    """A door, and the connections that it has made."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.door = Door(self._connect)

    def _connect(self, access: Access, _patience: float) -> Client:
        self.connections.append(Connection(access))
        return cast("Client", self.connections[-1])


@pytest.mark.parametrize("command", [name for name, command in COMMANDS.items() if command.who is Access.OPERATOR])
def test_a_viewer_sends_no_command_of_an_operator(command: str) -> None:
    """It is refused in one line before anything is sent."""
    made = Made()
    with pytest.raises(UserError, match=f"^{command} is for operators: open the page with the operator's token"):
        asyncio.run(made.door.ask(Access.VIEWER, command))
    assert made.connections == []


@pytest.mark.parametrize("access", list(Access))
def test_each_browser_uses_the_connection_of_its_role(access: Access) -> None:
    """Also for a request that both may send."""
    made = Made()
    facts, _ = asyncio.run(made.door.ask(access, "status"))
    made.door.close()
    assert facts == {"access": access.name}
    [connection] = made.connections
    assert connection.closed


def test_after_the_coordinator_was_gone_another_connection_is_made() -> None:
    """Its endpoint may have changed."""
    made = Made()

    async def twice() -> None:
        await made.door.ask(Access.VIEWER, "status")
        made.connections[0].gone = True
        with pytest.raises(NobodyAnswers):
            await made.door.ask(Access.VIEWER, "status")
        await made.door.ask(Access.VIEWER, "status")

    asyncio.run(twice())
    made.door.close()
    assert [len(each.asked) for each in made.connections] == [2, 1]


def test_only_so_many_requests_wait() -> None:
    """A further one is refused at once, in one line."""
    made = Made()

    async def many() -> None:
        await made.door.ask(Access.VIEWER, "status")
        made.connections[0].answers.clear()
        waiting = [asyncio.create_task(made.door.ask(Access.VIEWER, "status")) for _ in range(WAITING_AT_MOST)]
        await asyncio.sleep(0)
        with pytest.raises(UserError, match=f"{WAITING_AT_MOST} requests wait already"):
            await made.door.ask(Access.VIEWER, "status")
        made.connections[0].answers.set()
        await asyncio.gather(*waiting)

    asyncio.run(many())
    made.door.close()

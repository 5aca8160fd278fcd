"""The WebSocket of a picture: one frame at a time, and limits for what a browser sends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from coordinator.core.access import Access
from coordinator.dashboard.session import LARGEST_MESSAGE, MESSAGES_AT_ONCE, TOO_FAST, TOO_LARGE, Session


class Socket:
    """A WebSocket whose browser sends what a test says."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closed: int | None = None
        self.application_state = WebSocketState.CONNECTED
        self.incoming: asyncio.Queue[str | None] = asyncio.Queue()

    async def accept(self) -> None:
        pass

    async def send_bytes(self, frame: bytes) -> None:
        length = int.from_bytes(frame[:4], "little")
        self.sent.append(json.loads(frame[4 : 4 + length])["values"])

    async def receive_text(self) -> str:
        text = await self.incoming.get()
        if text is None:
            raise WebSocketDisconnect(1000)
        return text

    async def close(self, code: int) -> None:
        self.closed = code


def served(
    talk: Callable[[Session, Socket], Awaitable[None]], values: dict[str, Any] | None = None
) -> tuple[Session, Socket]:
    """Serve a page while `talk` plays the browser."""

    async def run() -> tuple[Session, Socket]:
        session, socket = Session(Access.VIEWER), Socket()
        serving = asyncio.create_task(session.serve(cast("WebSocket", socket), values or {}))
        await settled()
        await talk(session, socket)
        await socket.incoming.put(None)
        await serving
        return session, socket

    return asyncio.run(run())


async def settled() -> None:
    """Let all tasks run until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


async def say(socket: Socket, *messages: Any) -> None:
    for message in messages:
        await socket.incoming.put(message if isinstance(message, str) else json.dumps(message))
    await settled()


def test_a_browser_that_does_not_confirm_gets_no_second_frame() -> None:
    """When it confirms, it gets the latest value of each name, and nothing older."""

    async def talk(session: Session, socket: Socket) -> None:
        for number in range(1_000):
            session.share({"live": number})
            await asyncio.sleep(0)
        assert [frame.get("live") for frame in socket.sent] == [0]
        assert not session.reads
        await say(socket, {"got": True})
        assert [frame.get("live") for frame in socket.sent] == [0, 999]
        assert session.reads

    served(talk, {"live": 0})


def test_only_known_values_of_the_right_kind_are_set() -> None:
    """All else is ignored."""
    changed: list[str] = []

    async def talk(session: Session, socket: Socket) -> None:
        session.changed = changed.append
        await say(
            socket,
            {"set": {"selected": "hidden.3", "access": 2, "slot": None, "hidden": "x"}},
            {"set": {"selected": 3, "sample": True, "dark": "yes"}},
            {"set": {"selected": "x" * 65, "sample": -2}},
            {"set": ["selected"]},
            "no JSON",
            "[" * 5_000,
            "3",
        )
        assert socket.closed is None

    session, _ = served(talk)
    assert (session.selected, session.sample, session.dark, session.access) == ("hidden.3", -1, False, Access.VIEWER)
    assert changed == ["selected"]


def test_a_page_with_a_sample_of_its_own_keeps_its_numbers() -> None:
    """The numbers of the training are for the others."""

    async def talk(session: Session, socket: Socket) -> None:
        await say(socket, {"got": True}, {"set": {"sample": 3}})
        session.share({"numbers": "others", "live": "others", "samples": "for all"})
        await settled()
        assert socket.sent[-1] == {"samples": "for all"}

    served(talk)


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (['"' + "x" * LARGEST_MESSAGE + '"'], TOO_LARGE),
        ([{"alive": True}] * (int(MESSAGES_AT_ONCE) + 5), TOO_FAST),
    ],
)
def test_a_browser_that_sends_too_much_is_cut_off(messages: Sequence[Any], code: int) -> None:
    """One message that is too large, or too many at a time."""

    async def talk(_session: Session, socket: Socket) -> None:
        await say(socket, *messages)

    _, socket = served(talk)
    assert socket.closed == code


def test_messages_of_the_picture_are_passed_on() -> None:
    """Such as a drawing."""
    received: list[Any] = []

    async def talk(session: Session, socket: Socket) -> None:
        session.received = received.append
        await say(socket, {"send": {"ask": "answer", "id": 1, "row": []}}, {"send": "no object"})

    served(talk)
    assert received == [{"ask": "answer", "id": 1, "row": []}]

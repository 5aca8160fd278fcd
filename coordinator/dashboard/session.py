"""One open page: what its browser may do, what it shows, and the WebSocket of its picture."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from coordinator.core.access import Access
from coordinator.dashboard.slot import Slot, frame_of

LARGEST_MESSAGE = 64 * 1024
"""Characters of a message from a browser."""
MESSAGES_A_SECOND, MESSAGES_AT_ONCE = 40.0, 80.0
SILENT_SECONDS = 6.0
"""A browser says every two seconds that it is there. After this time without a word, it gets nothing but the picture."""
LATE_SECONDS = 3.0
"""The same for a frame that the browser does not confirm."""
GONE_SECONDS = 30.0
"""After this time without a confirmation, its WebSocket is closed."""
OWN = ("inputs", "passed", "snapshots", "numbers", "weights_change", "live")
"""The values that a browser with a sample of its own does not share with the others."""
TOO_FAST, TOO_LARGE, REPLACED = 1008, 1009, 1001


class Session:
    """What one browser shows, and what waits for it."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.slot = Slot()
        self.selected = ""
        self.sample = -1
        """The sample of the picture that is shown; -1: the row that the network learns from."""
        self.record: None = None
        """The traced pass of slow motion; the browser can only end it."""
        self.hidden: set[str] = set()
        self.wanted: dict[str, str] = {}
        """The settings of the link, while the run has others."""
        self.dark = False
        self.heard = -math.inf
        """When the browser was heard last."""
        self.changed: Callable[[str], None] = lambda _name: None
        """Called with the name of a value that the browser has set."""
        self.received: Callable[[Mapping[str, Any]], None] = lambda _message: None
        """Called with a message from the picture."""
        self.drawn_at = math.inf
        """When the browser had drawn the network first."""
        self._drawing = False
        """Whether the frame that was sent last has the numbers of the network."""
        self._sent: float | None = None
        """When the frame was sent that the browser has not confirmed."""
        self._confirmed = asyncio.Event()
        self._socket: WebSocket | None = None

    @property
    def reads(self) -> bool:
        """Whether the browser is there and keeps up, so that its panels may be updated."""
        now = time.monotonic()
        late = self._sent is not None and now - self._sent > LATE_SECONDS
        return now - self.heard < SILENT_SECONDS and not late

    def share(self, values: Mapping[str, Any]) -> None:
        """Give the browser values that all browsers share."""
        self.slot.put({name: value for name, value in values.items() if self.sample < 0 or name not in OWN})

    async def serve(self, socket: WebSocket, values: Mapping[str, Any]) -> None:
        """Serve the WebSocket of the picture until it ends. A new one of the same page takes the place of an old one."""
        await socket.accept()
        if self._socket is not None:
            await _close(self._socket, REPLACED)
        self._socket, self._sent = socket, None
        self._confirmed.set()
        self.slot.put({**values, "selected": self.selected, "sample": self.sample})
        sending = asyncio.create_task(self._send(socket))
        try:
            await self._receive(socket)
        except WebSocketDisconnect:
            pass
        finally:
            sending.cancel()
            if self._socket is socket:
                self._socket = None
                self.heard = -math.inf

    async def _send(self, socket: WebSocket) -> None:
        """Send what waits, one frame at a time: the next one when the browser has confirmed the last."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                values = await self.slot.take()
                self._confirmed.clear()
                self._sent, self._drawing = time.monotonic(), "numbers" in values
                await socket.send_bytes(frame_of(values))
                try:
                    await asyncio.wait_for(self._confirmed.wait(), GONE_SECONDS)
                except TimeoutError:
                    await _close(socket, TOO_FAST)
                    return

    async def _receive(self, socket: WebSocket) -> None:
        allowed, then = MESSAGES_AT_ONCE, time.monotonic()
        while True:
            text = await socket.receive_text()
            now = time.monotonic()
            allowed, then = min(MESSAGES_AT_ONCE, allowed + (now - then) * MESSAGES_A_SECOND) - 1, now
            if allowed < 0 or len(text) > LARGEST_MESSAGE:
                await _close(socket, TOO_FAST if allowed < 0 else TOO_LARGE)
                return
            self.heard = now
            try:
                message = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(message, dict):
                self._take(message)

    def _take(self, message: Mapping[str, Any]) -> None:
        if "got" in message:
            self._sent = None
            if self._drawing:
                self.drawn_at = min(self.drawn_at, time.monotonic())
            self._confirmed.set()
        values = message.get("set")
        for name, check in SETTABLE.items():
            if isinstance(values, dict) and name in values and check(values[name]):
                setattr(self, name, values[name])
                self.changed(name)
        if isinstance(sent := message.get("send"), dict):
            self.received(sent)


SETTABLE: dict[str, Callable[[Any], bool]] = {
    "selected": lambda value: isinstance(value, str) and len(value) <= 64 and value.isprintable(),
    "sample": lambda value: type(value) is int and -1 <= value < 1_000,
    "dark": lambda value: isinstance(value, bool),
    "record": lambda value: value is None,
}
"""The values that a browser may set, and what they must be."""


async def _close(socket: WebSocket, code: int) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        if socket.application_state is not WebSocketState.DISCONNECTED:
            await socket.close(code)

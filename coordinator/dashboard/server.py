"""The web server of the page: its addresses, the sockets of the pictures, and the loop that keeps all pages up to date."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from socket import socket
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import core, ui
from nicegui.client import Client as Browser
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocket

from coordinator.client import Client
from coordinator.core.access import Access
from coordinator.core.state import CoordinatorState
from coordinator.dashboard.access import ACCESS, App, Guard, Tokens
from coordinator.dashboard.address import Address
from coordinator.dashboard.board import Board
from coordinator.dashboard.door import Door
from coordinator.dashboard.feed import Feed
from coordinator.dashboard.numbers import float32, numbers_of_trace
from coordinator.dashboard.page import Page
from coordinator.dashboard.session import Session
from coordinator.dashboard.view import View
from coordinator.errors import JobError, UserError
from coordinator.page.resources import resource

MOST_BROWSERS = 32
REFRESH_SECONDS = 0.5
SAMPLE_AGAIN_SECONDS = 2.0
LARGEST_MESSAGE = 128 * 1024
"""Bytes of a message of a WebSocket, to this server."""
LARGEST_INPUT = 1e6
FILES = {
    "picture.js": "text/javascript",
    "live.js": "text/javascript",
    "dashboard.css": "text/css",
}
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path d="M7 9 25 16 7 23" fill="none" stroke="#005caf" '
    'stroke-width="2"/><circle cx="7" cy="9" r="5" fill="#005caf"/><circle cx="7" cy="23" r="5" fill="#c95400"/>'
    '<circle cx="25" cy="16" r="5" fill="#f0aa00"/></svg>'
)

logger = logging.getLogger("exmachina")


class Dashboard:
    """The board, its feed, and all open pages."""

    def __init__(self, connect: Callable[[Access, float], Client], seen: Callable[[], None] | None = None) -> None:
        """`seen` is called when there is a network to see, and again when it has been trained."""
        self._seen = seen
        self._told = ""
        """The state of the run when `seen` was called last."""
        self.board = Board()
        self.door = Door(connect)
        self.sessions: dict[str, tuple[Session, Page]] = {}
        self._feed = Feed(lambda patience: connect(Access.VIEWER, patience), self._tell)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._traced: dict[int, float] = {}
        """When each sample was traced last for the browsers that show it."""
        self._answering: set[Session] = set()

    def _tell(self, news: str, *arguments: Any) -> None:
        """Take news from the thread of the feed to the loop."""
        if self._loop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._receive, news, arguments)

    def _receive(self, news: str, arguments: Sequence[Any]) -> None:
        getattr(self.board, news)(*arguments)
        self._announce()
        if changed := self.board.take():
            for session, _ in self.sessions.values():
                session.share(changed)

    def _announce(self) -> None:
        state = self.board.state
        if self._seen is None or state == self._told or self.board.values.get("numbers") is None:
            return
        if not self._told or state == CoordinatorState.IDLE.value:
            self._seen()
        if not self._told or state in (CoordinatorState.IDLE.value, CoordinatorState.TRAINING.value):
            self._told = state

    @contextlib.asynccontextmanager
    async def running(self, _app: FastAPI) -> AsyncIterator[None]:
        """Run feed and refreshing while the server runs."""
        self._loop = asyncio.get_running_loop()
        self._feed.start()
        refreshing = asyncio.create_task(self._refresh())
        try:
            yield
        finally:
            refreshing.cancel()
            self._feed.end()
            self.door.close()

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            open_now = [(session, page) for session, page in self.sessions.values() if session.reads]
            self._feed.watched = bool(open_now)
            for session, page in open_now:
                try:
                    page.refresh()
                except Exception:
                    # One page must not stop the others.
                    logger.exception("a page can't be brought up to date")
                if session.sample >= 0:
                    await self._show_sample(session)

    async def _show_sample(self, session: Session) -> None:
        """Give a browser what the neurons compute for the sample that it has chosen."""
        board, sample, now = self.board, session.sample, time.monotonic()
        network = board.network
        inputs, targets = board.samples
        if network is None or sample >= len(inputs) or now - self._traced.get(sample, -math.inf) < SAMPLE_AGAIN_SECONDS:
            return
        self._traced = {known: at for known, at in self._traced.items() if now - at < SAMPLE_AGAIN_SECONDS} | {
            sample: now
        }
        row = np.concatenate([inputs[sample], targets[sample]])[None, :]
        with contextlib.suppress(UserError, JobError):
            facts, _ = await self.door.ask(Access.VIEWER, "trace", row)
            if board.network is not network:
                # Another run has begun meanwhile.
                return
            numbers = numbers_of_trace(facts, network)
            values = board.values_of(numbers, {"step": facts["step"]})
            live = {
                **(board.values["live"] or {}),
                "step": facts["step"],
                "source": "sample",
                "moment": facts["moment"],
                "rows": 1,
                "pass": facts["pass"],
                "predicted": board.label_of(numbers.activities[-1]),
                "label": board.label_of(targets[sample][None, :]),
            }
            for other, _page in self.sessions.values():
                if other.sample == sample:
                    other.slot.put({**values, "live": live})

    # What browsers ask.

    def build(self, browser: Browser, request: Request) -> None:
        """Build the page of a browser."""
        session = Session(request.scope[ACCESS])
        page = Page(View(self.board, self.door, session), browser.id, dict(request.query_params))
        self.sessions[browser.id] = session, page
        session.received = lambda message: self._picture_sent(session, message)
        changed = session.changed

        def note(name: str) -> None:
            if name == "sample":
                self._traced.pop(session.sample, None)
                session.share({own: self.board.values[own] for own in self.board.values})
            with browser:
                changed(name)

        session.changed = note
        browser.on_delete(lambda: self.sessions.pop(browser.id, None))

    async def serve_picture(self, websocket: WebSocket) -> None:
        """Serve the WebSocket of a page."""
        found = self.sessions.get(websocket.query_params.get("session", ""))
        if found is None or found[0].access is not websocket.scope[ACCESS]:
            await websocket.close(1008)
            return
        session = found[0]
        await session.serve(websocket, {**self.board.values, "may_operate": session.access is Access.OPERATOR})

    def _picture_sent(self, session: Session, message: Any) -> None:
        """Receive a message of the picture: a drawing that the network shall answer."""
        if message.get("ask") == "answer" and type(message.get("id")) is int and session not in self._answering:
            self._answering.add(session)
            task = asyncio.create_task(self._answer(session, message))
            task.add_done_callback(lambda _task: self._answering.discard(session))

    async def _answer(self, session: Session, message: Any) -> None:
        """Send a drawn row through the neurons, and give the browser what they computed."""
        answer: dict[str, Any] = {"answer": True, "id": message["id"]}
        network, row = self.board.network, message.get("row")
        try:
            if network is None:
                raise UserError("the network is not connected yet; try again")
            inputs, outputs = network.layers[0], network.layers[-1]
            answer |= await self._answer_of(checked_row(row, inputs), outputs)
        except (UserError, JobError) as fault:
            answer["error"] = str(fault)
        session.slot.put({"answer": answer})

    async def _answer_of(self, row: np.ndarray[Any, np.dtype[np.float64]], outputs: int) -> dict[str, Any]:
        network = self.board.network
        assert network is not None
        facts, _ = await self.door.ask(Access.VIEWER, "trace", np.concatenate([row, np.zeros(outputs)])[None, :])
        numbers = numbers_of_trace(facts, network)
        unknown = [np.full(size, np.nan) for size in network.layers]
        passed = float32([*numbers.sums, *(each[0] for each in numbers.activities), *unknown])
        return {
            "predicted": self.board.label_of(numbers.activities[-1]),
            "passed": b64encode(passed).decode(),
            "inputs": b64encode(float32([row])).decode(),
        }


def checked_row(row: object, inputs: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a row of inputs from a browser. Raises `UserError` if it is none."""
    if isinstance(row, list) and len(row) == inputs and all(type(each) in (int, float) for each in row):
        numbers = np.array(row, dtype=float)
        if np.all(np.abs(numbers) <= LARGEST_INPUT):
            return numbers
    raise UserError(f"a drawing is a list of {inputs} numbers from −{LARGEST_INPUT:,.0f} to {LARGEST_INPUT:,.0f}")


def application(dashboard: Dashboard, tokens: Tokens, address: Address) -> App:
    """Return the whole application, behind its guard."""
    app = FastAPI(lifespan=dashboard.running, openapi_url=None)
    files = {name: (resource(name), kind) for name, kind in FILES.items()}

    @app.get("/files/{name}")
    async def file(name: str) -> Response:
        if name not in files:
            return PlainTextResponse("there is no such file\n", 404)
        text, kind = files[name]
        return Response(text, media_type=kind, headers={"cache-control": "no-cache"})

    app.add_api_websocket_route("/live", dashboard.serve_picture)

    @ui.page("/", title="Exmachina", dark=None)
    def page(request: Request) -> None:
        if len(dashboard.sessions) >= MOST_BROWSERS:
            ui.label(f"{MOST_BROWSERS} pages are open already; close one, and reload this page")
            return
        ui.add_head_html('<link rel="stylesheet" href="/files/dashboard.css">')
        ui.add_head_html('<link rel="modulepreload" href="/files/picture.js">')
        ui.add_body_html('<script type="module" src="/files/live.js"></script>')
        dashboard.build(ui.context.client, request)

    core.app.config.socket_io_js_transports = ["websocket"]
    # The bar has no name for a screen reader, and there are no requests to wait for.
    core.app.config.quasar_config["loadingBar"]["skipHijack"] = True
    nicegui_app.on_exception(lambda fault: logger.error("the page: %s", fault))
    ui.run_with(
        app,
        title="Exmachina",
        language="en-US",
        favicon=ICON,
        dark=None,
        tailwind=False,
        gzip_middleware_factory=None,
        reconnect_timeout=10.0,
        message_history_length=50,
        show_welcome_message=False,
        binding_refresh_interval=None,
    )
    return Guard(app, tokens, address.names, anywhere=address.anywhere)


class _Server(uvicorn.Server):
    """Ends when its parent has ended, if it was started to do so."""

    parent: int | None = None

    async def on_tick(self, counter: int) -> bool:
        if self.parent is not None and os.getppid() != self.parent:
            self.should_exit = True
        return await super().on_tick(counter)


def serve(
    connect: Callable[[Access, float], Client],
    listening: socket,
    address: Address,
    tokens: Tokens,
    announce: Callable[[], None],
    *,
    wait: bool = False,
    with_parent: bool = False,
) -> None:
    """Serve the page until a signal ends it. `listening` is the socket at its address.

    `announce` is called when browsers can connect, or, with `wait`, when there is a network to see, and when it is trained.
    `with_parent`: end when the parent of this process has ended.
    """
    config = uvicorn.Config(
        application(Dashboard(connect, announce if wait else None), tokens, address),
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=LARGEST_MESSAGE,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=30,
        limit_concurrency=400,
    )
    server = _Server(config)
    server.parent = os.getppid() if with_parent else None
    if not wait:
        announce()
    server.run(sockets=[listening])

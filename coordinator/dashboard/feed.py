"""The page's connection to the coordinator, in a thread of its own: it receives all that the page shows.

It survives the end of the coordinator: it says that no coordinator answers, and looks for the front door again and again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coordinator.client import NO_ROWS, Client
from coordinator.core.state import RUNNING
from coordinator.errors import NobodyAnswers, UserError
from coordinator.front_door import EVENTS
from coordinator.page.picture_state import MOST_POINTS, MOST_SAMPLES
from coordinator.watching import Watch
from neuron_node.activations import Array

RATE, IDLE_RATE = 6.0, 0.5
"""Updates per second, with a browser and without."""
PATIENCE_SECONDS = 2.0
"""The time without an answer after which the coordinator counts as absent."""
AGAIN_SECONDS = 0.5
"""The time between two attempts to find the coordinator."""
QUIET_SECONDS = 1.5
"""The time without an update after which a trace shows the present numbers, if something has changed."""
STUCK_SECONDS = 4.0
"""The time without a step after which the page asks why."""
MEASURED_SAMPLES = 1_000
"""The most held-out samples of the confusion matrix."""
INTERVALS = {"status": 1.0, "neurons": 1.0, "why": 2.0, "held_out": 10.0}
"""Seconds between two requests, while a browser is open."""
SLOWER = 5
"""So many times longer are the intervals without a browser."""
MANY_NEURONS = 300
"""More neurons are listed at a fifth of the pace."""
EVENTS_TOLD = (
    "intervention", "recovery", "recovered", "wired", "pausing", "resumed", "killed", "regrouped", "rebalanced", "finished", "state",
)  # fmt: skip
"""The events that the page receives. Others, such as `epoch`, may come hundreds of times a second."""
RUNNING_STATES = tuple(state.value for state in RUNNING)

logger = logging.getLogger("exmachina")
Tell = Callable[..., None]
"""Passes news on to the board: the name of a method, and its arguments."""


class Feed(threading.Thread):
    """Reads from the coordinator, and tells the board."""

    def __init__(self, connect: Callable[[float], Client], tell: Tell) -> None:
        """`connect` finds the front door, and returns a client with so many seconds of patience."""
        super().__init__(name="feed", daemon=True)
        self.watched = False
        """Whether a browser is open. Without one, little is asked."""
        self._connect = connect
        self._tell = tell
        self._end = threading.Event()

    def end(self) -> None:
        """End the thread at its next step."""
        self._end.set()

    def run(self) -> None:
        """Follow the coordinator, and find it again when it is gone."""
        while not self._end.is_set():
            try:
                with self._connect(PATIENCE_SECONDS) as client:
                    _Following(client, self).run()
            except (NobodyAnswers, UserError) as fault:
                self._tell("absent", str(fault))
                self._end.wait(AGAIN_SECONDS)

    @property
    def ended(self) -> bool:
        """Whether the thread has to end."""
        return self._end.is_set()

    def tell(self, news: str, *arguments: Any) -> None:
        """Pass news on."""
        self._tell(news, *arguments)


class _Following:
    """One connection, until it breaks."""

    def __init__(self, client: Client, feed: Feed) -> None:
        self._client = client
        self._feed = feed
        self._run = ""
        """The run that this connection has found first."""
        self._other = False
        """Whether the coordinator of another run answers now."""
        self._watch: Watch | None = None
        self._watchable = True
        self._described = False
        self._state = ""
        self._step: tuple[int, float] = (-1, time.monotonic())
        """The last known step, and when it was new."""
        self._paused = False
        self._stale = True
        """Whether the numbers may have changed since the last update or trace."""
        self._updated = 0.0
        self._measured: int | None = None
        self._due = dict.fromkeys(INTERVALS, 0.0)
        self._neurons = 0

    def run(self) -> None:
        """Ask and receive until the feed ends. Raises `NobodyAnswers`."""
        for event in EVENTS_TOLD:
            self._client.subscribe(EVENTS + event.encode())
        while not self._feed.ended and not self._other:
            self._ask_what_is_due()
            if not self._described and self._state in RUNNING_STATES:
                self._describe()
            self._receive()
            if self._described and self._stale and time.monotonic() - self._updated > QUIET_SECONDS:
                self._trace()

    def _ask_what_is_due(self) -> None:
        if self._is_due("status"):
            status, _ = self._client.ask("status")
            self._run = self._run or status["run"]
            self._other = status["run"] != self._run
            if self._other:
                return
            self._state = status["state"]
            if status["step"] != self._step[0]:
                self._step = status["step"], time.monotonic()
            self._paused = status["pauses_after"] is not None
            self._feed.tell("receive_status", status)
        if self._is_due("neurons"):
            facts, _ = self._client.ask("neurons")
            self._neurons = len(facts["neurons"])
            self._feed.tell("receive_neurons", facts)
        if self._is_due("why"):
            stuck = time.monotonic() - self._step[1] > STUCK_SECONDS
            waits = stuck and not self._paused and self._state in ("training", "wiring", "gathering")
            self._feed.tell("receive_waits", self._gently("why")[0] if waits else None)
        if self._described and self._feed.watched and self._measured != self._step[0] and self._is_due("held_out"):
            self._measured = self._step[0]
            _, rows = self._gently("held_out", first=0, count=MEASURED_SAMPLES)
            if rows.size:
                self._feed.tell("receive_held_out", rows)

    def _is_due(self, what: str) -> bool:
        now = time.monotonic()
        if now < self._due[what]:
            return False
        slower = 1 if self._feed.watched and not (what == "neurons" and self._neurons > MANY_NEURONS) else SLOWER
        self._due[what] = now + slower * INTERVALS[what]
        return True

    def _describe(self) -> None:
        facts, _ = self._client.ask("describe")
        count = MOST_POINTS if facts["layers"][0] == 2 else MOST_SAMPLES
        _, held_out = self._gently("held_out", first=0, count=count, inputs=True)
        if not held_out.size:
            return
        try:
            self._watch = Watch(self._client, None, IDLE_RATE, self._others)
        except UserError as fault:
            # The network is too large to be watched; all else is shown.
            self._watchable = False
            self._feed.tell("unwatchable", str(fault))
        self._feed.tell("describe", self._run, facts, held_out)
        self._described = True
        self._trace()

    def _receive(self) -> None:
        if self._watch is None:
            if message := self._client.next_published(0.2):
                self._others(message)
            return
        self._watch.set_rate(RATE if self._feed.watched else IDLE_RATE)
        update = self._watch.next(0.2)
        if update is not None:
            self._stale, self._updated = False, time.monotonic()
            self._feed.tell("receive_update", update, self._watch.lease["groups"])

    def _others(self, message: Sequence[bytes]) -> None:
        """Receive an event."""
        if len(message) != 2 or not message[0].startswith(EVENTS):
            return
        with contextlib.suppress(ValueError):
            event, facts = message[0].removeprefix(EVENTS).decode("utf-8", "replace"), json.loads(message[1])
            # The numbers may have changed without an update.
            self._stale = True
            self._due["status"] = self._due["neurons"] = 0.0
            self._feed.tell("receive_event", event, facts)

    def _trace(self) -> None:
        """Trace a sample: it shows the present numbers although the network learns nothing now."""
        self._updated = time.monotonic()
        if not self._watchable or self._state not in RUNNING_STATES:
            return
        facts, _ = self._gently("trace", sample=1)
        if facts:
            self._stale = False
            self._feed.tell("receive_trace", facts)

    def _gently(self, command: str, **arguments: Any) -> tuple[Mapping[str, Any], Array]:
        """Return the answer to a request that the network may refuse, or answer late, without being gone."""
        try:
            return self._client.ask(command, **arguments)
        except NobodyAnswers:
            # Raises again if the coordinator is gone.
            self._client.ask("status")
        except UserError as fault:
            logger.info("%s: %s", command, fault)
        return {}, NO_ROWS

"""The deadlines of a coordinator. The table `PERIODIC` of the machine maps states to the methods for them."""

from __future__ import annotations

from typing import NamedTuple

from coordinator.core.run import Run

TICK_MS = 50
PROBE_AGAIN_MS = 100
"""The coordinator's own probe is lost if it reaches the broker before the subscription to it."""
CONTROL_AGAIN_MS = 500
CONTROL_MS_A_NODE = 5
"""A message that is repeated to every node takes time for every node."""
STOPPING_AT_MOST_MS = 3_000
STOPPING_MS_A_NODE = 20
"""Among hundreds of nodes, some have just reconnected and receive only the next repetition."""
CLOCK_JUMP_MS = 3_000
REPORT_INTERVAL_MS = 200
START_REPORT_INTERVAL_MS = 5_000
"""A user who waits for the network to start reads a line at least this often."""
STALLS_IN_A_ROW = 3


class Due(NamedTuple):
    """The timers that have expired at a tick."""

    jumped: bool
    """Whether the clock jumped: the coordinator was suspended, not the nodes."""
    control: bool
    """Whether unanswered control messages are repeated."""
    probe: bool
    """Whether the coordinator's own probe is repeated."""


class Timers:
    """Deadlines, in the milliseconds of the run's clock."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._control_due_ms = 0.0
        self._report_due_ms = 0.0
        self._start_report_due_ms = 0.0
        self._probe_due_ms = 0.0
        self._ticked_ms: float | None = None
        self._stop_by_ms = float("inf")

    def start(self) -> None:
        """Begin now: a jump of the clock before the first tick is noticed at that tick."""
        self._ticked_ms = self._run.now_ms
        self.start_reported()

    def control_sent(self) -> None:
        """Restart the timer after control messages were sent."""
        again_ms = max(CONTROL_AGAIN_MS, CONTROL_MS_A_NODE * len(self._run.membership.members))
        self._control_due_ms = self._run.now_ms + again_ms

    def stop_began(self) -> None:
        """Start the timer within which the nodes must end."""
        nodes = len(self._run.membership.members)
        self._stop_by_ms = self._run.now_ms + STOPPING_AT_MOST_MS + STOPPING_MS_A_NODE * nodes

    @property
    def stop_timed_out(self) -> bool:
        """Whether the nodes had enough time to end."""
        return self._run.now_ms >= self._stop_by_ms

    def poll(self, *, probing: bool) -> Due:
        """Return the expired timers and restart them. `probing` says that the own probe has not returned."""
        now_ms = self._run.now_ms
        jumped = self._ticked_ms is not None and now_ms - self._ticked_ms > CLOCK_JUMP_MS
        self._ticked_ms = now_ms
        control = now_ms >= self._control_due_ms
        if control:
            self.control_sent()
        probe = control or (probing and now_ms >= self._probe_due_ms)
        if probe:
            self._probe_due_ms = now_ms + PROBE_AGAIN_MS
        return Due(jumped, control, probe)

    def poll_report(self) -> bool:
        """Whether a report of the progress is due; restart its timer."""
        due = self._run.now_ms >= self._report_due_ms
        if due:
            self._report_due_ms = self._run.now_ms + REPORT_INTERVAL_MS
        return due

    def poll_start_report(self) -> bool:
        """Whether a report of what the start of the network waits for is due; restart its timer."""
        due = self._run.now_ms >= self._start_report_due_ms
        if due:
            self.start_reported()
        return due

    def start_reported(self) -> None:
        """Restart the timer of the reports of the start."""
        self._start_report_due_ms = self._run.now_ms + START_REPORT_INTERVAL_MS

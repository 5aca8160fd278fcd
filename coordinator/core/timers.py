"""What a coordinator does because time has passed, in each state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from coordinator.core.state import CoordinatorState
from neuron_node.events import End

if TYPE_CHECKING:
    from coordinator.core.machine import CoordinatorMachine

TICK_MS = 50
PROBE_AGAIN_MS = 100
"""Of the coordinator's own probe, which is lost if it reaches the broker before the subscription to it does."""
CONTROL_AGAIN_MS = 500
CONTROL_MS_A_NODE = 5
"""What is repeated to everybody takes everybody's time."""
STOPPING_AT_MOST_MS = 3_000
STOPPING_MS_A_NODE = 20
"""More for each: among hundreds some have just made their connections anew, and hear only the next repetition."""
CLOCK_JUMP_MS = 3_000
REPORT_INTERVAL_MS = 200
STALLS_IN_A_ROW = 3


class Timers:
    """When what is due."""

    def __init__(self, machine: CoordinatorMachine) -> None:
        self._machine = machine
        self._control_due_ms = 0.0
        self._report_due_ms = 0.0
        self._probe_due_ms = 0.0
        self._ticked_ms: float | None = None
        self._stop_by_ms = float("inf")

    def control_sent(self) -> None:
        """What is repeated until it is answered has just been sent."""
        again_ms = max(CONTROL_AGAIN_MS, CONTROL_MS_A_NODE * len(self._machine.membership.members))
        self._control_due_ms = self._machine.now_ms + again_ms

    def entered(self, state: CoordinatorState) -> None:
        """The machine is in another state."""
        if state is CoordinatorState.STOPPING:
            nodes = len(self._machine.membership.members)
            self._stop_by_ms = self._machine.now_ms + STOPPING_AT_MOST_MS + STOPPING_MS_A_NODE * nodes

    def tick(self) -> None:
        """Look at what is due."""
        machine = self._machine
        jumped = self._ticked_ms is not None and machine.now_ms - self._ticked_ms > CLOCK_JUMP_MS
        self._ticked_ms = machine.now_ms
        if jumped:
            # We were asleep, not they: give everybody their time again.
            machine.failure_detector.everybody_anew()
        control_due = machine.now_ms >= self._control_due_ms
        if control_due:
            self.control_sent()
        if control_due or (machine.connectivity.proof.pending and machine.now_ms >= self._probe_due_ms):
            self._probe_due_ms = machine.now_ms + PROBE_AGAIN_MS
            machine.connectivity.again()
        if machine.connectivity.proof.pending:
            # Cut off ourselves, we know nothing of others.
            pass
        elif machine.state in PERIODIC:
            PERIODIC[machine.state](self, control_due)
        machine.wait_graph.answered()

    def _gathering(self, control_due: bool) -> None:
        self._machine.failure_detector.lose_the_silent()
        self._machine.assignment.say_what_is_missing(self._machine.now_ms)
        if control_due:
            self._machine.assignment.persist_again()

    def _wiring(self, control_due: bool) -> None:
        machine = self._machine
        if control_due:
            machine.grant()
        unready = machine.connectivity.unready()
        if unready and machine.failure_detector.too_long_wiring():
            machine.lose(unready[0], "does not get its links proved")
            return
        machine.failure_detector.look(unready)
        machine.failure_detector.lose_the_silent()

    def _running(self, control_due: bool) -> None:
        machine, trainer = self._machine, self._machine.trainer
        if control_due:
            trainer.ask_again()
            machine.queries.ask_again()
        if machine.now_ms >= self._report_due_ms and machine.state is CoordinatorState.TRAINING:
            self._report_due_ms = machine.now_ms + REPORT_INTERVAL_MS
            rate, stale = machine.membership.rate, machine.stale_messages
            machine.outbox.report("progress", **trainer.facts(), messages_per_second=rate, stale_messages=stale)
        stall = trainer.repeat_late_passes(machine.now_ms)
        machine.failure_detector.look(machine.membership.hosting() if trainer.in_flight.late else [])
        machine.failure_detector.lose_the_silent()
        if not machine.running:
            return
        machine.wait_graph.tell_of_a_stall()
        if stall and stall.times < STALLS_IN_A_ROW:
            machine.recover(stall.line)
        elif stall:
            machine.fail(f"{stall.line}, in {stall.times} generations, though nobody died")

    def _stopping(self, control_due: bool) -> None:
        machine = self._machine
        if not machine.membership.members or machine.now_ms >= self._stop_by_ms:
            machine.enter(CoordinatorState.ENDED)
            machine.outbox.act(End(machine.exit_code))
        elif control_due:
            machine.ask_to_stop()


PERIODIC: dict[CoordinatorState, Callable[[Timers, bool], None]] = {
    CoordinatorState.GATHERING: Timers._gathering,
    CoordinatorState.WIRING: Timers._wiring,
    CoordinatorState.TRAINING: Timers._running,
    CoordinatorState.IDLE: Timers._running,
    CoordinatorState.STOPPING: Timers._stopping,
}

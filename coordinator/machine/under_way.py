"""All passes under way: training steps one at a time, forward passes several at once, and their repetition when one is late.

Passes are numbered without gaps or repeats, whatever they are for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from coordinator.machine.passes import Flight, ForwardJob
from coordinator.topology import Topology
from neuron_node.activations import Array
from neuron_node.errors import Stale
from neuron_node.events import Send
from neuron_node.messages import Header, InputError, Mode, Output

FORWARD_AT_ONCE = 4
FIRST_PATIENCE_MS = 2_000.0
LEAST_PATIENCE_MS = 250.0
MOST_PATIENCE_MS = 60_000.0
PATIENCE_IN_STEPS = 10.0
PATIENCE_GROWS_TO = 4
ATTEMPTS = 8


class UnderWay:
    """Flights by pass number, and the forward jobs whose batches wait for their turn."""

    def __init__(self, topology: Topology, header: Callable[[int], Header], send: Callable[[Send], None]) -> None:
        self.flights: dict[int, Flight] = {}
        self.jobs: deque[ForwardJob] = deque()
        self.passes = 0
        self.recent_ms: float | None = None
        self._topology = topology
        self._header = header
        self._send = send

    @property
    def training(self) -> bool:
        """Whether a training step is under way; nothing else is then."""
        return any(flight.targets is not None for flight in self.flights.values())

    def add(self, job: ForwardJob) -> None:
        """Queue a forward job."""
        self.jobs.append(job)

    def give_up(self, job: ForwardJob) -> None:
        """Forget a forward job and its passes."""
        self.jobs.remove(job)
        self.flights = {number: flight for number, flight in self.flights.items() if flight.job is not job}

    def launch_step(self, inputs: Array, targets: Array, mode: Mode, now_ms: float) -> None:
        """Send one training step into the network."""
        self._launch(Flight(self._next(), mode, inputs, targets, now_ms, now_ms))

    def launch_forward(self, now_ms: float) -> None:
        """Send as many of the waiting batches as may be under way at once."""
        for job in self.jobs:
            while job.waiting and len(self.flights) < FORWARD_AT_ONCE:
                batch, rows = job.next_batch()
                self._launch(Flight(self._next(), Mode.FORWARD, rows, None, now_ms, now_ms, job, batch))

    def hear(self, message: Output | InputError, now_ms: float) -> Flight | None:
        """Take a result; the flight if it is complete with it. Raises `PeerError`."""
        flight = self.flights.get(message.header.pass_number)
        if flight is None:
            raise Stale(f"pass {message.header.pass_number} is over")
        if not flight.hear(message, self._topology):
            return None
        del self.flights[flight.number]
        if flight.attempt == 0:
            # A pass that had to be repeated says how long we were patient, not how long passes take.
            took_ms = now_ms - flight.started_ms
            self.recent_ms = took_ms if self.recent_ms is None else 0.9 * self.recent_ms + 0.1 * took_ms
        if flight.job and flight.job.finish_batch(flight.batch, flight.activities(self._topology)):
            self.jobs.remove(flight.job)
        return flight

    @property
    def oldest(self) -> int:
        """The pass that has been under way for longest; the last one if none is."""
        return min(self.flights, default=self.passes)

    @property
    def late(self) -> bool:
        """Whether a pass has had to be repeated and is still not done."""
        return any(flight.attempt for flight in self.flights.values())

    def repeat(self, now_ms: float, *, all_of_them: bool = False) -> Flight | None:
        """Send late passes into the network again; one that was repeated too often is returned instead."""
        patience_ms = FIRST_PATIENCE_MS
        if self.recent_ms is not None:
            patience_ms = min(max(LEAST_PATIENCE_MS, PATIENCE_IN_STEPS * self.recent_ms), MOST_PATIENCE_MS)
        for flight in self.flights.values():
            if not all_of_them and now_ms - flight.sent_ms < patience_ms * min(2**flight.attempt, PATIENCE_GROWS_TO):
                continue
            if flight.attempt == ATTEMPTS:
                return flight
            flight.attempt += 1
            flight.sent_ms = now_ms
            self._launch(flight)
        return None

    def restart(self) -> None:
        """The network was rolled back: nothing is under way, every job begins again."""
        self.flights.clear()
        for job in self.jobs:
            job.restart()

    def _next(self) -> int:
        self.passes += 1
        return self.passes

    def _launch(self, flight: Flight) -> None:
        self.flights[flight.number] = flight
        for send in flight.launch(self._topology, self._header(flight.number)):
            self._send(send)

"""The passes in flight: a training step and the next one, or several forward passes. Late passes are repeated.

All passes of a run are numbered together, without gaps or repeats.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from coordinator.core.launching import Launching
from coordinator.core.passes import ForwardJob, InFlightPass, Results
from coordinator.core.tracing import TraceJob
from coordinator.core.traffic import Pass, load_of
from coordinator.topology import Topology
from neuron_node.activations import Array
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.errors import Stale, Unexpected
from neuron_node.events import Send
from neuron_node.frames import HEAD, NUMBERS_BEGIN, Mode, parse, pass_of, split
from neuron_node.group import WANTED_AT_MOST
from neuron_node.inbox import Rejection, rejected
from neuron_node.protocol import Header

FORWARD_AT_FIRST = 4
FORWARD_AT_ONCE = 16
FORWARD_BYTES_AT_ONCE = 64 * 1024 * 1024
"""The largest size of all messages in flight; two passes may be in flight in any case."""
LEAST_FORWARD_AT_ONCE = 2
FIRST_TIMEOUT_MS = 2_000.0
FIRST_TIMEOUT_MS_A_GROUP = 10.0
"""In the first pass, every program uses its memory for the first time. A repetition would only keep all of them busy."""
LEAST_TIMEOUT_MS = 250.0
MOST_TIMEOUT_MS = 60_000.0
TIMEOUT_IN_STEPS = 10.0
TIMEOUT_GROWS_TO = 4
ATTEMPTS = 8


class InFlight:
    """Passes by number, and the forward jobs whose batches are not sent yet."""

    def __init__(
        self,
        topology: Topology,
        header: Callable[[int], Header],
        send: Callable[[list[Send]], None],
        *,
        input_errors: bool = False,
    ) -> None:
        """For `input_errors` see `Results`."""
        self.flights: dict[int, InFlightPass] = {}
        self.jobs: deque[ForwardJob] = deque()
        self.traces: deque[TraceJob] = deque()
        """Jobs that need a pass without company, or no pass in flight; the first one may be under way."""
        self.passes = 0
        self._recent_step_ms: float | None = None
        self.high = 0
        """The last pass that is sent without waiting for the end of another one."""
        self.wanted = 1
        """The number of frames to wait for before the next `receive`."""
        self._results = Results(topology, header(0).run, input_errors=input_errors)
        self._launching = Launching(topology, header(0).run)
        self._topology = topology
        self._header = header
        self._send = send
        self._forward_at_once = FORWARD_AT_FIRST
        """Grows with each finished forward pass: when the first passes are sent, their duration is not known."""
        self._recent_forward_ms: dict[int, float] = {}
        """Recent duration of forward passes by batch size."""
        self._bytes_of_pass: dict[int, int] = {}
        self._first_timeout_ms = first_timeout_ms(topology)

    @property
    def training(self) -> bool:
        """Whether a training step is in flight. If so, no other pass is."""
        return any(flight.targets is not None for flight in self.flights.values())

    def add(self, job: ForwardJob) -> None:
        """Queue a forward job."""
        self.jobs.append(job)

    @property
    def asked(self) -> bool:
        """Whether a client waits for a pass, or for the numbers of one."""
        return bool(self.jobs or self.traces)

    def give_up(self, job: ForwardJob | TraceJob) -> None:
        """Forget a job and its passes."""
        if isinstance(job, TraceJob):
            self.traces.remove(job)
        else:
            self.jobs.remove(job)
        for flight in [flight for flight in self.flights.values() if job in (flight.job, flight.trace)]:
            del self.flights[flight.number]

    def launch_trace(self, job: TraceJob, now_ms: float) -> None:
        """Send the sample of a trace forward and back. No other pass may be in flight."""
        assert job.sample is not None and not self.flights
        inputs, targets = job.sample
        flight = InFlightPass(self._next(), Mode.TRACE, inputs, targets, now_ms, now_ms, trace=job)
        self.high = self.passes
        self._launch(flight)

    def launch_step(
        self, inputs: Array, targets: Array, mode: Mode, now_ms: float, parts: int = 1, next_rows: int = 0
    ) -> list[InFlightPass]:
        """Send one training step, its batch divided into `parts` if it has enough samples; return its passes.

        `next_rows` is the number of samples of the next step, if that one follows without waiting; else 0.
        """
        cut = [(inputs, targets)]
        if min(parts, len(inputs)) > 1:
            many = min(parts, len(inputs))
            cut = list(zip(np.array_split(inputs, many), np.array_split(targets, many), strict=True))
        flights = [
            InFlightPass(self._next(), mode, rows, wanted, now_ms, now_ms, part=part, parts=len(cut))
            for part, (rows, wanted) in enumerate(cut)
        ]
        self.high = self.passes + min(parts, next_rows)
        for flight in flights:
            self.flights[flight.number] = flight
        for flight in flights:
            self._launch(flight)
        return flights

    def launch_forward(self, now_ms: float) -> None:
        """Send as many waiting batches as may be in flight at the same time."""
        if not self.flights:
            self._forward_at_once = FORWARD_AT_FIRST
        for job in self.jobs:
            while job.waiting and len(self.flights) < self._at_once(job.batch_size):
                batch, rows = job.next_batch()
                flight = InFlightPass(self._next(), Mode.FORWARD, rows, None, now_ms, now_ms, job, batch)
                self.high = self.passes
                self._launch(flight)

    def _at_once(self, batch_size: int) -> int:
        """Return how many forward passes of this batch size may be in flight."""
        size = self._bytes_of_pass.get(batch_size)
        if size is None:
            size = load_of(self._topology, Pass(batch_size, learning=False)).delivered_bytes
            self._bytes_of_pass = {batch_size: size}
        return min(self._forward_at_once, max(LEAST_FORWARD_AT_ONCE, FORWARD_BYTES_AT_ONCE // size))

    def receive(self, message: bytes) -> list[Rejection]:
        """Receive the results in a message; return the frames that are dropped, each with its reason."""
        place = self._results.slots.get(message[ADDRESS_LENGTH + HEAD.start : ADDRESS_LENGTH + HEAD.stop])
        if place is not None and len(message) >= ADDRESS_LENGTH + NUMBERS_BEGIN:
            is_error, flight = place[0], self.flights.get(pass_of(message, ADDRESS_LENGTH)[0])
            if flight is not None and not (is_error and flight.mode is Mode.FORWARD):
                inbox = self._results.inbox(flight, is_error=is_error)
                if inbox.offer_message(message) is not None:
                    return []
        return rejected(split(message), self._receive_frame)

    def _receive_frame(self, frame: bytes) -> None:
        place = self._results.slots.get(frame[HEAD])
        if place is None or len(frame) < NUMBERS_BEGIN:
            data = parse(frame)
            if (data.run, data.generation) != (self._header(0).run, self._results.generation):
                raise Stale(f"generation {data.generation}, this is {self._results.generation}")
            raise Unexpected(f"a result of group {data.sender}")
        number = pass_of(frame, 0)[0]
        flight = self.flights.get(number)
        if flight is None:
            parse(frame)
            raise Stale(f"pass {number} is over")
        is_error, slot = place
        self._results.inbox(flight, is_error=is_error).offer(slot, frame)

    def finish(self, now_ms: float) -> list[InFlightPass]:
        """Remove and return the passes that are complete.

        A group begins a training step when it has done every older pass, and the signals of every group lead to outputs. So
        all outputs of a step confirm the steps before it. Input groups report a step only if no next step was announced.
        """
        later = [
            one.number - one.part
            for one in self.flights.values()
            if one.targets is not None and not one.outputs.missing
        ]
        for flight in self.flights.values():
            flight.confirmed = flight.confirmed or any(first > flight.number for first in later)
        done = [self._done(flight, now_ms) for flight in list(self.flights.values()) if not flight.missing]
        self._count_wanted()
        return done

    def _count_wanted(self) -> None:
        """Want the missing outputs of the first pass that lacks outputs: the next step begins with them. Else, input errors."""
        lacking = (flight.outputs.missing for flight in self.flights.values() if flight.outputs.missing)
        missing = next(lacking, 0) or max((flight.missing for flight in self.flights.values()), default=1)
        self.wanted = max(1, min(missing, WANTED_AT_MOST))

    @property
    def outputs_are_here(self) -> bool:
        """Whether the passes in flight lack only input errors, so that the next inputs arrive when the input groups need them."""
        return not any(flight.outputs.missing for flight in self.flights.values())

    @property
    def low(self) -> int:
        """The oldest pass that is not over; the next one if no pass is in flight."""
        return min(self.flights, default=self.passes + 1)

    def _done(self, flight: InFlightPass, now_ms: float) -> InFlightPass:
        in_turn = flight in self._in_turn()
        del self.flights[flight.number]
        for follower in self._followers_of(flight):
            # The network works on the next step from now on.
            follower.started_ms = follower.sent_ms = now_ms
        if flight.attempt == 0 and in_turn:
            # The duration of a repeated pass shows the timeout, not how long passes take.
            took_ms = now_ms - flight.started_ms
            if flight.trace is not None:
                # A traced pass takes longer than a step, because of its reports.
                pass
            elif flight.job is None:
                self._recent_step_ms = _mean_so_far(self._recent_step_ms, took_ms)
            else:
                size = flight.job.batch_size
                self._recent_forward_ms[size] = _mean_so_far(self._recent_forward_ms.get(size), took_ms)
        if flight.job:
            self._forward_at_once = min(self._forward_at_once + 1, FORWARD_AT_ONCE)
        if flight.job and flight.job.finish_batch(flight.batch, flight.activities()):
            self.jobs.remove(flight.job)
        return flight

    def _followers_of(self, flight: InFlightPass) -> list[InFlightPass]:
        """Return the passes of the next step, which was sent before this one was over."""
        if flight.targets is None:
            return []
        return [other for other in self.flights.values() if other.number - other.part > flight.number]

    def _in_turn(self) -> list[InFlightPass]:
        """Return the passes that the network works on; the others wait for them."""
        waiting = [other for flight in self.flights.values() for other in self._followers_of(flight)]
        return [flight for flight in self.flights.values() if flight not in waiting]

    @property
    def recent_ms(self) -> float | None:
        """The recent duration of passes of the kind that is in flight, or of any kind; None if no such pass was ever done."""
        sizes = {flight.job.batch_size for flight in self.flights.values() if flight.job}
        if not self.flights:
            sizes.update(self._recent_forward_ms)
        known = [self._recent_step_ms, *map(self._recent_forward_ms.get, sizes)]
        return max((took_ms for took_ms in known if took_ms is not None), default=None)

    @property
    def oldest(self) -> int:
        """The oldest pass in flight; the last pass if none is in flight."""
        return min(self.flights, default=self.passes)

    @property
    def late(self) -> bool:
        """Whether a pass in flight has been repeated."""
        return any(flight.attempt for flight in self.flights.values())

    def is_late(self, now_ms: float) -> bool:
        """Whether a pass is due to be repeated."""
        return any(now_ms >= self._late_at_ms(flight) for flight in self._in_turn())

    def _late_at_ms(self, flight: InFlightPass) -> float:
        recent_ms, least_ms = self._recent_step_ms, LEAST_TIMEOUT_MS
        if flight.job is not None:
            recent_forward_ms = self._recent_forward_ms.get(flight.job.batch_size)
            if recent_forward_ms is None:
                least_ms = self._first_timeout_ms
            else:
                recent_ms = recent_forward_ms
        timeout_ms = self._first_timeout_ms
        if recent_ms is not None:
            timeout_ms = min(max(least_ms, TIMEOUT_IN_STEPS * recent_ms), MOST_TIMEOUT_MS)
        return flight.sent_ms + timeout_ms * float(min(2**flight.attempt, TIMEOUT_GROWS_TO))

    def repeat(self, now_ms: float, *, all_passes: bool = False) -> InFlightPass | None:
        """Send late passes again. If one has been repeated too often, return it instead."""
        for flight in list(self.flights.values()) if all_passes else self._in_turn():
            if not all_passes and now_ms < self._late_at_ms(flight):
                continue
            if flight.attempt == ATTEMPTS:
                return flight
            flight.attempt += 1
            flight.sent_ms = now_ms
            self._launch(flight)
        return None

    def restart(self) -> None:
        """Forget all passes and begin every job again, because the network was rolled back."""
        self.flights.clear()
        for job in self.jobs:
            job.restart()
        for trace in self.traces:
            trace.restart()

    def begin_generation(self, generation: int) -> None:
        """Accept only results of this generation from now on."""
        self._results.begin_generation(generation)

    def _next(self) -> int:
        self.passes += 1
        return self.passes

    def _launch(self, flight: InFlightPass) -> None:
        if not flight.attempt:
            self._results.give_inboxes(flight)
        self.flights[flight.number] = flight
        self._count_wanted()
        header = self._header(flight.number)
        self._send(self._launching.sends(flight, header.generation, self.low, max(self.high, flight.number)))


def first_timeout_ms(topology: Topology) -> float:
    """Return the timeout of a pass while no duration of a pass is known."""
    return FIRST_TIMEOUT_MS + FIRST_TIMEOUT_MS_A_GROUP * len(topology.groups)


def _mean_so_far(before_ms: float | None, took_ms: float) -> float:
    """Return the moving average of durations."""
    return took_ms if before_ms is None else 0.9 * before_ms + 0.1 * took_ms

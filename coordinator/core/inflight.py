"""All passes under way: a training step and the next one, or forward passes several at once, and their repetition when one is late.

Passes are numbered without gaps or repeats, for every purpose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from coordinator.core.launching import Launching
from coordinator.core.passes import ForwardJob, InFlightPass, Results
from coordinator.core.traffic import Pass, load_of
from coordinator.topology import Topology
from neuron_node.activations import Array
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.errors import PeerError, Stale, Unexpected
from neuron_node.events import Send
from neuron_node.frames import HEAD, NUMBERS_BEGIN, Mode, parse, pass_of, split
from neuron_node.group import WANTED_AT_MOST, Rejection
from neuron_node.protocol import Header

FORWARD_AT_FIRST = 4
FORWARD_AT_ONCE = 16
FORWARD_BYTES_AT_ONCE = 64 * 1024 * 1024
"""Of messages that may be on their way; two passes may be under way in any case."""
LEAST_FORWARD_AT_ONCE = 2
FIRST_PATIENCE_MS = 2_000.0
FIRST_PATIENCE_MS_A_GROUP = 10.0
"""In the first pass every program touches memory for the first time: a repetition then would only keep all of them busy."""
LEAST_PATIENCE_MS = 250.0
MOST_PATIENCE_MS = 60_000.0
PATIENCE_IN_STEPS = 10.0
PATIENCE_GROWS_TO = 4
ATTEMPTS = 8


class InFlight:
    """Flights by pass number, and the forward jobs whose batches wait for their turn."""

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
        self.passes = 0
        self._recent_step_ms: float | None = None
        self.high = 0
        """The last pass that is sent without waiting for another one to end."""
        self.wanted = 1
        """Frames that are worth waiting for."""
        self._results = Results(topology, header(0).run, input_errors=input_errors)
        self._launching = Launching(topology, header(0).run)
        self._topology = topology
        self._header = header
        self._send = send
        self._forward_at_once = FORWARD_AT_FIRST
        """Grows with every forward pass that is done: how long they take is not known when the first are sent."""
        self._recent_forward_ms: dict[int, float] = {}
        """By the size of a batch."""
        self._bytes_of_pass: dict[int, int] = {}
        self._first_patience_ms = first_patience_ms(topology)

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
        for flight in [flight for flight in self.flights.values() if flight.job is job]:
            del self.flights[flight.number]

    def launch_step(
        self, inputs: Array, targets: Array, mode: Mode, now_ms: float, parts: int = 1, next_rows: int = 0
    ) -> list[InFlightPass]:
        """Send one training step into the network, its batch in so many parts if it has as many samples; its passes.

        With `next_rows`, a step of so many samples follows without a wait.
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
        """Send as many of the waiting batches as may be under way at once."""
        if not self.flights:
            self._forward_at_once = FORWARD_AT_FIRST
        for job in self.jobs:
            while job.waiting and len(self.flights) < self._at_once(job.batch_size):
                batch, rows = job.next_batch()
                flight = InFlightPass(self._next(), Mode.FORWARD, rows, None, now_ms, now_ms, job, batch)
                self.high = self.passes
                self._launch(flight)

    def _at_once(self, batch_size: int) -> int:
        """How many forward passes with so many rows may be under way."""
        size = self._bytes_of_pass.get(batch_size)
        if size is None:
            size = load_of(self._topology, Pass(batch_size, learning=False)).delivered_bytes
            self._bytes_of_pass = {batch_size: size}
        return min(self._forward_at_once, max(LEAST_FORWARD_AT_ONCE, FORWARD_BYTES_AT_ONCE // size))

    def receive(self, message: bytes) -> list[Rejection]:
        """Take the results in a message; the frames that do not belong, each with its reason."""
        place = self._results.slots.get(message[ADDRESS_LENGTH + HEAD.start : ADDRESS_LENGTH + HEAD.stop])
        if place is not None and len(message) >= ADDRESS_LENGTH + NUMBERS_BEGIN:
            is_error, flight = place[0], self.flights.get(pass_of(message, ADDRESS_LENGTH)[0])
            if flight is not None and not (is_error and flight.mode is Mode.FORWARD):
                inbox = self._results.inbox(flight, is_error=is_error)
                if inbox.offer_message(message) is not None:
                    return []
        rejections = []
        for frame in split(message):
            try:
                self._receive_frame(frame)
            except PeerError as fault:
                rejections.append((frame, fault))
        return rejections

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
        """The flights that are complete, which are then no longer under way.

        A group begins a training step when every older pass is done there, and each group's signals lead to outputs. So all
        outputs of a step confirm the steps before it, and input groups report only where no other step was announced.
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
        """The outputs that the first flight lacks which lacks any: the next step begins with them. Otherwise, input errors."""
        lacking = (flight.outputs.missing for flight in self.flights.values() if flight.outputs.missing)
        missing = next(lacking, 0) or max((flight.missing for flight in self.flights.values()), default=1)
        self.wanted = max(1, min(missing, WANTED_AT_MOST))

    @property
    def outputs_are_here(self) -> bool:
        """Whether every pass under way lacks input errors alone: the next inputs will be there when the input groups need them."""
        return not any(flight.outputs.missing for flight in self.flights.values())

    @property
    def low(self) -> int:
        """The oldest pass that is not over: the next one, if none is under way."""
        return min(self.flights, default=self.passes + 1)

    def _done(self, flight: InFlightPass, now_ms: float) -> InFlightPass:
        in_turn = flight in self._in_turn()
        del self.flights[flight.number]
        for follower in self._followers_of(flight):
            # Now it is its turn.
            follower.started_ms = follower.sent_ms = now_ms
        if flight.attempt == 0 and in_turn:
            # A pass that had to be repeated, or waited for one, says how long we were patient, not how long passes take.
            took_ms = now_ms - flight.started_ms
            if flight.job is None:
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
        """The passes of the step that was sent before this one was over."""
        if flight.targets is None:
            return []
        return [other for other in self.flights.values() if other.number - other.part > flight.number]

    def _in_turn(self) -> list[InFlightPass]:
        """Flights that the network works at; the others wait for these."""
        waiting = [other for flight in self.flights.values() for other in self._followers_of(flight)]
        return [flight for flight in self.flights.values() if flight not in waiting]

    @property
    def recent_ms(self) -> float | None:
        """What passes took lately, of the kind that is under way, or of any; None if none of this kind was ever done."""
        sizes = {flight.job.batch_size for flight in self.flights.values() if flight.job}
        if not self.flights:
            sizes.update(self._recent_forward_ms)
        known = [self._recent_step_ms, *map(self._recent_forward_ms.get, sizes)]
        return max((took_ms for took_ms in known if took_ms is not None), default=None)

    @property
    def oldest(self) -> int:
        """The pass that has been under way for longest; the last one if none is."""
        return min(self.flights, default=self.passes)

    @property
    def late(self) -> bool:
        """Whether a pass has had to be repeated and is still not done."""
        return any(flight.attempt for flight in self.flights.values())

    def is_late(self, now_ms: float) -> bool:
        """Whether a pass is due to be repeated."""
        return any(now_ms >= self._late_at_ms(flight) for flight in self._in_turn())

    def _late_at_ms(self, flight: InFlightPass) -> float:
        recent_ms, least_ms = self._recent_step_ms, LEAST_PATIENCE_MS
        if flight.job is not None:
            recent_forward_ms = self._recent_forward_ms.get(flight.job.batch_size)
            if recent_forward_ms is None:
                least_ms = self._first_patience_ms
            else:
                recent_ms = recent_forward_ms
        patience_ms = self._first_patience_ms
        if recent_ms is not None:
            patience_ms = min(max(least_ms, PATIENCE_IN_STEPS * recent_ms), MOST_PATIENCE_MS)
        return flight.sent_ms + patience_ms * float(min(2**flight.attempt, PATIENCE_GROWS_TO))

    def repeat(self, now_ms: float, *, all_of_them: bool = False) -> InFlightPass | None:
        """Send late passes into the network again; one that was repeated too often is returned instead."""
        for flight in list(self.flights.values()) if all_of_them else self._in_turn():
            if not all_of_them and now_ms < self._late_at_ms(flight):
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

    def begin_generation(self, generation: int) -> None:
        """From now on only results of this generation belong."""
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


def first_patience_ms(topology: Topology) -> float:
    """How long a pass may take before it is known how long passes take."""
    return FIRST_PATIENCE_MS + FIRST_PATIENCE_MS_A_GROUP * len(topology.groups)


def _mean_so_far(before_ms: float | None, took_ms: float) -> float:
    """Of what passes took lately."""
    return took_ms if before_ms is None else 0.9 * before_ms + 0.1 * took_ms

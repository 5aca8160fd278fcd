"""A group of neurons: receives frames, runs the nine steps in passes, and sends signals and errors.

The path of a signal: `receive` finds the pass of a frame and stores the frame in `Pass.signals`, an `Inbox`. When no frame is
missing, `run` calls `_fire`, where `activate` (`neuron.py` or `neuron_array.py`) adds the signals.

A pass of a group has three stages:

| stage | ends when | then the group |
|---|---|---|
| LISTENING | all signals (or the input) have arrived | fires (steps 2-4). FIRED, or DONE in a forward pass |
| FIRED | all errors (or the target) have arrived | replies and learns (steps 6-9). DONE |
| DONE | | |

Training passes run in the order of their numbers: a pass begins when the group has finished all older passes, except the
other parts of its own step. Forward passes run in the order in which they become complete.

`_receive_frame` rejects a frame that does not belong: `Stale` for another run or generation, or for a pass that is over. The
node counts and drops rejected frames.

A frame with a higher attempt makes the group repeat, once, all messages of the pass. So a lost message costs a repetition,
not a rollback.
"""

from __future__ import annotations

import bisect
import itertools
import struct
from collections.abc import Callable
from functools import lru_cache
from math import isfinite
from typing import Any

import numpy as np

from neuron_node.activations import Array, all_finite
from neuron_node.addresses import ADDRESS_LENGTH, COORDINATOR, group_address, stage_address
from neuron_node.codec import encode
from neuron_node.errors import Duplicate, Oversized, Stale, Unexpected, WrongShape
from neuron_node.events import Send
from neuron_node.frames import (
    HEAD,
    MARK,
    MAX_PARTS,
    NUMBER_BYTES,
    NUMBERS_BEGIN,
    ON_THE_WIRE,
    DataKind,
    Mode,
    Window,
    data_frame,
    data_head,
    mark_of,
    parse,
    pass_of,
    shape_of,
    split,
    tail_of,
    window_of,
)
from neuron_node.inbox import Direction, Inbox, InboxLayout, Rejection, Slot, rejected
from neuron_node.initializers import initial_bias_and_weights
from neuron_node.neuron import Neuron
from neuron_node.neuron_array import NeuronArray
from neuron_node.protocol import (
    MISSING_AT_MOST,
    Diverged,
    Header,
    NamedArray,
    Placement,
    Stage,
    State,
    TraceReport,
    Waits,
    state_of,
)
from neuron_node.role import OUTSIDE, Role
from neuron_node.schema import MAX_BATCH
from neuron_node.snapshot_cache import SnapshotCache
from neuron_node.telemetry import ShownNumbers, packed
from neuron_node.tracing import PassNumbers, are_finite, gradients_of, numbers_of_state, numbers_of_steps

AXON_AT_ONCE_BYTES = 32 * 1024
"""Up to this size a group sends all signals to a stage in one frame. In a larger frame, each receiver would get too many
bytes that are for other groups."""
REPLIES_FIRST_FROM_BYTES = 256 * 1024
"""From this size of weights on, a group sends its error before it learns, so that the groups above can begin."""
WANTED_AT_MOST = 1_024
"""The most frames to wait for before `run`. The limit makes sure that ticks happen even if frames arrive slowly."""
LISTENING, FIRED, DONE = Stage.LISTENING, Stage.FIRED, Stage.DONE
FORWARD, TRAIN_AND_COPY, TRACE = int(Mode.FORWARD), int(Mode.TRAIN_AND_COPY), int(Mode.TRACE)
TRAIN_AND_REPORT = int(Mode.TRAIN_AND_REPORT)
_HEAD_IN_MESSAGE = slice(ADDRESS_LENGTH + HEAD.start, ADDRESS_LENGTH + HEAD.stop)
_MARK_IN_MESSAGE = slice(ADDRESS_LENGTH + MARK.start, ADDRESS_LENGTH + MARK.stop)
_MODES = frozenset(Mode)

_NO_REJECTIONS: list[Rejection] = []


class Pass:
    """One pass of one group: its inboxes, its stage, and its numbers."""

    __slots__ = (
        "activity", "attempt", "broken", "error_numbers", "errors", "fired", "fired_ms", "mark", "mode", "number", "own_error",
        "part", "parts", "plain", "repeated", "replied_ms", "rows", "signals", "stage", "weights",
    )  # fmt: skip

    activity: Any
    fired: Any
    """The signals at all synapses."""
    error_numbers: Any
    """The receivers' errors; for an output group the targets."""
    weights: Any
    """The weights that the signals were sent with, for a group that computes its own error only on request."""
    fired_ms: float
    """The time of step 2, in a traced pass."""
    replied_ms: float
    """The time of step 6, in a traced pass."""

    def __init__(
        self, number: int, mode: int, part: int, parts: int, mark: bytes, signals: InboxLayout, errors: InboxLayout
    ) -> None:
        self.number, self.mode, self.part, self.parts, self.mark = number, mode, part, parts, mark
        self.rows = signals.rows
        self.plain = signals.plain
        """Whether the numbers are plain floats, for one neuron and one sample, and not arrays."""
        self.signals = Inbox(signals, number, mark)
        self.errors = Inbox(errors, number, mark)
        self.stage = LISTENING
        self.attempt = 0
        """The highest attempt that was received."""
        self.repeated = 0
        """The highest attempt that the group has answered."""
        self.own_error: Any = None
        self.broken = ""
        """The name of a neuron with a NaN or an infinity; empty if all numbers are finite."""

    @property
    def first_of_step(self) -> int:
        """The number of the first pass of the step."""
        return self.number - self.part


class Outgoing:
    """Makes the data frames of one kind to one address: their head, and the columns that they hold."""

    __slots__ = ("_address", "_head", "blocks", "columns", "width")

    def __init__(self, address: bytes, head: bytes, columns: slice, *blocks: slice) -> None:
        """`blocks` are the columns of each receiving group, for frames to a whole stage."""
        self._address, self._head = address, head
        self.columns, self.blocks = columns, blocks
        self.width = columns.stop - columns.start

    def send(self, record: Pass, window: bytes, *numbers: bytes | memoryview) -> Send:
        """Return a message of one frame with these numbers, encoded."""
        shape = shape_of(record.rows, self.width)
        tail = tail_of(record.mark, shape)
        return Send(b"".join((self._address, shape.length, self._head, window, tail, *numbers)))


class Group:
    """A group of neurons: its weights, its passes, and its copies for snapshots."""

    # Slots keep the attributes close together in memory: when a program wakes up, its caches are cold.
    __slots__ = (
        "_array",
        "_axons",
        "_before",
        "_errors",
        "_generation",
        "_incarnation",
        "_is_input",
        "_is_output",
        "_largest_frame",
        "_last_fired",
        "_last_replied",
        "_layouts",
        "_needs_own_error",
        "_neuron",
        "_newest",
        "_next_has_target",
        "_now_ms",
        "_output",
        "_passes",
        "_replies",
        "_replies_first",
        "_rows",
        "_run",
        "_send_copy",
        "_signals",
        "_silent_error",
        "_size",
        "_slots",
        "_to_repeat",
        "_unfinished",
        "_window",
        "copies",
        "high",
        "low",
        "role",
        "step",
        "unlearned",
        "wanted",
    )  # fmt: skip

    def __init__(
        self,
        placement: Placement,
        header: Header,
        incarnation: bytes,
        copies: SnapshotCache | None = None,
        send_copy: Callable[[Group, int], Send] | None = None,
        now_ms: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Begin with the placement's state, or with the initial state if the placement has none.

        `header` is the grant's header: run, generation, and the generation's first pass. `send_copy` returns the message that
        brings the copy after a step to the coordinator. `now_ms` returns the time of the present event, for traces.
        """
        self.role = role = placement.role
        self.step = placement.step
        self.copies = SnapshotCache() if copies is None else copies
        self.wanted = 1
        """The number of frames to wait for before `run` can process a pass."""
        self.low, self.high = header.pass_number, header.pass_number - 1
        """The range of passes under way. It is empty after a grant, because the next messages are control messages."""
        self._window = b""
        self._run, self._generation, self._incarnation = header.run, header.generation, incarnation
        self._send_copy = send_copy
        self._now_ms = now_ms
        self._before: tuple[Any, Any] | None = None
        """Bias and weights before the last training step; None if there was no step, or for so many weights that keeping them is slow."""
        self._neuron: Neuron | None = None
        bias, weights = initial_bias_and_weights(role) if placement.state is None else placement.state.numbers
        self._array: NeuronArray | None = NeuronArray(role, bias, weights)
        """The weights and biases, if `_neuron` is None. Only one of the two attributes is set."""
        self._is_input, self._is_output, self._size = role.is_input, role.is_output, role.size
        self._needs_own_error = role.needs_own_error
        # For few weights, learning takes less time than another round through the shell.
        self._replies_first = NUMBER_BYTES * weights.size > REPLIES_FIRST_FROM_BYTES
        self._passes: dict[int, Pass] = {}
        self._newest = header.pass_number - 1
        self._next_has_target = False
        self._unfinished: list[Pass] = []
        """The passes that are not over, in the order of their numbers."""
        self._to_repeat: list[Pass] = []
        self.unlearned: list[Pass] = []
        """The passes whose errors are sent, but which are not learned yet: see `learn`."""
        self._last_fired: list[Pass] = []
        """All parts of the last step in which the group fired."""
        self._last_replied: list[Pass] = []
        """All parts of the last step in which the group replied."""
        self._signals, self._errors = _incoming(role, header.run, header.generation)
        self._slots = {head: (False, slot) for head, slot in self._signals.slots.items()}
        self._slots |= {head: (True, slot) for head, slot in self._errors.slots.items()}
        columns = max(slot.columns for direction in (self._signals, self._errors) for slot in direction.slots.values())
        self._largest_frame = NUMBERS_BEGIN + NUMBER_BYTES * MAX_BATCH * columns
        """The largest data frame that the group can use, for any batch."""
        self._rows = 0
        self._layouts = (self._signals.layout(1), self._errors.layout(1))
        """The layouts of signals and errors for passes with `_rows` rows."""
        self._prepare_sending()

    def _prepare_sending(self) -> None:
        role, run, generation = self.role, self._run, self._generation

        def outgoing(kind: DataKind, address: bytes, receiver: int, columns: slice, *blocks: slice) -> Outgoing:
            return Outgoing(address, data_head(kind, run, generation, receiver, role.group), columns, *blocks)

        outside, whole = stage_address(OUTSIDE), slice(0, role.size)
        self._output = outgoing(DataKind.OUTPUT, outside, OUTSIDE, whole)
        self._silent_error = outgoing(DataKind.INPUT_ERROR, outside, OUTSIDE, slice(0, 0))
        stages = sorted({sender.stage for sender in role.senders})
        self._replies = [outgoing(DataKind.ERROR, stage_address(stage), stage, whole) for stage in stages]
        if role.is_input:
            self._replies = [outgoing(DataKind.INPUT_ERROR, outside, OUTSIDE, whole)]
        self._axons: list[tuple[Outgoing, list[Outgoing]]] = []
        """For each receiving stage: the frames to the whole stage, and the frames to each of its groups."""
        at = 0
        for stage, blocks in itertools.groupby(role.blocks, lambda block: block.stage):
            begin, parts = at, []
            for block in blocks:
                columns = slice(at, at + block.size)
                parts.append(outgoing(DataKind.SIGNAL, group_address(block.receiver), block.receiver, columns))
                at += block.size
            all_columns = slice(begin, at), *(part.columns for part in parts)
            self._axons.append((outgoing(DataKind.AXON, stage_address(stage), stage, *all_columns), parts))

    @property
    def addresses(self) -> tuple[bytes, bytes]:
        """The addresses of frames for the group: its stage's address, and its own."""
        return stage_address(self.role.stage), group_address(self.role.group)

    @property
    def oldest(self) -> Pass | None:
        """The oldest pass that is not over; None if there is none."""
        return self._unfinished[0] if self._unfinished else None

    @property
    def due(self) -> int:
        """The number of the oldest pass that is not over, or of the next pass."""
        return self._unfinished[0].number if self._unfinished else self._newest + 1

    # Frames.

    def receive(self, message: bytes) -> list[Rejection]:
        """Store the frames of a message in the inboxes of their passes; return the rejected frames with their reasons."""
        place = self._slots.get(message[_HEAD_IN_MESSAGE])
        if place is not None and self._take(message, is_error=place[0]):
            return _NO_REJECTIONS
        # The message has frames of several passes or directions, or a frame to reject.
        sorted_frames: dict[tuple[bool | None, bytes], list[bytes]] = {}
        for frame in split(message):
            place = self._slots.get(frame[HEAD])
            sorted_frames.setdefault((place and place[0], frame[MARK]), []).append(frame)
        rejections: list[Rejection] = []
        for (is_error, _), frames in sorted_frames.items():
            again = len(sorted_frames) > 1 and is_error is not None
            if not again or not self._take(b"".join([message[:ADDRESS_LENGTH], *frames]), is_error=bool(is_error)):
                rejections += rejected(frames, self._receive_frame)
        return rejections

    def _take(self, message: bytes, *, is_error: bool) -> bool:
        """Store a message whose frames all belong to one inbox; return False, and store none, if they don't."""
        mark = message[_MARK_IN_MESSAGE]
        for record in self._unfinished:
            if record.mark == mark:
                known = True
                break
        else:
            if len(message) < ADDRESS_LENGTH + NUMBERS_BEGIN:
                return False
            number, *rest = pass_of(message, ADDRESS_LENGTH)
            known = number in self._passes
            found = self._passes[number] if known else self._new_pass(number, *rest)
            if found is None:
                return False
            record = found
        if is_error and record.mode == FORWARD:
            return False
        usual = self._window if record.number <= self.high else b""
        windows = (record.errors if is_error else record.signals).offer_message(message, usual)
        if windows is None:
            return False
        if not known:
            self._keep(record)
        for window in windows:
            self._note(record, window)
        return True

    def _receive_frame(self, frame: bytes) -> None:
        if len(frame) > self._largest_frame:
            raise Oversized(f"{len(frame)} bytes")
        place = self._slots.get(frame[HEAD])
        if place is None or len(frame) < NUMBERS_BEGIN:
            data = parse(frame)
            if (data.run, data.generation) != (self._run, self._generation):
                raise Stale(f"generation {data.generation}, this is {self._generation}")
            raise Unexpected(f"{DataKind(data.kind).name} of group {data.sender} for {self.role.names[0]}")
        is_error, slot = place
        number, *rest = pass_of(frame, 0)
        known = self._passes.get(number)
        record = known or self._new_pass(number, *rest)
        if record is None:
            parse(frame)
            raise Stale(f"pass {number} is over") if number < self.low else WrongShape("a pass without rows")
        if is_error and record.mode == FORWARD:
            parse(frame)
            raise Unexpected(f"an error in pass {number}, in which nothing is learned")
        try:
            window = (record.errors if is_error else record.signals).offer(slot, frame)
        except Duplicate as fault:
            self._note_attempt(record, fault.attempt)
            raise
        if known is None:
            self._keep(record)
        self._note(record, window)

    def _new_pass(self, number: int, mode: int, part: int, parts: int, rows: int, _columns: int) -> Pass | None:
        """Return a new pass; None if it is over or one of its numbers is out of bounds."""
        if number < self.low or mode not in _MODES or not part < parts <= MAX_PARTS or not 0 < rows <= MAX_BATCH:
            return None
        if rows != self._rows:
            self._rows, self._layouts = rows, (self._signals.layout(rows), self._errors.layout(rows))
        return Pass(number, mode, part, parts, mark_of(number, mode, part, parts), *self._layouts)

    def _keep(self, record: Pass) -> None:
        self._passes[record.number] = record
        if record.number > self._newest:
            self._newest = record.number
            # A training pass announces only training passes, and a forward pass only forward passes.
            self._next_has_target = self._is_output and record.mode != FORWARD
            self._unfinished.append(record)
        else:
            bisect.insort(self._unfinished, record, key=lambda one: one.number)

    def _note(self, record: Pass, window: Window) -> None:
        """Apply the window of an accepted frame: the range of passes under way, and a request to repeat the pass."""
        attempt, low, high = window
        if attempt > record.attempt:
            self._note_attempt(record, attempt)
        if low <= self.low and high <= self.high:
            return
        forward = low > self.low
        self.low, self.high = max(self.low, low), max(self.high, high)
        # This window is valid for every pass from `low` to `high`; a frame with it brings no news.
        self._window = window_of(0, self.low, self.high)
        for number in [number for number in self._passes if number < low] if forward else ():
            over = self._passes.pop(number)
            if over.stage is not DONE:
                self._unfinished.remove(over)

    def _note_attempt(self, record: Pass, attempt: int) -> None:
        if attempt > record.attempt:
            record.attempt = attempt
            self._to_repeat.append(record)

    # Work.

    def run(self) -> list[Send]:
        """Process every complete pass, oldest first; return the messages to send."""
        sends = self._repeat() if self._to_repeat else []
        for record in self._unfinished:
            if record.stage is LISTENING and not record.signals.missing:
                if record.number - record.part > self.low and not self._may_begin(record):
                    continue
                self._fire(record, sends)
            if record.stage is FIRED and not record.errors.missing:
                self._reply(record, sends)
                if self.unlearned:
                    # Let the shell send the error before `learn`.
                    break
        if (self._unfinished and self._unfinished[0].stage is DONE) or len(self._unfinished) > 1:
            self._unfinished = [record for record in self._unfinished if record.stage is not DONE]
        self.wanted = self._count_wanted()
        return sends

    def _may_begin(self, record: Pass) -> bool:
        """Return whether the group has finished all passes before the step; always True for a forward pass."""
        if record.mode != FORWARD:
            for number in range(self.low, record.number - record.part):
                older = self._passes.get(number)
                if older is None or older.stage is not DONE:
                    return False
        return True

    def _fire(self, record: Pass, sends: list[Send]) -> None:
        """Do steps 2 to 4: add the signals, compute the activity, and append the messages with the signals to `sends`."""
        if self.unlearned:
            sends += self.learn()
        if record.plain:
            neuron = self._neuron or self._as_neuron()
            record.activity = activity = neuron.activate(record.signals.floats())
            record.fired = fired = [activity] if self._is_output else neuron.fire(activity)
            finite = isfinite(sum(fired)) or all(map(isfinite, fired))
        else:
            neurons = self._as_array()
            record.activity = neurons.activate(record.signals.stacked())
            record.fired = record.activity if self._is_output else neurons.fire(record.activity)
            finite = all_finite(record.fired)
        record.stage = DONE if record.mode == FORWARD else FIRED
        if record.mode == TRACE:
            record.fired_ms = self._now_ms()
        else:
            self._last_fired = [record] if record.parts == 1 else _with_its_step(self._last_fired, record)
        # A product with a NaN or an infinity is not finite, so the check of the products covers the activity.
        sends += self._outgoing_signals(record) if finite else self._diverge(record)

    def _reply(self, record: Pass, sends: list[Send]) -> None:
        """Do steps 6 and 7, and also steps 8 and 9 unless the group has so many weights that the error is sent first.

        No weight depends on the error of an input neuron. So an input group that learns no bias sends an empty error, and
        computes its own error only on request.
        """
        record.stage = DONE
        neurons: Any
        if record.plain:
            neurons, record.error_numbers = self._neuron or self._as_neuron(), record.errors.floats()
        else:
            neurons, record.error_numbers = self._as_array(), record.errors.side_by_side()
        if record.mode != TRACE:
            self._last_replied = [record] if record.parts == 1 else _with_its_step(self._last_replied, record)
        if self._needs_own_error:
            record.own_error = own = neurons.own_error(record.activity, record.error_numbers)
            if not (isfinite(own) if record.plain else all_finite(own)):
                sends += self._diverge(record)
                return
        else:
            record.weights = neurons.weights
        replied = self._outgoing_error(record)
        if record.mode == TRACE:
            record.replied_ms = self._now_ms()
            sends += [*replied, self._outgoing_trace(record)]
            return
        if self._replies_first:
            self.unlearned.append(record)
            sends += replied
            return
        learned = self._learn(record)
        sends += learned if record.broken else replied + learned

    def learn(self) -> list[Send]:
        """Do steps 8 and 9 for all passes of `unlearned`; return the messages to send.

        At the end of a step that is marked for a snapshot, the group copies its state and sends the copy.
        """
        sends: list[Send] = []
        while self.unlearned:
            sends += self._learn(self.unlearned.pop(0))
        return sends

    def _learn(self, record: Pass) -> list[Send]:
        parts = [record]
        if record.parts == 1:
            neurons: Any = self._as_neuron() if record.plain else self._as_array()
            before = neurons.bias, neurons.weights
            # A reference to the old weights keeps their memory, so large groups do not keep it.
            self._before = None if self._replies_first else before
            finite = neurons.learn(record.activity, record.error_numbers, record.own_error)
        else:
            parts = [part for part in self._last_replied if part.first_of_step == record.first_of_step]
            if len(parts) < record.parts or any(part in self.unlearned for part in parts):
                return []
            # Compute the gradient as one product over the rows of all parts, in the order of their numbers.
            parts.sort(key=lambda part: part.number)
            neurons = self._as_array()
            before = neurons.bias, neurons.weights
            self._before = None if self._replies_first else before
            finite = neurons.learn(
                np.concatenate([self._activity(part) for part in parts]),
                np.concatenate([self._error_rows(part) for part in parts]),
                np.concatenate([self._own_error(part) for part in parts]) if self._needs_own_error else None,
            )
        self.step += 1
        if not finite:
            return self._diverge(record)
        if record.mode == TRAIN_AND_REPORT:
            return self._outgoing_telemetry(record, parts, before)
        if record.mode != TRAIN_AND_COPY:
            return []
        self.copies.keep(self.role.group, self.step, self._copy())
        return [self._send_copy(self, self.step)] if self._send_copy else []

    def _repeat(self) -> list[Send]:
        """Return all earlier messages of the passes that were requested again."""
        sends: list[Send] = []
        for record in self._to_repeat:
            if record.attempt > record.repeated and record.number >= self.low:
                record.repeated = record.attempt
                if record.broken:
                    sends += self._diverge(record)
                    continue
                if record.stage is not LISTENING:
                    sends += self._outgoing_signals(record)
                if record.stage is DONE and record.mode != FORWARD:
                    sends += self._outgoing_error(record)
                if record.stage is DONE and record.mode == TRACE:
                    sends.append(self._outgoing_trace(record))
        self._to_repeat.clear()
        return sends

    def _count_wanted(self) -> int:
        """Return the number of frames that must arrive before a pass can go on."""
        unfinished = self._unfinished
        if not unfinished and self.high <= self._newest:
            # The next pass was not announced and may never arrive.
            return 1
        wanted = self.lacking
        if unfinished and unfinished[0].mode == FORWARD:
            wanted = sum(record.signals.missing for record in unfinished)
        return 1 if wanted < 1 else min(wanted, WANTED_AT_MOST)

    @property
    def lacking(self) -> int:
        """The number of frames that the oldest pass lacks. An input group also counts the next input, if it is announced."""
        if not self._unfinished:
            return len(self._signals.senders) + (self._next_has_target and self.high > self._newest)
        record = self._unfinished[0]
        if record.stage is LISTENING:
            has_target = self._is_output and record.mode != FORWARD
            return record.signals.missing + (record.errors.missing if has_target else 0)
        lacking = record.errors.missing
        if self._is_input and record.number < self.high:
            # The coordinator sends the next input when it has all outputs, so before the last error arrives.
            following = self._passes.get(record.number + 1)
            lacking += following is None or bool(following.signals.missing)
        return lacking

    # Messages.

    def _outgoing_signals(self, record: Pass) -> list[Send]:
        window, fired = window_of(record.attempt, self.low, self.high), record.fired
        if self._is_output:
            return [self._output.send(record, window, _bytes_of(fired, record))]
        sends = []
        for axon, parts in self._axons:
            if len(parts) == 1 or NUMBER_BYTES * record.rows * axon.width > AXON_AT_ONCE_BYTES:
                sends += [part.send(record, window, _columns(fired, part.columns, record)) for part in parts]
            elif record.plain:
                sends.append(axon.send(record, window, _columns(fired, axon.columns, record)))
            elif len(parts) == axon.width:
                sends.append(axon.send(record, window, _bytes_of(fired[:, axon.columns].T, record)))
            else:
                blocks = [_columns(fired, block, record) for block in axon.blocks]
                sends.append(axon.send(record, window, *blocks))
        return sends

    def _outgoing_error(self, record: Pass) -> list[Send]:
        if self._is_input and not record.attempt and self.high >= record.first_of_step + record.parts:
            # The signals of the next step tell the coordinator that this group has finished this step.
            return []
        window, error = window_of(record.attempt, self.low, self.high), record.own_error
        if error is None:
            return [self._silent_error.send(record, window)]
        numbers = _bytes_of((error,) if record.plain else error, record)
        return [reply.send(record, window, numbers) for reply in self._replies]

    def _outgoing_trace(self, record: Pass) -> Send:
        """Return the report of a traced pass: what steps 8 and 9 would do, without doing them.

        Return `Diverged` instead if a number is not finite: a sum or a gradient can overflow when activity and error do not.
        """
        neurons: Any = self._as_neuron() if record.plain else self._as_array()
        numbers = numbers_of_steps(self.role, (neurons.bias, neurons.weights), [self._numbers_of(record)])
        if not are_finite(numbers):
            return self._diverge(record)[0]
        times = round(1_000 * record.fired_ms), round(1_000 * record.replied_ms)
        return self._send_report(record.number, record.mode, numbers, times)

    def last_step(self) -> Send:
        """Return the report of the last training step. Without such a step, it holds the present state only."""
        records, state = sorted(self._last_replied, key=lambda record: record.number), self._copy()
        if records and self._before is not None and len(records) == records[0].parts and not self.unlearned:
            numbers = numbers_of_steps(self.role, self._before, list(map(self._numbers_of, records)), state)
            if are_finite(numbers):
                return self._send_report(records[0].number, records[0].mode, numbers, (0, 0))
        return self._send_report(0, FORWARD, numbers_of_state(state), (0, 0))

    def _outgoing_telemetry(self, record: Pass, parts: list[Pass], before: tuple[Any, Any]) -> list[Send]:
        """Return the numbers of a step that was just learned; nothing if a number is not finite."""
        activity = np.concatenate([self._activity(part) for part in parts])
        errors = np.concatenate([self._error_rows(part) for part in parts])
        own = np.concatenate([self._own_error(part) for part in parts])
        after = self._copy()
        weights = np.reshape(before[1], after.weights.shape)
        bias_gradient, gradients = gradients_of(activity, errors, own, is_output=self._is_output)
        values = packed(
            ShownNumbers(
                activity, own, np.ravel(before[0]), bias_gradient, after.bias[0], weights, gradients, after.weights
            )
        )
        if not all_finite(values):
            return []
        head = data_head(DataKind.TELEMETRY, self._run, self._generation, OUTSIDE, self.role.group)
        window = window_of(record.attempt, self.low, self.high)
        frame = data_frame(
            head, window, tail_of(record.mark, shape_of(*values.shape)), values.astype(ON_THE_WIRE).tobytes()
        )
        return [Send(COORDINATOR + frame)]

    def _numbers_of(self, record: Pass) -> PassNumbers:
        """Return the numbers of a pass in which the group has replied."""
        results = self._activity(record), self._error_rows(record), self._own_error(record)
        return PassNumbers(record.signals.stacked(), *results, plain=record.plain)

    def _send_report(self, number: int, mode: int, numbers: tuple[NamedArray, ...], times: tuple[int, int]) -> Send:
        header = Header(self._run, self._generation, number, self._incarnation)
        return Send(COORDINATOR + encode(TraceReport(header, self.role.group, self.step, mode, numbers, *times)))

    def _diverge(self, record: Pass) -> list[Send]:
        record.broken = record.broken or self._first_broken_neuron(record)
        header = Header(self._run, self._generation, record.number, self._incarnation)
        return [Send(COORDINATOR + encode(Diverged(header, self.role.group, record.broken, self.step)))]

    def _first_broken_neuron(self, record: Pass) -> str:
        neurons = self._as_array()
        ours = (
            [self._activity(record).T]
            if record.own_error is None
            else [self._activity(record).T, self._own_error(record).T]
        )
        finite = np.all([np.isfinite(n).all(axis=1) for n in (neurons.bias[:, None], neurons.weights, *ours)], axis=0)
        # If all numbers are finite, a product weight × activity overflowed; name the first neuron.
        return self.role.names[int(np.argmin(finite))]

    # Numbers.

    def _as_neuron(self) -> Neuron:
        """Return the group's weights and bias as a `Neuron`, for one sample."""
        if self._neuron is None:
            assert self._array is not None
            self._neuron = Neuron(self.role, float(self._array.bias[0]), self._array.weights[0].tolist())
            self._array = None
        return self._neuron

    def _as_array(self) -> NeuronArray:
        """Return the group's weights and biases as a `NeuronArray`, for a batch."""
        if self._array is None:
            assert self._neuron is not None
            bias, weights = np.array([self._neuron.bias]), np.array([self._neuron.weights])
            self._array, self._neuron = NeuronArray(self.role, bias, weights), None
        return self._array

    def _copy(self) -> State:
        # Learning makes new arrays and lists and never changes old ones, so a reference is enough.
        if self._neuron is not None:
            return state_of(np.array([[self._neuron.bias]]), np.array([self._neuron.weights]).reshape(1, -1))
        assert self._array is not None
        return state_of(self._array.bias[None, :], self._array.weights)

    def state_after(self, step: int) -> State | None:
        """Return the group's state after a step, present or copied; None if the group does not have it."""
        return self._copy() if step == self.step else self.copies.of(self.role.group, step)

    @property
    def last_activity(self) -> Array:
        """The activities (rows, neurons) of the last pass, or of all parts of the last step; empty if there was none."""
        return self._whole(self._last_fired, self._activity)

    @property
    def last_error(self) -> Array:
        """The own errors (rows, neurons) of the last training step; empty if there was none."""
        return self._whole(self._last_replied, self._own_error)

    def _whole(self, records: list[Pass], numbers: Callable[[Pass], Array]) -> Array:
        in_order = [numbers(record) for record in sorted(records, key=lambda record: record.number)]
        return np.concatenate(in_order) if in_order else np.empty((0, self._size))

    def _activity(self, record: Pass) -> Array:
        return np.array([[record.activity]]) if record.plain else record.activity

    def _error_rows(self, record: Pass) -> Array:
        return np.array([record.error_numbers]) if record.plain else record.error_numbers

    def _own_error(self, record: Pass) -> Array:
        error = record.own_error
        if error is None:
            neurons: Any = Neuron(self.role, 0.0, record.weights) if record.plain else self._as_array()
            error = neurons.own_error(record.activity, record.error_numbers, record.weights)
        return np.array([[error]]) if record.plain else error

    def waits(self, number: int) -> Waits:
        """Return the group's progress in a pass, and the first senders whose frames are missing."""
        group, record = self.role.group, self._passes.get(number)
        if record is None:
            if number < self.low:
                return Waits(group, Stage.DONE, ())
            return Waits(group, Stage.UNHEARD, self._signals.senders[:MISSING_AT_MOST])
        missing: list[int] = []
        if record.stage is not DONE:
            missing = (record.signals if record.stage is LISTENING else record.errors).lacks()
        return Waits(group, record.stage, tuple(missing[:MISSING_AT_MOST]))


def _incoming(role: Role, run: bytes, generation: int) -> tuple[Direction, Direction]:
    """Return the two directions of a group, signals and errors, with the heads of all frames that the group may receive."""

    def whole_or_own(sender: int, index: int, whole: DataKind, own: DataKind) -> dict[bytes, Slot]:
        return {
            data_head(whole, run, generation, role.stage, sender): Slot(index, role.width, role.first, role.size),
            data_head(own, run, generation, role.group, sender): Slot(index, role.size, 0, role.size),
        }

    senders = [sender.group for sender in role.senders] or [OUTSIDE]
    signals: dict[bytes, Slot] = {}
    for index, sender in enumerate(senders):
        signals |= whole_or_own(sender, index, DataKind.AXON, DataKind.SIGNAL)
    down = Direction(senders, signals, [role.size] * len(senders))
    if role.is_output:
        return down, Direction([OUTSIDE], whole_or_own(OUTSIDE, 0, DataKind.TARGETS, DataKind.TARGET), [role.size])
    errors = {
        data_head(DataKind.ERROR, run, generation, role.stage, block.receiver): Slot(index, block.size, 0, block.size)
        for index, block in enumerate(role.blocks)
    }
    return down, Direction([block.receiver for block in role.blocks], errors, [block.size for block in role.blocks])


def _with_its_step(records: list[Pass], record: Pass) -> list[Pass]:
    """Return a pass with the other parts of its step."""
    return [*(one for one in records if one.number - one.part == record.number - record.part), record]


@lru_cache(maxsize=64)
def _doubles(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}d")


def _columns(numbers: Any, columns: slice, record: Pass) -> bytes | memoryview:
    return _bytes_of(numbers[columns] if record.plain else numbers[:, columns], record)


def _bytes_of(numbers: Any, record: Pass) -> bytes | memoryview:
    """Encode numbers as little-endian float64 in C order. Joining the frame copies an array only once."""
    if record.plain:
        return _doubles(len(numbers)).pack(*numbers)
    return np.ascontiguousarray(numbers, ON_THE_WIRE).data

"""A group's passes: which message moves it on, and what it then sends. One `Worker` hosts one group.

A pass of a group goes through three states; each arrival is filtered (stale, duplicate, wrong shape) before the table:

| state | a signal (or the input) | an error (or the target) | when all have come |
|---|---|---|---|
| LISTENING | remember it | remember it (a target may come early) | steps 2-4: fire; FIRED, or DONE if nothing is learned |
| FIRED | - | remember it | steps 6-9: reply and learn; DONE |
| DONE | - | - | - |

An arrival of a higher attempt makes the group send again, once, all that it has sent in the pass: a lost message costs
a repeat, not a rollback.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from neuron_node.activations import Array
from neuron_node.addresses import ADDRESS_LENGTH, COORDINATOR, axon_address, error_address, group_address
from neuron_node.codec import data_middle, data_prefix, encode
from neuron_node.errors import Stale, Unexpected, WrongShape
from neuron_node.events import Send
from neuron_node.initial import initial_bias_and_weights
from neuron_node.messages import (
    Axon,
    Data,
    Diverged,
    Error,
    Header,
    Input,
    InputError,
    Mode,
    Output,
    Placement,
    Signal,
    State,
    Target,
)
from neuron_node.neuron import Memory, Neurons
from neuron_node.role import OUTSIDE

FORWARD_PASSES_KEPT = 64
MIDDLES_A_SENDER = 8
AXON_AT_ONCE_BYTES = 32 * 1024
"""Up to this size a group publishes its whole axons in one message; beyond it, what each receiver would get in vain costs more."""
NOTHING: list[Send] = []
NEVER = b"\xc1"
"""A byte that begins no msgpack value, so no message begins with it."""


class PassState(Enum):
    """How far a group has come in one pass."""

    LISTENING = "listening"
    FIRED = "fired"
    DONE = "done"


@dataclass(slots=True)
class Way:
    """One direction of one pass: how its messages begin, who has been heard, and whose numbers still wait to be read."""

    kind: type[Data]
    prefix: bytes
    columns: int
    numbers: int
    """Bytes of numbers at the end of a frame, of which `own` are this group's."""
    own: slice
    expected: int
    heard: dict[int, Array]
    waiting: dict[int, bytes] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether everybody has sent."""
        return len(self.heard) + len(self.waiting) == self.expected


@dataclass(slots=True)
class Pass:
    """One pass of one group."""

    number: int
    mode: int
    attempt: int
    memory: Memory
    down: Way
    up: Way
    state: PassState = PassState.LISTENING
    signals: list[tuple[int, Array]] = field(default_factory=list)


class Worker:
    """One group: its neurons, its open passes, and its copies for snapshots."""

    def __init__(self, placement: Placement, run: bytes, generation: int, incarnation: bytes) -> None:
        self.role = placement.role
        self.step = placement.step
        bias, weights = placement.state or initial_bias_and_weights(placement.role)
        self.neurons = Neurons(placement.role, bias, weights)
        self.passes: dict[int, Pass] = {}
        self.oldest_pass = 0
        self.last_activity = np.empty((0, self.role.size))
        self.last_error = np.empty((0, self.role.size))
        self.copies: dict[int, State] = {}
        self.diverged = ""
        self._run, self._generation, self._incarnation = run, generation, incarnation
        self._signal_sizes = {sender.group: sender.size for sender in self.role.senders} or {OUTSIDE: self.role.size}
        self._error_sizes = {block.receiver: block.size for block in self.role.blocks} or {OUTSIDE: self.role.size}
        self._axons = {sender.group: (sender.first, sender.fan_out) for sender in self.role.senders}
        self._downward_kind: type[Data] = Input if self.role.is_input else Signal
        self._axon_address = axon_address(self.role.group)
        self._addresses = [group_address(block.receiver) for block in self.role.blocks]
        self._newest: Pass | None = None
        # What has been accepted in full, by the bytes between a message's prefix and its numbers; see `hear_again`.
        self._middles: dict[bytes, tuple[int, int, int, type[Data]]] = {}
        self._given_back: list[bytes] = []

    def hear_again(self, frame: bytes) -> list[Send] | None:
        """The short way for a frame that is, but for its numbers, what `hear` has accepted before; None if it is not.

        It compares bytes instead of decoding them, so it accepts nothing that the long way would not. The numbers are
        looked at once all have come, in one piece; until then the frame waits as it is.
        """
        record = self._newest
        if record is None:
            return None
        if frame.startswith(record.down.prefix, ADDRESS_LENGTH):
            way = record.down
        elif frame.startswith(record.up.prefix, ADDRESS_LENGTH):
            way = record.up
        else:
            return None
        known = self._middles.get(frame[ADDRESS_LENGTH + len(way.prefix) : -way.numbers])
        if known is None:
            return None
        sender, attempt, mode, kind = known
        if attempt != record.attempt or mode != record.mode or kind is not way.kind:
            return None
        if sender in way.heard or sender in way.waiting:
            return None
        way.waiting[sender] = frame
        return self._go_on(record) if way.complete else NOTHING

    def give_back(self) -> list[bytes]:
        """Frames whose numbers turned out not to be finite, or whose pass is over: the long way tells which are at fault."""
        frames, self._given_back = self._given_back, []
        return frames

    def hear(self, message: Data) -> list[Send]:
        """Take an input, target, signal or error; what to send because of it. Raises `PeerError` if it can't be used."""
        number, upward = message.header.pass_number, isinstance(message, Error | Target)
        if message.sender not in (self._error_sizes if upward else self._signal_sizes):
            raise Unexpected(f"{self.role.names[0]} has no synapse with group {message.sender}")
        if isinstance(message, Input | Target) != (message.sender == OUTSIDE):
            raise Unexpected("inputs and targets come from the coordinator, signals and errors from groups")
        if number < self.oldest_pass:
            raise Stale(f"pass {number} is over")
        record = self.passes.get(number)
        values = self._own_values(message, upward, record)
        if record is None:
            record = self._open(number, message)
        self._remember(message)
        again = self._repeat(record, message.attempt) if message.attempt > record.attempt else []
        way = record.up if upward else record.down
        if message.sender in way.heard:
            return again
        way.waiting.pop(message.sender, None)
        if upward:
            self.neurons.receive_error(record.memory, message.sender, values)
        else:
            self.neurons.receive_signal(record.memory, message.sender, values)
        return [*again, *self._go_on(record)]

    def _own_values(self, message: Data, upward: bool, record: Pass | None) -> Array:
        """The numbers for this group, (batch, neurons of it or, upward, of the sender). Raises `WrongShape`."""
        values = message.values
        batch = record.memory.batch if record else len(values)
        first, columns = 0, self._error_sizes[message.sender] if upward else self.role.size
        width = columns
        if isinstance(message, Axon):
            first, width = self._axons.get(message.sender, (0, 0))
        if values.shape != (batch, width) or not values.size:
            raise WrongShape(f"{values.shape[0]} x {values.shape[1]} for {self.role.names[0]}")
        return values.reshape(-1)[batch * first : batch * (first + columns)].reshape(batch, columns)

    def state_after(self, step: int) -> State | None:
        """The group's state after a step, if it stands there or kept a copy; None otherwise."""
        if step in self.copies:
            return self.copies[step]
        return self._copy() if step == self.step else None

    def _go_on(self, record: Pass) -> list[Send]:
        """Do what has become possible: the table at the head of this file."""
        sends: list[Send] = []
        if record.state is PassState.LISTENING and record.down.complete and self._read_waiting(record.down, record):
            sends = self._fire(record)
        if record.state is PassState.FIRED and record.up.complete and self._read_waiting(record.up, record):
            sends = [*sends, *self._reply(record)]
        return sends

    def _read_waiting(self, way: Way, record: Pass) -> bool:
        """Read the numbers of all waiting frames in one piece; whether they are finite, and so have been received."""
        if not way.waiting:
            return True
        numbers = b"".join([frame[way.own] for frame in way.waiting.values()])
        block = np.frombuffer(numbers, dtype="<f8").astype(np.float64, copy=False)
        frames, way.waiting = way.waiting, {}
        if not np.isfinite(block).all():
            self._given_back = list(frames.values())
            return False
        receive = self.neurons.receive_error if way is record.up else self.neurons.receive_signal
        for sender, values in zip(frames, block.reshape(len(frames), record.memory.batch, way.columns), strict=True):
            receive(record.memory, sender, values)
        return True

    def _open(self, number: int, message: Data) -> Pass:
        # A training step begins only when everything before it is over; forward passes may overlap.
        if message.mode != Mode.FORWARD:
            self.oldest_pass = number
        else:
            self.oldest_pass = max(self.oldest_pass, number - FORWARD_PASSES_KEPT)
        for old in [known for known in self.passes if known < self.oldest_pass]:
            del self.passes[old]
        memory = Memory(len(message.values))
        if not isinstance(message, Error | Target):
            # Senders choose by the size of the batch, so what opens a pass tells how the others will come.
            self._downward_kind = type(message)
        record = Pass(
            number, message.mode, message.attempt, memory, self._way_down(number, memory), self._way_up(number, memory)
        )
        self.passes[number] = self._newest = record
        return record

    def _way_down(self, number: int, memory: Memory) -> Way:
        places = {(0, self.role.size)} if self._downward_kind is not Axon else set(self._axons.values())
        return self._way(
            self._downward_kind, number, memory.batch, self.role.size, places, len(self._signal_sizes), memory.signals
        )

    def _way_up(self, number: int, memory: Memory) -> Way:
        kind = Target if self.role.is_output else Error
        sizes = set(self._error_sizes.values())
        places = {(0, size) for size in sizes}
        return self._way(kind, number, memory.batch, max(sizes), places, len(self._error_sizes), memory.errors)

    def _way(
        self,
        kind: type[Data],
        number: int,
        batch: int,
        columns: int,
        places: set[tuple[int, int]],
        expected: int,
        heard: dict[int, Array],
    ) -> Way:
        """`places` are (first own column, columns) of the senders' messages; the short way is for all alike only."""
        first, width = min(places)
        numbers = 8 * batch * width
        start = 8 * batch * first - numbers
        own = slice(start, (start + 8 * batch * columns) or None)
        alike = len(places) == 1 and numbers > 0
        prefix = data_prefix(kind, self._run, self._generation, number) if alike else NEVER
        return Way(kind, prefix, columns, numbers, own, expected, heard)

    def _remember(self, message: Data) -> None:
        rows, columns = message.values.shape
        known = (message.sender, message.attempt, message.mode, type(message))
        if len(self._middles) >= MIDDLES_A_SENDER * (len(self._signal_sizes) + len(self._error_sizes)):
            self._middles.clear()
        middle = data_middle(message.header.incarnation, message.attempt, message.mode, message.sender, rows, columns)
        self._middles[middle] = known

    def _fire(self, record: Pass) -> list[Send]:
        """Steps 2 to 4."""
        self.last_activity = activity = self.neurons.activate(record.memory)
        record.signals = self.neurons.fire(record.memory)
        record.state = PassState.DONE if record.mode == Mode.FORWARD else PassState.FIRED
        finite = np.isfinite(activity).all() and all(np.isfinite(signal).all() for _, signal in record.signals)
        return self._outgoing_signals(record) if finite else self._diverge(record)

    def _reply(self, record: Pass) -> list[Send]:
        """Steps 6 to 9; the copy for a snapshot is taken in the same breath as the step ends."""
        error = self.last_error = self.neurons.reply(record.memory)
        finite = self.neurons.learn(record.memory) and bool(np.isfinite(error).all())
        record.state = PassState.DONE
        self.step += 1
        if record.mode == Mode.TRAIN_AND_COPY:
            self.copies = dict([*self.copies.items()][-1:]) | {self.step: self._copy()}
        return [self._outgoing_error(record)] if finite else self._diverge(record)

    def _repeat(self, record: Pass, attempt: int) -> list[Send]:
        record.attempt = attempt
        if self.diverged:
            return self._diverge(record)
        sends: list[Send] = []
        if record.state is not PassState.LISTENING:
            sends += self._outgoing_signals(record)
        if record.memory.own_error is not None:
            sends.append(self._outgoing_error(record))
        return sends

    def _outgoing_signals(self, record: Pass) -> list[Send]:
        if self.role.is_output:
            assert record.memory.activity is not None
            fields = (self._header(record), record.attempt, record.mode, self.role.group)
            return [Send(COORDINATOR, encode(Output(*fields, record.memory.activity)))]
        batch, fan_out = record.memory.batch, self.role.fan_out
        if len(record.signals) > 1 and 8 * batch * fan_out <= AXON_AT_ONCE_BYTES:
            numbers = b"".join([signal.astype("<f8", copy=False).tobytes() for _, signal in record.signals])
            return [Send(self._axon_address, self._begin(Axon, record, fan_out) + numbers)]
        begin = {
            columns: self._begin(Signal, record, columns) for columns in {block.size for block in self.role.blocks}
        }
        return [
            Send(address, begin[signal.shape[1]] + signal.astype("<f8", copy=False).tobytes())
            for (_, signal), address in zip(record.signals, self._addresses, strict=True)
        ]

    def _begin(self, kind: type[Data], record: Pass, columns: int) -> bytes:
        """A data message of this group up to its numbers."""
        middle = (self._incarnation, record.attempt, record.mode, self.role.group, record.memory.batch, columns)
        return data_prefix(kind, self._run, self._generation, record.number) + data_middle(*middle)

    def _outgoing_error(self, record: Pass) -> Send:
        assert record.memory.own_error is not None
        fields = (self._header(record), record.attempt, record.mode, self.role.group, record.memory.own_error)
        if self.role.is_input:
            return Send(COORDINATOR, encode(InputError(*fields)))
        return Send(error_address(self.role.group), encode(Error(*fields)))

    def _diverge(self, record: Pass) -> list[Send]:
        self.diverged = self.diverged or self._first_broken_neuron()
        return [Send(COORDINATOR, encode(Diverged(self._header(record), self.role.group, self.diverged, self.step)))]

    def _first_broken_neuron(self) -> str:
        columns = [self.neurons.bias[:, None], self.neurons.weights, self.last_activity.T, self.last_error.T]
        finite = np.all([np.isfinite(numbers).all(axis=1) for numbers in columns], axis=0)
        # With every number finite, it was a product weight × activity that overflowed.
        return self.role.names[int(np.argmin(finite))]

    def _header(self, record: Pass) -> Header:
        return Header(self._run, self._generation, record.number, self._incarnation)

    def _copy(self) -> State:
        # `learn` makes new arrays and never changes old ones, so a reference is a copy.
        return State(self.neurons.bias[None, :], self.neurons.weights)

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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neuron_node.activations import Array, all_finite
from neuron_node.addresses import ADDRESS_LENGTH, COORDINATOR, axon_address, error_address, group_address
from neuron_node.codec import data_middle, data_prefix, encode, packed
from neuron_node.copies import Copies
from neuron_node.errors import Stale, Unexpected, WrongShape
from neuron_node.events import Send
from neuron_node.initial import initial_bias_and_weights
from neuron_node.messages import (
    MISSING_AT_MOST,
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
    Stage,
    State,
    Target,
    Waits,
)
from neuron_node.neuron import Memory, Neurons
from neuron_node.role import OUTSIDE
from neuron_node.ways import Way, Ways

FORWARD_PASSES_KEPT = 64
KNOWN_A_SENDER = 8
AXON_AT_ONCE_BYTES = 32 * 1024
"""Up to this size a group publishes its whole axons in one message; beyond it, what each receiver would get in vain costs more."""
NOTHING: list[Send] = []
OWN_MIDDLES_KEPT = 64


@dataclass(slots=True)
class Pass:
    """One pass of one group."""

    number: int
    mode: int
    attempt: int
    memory: Memory
    down: Way
    up: Way
    state: Stage = Stage.LISTENING
    broken: str = ""
    """The neuron whose numbers were no longer finite, if any were not."""
    signals: Array | None = None
    """Once fired, the signals at all synapses of the axons, (batch, synapses)."""


class Worker:
    """One group: its neurons, its open passes, and its copies for snapshots."""

    def __init__(
        self,
        placement: Placement,
        run: bytes,
        generation: int,
        incarnation: bytes,
        copies: Copies | None = None,
        tell_copy: Callable[[Worker, int], Send] | None = None,
    ) -> None:
        """A state in the placement is taken, else the initial one is drawn; `tell_copy` sends a fresh copy to the coordinator."""
        self.role = placement.role
        self.step = placement.step
        bias, weights = placement.state or initial_bias_and_weights(placement.role)
        self.neurons = Neurons(placement.role, bias, weights)
        self.passes: dict[int, Pass] = {}
        self.oldest_pass = 0
        self.last_activity = np.empty((0, self.role.size))
        self.last_error = np.empty((0, self.role.size))
        self.copies = Copies() if copies is None else copies
        self._tell_copy = tell_copy
        self._run, self._generation, self._incarnation = run, generation, incarnation
        self._ways = Ways(self.role, run, generation)
        kinds: tuple[type[Data], ...] = (Signal, Axon, Output, Error, InputError)
        self._prefixes = {kind: data_prefix(kind, run, generation) for kind in kinds}
        self._fan_out = self.role.fan_out
        self._own_middles: dict[tuple[type[Data], int, int, int, int], bytes] = {}
        self._error_address = error_address(self.role.group)
        self._address = group_address(self.role.group)
        self._axon_address = axon_address(self.role.group)
        self._addresses = [group_address(block.receiver) for block in self.role.blocks]
        self._newest: Pass | None = None
        self._listening: Way | None = None
        # Who has been accepted in full, by what stood between a message's prefix and its numbers; see `hear_again`.
        self._known: dict[tuple[type[Data], int, int], dict[bytes, tuple[int, bytes]]] = {}
        self._known_count = 0
        self.given_back: list[bytes] = []

    def hear_again(self, frame: bytes) -> list[Send] | None:
        """The short way for a frame that is, but for its numbers, what `hear` has accepted before; None if it is not.

        It compares bytes instead of decoding them, so it accepts nothing that the long way would not. The numbers are
        looked at once all have come, in one piece; until then the frame waits as it is.
        """
        way = self._listening
        if way is None or not frame.startswith(way.prefix, ADDRESS_LENGTH):
            return self._hear_other_way(frame)
        known = way.known.get(frame[way.middle])
        if known is None:
            return None
        sender, address = known
        waiting = way.waiting
        if sender in waiting or sender in way.heard or not frame.startswith(address):
            return None
        waiting[sender] = frame
        if len(waiting) + len(way.heard) < way.expected or self._newest is None:
            return NOTHING
        return self._go_on(self._newest)

    def _hear_other_way(self, frame: bytes) -> list[Send] | None:
        """The short way for a frame that comes early: the other way of this pass, or the first of the next one."""
        record = self._newest
        if record is None:
            return None
        if not any(frame.startswith(way.prefix, ADDRESS_LENGTH) for way in (record.down, record.up)):
            record = self._next(frame, record)
        for way in (record.down, record.up) if record else ():
            known = way.known.get(frame[way.middle]) if frame.startswith(way.prefix, ADDRESS_LENGTH) else None
            if record is None or known is None or not frame.startswith(known[1]):
                continue
            if known[0] in way.waiting or known[0] in way.heard:
                return None
            if record is not self._newest:
                self._open(record)
            way.waiting[known[0]] = frame
            return self._go_on(record) if way.complete else NOTHING
        return None

    def _next(self, frame: bytes, before: Pass) -> Pass | None:
        """The pass after this one as it will be if it begins as this one did; None if the frame is not of it."""
        number = before.number + 1
        if number in self.passes:
            return None
        record = self._pass(number, before.mode, 0, before.memory.batch)
        fits = any(frame.startswith(way.prefix, ADDRESS_LENGTH) for way in (record.down, record.up))
        return record if fits else None

    def _pass(self, number: int, mode: int, attempt: int, batch: int) -> Pass:
        memory = Memory(batch)
        down, up = self._ways.down(number, batch, memory.senders), self._ways.up(number, batch, memory.repliers)
        record = Pass(number, mode, attempt, memory, down, up)
        self._recall(record)
        return record

    def _recall(self, record: Pass) -> None:
        """Whom the short way knows in this pass and attempt."""
        for way in (record.down, record.up):
            way.known = self._known.setdefault((way.kind, record.attempt, record.mode), {})

    def give_back(self) -> list[bytes]:
        """Frames whose numbers turned out not to be finite, or whose pass is over: the long way tells which are at fault."""
        frames, self.given_back = self.given_back, []
        return frames

    def hear(self, message: Data) -> list[Send]:
        """Take an input, target, signal or error; what to send because of it. Raises `PeerError` if it can't be used."""
        number, upward = message.header.pass_number, isinstance(message, Error | Target)
        if message.sender not in (self._ways.error_sizes if upward else self._ways.signal_sizes):
            raise Unexpected(f"{self.role.names[0]} has no synapse with group {message.sender}")
        if isinstance(message, Input | Target) != (message.sender == OUTSIDE):
            raise Unexpected("inputs and targets come from the coordinator, signals and errors from groups")
        if number < self.oldest_pass:
            raise Stale(f"pass {number} is over")
        record = self.passes.get(number)
        values = self._own_values(message, upward, record)
        if not upward:
            self._ways.down_kind = type(message)
        if record is None:
            record = self._pass(number, message.mode, message.attempt, len(values))
            self._open(record)
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
        first, columns = 0, self._ways.error_sizes[message.sender] if upward else self.role.size
        width = columns
        if isinstance(message, Axon):
            first, width = self._ways.axons.get(message.sender, (0, 0))
        if values.shape != (batch, width) or not values.size:
            raise WrongShape(f"{values.shape[0]} x {values.shape[1]} for {self.role.names[0]}")
        return values.reshape(-1)[batch * first : batch * (first + columns)].reshape(batch, columns)

    def state_after(self, step: int) -> State | None:
        """The group's state after a step, if it stands there or kept a copy; None otherwise."""
        return self._copy() if step == self.step else self.copies.of(self.role.group, step)

    def waits(self, number: int) -> Waits:
        """Where the group stands in a pass, and the first of those whom it waits for."""
        record = self.passes.get(number)
        if record is None:
            if number < self.oldest_pass:
                return Waits(self.role.group, Stage.DONE, ())
            return Waits(self.role.group, Stage.UNHEARD, self._ways.senders[:MISSING_AT_MOST])
        missing: list[int] = []
        if record.state is not Stage.DONE:
            way = record.down if record.state is Stage.LISTENING else record.up
            missing = [sender for sender in way.order if sender not in way.heard and sender not in way.waiting]
        return Waits(self.role.group, record.state, tuple(missing[:MISSING_AT_MOST]))

    def _go_on(self, record: Pass) -> list[Send]:
        """Do what has become possible: the table at the head of this file."""
        sends: list[Send] = []
        # Numbers that overflow are looked for, and reported; NumPy's warnings about them would only fill the log.
        with np.errstate(over="ignore", invalid="ignore"):
            if record.state is Stage.LISTENING and record.down.complete and self._read_waiting(record.down, record):
                sends = self._fire(record)
            if record.state is Stage.FIRED and record.up.complete and self._read_waiting(record.up, record):
                sends = [*sends, *self._reply(record)]
        return sends

    def _read_waiting(self, way: Way, record: Pass) -> bool:
        """Read the numbers of all waiting frames in one piece; whether they are finite, and so have been received."""
        if not way.waiting:
            return True
        frames, way.waiting = way.waiting, {}
        order, own = way.order, way.own
        if len(frames) < way.expected:
            order = tuple(sender for sender in order if sender in frames)
        numbers = np.frombuffer(b"".join([frames[sender][own] for sender in order]), dtype="<f8")
        if not all_finite(numbers):
            self.given_back = list(frames.values())
            return False
        memory = record.memory
        block = numbers.astype(np.float64, copy=False).reshape(len(order), memory.batch, way.columns)
        if len(order) < way.expected:
            receive = self.neurons.receive_error if way is record.up else self.neurons.receive_signal
            for sender, values in zip(order, block, strict=True):
                receive(memory, sender, values)
            return True
        # Steps 1 and 5 for everybody at once.
        way.heard.update(order)
        if way is record.up:
            # In the layout that `receive_error` gives: another one would change the last bits of the products.
            memory.errors = np.ascontiguousarray(block.transpose(1, 0, 2).reshape(memory.batch, -1))
        else:
            memory.signals = block
        return True

    def _open(self, record: Pass) -> None:
        # A training step begins only when everything before it is over; forward passes may overlap.
        if record.mode != Mode.FORWARD:
            self.oldest_pass = record.number
        else:
            self.oldest_pass = max(self.oldest_pass, record.number - FORWARD_PASSES_KEPT)
        for old in [known for known in self.passes if known < self.oldest_pass]:
            del self.passes[old]
        self.passes[record.number] = self._newest = record
        self._listening = record.down

    def _remember(self, message: Data) -> None:
        kind, sender = type(message), message.sender
        if self._known_count >= KNOWN_A_SENDER * (len(self._ways.signal_sizes) + len(self._ways.error_sizes)):
            self._known_count = 0
            for known in self._known.values():
                known.clear()
        rows, columns = message.values.shape
        middle = data_middle(message.header.incarnation, message.attempt, message.mode, sender, rows, columns)
        address = {Error: error_address(sender), Axon: axon_address(sender)}.get(kind, self._address)
        known = self._known.setdefault((kind, message.attempt, message.mode), {})
        self._known_count += middle not in known
        known[middle] = (sender, address)

    def _fire(self, record: Pass) -> list[Send]:
        """Steps 2 to 4."""
        self.last_activity = activity = self.neurons.activate(record.memory)
        record.signals = self.neurons.fire(record.memory)
        record.state = Stage.DONE if record.mode == Mode.FORWARD else Stage.FIRED
        if record is self._newest:
            self._listening = record.up
        # A number that is not finite makes every product with it so.
        finite = all_finite(activity if self.role.is_output else record.signals)
        return self._outgoing_signals(record) if finite else self._diverge(record)

    def _reply(self, record: Pass) -> list[Send]:
        """Steps 6 to 9; the copy for a snapshot is taken in the same breath as the step ends."""
        error = self.last_error = self.neurons.reply(record.memory)
        finite = self.neurons.learn(record.memory) and all_finite(error)
        record.state = Stage.DONE
        self.step += 1
        if not finite:
            return self._diverge(record)
        sends = [self._outgoing_error(record)]
        if record.mode == Mode.TRAIN_AND_COPY:
            self.copies.keep(self.role.group, self.step, self._copy())
            if self._tell_copy:
                sends.append(self._tell_copy(self, self.step))
        return sends

    def _repeat(self, record: Pass, attempt: int) -> list[Send]:
        record.attempt = attempt
        self._recall(record)
        if record.broken:
            return self._diverge(record)
        sends: list[Send] = []
        if record.state is not Stage.LISTENING:
            sends += self._outgoing_signals(record)
        if record.memory.own_error is not None:
            sends.append(self._outgoing_error(record))
        return sends

    def _outgoing_signals(self, record: Pass) -> list[Send]:
        if self.role.is_output:
            activity = record.memory.activity
            assert activity is not None
            return [Send(COORDINATOR, self._begin(Output, record, *activity.shape) + _bytes_of(activity))]
        assert record.signals is not None
        batch, blocks = record.memory.batch, self.neurons.columns
        if len(blocks) > 1 and record.signals.nbytes <= AXON_AT_ONCE_BYTES:
            one_each = len(blocks) == self._fan_out
            numbers = (
                _bytes_of(record.signals.T)
                if one_each
                else b"".join([_bytes_of(record.signals[:, columns]) for columns in blocks])
            )
            return [Send(self._axon_address, self._begin(Axon, record, batch, self._fan_out) + numbers)]
        sends = []
        for block, columns, address in zip(self.role.blocks, blocks, self._addresses, strict=True):
            begin = self._begin(Signal, record, batch, block.size)
            sends.append(Send(address, begin + _bytes_of(record.signals[:, columns])))
        return sends

    def _outgoing_error(self, record: Pass) -> Send:
        error = record.memory.own_error
        assert error is not None
        address, kind = (COORDINATOR, InputError) if self.role.is_input else (self._error_address, Error)
        return Send(address, self._begin(kind, record, *error.shape) + _bytes_of(error))

    def _begin(self, kind: type[Data], record: Pass, rows: int, columns: int) -> bytes:
        """A data message of this group up to its numbers."""
        key = (kind, record.attempt, record.mode, rows, columns)
        middle = self._own_middles.get(key)
        if middle is None:
            if len(self._own_middles) > OWN_MIDDLES_KEPT:
                self._own_middles.clear()
            middle = data_middle(self._incarnation, record.attempt, record.mode, self.role.group, rows, columns)
            self._own_middles[key] = middle
        return self._prefixes[kind] + packed(record.number) + middle

    def _diverge(self, record: Pass) -> list[Send]:
        record.broken = record.broken or self._first_broken_neuron()
        return [Send(COORDINATOR, encode(Diverged(self._header(record), self.role.group, record.broken, self.step)))]

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


def _bytes_of(numbers: Array) -> bytes:
    """As they travel: little-endian, in C order."""
    return numbers.astype("<f8", copy=False).tobytes()

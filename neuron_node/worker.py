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

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from neuron_node.activations import Array, all_finite, quiet
from neuron_node.addresses import COORDINATOR, axon_address, error_address, group_address
from neuron_node.chain import FOLLOWS, may_begin
from neuron_node.codec import data_head, data_shape, encode
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
from neuron_node.neuron import Neurons
from neuron_node.parts import Parts
from neuron_node.passes import DONE, FORWARD, LISTENING, NOTHING, Pass, Passes
from neuron_node.reading import ON_THE_WIRE
from neuron_node.role import OUTSIDE

AXON_AT_ONCE_BYTES = 32 * 1024
"""Up to this size a group publishes its whole axons in one message; beyond it, what each receiver would get in vain costs more."""
FIRED = Stage.FIRED
Noted = TypeVar("Noted")
REPLIES_FIRST_FROM_BYTES = 256 * 1024
"""With so many weights, the error is sent before they are learned: those above can begin."""


class Unasked(NamedTuple):
    """What an own error follows from that nobody has needed: (batch, neurons), (batch, synapses), (neurons, synapses)."""

    activity: Array
    errors: Array
    weights: Array


class Worker(Passes):
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
        bias, weights = placement.state or initial_bias_and_weights(placement.role)
        super().__init__(placement.role, Neurons(placement.role, bias, weights), run, generation)
        self.step = placement.step
        self._fired: list[tuple[int, int, Array]] = []
        self._replied: list[tuple[int, int, Array | Unasked]] = []
        """First pass of the step, pass, and numbers, of all parts of the last step."""
        self._parts = Parts(0, 1)
        self._needs_own_error = self.role.needs_own_error
        # What is quickly learned is not worth going once more through the shell for.
        self._replies_first = 8 * self.neurons.weights.size > REPLIES_FIRST_FROM_BYTES
        self.copies = Copies() if copies is None else copies
        self._tell_copy = tell_copy
        self._incarnation = incarnation
        group = self.role.group
        self._fan_out = self.role.fan_out

        def head(address: bytes, kind: type[Data]) -> bytes:
            return data_head(address, kind, run, generation, incarnation, group)

        self._output_head, self._axon_head = head(COORDINATOR, Output), head(axon_address(group), Axon)
        self._error_head = head(COORDINATOR, InputError) if self.role.is_input else head(error_address(group), Error)
        self._signal_heads = [head(group_address(block.receiver), Signal) for block in self.role.blocks]

    def hear(self, message: Data) -> list[Send]:
        """Take an input, target, signal or error; what to send because of it. Raises `PeerError` if it can't be used.

        The input or target of a step that follows waits until the one before is over here.
        """
        number, upward = message.header.pass_number, isinstance(message, Error | Target)
        if message.sender not in (self._ways.error_sizes if upward else self._ways.signal_sizes):
            raise Unexpected(f"{self.role.names[0]} has no synapse with group {message.sender}")
        if isinstance(message, Input | Target) != (message.sender == OUTSIDE):
            raise Unexpected("inputs and targets come from the coordinator, signals and errors from groups")
        record = self._begun_pass(message)
        values = self._own_values(message, upward, record)
        if record is None and message.chain & FOLLOWS and not may_begin(number - message.part, self.passes):
            if message.sender != OUTSIDE:
                raise Unexpected(f"a {type(message).__name__} of pass {number} before the step is over that it follows")
            self._held.keep(message)
            self._settle()
            return []
        if not upward:
            self._ways.down_kind = type(message)
        if record is None:
            record = self._pass(number, message.mode, len(values), message.part, message.parts, message.chain)
            record.repeat(message.attempt)
            self._open(record)
        self._remember(message)
        again = self._repeat(record, message.attempt) if message.attempt > record.attempt else []
        way = record.up if upward else record.down
        if message.sender in way.heard:
            self._settle()
            return again
        if upward:
            self.neurons.receive_error(record.memory, message.sender, values)
        else:
            self.neurons.receive_signal(record.memory, message.sender, values)
        with quiet():
            sends = [*again, *self._go_on(record)]
        self._settle()
        if self._held and not self.looks_again:
            for held in self._held.take(self.passes, self.oldest_pass):
                sends += self.hear(held)
        return sends

    def _begun_pass(self, message: Data) -> Pass | None:
        """The pass that a message is of, if it has begun. Raises `PeerError` if the message does not fit into it."""
        number = message.header.pass_number
        if number < self.oldest_pass:
            raise Stale(f"pass {number} is over")
        record = self.passes.get(number)
        place = (message.part, message.parts, message.chain)
        if message.part >= message.parts or (record and place != (record.part, record.parts, record.chain)):
            raise Unexpected(f"part {message.part} of {message.parts}, chain {message.chain}, in pass {number}")
        return record

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

    @property
    def last_activity(self) -> Array:
        """Of the last pass, or all parts of the last step, (batch, neurons); empty if there was none."""
        return self._whole(self._fired)

    @property
    def last_error(self) -> Array:
        """Of the last training step, (batch, neurons); empty if there was none."""
        return self._whole(self._replied)

    def _whole(self, parts: Sequence[tuple[int, int, Array | Unasked]]) -> Array:
        in_order = [
            self.neurons.own_error(*numbers) if isinstance(numbers, Unasked) else numbers
            for _, _, numbers in sorted(parts, key=lambda part: part[1])
        ]
        return np.concatenate(in_order) if in_order else np.empty((0, self.role.size))

    @property
    def oldest(self) -> Pass | None:
        """The first pass that is not over; None while nothing has come."""
        return self._unfinished[0] if self._unfinished else self.ahead

    @property
    def postponed(self) -> bool:
        """Whether something has been replied to and not been learned; see `learn`."""
        return bool(self._unlearned)

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
        if record.state is not DONE:
            way = record.down if record.state is LISTENING else record.up
            order = self._ways.senders if way is record.down else self._ways.receivers
            heads = self._heads.get(way.layout.kind, {})
            missing = [one for one in order if one not in way.heard and heads.get(one) not in way.frames]
        return Waits(self.role.group, record.state, tuple(missing[:MISSING_AT_MOST]))

    def _go_on(self, record: Pass) -> list[Send]:
        """Do what has become possible: the table at the head of this file."""
        sends = NOTHING
        for state, way, act in ((LISTENING, record.down, self._fire), (FIRED, record.up, self._reply)):
            if record.state is state and len(way.heard) + len(way.frames) >= way.expected and self._read(way, record):
                sends = sends + act(record)
        return sends

    def _fire(self, record: Pass) -> list[Send]:
        """Steps 2 to 4."""
        sends = self.learn() if self._unlearned else NOTHING
        activity = self.neurons.activate(record.memory)
        _note(self._fired, record, activity)
        record.signals = self.neurons.fire(record.memory)
        record.state = DONE if record.mode == FORWARD else FIRED
        # A number that is not finite makes every product with it so.
        finite = all_finite(activity if self._is_output else record.signals)
        return sends + (self._outgoing_signals(record) if finite else self._diverge(record))

    def _reply(self, record: Pass) -> list[Send]:
        """Steps 6 and 7, and, unless the error is to be on its way first, 8 and 9.

        The coordinator, to whom alone an input neuron sends its error, learns nothing from it: it is told that all is
        done, and the error is worked out when somebody asks for it.
        """
        memory, neurons = record.memory, self.neurons
        record.state = DONE
        if self._needs_own_error:
            error = neurons.reply(memory)
            _note(self._replied, record, error)
            if not all_finite(error):
                return self._diverge(record)
        else:
            assert memory.activity is not None and memory.errors is not None
            _note(self._replied, record, Unasked(memory.activity, memory.errors, neurons.weights))
        self._unlearned.append(record)
        sends = [self._outgoing_error(record)]
        if self._replies_first:
            return sends
        learned = self.learn()
        return learned if record.broken else sends + learned

    def learn(self) -> list[Send]:
        """Steps 8 and 9 of what has been replied to; the copy for a snapshot is taken in the same breath as the step ends."""
        sends = NOTHING
        for record in self._unlearned:
            sends = sends + self._learn(record)
        self._unlearned.clear()
        return sends

    def _learn(self, record: Pass) -> list[Send]:
        memory = record.memory
        if record.parts > 1:
            first = record.number - record.part
            if first != self._parts.first_pass:
                self._parts = Parts(first, record.parts)
            whole = self._parts.add(record.part, memory)
            if whole is None:
                return NOTHING
            memory = whole
        self.step += 1
        if not self.neurons.update(self.neurons.gradient(memory)):
            return self._diverge(record)
        if record.mode != Mode.TRAIN_AND_COPY:
            return NOTHING
        self.copies.keep(self.role.group, self.step, self._copy())
        return [self._tell_copy(self, self.step)] if self._tell_copy else NOTHING

    def _repeat(self, record: Pass, attempt: int) -> list[Send]:
        record.repeat(attempt)
        if record.broken:
            return self._diverge(record)
        sends: list[Send] = []
        if record.state is not LISTENING:
            sends += self._outgoing_signals(record)
        if record.state is DONE and record.mode != FORWARD:
            sends.append(self._outgoing_error(record))
        return sends

    def _outgoing_signals(self, record: Pass) -> list[Send]:
        if self.role.is_output:
            activity = record.memory.activity
            assert activity is not None
            return [_data(self._output_head, record, activity.shape, activity)]
        signals = record.signals
        assert signals is not None
        blocks = self.neurons.columns
        if len(blocks) > 1 and signals.nbytes <= AXON_AT_ONCE_BYTES:
            shape, one_each = signals.shape, len(blocks) == self._fan_out
            if one_each:
                return [_data(self._axon_head, record, shape, signals.T)]
            return [_data(self._axon_head, record, shape, *[signals[:, columns] for columns in blocks])]
        parts = [signals[:, columns] for columns in blocks]
        return [_data(head, record, part.shape, part) for head, part in zip(self._signal_heads, parts, strict=True)]

    def _outgoing_error(self, record: Pass) -> Send:
        error = record.memory.own_error
        if error is None:
            return _data(self._error_head, record, (record.memory.batch, 0))
        return _data(self._error_head, record, error.shape, error)

    def _diverge(self, record: Pass) -> list[Send]:
        record.broken = record.broken or self._first_broken_neuron(record)
        return [Send(COORDINATOR + encode(Diverged(self._header(record), self.role.group, record.broken, self.step)))]

    def _first_broken_neuron(self, record: Pass) -> str:
        memory = record.memory
        ours = [numbers.T for numbers in (memory.activity, memory.own_error) if numbers is not None]
        columns = [self.neurons.bias[:, None], self.neurons.weights, *ours]
        finite = np.all([np.isfinite(numbers).all(axis=1) for numbers in columns], axis=0)
        # With every number finite, it was a product weight × activity that overflowed.
        return self.role.names[int(np.argmin(finite))]

    def _header(self, record: Pass) -> Header:
        return Header(self._run, self._generation, record.number, self._incarnation)

    def _copy(self) -> State:
        # `learn` makes new arrays and never changes old ones, so a reference is a copy.
        return State(self.neurons.bias[None, :], self.neurons.weights)


def _note(parts: list[tuple[int, int, Noted]], record: Pass, numbers: Noted) -> None:
    """Keep the numbers of a pass with those of its step's other parts; those of another step give way."""
    first = record.number - record.part
    if parts and parts[0][0] != first:
        parts.clear()
    parts.append((first, record.number, numbers))


def _data(head: bytes, record: Pass, shape: tuple[int, ...], *numbers: Array) -> Send:
    """A data message. The numbers are copied once, into the frame, as they travel: little-endian, in C order."""
    rows, columns = shape
    in_order = [np.ascontiguousarray(block, ON_THE_WIRE).data for block in numbers]
    return Send(b"".join((head, record.mark, data_shape(rows, columns), *in_order)))

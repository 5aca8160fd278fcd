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

import numpy as np

from neuron_node.activations import Array, all_finite, quiet
from neuron_node.addresses import COORDINATOR, axon_address, error_address, group_address
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
from neuron_node.passes import AS_ON_THE_WIRE, DONE, FORWARD, LISTENING, NOTHING, ON_THE_WIRE, Pass, Passes
from neuron_node.role import OUTSIDE

AXON_AT_ONCE_BYTES = 32 * 1024
"""Up to this size a group publishes its whole axons in one message; beyond it, what each receiver would get in vain costs more."""
SHAPES_KEPT = 64
FIRED = Stage.FIRED


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
        self.last_activity = np.empty((0, self.role.size))
        self.last_error = np.empty((0, self.role.size))
        self.copies = Copies() if copies is None else copies
        self._tell_copy = tell_copy
        self._incarnation = incarnation
        group = self.role.group
        kinds: tuple[type[Data], ...] = (Signal, Axon, Output, Error, InputError)
        self._heads_sent = {kind: data_head(b"", kind, run, generation, incarnation, group) for kind in kinds}
        self._fan_out = self.role.fan_out
        self._shapes: dict[tuple[int, int], bytes] = {}
        self._error_address, self._axon_address = error_address(group), axon_address(group)
        self._addresses = [group_address(block.receiver) for block in self.role.blocks]

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
            self._settle()
            return again
        if upward:
            self.neurons.receive_error(record.memory, message.sender, values)
        else:
            self.neurons.receive_signal(record.memory, message.sender, values)
        with quiet():
            sends = [*again, *self._go_on(record)]
        self._settle()
        return sends

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
        self.last_activity = activity = self.neurons.activate(record.memory)
        record.signals = self.neurons.fire(record.memory)
        record.state = DONE if record.mode == FORWARD else FIRED
        # A number that is not finite makes every product with it so.
        finite = all_finite(activity if self._is_output else record.signals)
        return self._outgoing_signals(record) if finite else self._diverge(record)

    def _reply(self, record: Pass) -> list[Send]:
        """Steps 6 to 9; the copy for a snapshot is taken in the same breath as the step ends."""
        error = self.last_error = self.neurons.reply(record.memory)
        finite = self.neurons.learn(record.memory) and all_finite(error)
        record.state = DONE
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
        record.repeat(attempt)
        if record.broken:
            return self._diverge(record)
        sends: list[Send] = []
        if record.state is not LISTENING:
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
        shape = self._shapes.get((rows, columns))
        if shape is None:
            if len(self._shapes) > SHAPES_KEPT:
                self._shapes.clear()
            shape = self._shapes[(rows, columns)] = data_shape(rows, columns)
        return self._heads_sent[kind] + record.mark + shape

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
    return numbers.tobytes() if AS_ON_THE_WIRE else numbers.astype(ON_THE_WIRE).tobytes()

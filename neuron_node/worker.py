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

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from neuron_node.activations import Array
from neuron_node.addresses import COORDINATOR, error_address, group_address
from neuron_node.codec import encode
from neuron_node.errors import Stale, Unexpected, WrongShape
from neuron_node.events import Send
from neuron_node.initial import initial_bias_and_weights
from neuron_node.messages import (
    Data,
    Diverged,
    Error,
    Header,
    Input,
    InputError,
    Message,
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


class PassState(Enum):
    """How far a group has come in one pass."""

    LISTENING = "listening"
    FIRED = "fired"
    DONE = "done"


@dataclass(slots=True)
class Pass:
    """One pass of one group."""

    mode: int
    attempt: int
    memory: Memory
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

    def hear(self, message: Data) -> list[Send]:
        """Take an input, target, signal or error; what to send because of it. Raises `PeerError` if it can't be used."""
        number, values = message.header.pass_number, message.values
        upward = isinstance(message, Error | Target)
        expected = (self._error_sizes if upward else self._signal_sizes).get(message.sender)
        columns = self.role.size if not upward else expected
        if expected is None:
            raise Unexpected(f"{self.role.names[0]} has no synapse with group {message.sender}")
        if isinstance(message, Input | Target) != (message.sender == OUTSIDE):
            raise Unexpected("inputs and targets come from the coordinator, signals and errors from groups")
        if number < self.oldest_pass:
            raise Stale(f"pass {number} is over")
        record = self.passes.get(number)
        if values.shape != (record.memory.batch if record else len(values), columns) or not len(values):
            raise WrongShape(f"{values.shape[0]} x {values.shape[1]} for {self.role.names[0]}")
        if record is None:
            record = self._open(number, message)
        again = self._repeat(number, record, message.attempt) if message.attempt > record.attempt else []
        known = record.memory.errors if upward else record.memory.signals
        if message.sender in known:
            return again
        if upward:
            complete = self.neurons.receive_error(record.memory, message.sender, values)
        else:
            complete = self.neurons.receive_signal(record.memory, message.sender, values)
        if record.state is PassState.LISTENING and complete and not upward:
            again.extend(self._fire(number, record))
        if record.state is PassState.FIRED and len(record.memory.errors) == len(self._error_sizes):
            again.extend(self._reply(number, record))
        return again

    def state_after(self, step: int) -> State | None:
        """The group's state after a step, if it stands there or kept a copy; None otherwise."""
        if step in self.copies:
            return self.copies[step]
        return self._copy() if step == self.step else None

    def _open(self, number: int, message: Data) -> Pass:
        # A training step begins only when everything before it is over; forward passes may overlap.
        if message.mode != Mode.FORWARD:
            self.oldest_pass = number
        else:
            self.oldest_pass = max(self.oldest_pass, number - FORWARD_PASSES_KEPT)
        for old in [known for known in self.passes if known < self.oldest_pass]:
            del self.passes[old]
        record = Pass(message.mode, message.attempt, Memory(len(message.values)))
        self.passes[number] = record
        return record

    def _fire(self, number: int, record: Pass) -> Iterator[Send]:
        """Steps 2 to 4."""
        activity = self.neurons.activate(record.memory)
        record.signals = self.neurons.fire(record.memory)
        record.state = PassState.DONE if record.mode == Mode.FORWARD else PassState.FIRED
        self.last_activity = activity
        healthy = all(np.isfinite(signal).all() for _, signal in record.signals) and np.isfinite(activity).all()
        if not healthy:
            return iter(self._diverge(number))
        return self._outgoing_signals(number, record)

    def _reply(self, number: int, record: Pass) -> Iterator[Send]:
        """Steps 6 to 9; the copy for a snapshot is taken in the same breath as the step ends."""
        error = self.last_error = self.neurons.reply(record.memory)
        healthy = self.neurons.learn(record.memory) and bool(np.isfinite(error).all())
        record.state = PassState.DONE
        self.step += 1
        if record.mode == Mode.TRAIN_AND_COPY:
            self.copies = {step: state for step, state in sorted(self.copies.items())[-1:]} | {self.step: self._copy()}
        if not healthy:
            return iter(self._diverge(number))
        return iter([self._outgoing_error(number, record)])

    def _repeat(self, number: int, record: Pass, attempt: int) -> list[Send]:
        record.attempt = attempt
        if self.diverged:
            return self._diverge(number)
        sends: list[Send] = []
        if record.state is not PassState.LISTENING:
            sends.extend(self._outgoing_signals(number, record))
        if record.memory.own_error is not None:
            sends.append(self._outgoing_error(number, record))
        return sends

    def _outgoing_signals(self, number: int, record: Pass) -> Iterator[Send]:
        header = self._header(number)
        if self.role.is_output:
            assert record.memory.activity is not None
            output = Output(header, record.attempt, record.mode, self.role.group, record.memory.activity)
            yield Send(COORDINATOR, encode(output))
        for receiver, values in record.signals:
            signal = Signal(header, record.attempt, record.mode, self.role.group, values)
            yield Send(group_address(receiver), encode(signal))

    def _outgoing_error(self, number: int, record: Pass) -> Send:
        assert record.memory.own_error is not None
        fields = (self._header(number), record.attempt, record.mode, self.role.group, record.memory.own_error)
        if self.role.is_input:
            return Send(COORDINATOR, encode(InputError(*fields)))
        return Send(error_address(self.role.group), encode(Error(*fields)))

    def _diverge(self, number: int) -> list[Send]:
        self.diverged = self.diverged or self._first_broken_neuron()
        message: Message = Diverged(self._header(number), self.role.group, self.diverged, self.step)
        return [Send(COORDINATOR, encode(message))]

    def _first_broken_neuron(self) -> str:
        columns = [self.neurons.bias[:, None], self.neurons.weights, self.last_activity.T, self.last_error.T]
        finite = np.all([np.isfinite(numbers).all(axis=1) for numbers in columns], axis=0)
        # With every number finite, it was a product weight × activity that overflowed.
        return self.role.names[int(np.argmin(finite))]

    def _header(self, number: int) -> Header:
        return Header(self._run, self._generation, number, self._incarnation)

    def _copy(self) -> State:
        # `learn` makes new arrays and never changes old ones, so a reference is a copy.
        return State(self.neurons.bias[None, :], self.neurons.weights)

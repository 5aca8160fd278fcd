"""A group's open passes, and the short way of a frame into one of them.

Nearly all messages differ from an earlier one in their numbers only. They are not decoded: what stands before the
numbers is compared as bytes, and the numbers are looked at once all have come. What is not recognised takes the long
way, so the short one accepts nothing that the long one would not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuron_node.activations import Array, all_finite
from neuron_node.addresses import ADDRESS_LENGTH, axon_address, error_address, group_address
from neuron_node.codec import data_middle
from neuron_node.events import Send
from neuron_node.messages import Axon, Data, Error, Mode, Stage
from neuron_node.neuron import Memory, Neurons
from neuron_node.role import Role
from neuron_node.ways import Way, Ways

FORWARD_PASSES_KEPT = 64
KNOWN_A_SENDER = 12
NOTHING: list[Send] = []
NOBODY_KNOWN: dict[bytes, tuple[int, bytes]] = {}
MODES = tuple(map(int, Mode))
TRAINING_MODES = (int(Mode.TRAIN), int(Mode.TRAIN_AND_COPY))


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


class Passes:
    """The passes of one group that are not over. What becomes of them, `_go_on`, is the worker's."""

    def __init__(self, role: Role, neurons: Neurons, run: bytes, generation: int) -> None:
        self.role = role
        self.neurons = neurons
        self.passes: dict[int, Pass] = {}
        self.oldest_pass = 0
        self.given_back: list[bytes] = []
        self._ways = Ways(role, run, generation)
        self._address = group_address(role.group)
        self._newest: Pass | None = None
        self._listening: Way | None = None
        # Who has been accepted in full, by what stood between a message's prefix and its numbers; see `hear_again`.
        self._known: dict[tuple[type[Data], int, int], dict[bytes, tuple[int, bytes]]] = {}
        self._known_count = 0

    def _go_on(self, record: Pass) -> list[Send]:
        """Do what has become possible in a pass."""
        raise NotImplementedError

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
        """The pass after this one, for something that was done before, with a batch of the same size; None otherwise."""
        number = before.number + 1
        if number in self.passes:
            return None
        record = self._pass(number, before.mode, 0, before.memory.batch)
        for way in (record.down, record.up):
            if frame.startswith(way.prefix, ADDRESS_LENGTH):
                middle = frame[way.middle]
                if middle not in way.known:
                    modes = (mode for mode in MODES if middle in self._known.get((way.kind, 0, mode), NOBODY_KNOWN))
                    record.mode = next(modes, record.mode)
                    self._recall(record)
                return record
        return None

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
        address = {Error: error_address(sender), Axon: axon_address(sender)}.get(kind, self._address)
        # A step that is copied for a snapshot is like any other: its first one need not be decoded either.
        for mode in (message.mode,) if message.mode == Mode.FORWARD else TRAINING_MODES:
            middle = data_middle(message.header.incarnation, message.attempt, mode, sender, rows, columns)
            known = self._known.setdefault((kind, message.attempt, mode), {})
            self._known_count += middle not in known
            known[middle] = (sender, address)

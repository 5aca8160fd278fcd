"""A group's passes that are not over, and the short way of a frame into one of them.

Nearly all messages differ from an earlier one in their pass and their numbers only. They are not decoded: the intake has
sorted them by their bytes, and the numbers are looked at once all have come. What is not recognised then takes the long
way, in the order in which it came, so the short one accepts nothing that the long one would not.
"""

from __future__ import annotations

import numpy as np

from neuron_node.activations import Array, all_finite
from neuron_node.addresses import axon_address, error_address, group_address
from neuron_node.chain import FOLLOWED, FOLLOWS, Held, may_begin
from neuron_node.codec import NUMBERS_BEGIN, data_head, data_mark
from neuron_node.events import Send
from neuron_node.intake import AT_ONCE, head_of, pass_of, tail_of
from neuron_node.memory import Memory
from neuron_node.messages import Axon, Data, Error, Mode, Stage
from neuron_node.neuron import Neurons
from neuron_node.reading import ON_THE_WIRE, Picker, numbers_of, picker, side_by_side
from neuron_node.role import Role
from neuron_node.ways import Layout, Way, Ways

FORWARD_PASSES_KEPT = 64
FORWARD_PASSES_AHEAD = 32
"""Beyond the next one, into which frames can be sorted before they are opened."""
NOTHING: list[Send] = []
FORWARD, LISTENING, DONE = Mode.FORWARD, Stage.LISTENING, Stage.DONE


class Pass:
    """One pass of one group."""

    __slots__ = (
        "attempt", "broken", "chain", "down", "mark", "memory", "mode", "number", "part", "parts", "signals", "state", "up",
    )  # fmt: skip

    def __init__(self, mode: int, batch: int, down: Layout, up: Layout) -> None:
        self.mode = mode
        self.down, self.up = Way(down), Way(up)
        self.memory = Memory(batch, senders=self.down.heard, repliers=self.up.heard)
        self.begin(0)

    def begin(self, number: int, part: int = 0, parts: int = 1, chain: int = 0) -> None:
        """Be the pass of this number, of which nothing has come."""
        self.number = number
        self.part, self.parts, self.chain = part, parts, chain
        self.state = LISTENING
        self.broken = ""
        """The neuron whose numbers were no longer finite, if any were not."""
        self.signals: Array | None = None
        """Once fired, the signals at all synapses of the axons, (batch, synapses)."""
        self.repeat(0)
        memory, down, up = self.memory, self.down, self.up
        memory.signals = memory.errors = memory.own_error = None
        down.heard.clear()
        up.heard.clear()
        down.frames.clear()
        up.frames.clear()

    def repeat(self, attempt: int) -> None:
        """Be in this attempt."""
        self.attempt = attempt
        self.mark = data_mark(self.number, attempt, self.mode, self.part, self.parts, self.chain)
        """What every message of it has between head and shape."""

    def is_like(self, mode: int, down: Layout, up: Layout) -> bool:
        """Whether it could be another pass of this mode and these layouts."""
        return self.mode == mode and self.down.layout is down and self.up.layout is up


class Passes:
    """The passes of one group that are not over. What becomes of them, `_go_on`, is the worker's."""

    def __init__(self, role: Role, neurons: Neurons, run: bytes, generation: int) -> None:
        self.role = role
        self.neurons = neurons
        self.due = 1
        """Frames that are worth waiting for."""
        self.passes: dict[int, Pass] = {}
        self.oldest_pass = 0
        self.given_back: list[bytes] = []
        """Frames of which something was wrong; the long way tells what."""
        self._run, self._generation = run, generation
        self._ways = Ways(role)
        self._is_input, self._is_output = role.is_input, role.is_output
        self._unfinished: list[Pass] = []
        self.ahead: Pass | None = None
        """The pass after the last one, if it is of the same mode and size: its frames can be sorted before it is opened."""
        self._further: dict[int, Pass] = {}
        """Those after it, if they are forward passes or parts of its step, of which several are on their way at once."""
        self._held = Held()
        self._unlearned: list[Pass] = []
        """What has been replied to and not been learned."""
        self._over: Pass | None = None
        """One that is over and can be another."""
        self._awaited: tuple[Pass, Way, Picker, set[bytes], set[int]] | None = None
        """Of what `due` frames are expected, where nothing of it has come: whose, in what order, their tail and length."""
        self._heads: dict[type[Data], dict[int, bytes]] = {}
        """Of whom a message was accepted in full: how it began."""
        self._known: dict[bytes, type[Data]] = {}
        self._in_order: dict[type[Data], Picker] = {}
        """Once all of a way are known, what takes their frames out of its bin, in synapse order."""

    def _go_on(self, record: Pass) -> list[Send]:
        """Do what has become possible in a pass."""
        raise NotImplementedError

    def hear(self, message: Data) -> list[Send]:
        """Take a message that has been decoded; what to send because of it. Raises `PeerError` if it can't be used."""
        raise NotImplementedError

    def take(self, frames: list[bytes]) -> list[Send] | None:
        """Take a whole way at once, if the frames are that and at the most the next input; None, and no pass has moved, if not."""
        awaited = self._awaited
        if awaited is None:
            return None
        record, way, in_order, tail, length = awaited
        if len(frames) == way.expected + 1:
            frames = self._without_the_next(frames, tail)
        if len(frames) != way.expected or {*map(tail_of, frames)} != tail or {*map(len, frames)} != length:
            return None
        numbers = numbers_of(dict(zip(map(head_of, frames), frames, strict=True)), in_order, way.layout)
        if numbers is None:
            return None
        sends = self._take(record, way, numbers)
        ahead = self.ahead
        # Where something is to be learned first, after the error is on its way, `look` begins the next.
        if self._unlearned or ahead is None or not (self._held or ahead.down.frames or ahead.up.frames):
            return sends
        return sends + self._take_next(ahead)

    def _take_next(self, ahead: Pass) -> list[Send]:
        """Begin the step that follows, whose input, or target, waits here."""
        way = ahead.down if self._is_input else ahead.up
        known = self._in_order.get(way.layout.kind)
        numbers = None
        if known is not None and not self._held and not self._unfinished and len(way.frames) == way.expected:
            numbers = numbers_of(way.frames, known, way.layout)
        if numbers is None:
            return self.look()
        way.frames.clear()
        return self._take(ahead, way, numbers)

    def _take(self, record: Pass, way: Way, numbers: Array) -> list[Send]:
        """All numbers of a way are here."""
        if record is self.ahead:
            self._open(record)
        self._put(way, record, numbers)
        sends = self._go_on(record)
        self._settle()
        return sends

    def _without_the_next(self, frames: list[bytes], tail: set[bytes]) -> list[bytes]:
        """The frames but for the input, or target, of the step that follows, if it is among them: that waits its turn."""
        for place, frame in enumerate(frames):
            if tail_of(frame) not in tail:
                return [*frames[:place], *frames[place + 1 :]] if self.sort(frame) else frames
        return frames

    def sort(self, frame: bytes) -> bool:
        """Put a frame into the bin of its pass and way; False if there is none, or one with its head is in it already.

        Only from whom something was accepted in full before: a stranger can neither wait here nor open a pass.
        """
        head, tail = head_of(frame), tail_of(frame)
        kind = self._known.get(head)
        if kind is None:
            return False
        record = self._of(pass_of(tail))
        if record is None or record.state is DONE or not tail.startswith(record.mark):
            return False
        for way in (record.down, record.up) if record.mode != FORWARD else (record.down,):
            layout = way.layout
            # A target may look like a signal.
            fits = layout.kind is kind and layout.alike and tail.endswith(layout.shape) and len(frame) == layout.length
            if fits and len(way.heard) < way.expected:
                return way.frames.setdefault(head, frame) is frame
        return False

    def look(self) -> list[Send]:
        """Do what the frames that have been sorted make possible; `give_back` then has those that need the long way."""
        sends, possible = NOTHING, self._unfinished
        while True:
            for record in possible:
                way = record.down if record.state is LISTENING else record.up
                if len(way.frames) + len(way.heard) >= way.expected:
                    sends = sends + self._go_on(record)
            begun = self._first_begun()
            if begun is not None:
                self._open(begun)
                possible = [begun]
                continue
            # What has to take the long way comes before.
            held = [] if self.given_back else self._held.take(self.passes, self.oldest_pass)
            if not held:
                break
            for message in held:
                sends = sends + self.hear(message)
            possible = self._unfinished
        self._settle()
        return sends

    def _of(self, number: int) -> Pass | None:
        """The pass of this number into which a frame can be sorted, open or not."""
        ahead = self.ahead
        if ahead is None or number < ahead.number:
            return self.passes.get(number)
        if number == ahead.number:
            return ahead
        record = self._further.get(number)
        if record is None and number <= ahead.number + self._sorted_ahead(ahead):
            # Forward passes are of one part each.
            part = ahead.part + number - ahead.number if ahead.mode != FORWARD else 0
            record = self._pass(number, ahead.mode, ahead.memory.batch, part, ahead.parts, ahead.chain)
            self._further[number] = record
        return record

    @staticmethod
    def _sorted_ahead(ahead: Pass) -> int:
        """Of how many passes after that one frames can be sorted: forward passes, or the parts of a step."""
        return FORWARD_PASSES_AHEAD if ahead.mode == FORWARD else ahead.parts - 1 - ahead.part

    def _first_begun(self) -> Pass | None:
        """Of those that are not open the first of which something has come, which can be used."""
        further = self._further
        if self.ahead is not None and not self._free(self.ahead):
            return None
        # What has to take the long way comes before another pass begins.
        if self.ahead is not None and not self.given_back:
            for record in (self.ahead, *[further[number] for number in sorted(further)]):
                if self._begun(record):
                    further.pop(record.number, None)
                    return record
                if self.given_back:
                    break
        for record in further.values():
            self._refuse(record.down)
            self._refuse(record.up)
        further.clear()
        return None

    def _begun(self, ahead: Pass) -> bool:
        """Whether something has come of a pass that is not open, which can be used; if not, all of it is given back."""
        for way in (ahead.down, ahead.up):
            for frame in way.frames.values():
                if all_finite(np.frombuffer(frame, ON_THE_WIRE, offset=NUMBERS_BEGIN)):
                    return True
            self._refuse(way)
        return False

    def give_back(self) -> list[bytes]:
        """Frames that have been sorted, and are to take the long way."""
        frames, self.given_back = self.given_back, []
        return frames

    @property
    def looks_again(self) -> bool:
        """Whether frames of the next pass wait for the present one to be told from it: `look` is to be called once more."""
        ahead = self.ahead
        return ahead is not None and bool(ahead.down.frames or ahead.up.frames) and self._free(ahead)

    def _free(self, ahead: Pass) -> bool:
        """Whether a pass that is not open may begin, as far as others go."""
        return not ahead.chain & FOLLOWS or may_begin(ahead.number - ahead.part, self.passes)

    def take_back(self, number: int) -> list[bytes]:
        """All frames of a pass that have not been looked at: something is to be heard in full that comes after them."""
        record = self.passes.get(number)
        if record is None:
            return []
        frames = [*record.down.frames.values(), *record.up.frames.values()]
        record.down.frames.clear()
        record.up.frames.clear()
        return frames

    def _settle(self) -> None:
        """Let go of what is done; what is awaited next is what the oldest pass waits for."""
        unfinished = self._unfinished
        if unfinished and unfinished[0].state is DONE:
            self._unfinished = unfinished = [record for record in unfinished if record.state is not DONE]
        record = unfinished[0] if unfinished else self.ahead
        self._awaited = None
        if record is None:
            self.due = 1
            return
        if record.mode == FORWARD and len(unfinished) > 1:
            # What has begun comes, whatever this group does.
            self.due = max(1, min(sum(one.down.missing for one in unfinished), AT_ONCE))
            return
        way = record.down
        if record.state is not LISTENING or (
            self._is_output and record.mode != FORWARD and not record.up.heard and not record.up.frames
        ):
            # An output group's target comes before the signals.
            way = record.up
        due = way.expected
        if way.heard or way.frames:
            due = way.missing
        elif due <= AT_ONCE:
            layout = way.layout
            in_order = self._in_order.get(layout.kind)
            if in_order is not None and layout.alike:
                self._awaited = record, way, in_order, {record.mark + layout.shape}, {layout.length}
        if record is self.ahead and record.mode != FORWARD and not record.chain:
            # It is not known to come; whoever looks at the group after each step is not to be kept waiting.
            due = 1
        due += self._next_due(record, way)
        self.due = due if 0 < due < AT_ONCE else 1 if due <= 0 else AT_ONCE

    def _next_due(self, record: Pass, way: Way) -> int:
        """1 if the next step's input, or target, will come meanwhile: then the group need not be woken up for it."""
        ahead = self.ahead
        if not record.chain & FOLLOWED or record.parts > 1 or self._held or ahead is None or record is ahead:
            return 0
        if self._is_input:
            return 1 if way is record.up and not ahead.down.frames else 0
        return 1 if self._is_output and way is record.down and not ahead.up.frames else 0

    def _pass(self, number: int, mode: int, batch: int, part: int, parts: int, chain: int = 0) -> Pass:
        down, up = self._ways.down(batch), self._ways.up(batch)
        record, self._over = self._over, None
        if record is None or not record.is_like(mode, down, up):
            record = Pass(mode, batch, down, up)
        record.begin(number, part, parts, chain)
        return record

    def _read(self, way: Way, record: Pass) -> bool:
        """Read the numbers of all frames of a way in one piece; False if they have to take the long way."""
        frames, layout = way.frames, way.layout
        if not frames:
            return True
        in_order = self._in_order.get(layout.kind)
        if in_order is None or len(frames) != way.expected:
            return self._refuse(way)
        numbers = numbers_of(frames, in_order, layout)
        if numbers is None:
            return self._refuse(way)
        frames.clear()
        self._put(way, record, numbers)
        return True

    def _put(self, way: Way, record: Pass, numbers: Array) -> None:
        """Steps 1 and 5 for everybody at once."""
        block = numbers.reshape(way.layout.block)
        if way is record.up:
            record.memory.errors = side_by_side(block)
            way.heard.update(self._ways.receivers)
        else:
            record.memory.signals = block
            way.heard.update(self._ways.senders)

    def _refuse(self, way: Way) -> bool:
        self.given_back += way.frames.values()
        way.frames.clear()
        return False

    def _open(self, record: Pass) -> None:
        number, ahead = record.number, self.ahead
        # A training step begins only when everything before it is over; its parts, and forward passes, may overlap.
        if record.mode != FORWARD:
            first = number - record.part
            before = self.passes.get(first - 1) if record.chain & FOLLOWS else None
            # Of a step that is followed, somebody else may still lack a message.
            self.oldest_pass = first - before.parts if before else first
        else:
            self.oldest_pass = max(self.oldest_pass, number - FORWARD_PASSES_KEPT)
        for old in [known for known in self.passes if known < self.oldest_pass]:
            over = self.passes.pop(old)
            if over not in self._unlearned:
                self._over = over
            if over in self._unfinished:
                self._unfinished.remove(over)
        self.passes[number] = record
        self._unfinished.append(record)
        if ahead is None or ahead is record or ahead.number <= number:
            part, chain = record.part + 1, record.chain
            if part == record.parts:
                # What follows is followed, until an epoch ends.
                part, chain = 0, FOLLOWS | FOLLOWED if chain & FOLLOWED else 0
            further = self._further.pop(number + 1, None)
            self.ahead = further or self._pass(number + 1, record.mode, record.memory.batch, part, record.parts, chain)

    def _remember(self, message: Data) -> None:
        kind, sender = type(message), message.sender
        address = {Error: error_address, Axon: axon_address}.get(kind, lambda _: group_address(self.role.group))(sender)
        head = data_head(address, kind, self._run, self._generation, message.header.incarnation, sender)
        heads = self._heads.setdefault(kind, {})
        if heads.get(sender) == head:
            return
        self._known.pop(heads.get(sender, b""), None)
        self._known[head] = kind
        heads[sender] = head
        everybody = self._ways.receivers if kind is self._ways.up_kind else self._ways.senders
        if len(heads) == len(everybody):
            self._in_order[kind] = picker([heads[one] for one in everybody])

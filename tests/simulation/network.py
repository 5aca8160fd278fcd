"""Clock and network of a simulated run: events in one order, and what becomes of messages on their way.

The network is the broker's: a message goes up from a program, and down to every program whose subscription had reached
the broker by then. The broker is a proxy, or a relay (`relay.py`) that joins the frames for one address. Messages of one
program to another keep their order unless a fault says otherwise. Subscriptions have a way of their own, as they have
with ZeroMQ, and may come later than a message that was sent after them.

A program takes as many frames at once as it wants, as the shell does it; after a silence it takes those that are there.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import struct
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from heapq import heappop, heappush
from typing import Any

from coordinator.core.machine import CoordinatorMachine
from coordinator.storage.run_store import RunStore
from neuron_node.addresses import ADDRESS_LENGTH, COORDINATOR, DATA_LETTERS
from neuron_node.events import LinkLost, Tick
from neuron_node.frames import frames_in
from neuron_node.protocol import KINDS, GroupState
from tests.simulation.altering import altered, not_finite, too_long
from tests.simulation.dice import Dice
from tests.simulation.invariants import KIND_AT, Watch
from tests.simulation.outlets import Outlets
from tests.simulation.relay import Relay

TICK = Tick()
LINK_LOST = LinkLost()
HURRY = object()
"""A program has waited for further frames for long enough."""
ANY_LINK = -1
JOINED_COPIES = 0.3
"""The share of altered copies that are joined to the message itself, or to another copy."""
GROUP_STATE = next(number for number, kind in KINDS.items() if kind is GroupState)
_CONTROL = COORDINATOR[0]
_stamp = struct.Struct("<dI").pack


class Conditions:
    """What the network does to messages. All shares are of all messages."""

    def __init__(self) -> None:
        self.lost = 0.0
        self.doubled = 0.0
        self.delayed = 0.0
        self.altered = 0.0
        """Of messages with data: followed by a copy with other numbers."""
        self.not_finite = 0.0
        """Of messages with data: led by a copy with a NaN or an infinity in it."""
        self.too_long = 0.0
        """Of messages with data: led by a copy that is longer than its shape says."""
        self.joined_ms: float | None = 0.5
        """How long, at the most, the relay gathers before it sends; None: the broker is a proxy, and joins nothing."""
        self.high_water: int | None = None
        """So many messages wait for a program at the most. Further ones are dropped."""
        self.hurry_ms = 20.0
        """How long a program waits for further frames that it wants."""
        self.delay_at_most_ms = 1.0
        self.latency_ms = 0.5
        self.jitter_ms = 1.0
        self.restart_at_most_ms = 1_000.0
        self.coordinator_tick_ms = 50.0


class Life:
    """One life of a program: what it runs, and its link to the broker."""

    def __init__(self, number: int, name: str, machine: Any, tick_ms: float) -> None:
        self.number = number
        self.name = name
        self.machine = machine
        self.tick_ms = tick_ms
        self.alive = True
        self.asked_to_end = False
        """Whether a signal has asked it to end."""
        self.clock_ms = 0.0
        """How far its clock has jumped."""
        self.paused = False
        self.stuck = False
        """Whether it stays paused until it is killed."""
        self.waiting: list[Any] = []
        """What came while it was paused."""
        self.taken: list[bytes] = []
        """Messages that wait until as many frames are there as the machine wants."""
        self.frames = 0
        """In the messages taken."""
        self.hurries = False
        self.link = 0
        """Raised whenever what is under way to it is lost."""
        self.linked = True
        self.deaf = False
        self.mute = False
        self.subscriptions: dict[bytes, None] = {}
        self.subscribed_ms = 0.0
        self.arrivals: dict[int, float] = {}
        """When the last frame to each other life will arrive."""
        self.endpoint = ""
        self.incarnation = b""
        self.peers: dict[str, float] = {}
        """In direct wiring: whom it is connected to, and when the last subscription has reached each."""
        self.outlet: dict[bytes, dict[Life, float]] = {}
        """Who hears what at its outlet, and since when."""
        self.store: RunStore | None = None
        self.is_coordinator = isinstance(machine, CoordinatorMachine)
        self.has_drops = hasattr(machine, "drops")


class Network:
    """Programs' lives, their links, and everything that is still to happen."""

    def __init__(self, dice: Dice, watch: Watch) -> None:
        self.dice = dice
        self.watch = watch
        self.conditions = Conditions()
        self.now_ms = 0.0
        self.happened = 0
        """Messages that have arrived, and other events."""
        self.data_heard = 0
        """How many frames of passes nodes have taken."""
        self.lives: list[Life] = []
        self.outlets = Outlets(self)
        self.relay = Relay(self)
        self.broker_up = True
        self.broker_lives = 1
        self.broker_continues_ms = 0.0
        """When the broker, which is stopped, passes on what has come meanwhile."""
        self.copies_until_ms = 0.0
        """When the last altered copy will have arrived."""
        self.had: deque[tuple[Life, bytes]] = deque(maxlen=48)
        """The last messages with data of which a program has taken every frame."""
        self.story: list[tuple[float, str]] = []
        self.counts: Counter[str] = Counter()
        self.recent: deque[bytes] = deque(maxlen=64)
        """What the coordinator heard last."""
        self._of_the_last_life: list[bytes] = []
        self._heap: list[Any] = []
        self._next_number = itertools.count().__next__
        self._hearers: dict[bytes, dict[Life, float]] = {}
        self._random = dice.random
        self._trace = hashlib.sha256()
        self._traced: list[bytes] = []

    # The story.

    def tell(self, text: str) -> None:
        """A line of the story."""
        self.story.append((self.now_ms, text))

    def trace(self) -> str:
        """The digest of every event that was delivered so far: when, to whom, and what."""
        self._trace.update(b"".join(self._traced))
        self._traced = []
        return self._trace.hexdigest()

    # Time.

    def later(self, after_ms: float, call: Callable[[], None]) -> None:
        """Do something after a while."""
        self._push(self.now_ms + after_ms, None, call, ANY_LINK)

    def run_next(self) -> None:
        """Let the next thing happen."""
        self.now_ms, _, life, event, link = heappop(self._heap)
        if life is None:
            event()
        elif life.alive and link in (ANY_LINK, life.link):
            if type(event) is bytes:
                if self._is_full(life):
                    self.counts["dropped at the high-water mark"] += 1
                elif life.paused:
                    life.waiting.append(event)
                else:
                    self._arrive(life, event)
            elif event is TICK:
                heappush(self._heap, (self.now_ms + life.tick_ms, self._next_number(), life, TICK, ANY_LINK))
                if not life.paused:
                    self.give(life, TICK)
            elif event is HURRY:
                life.hurries = False
                if life.taken and not life.paused:
                    self._take(life)
            elif life.paused:
                life.waiting.append(event)
            else:
                self.give(life, event)

    def _is_full(self, life: Life) -> bool:
        """Whether a program's queue is full. While altered copies are under way none is: a copy must not come without the frame."""
        most = self.conditions.high_water
        return most is not None and len(life.waiting) + len(life.taken) >= most and self.now_ms > self.copies_until_ms

    def _arrive(self, life: Life, message: bytes) -> None:
        """A message is in a program's socket. It is taken with all others as soon as there is what the program wants."""
        self.gather(life, message)
        if life.frames >= life.machine.wanted:
            self._take(life)
        elif not life.hurries:
            life.hurries = True
            self._push(self.now_ms + self.conditions.hurry_ms, life, HURRY, life.link)

    def gather(self, life: Life, message: bytes) -> None:
        """A message is in a program's socket, and waits there."""
        self.happened += 1
        life.taken.append(message)
        life.frames += frames_in(message)

    def _take(self, life: Life) -> None:
        """A program takes the messages in its socket."""
        messages, now_ms, machine = life.taken, self.now_ms, life.machine
        clock_ms = now_ms + life.clock_ms
        if life.is_coordinator:
            self.recent.extend(messages)
        elif any(message[0] in DATA_LETTERS for message in messages):
            self.data_heard += life.frames
        drops = life.machine.drops.counts.total() if life.has_drops else 0
        life.taken, life.frames = [], 0
        self._traced.append(_stamp(now_ms, life.number))
        self._traced += messages
        actions = machine.receive(messages, clock_ms)
        if life.has_drops and machine.drops.counts.total() == drops:
            self.had.extend([(life, message) for message in messages if message[0] in DATA_LETTERS])
        while machine.has_deferred_work:
            # What leaves first is sent first.
            self.perform(life, actions)
            if not life.alive:
                return
            actions = machine.run_deferred(clock_ms)
        self.watch.after(life)
        if actions:
            self.perform(life, actions)

    def give(self, life: Life, event: Any) -> None:
        """A program takes an event that is no message, and before it all messages that are there."""
        if life.taken:
            self._take(life)
            if not life.alive:
                return
        self.happened += 1
        self._traced.append(_stamp(self.now_ms, life.number))
        self._traced.append(type(event).__name__.encode())
        actions = life.machine.handle(event, self.now_ms + life.clock_ms)
        self.watch.after(life)
        if actions:
            self.perform(life, actions)

    def perform(self, life: Life, actions: Sequence[Any]) -> None:
        """Do what a program says."""
        raise NotImplementedError

    def _push(self, at_ms: float, life: Life | None, event: Any, link: int) -> None:
        heappush(self._heap, (at_ms, self._next_number(), life, event, link))

    # The network.

    def _send(self, life: Life, message: bytes, *, again: bool = False) -> None:
        """`again` if the message has waited for the broker."""
        letter, spared = message[0], False
        if letter not in DATA_LETTERS:
            if not again:
                self.watch.sent(life, message)
            # The first snapshot's parts are spared, or a fast network would be done before it ever was whole.
            spared = letter == _CONTROL and message[KIND_AT] == GROUP_STATE and not self.watch.snapshots
        if not life.linked or (life.mute and not spared):
            return
        if not spared and self.conditions.lost and self._random() < self.conditions.lost:
            self.counts["frame lost"] += 1
            return
        address, up_ms = message[:ADDRESS_LENGTH], self.now_ms + self.conditions.latency_ms
        if life.peers and letter in DATA_LETTERS:
            self.deliver((life,), life.outlet.get(address), message, up_ms)
        elif self.now_ms < self.broker_continues_ms:
            waits_ms = self.broker_continues_ms - self.now_ms
            self.later(waits_ms, functools.partial(self._send_on, life, message, life.link, self.broker_lives))
        elif spared or self.conditions.joined_ms is None:
            self.deliver((life,), self._hearers.get(address), message, up_ms, spared=spared)
        else:
            self.relay.take(life, address, message, up_ms)

    def _send_on(self, life: Life, message: bytes, link: int, broker_life: int) -> None:
        """A broker that was stopped passes on a message that has waited for it."""
        if life.link == link and self.broker_lives == broker_life and self.broker_up:
            self._send(life, message, again=True)

    def publish(self, senders: Collection[Life], message: bytes) -> None:
        """The relay sends a message of several programs on."""
        self.deliver(senders, self._hearers.get(message[:ADDRESS_LENGTH]), message, self.now_ms)

    def deliver(
        self,
        senders: Collection[Life],
        hearers: dict[Life, float] | None,
        message: bytes,
        up_ms: float,
        *,
        spared: bool = False,
    ) -> None:
        """A message is on its way to whoever has subscribed by then, and meets its fate."""
        conditions, random = self.conditions, self._random
        is_data = message[0] in DATA_LETTERS
        for hearer, since_ms in hearers.items() if hearers else ():
            if since_ms > up_ms or (hearer.deaf and not spared):
                continue
            arriving = message
            at_ms = up_ms + conditions.jitter_ms * random()
            for sender in senders:
                last_ms = sender.arrivals.get(hearer.number, 0.0)
                at_ms = max(at_ms, last_ms)
            if conditions.delayed and random() < conditions.delayed and not spared:
                self.counts["frame delayed"] += 1
                at_ms += conditions.delay_at_most_ms * random()
            else:
                for sender in senders:
                    sender.arrivals[hearer.number] = at_ms
            if is_data and conditions.not_finite and random() < conditions.not_finite:
                self.counts["frame with a NaN"] += 1
                self._push(at_ms, hearer, not_finite(message, self.dice), hearer.link)
            if is_data and conditions.too_long and random() < conditions.too_long:
                self.counts["frame too long"] += 1
                self._push(at_ms, hearer, too_long(message, self.dice), hearer.link)
            if is_data and conditions.altered and random() < JOINED_COPIES * conditions.altered:
                self.counts["copy altered"] += 1
                arriving += altered(message)[ADDRESS_LENGTH:]
            heappush(self._heap, (at_ms, self._next_number(), hearer, arriving, hearer.link))
            if conditions.doubled and random() < conditions.doubled:
                self.counts["frame doubled"] += 1
                self._push(at_ms + conditions.delay_at_most_ms * random(), hearer, message, hearer.link)
            if is_data and conditions.altered and random() < conditions.altered:
                # It comes after the message itself: whoever has the one has had the other.
                self.counts["copy altered"] += 1
                copy_at_ms = at_ms + conditions.delay_at_most_ms * random() ** 4
                self.copies_until_ms = max(self.copies_until_ms, copy_at_ms)
                copy = altered(message)
                if random() < JOINED_COPIES:
                    copy += copy[ADDRESS_LENGTH:]
                self._push(copy_at_ms, hearer, copy, hearer.link)

    def inject(self, message: bytes) -> None:
        """A message comes to the broker from a stranger."""
        for hearer in self._hearers.get(message[:ADDRESS_LENGTH], ()):
            self._push(self.now_ms + self.conditions.jitter_ms * self._random(), hearer, message, hearer.link)

    def wired(self) -> None:
        """The network stands. Results that were on their way to the coordinator's last life may come to this one."""
        if self._of_the_last_life and self.dice.falls(0.3):
            for _ in range(12):
                frame = self.dice.pick(self._of_the_last_life)
                self.later(
                    12.0 * self.conditions.latency_ms * self.dice.random(), functools.partial(self.inject, frame)
                )

    def after_the_end(self) -> None:
        """The run has finished. Whatever was delayed may still come."""
        for _ in range(self.dice.below(12)):
            self.inject(self.dice.pick(self.recent))

    def _subscribe(self, life: Life, address: bytes) -> None:
        life.subscriptions[address] = None
        if not life.linked:
            return
        slow = 20.0 if self._random() < 0.1 else 1.0
        asked_ms = max(self.now_ms, self.broker_continues_ms)
        life.subscribed_ms = max(life.subscribed_ms, asked_ms + slow * self.conditions.jitter_ms * self._random())
        self._hearers.setdefault(address, {}).setdefault(life, life.subscribed_ms)
        self.outlets.subscribe(life, address)

    def _unlink(self, life: Life) -> None:
        life.link += 1
        life.linked = False
        for address in life.subscriptions:
            self._hearers.get(address, {}).pop(life, None)
        self.outlets.unlink(life)
        life.subscriptions = {}
        life.taken, life.frames, life.hurries = [], 0, False

    def lose_link(self, life: Life, for_ms: float) -> None:
        """A program's connection breaks, and it makes another after a while."""
        self._unlink(life)
        link = life.link
        self.later(for_ms, lambda: self._relink(life, link))

    def _relink(self, life: Life, link: int) -> None:
        if not life.alive or life.link != link:
            return
        if not self.broker_up:
            return  # The broker's own return links everybody.
        life.linked = True
        if life.paused:
            life.waiting.append(LINK_LOST)
        else:
            self.give(life, LINK_LOST)

    def kill_broker(self, for_ms: float) -> None:
        """The broker ends, and whatever is under way with it. It comes back, and each program notices in its own time."""
        self.broker_up = False
        self.broker_lives += 1
        self.broker_continues_ms = 0.0
        self.relay.forget()
        for life in self.lives:
            if life.alive:
                self._unlink(life)
        self.later(for_ms, self._broker_returns)

    def _broker_returns(self) -> None:
        if self.broker_up:
            return
        self.broker_up = True
        for life in self.lives:
            if life.alive:
                link = life.link
                self.later(life.tick_ms * self._random(), lambda life=life, link=link: self._relink(life, link))  # type: ignore[misc]

    def stop_broker(self, for_ms: float) -> None:
        """SIGSTOP of the broker: what is sent to it waits."""
        self.broker_continues_ms = self.now_ms + for_ms

    def inject_to(self, life: Life, message: bytes) -> None:
        """A message reaches one program."""
        self._push(self.now_ms + self.conditions.jitter_ms * self._random(), life, message, life.link)

    def hearers_of(self, address: bytes) -> list[Life]:
        """The programs that have subscribed to an address."""
        return [*self._hearers.get(address, ())]

    def addresses(self) -> list[bytes]:
        """Whatever anybody listens to."""
        return [address for address, hearers in self._hearers.items() if hearers]

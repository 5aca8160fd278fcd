"""The node as a state machine: takes events and returns actions. It uses no socket, clock or file.

`Node.receive` gives data frames to the groups (`local_delivery.py`, `group.py`). It decodes every control message, and
`admission.py` checks it; then `TRANSITIONS`, at the end, says which method handles it in which state. Invalid, stale and
unexpected frames are counted, logged once per sender, and dropped: they never end a node.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from zlib import crc32

from neuron_node.addresses import ADDRESS_LENGTH, COORDINATOR, DATA_LETTERS
from neuron_node.admission import Standing, check
from neuron_node.codec import decode, encode
from neuron_node.drop_counter import DropCounter
from neuron_node.errors import InternalError, PeerError, Stale, Unexpected
from neuron_node.events import (
    Action,
    Die,
    End,
    Event,
    Interrupted,
    LinkLost,
    Log,
    Received,
    Send,
    Tick,
)
from neuron_node.frames import parse, split
from neuron_node.group import Group
from neuron_node.hosted_groups import HostedGroups
from neuron_node.identity import BEGIN_AGAIN, NodeIdentity, NodeState
from neuron_node.inbox import Rejection, rejected
from neuron_node.link_probe import LinkProbe
from neuron_node.local_delivery import LocalDelivery, joined_in_turn
from neuron_node.protocol import (
    CALLED,
    LATEST_STEP,
    NOBODY,
    Echo,
    Fetch,
    Grant,
    GroupState,
    Header,
    Heartbeat,
    Message,
    NodeStatus,
    NodeStatusRequest,
    Probe,
    Ready,
    Register,
    Reject,
    Reregister,
    SnapshotMissing,
    Stop,
    Stopped,
    Superseded,
    TraceRequest,
    Traffic,
    Welcome,
)
from neuron_node.signing import NODES, Verify, opened

TICK_MS = 250
TICKS_A_HEARTBEAT = 4
"""The number of ticks per heartbeat. On a host with many programs, heartbeats and ticks must both be rare."""
REGISTER_AGAIN_MS = 250
REGISTER_AGAIN_AT_MOST_MS = 4_000
PROBE_AGAIN_MS = 250
SAY_WAITING_MS = 5_000
"""A node says what it waits for after this time without an answer, and again at intervals that double."""
SAY_WAITING_AT_MOST_MS = 600_000
STANDSTILL_MS = 2_000
"""A node with groups obeys the call of another run if its own run does not answer for this time."""
COORDINATORS_KEPT = 16
"""A node ignores repeated calls of the last coordinators that it has obeyed."""
JOINED_FROM = 4
"""From this number of messages on, the node joins their frames before it handles them, as a relay does."""


class Node:
    """A node: `handle` takes an event and the time in milliseconds, and returns the actions to perform."""

    def __init__(self, born: NodeIdentity, broker: str = "", verify: Verify | None = None) -> None:
        """`broker` tells people which broker the node uses. With `verify`, the node obeys only signed control messages."""
        self.born = born
        self._verify = verify
        self._broker = broker
        self._seeking_since_ms: float | None = None
        self._say_wait_ms = float(SAY_WAITING_MS)
        self._say_due_ms = float("inf")
        self.state = NodeState.SEEKING
        self.run = born.run
        self.generation = 0
        self.sent = 0
        self.received = 0
        self.drops = DropCounter()
        self.hosting = HostedGroups(born.incarnation, self._state_sent, lambda: self._now_ms)
        self._coordinator = NOBODY
        self._obeyed: dict[bytes, None] = {}
        self._heartbeat_interval_ms = 1_000
        self._register_wait_ms = REGISTER_AGAIN_MS
        self.registration = 0
        """The CRC-32 of the last registration's frame. Answers state it."""
        self._called: tuple[float, list[int]] | None = None
        """The time of the first call of another run, and the pass of each group then; None if the run answers."""
        self._due_ms = float("-inf")
        self._proof = LinkProbe(born.incarnation, self._header)
        self.wanted = 1
        """The number of frames to wait for before the next `receive`."""
        self.has_deferred_work = False
        """Whether `run_deferred` must be called after the last actions are performed."""
        self._address = b""
        self._actions: list[Action] = []
        self._now_ms = 0.0

    def handle(self, event: Event, now_ms: float) -> Sequence[Action]:
        """Handle one event; return the actions, which must be performed in order.

        Raises:
            InternalError: the event is not for a node.
        """
        if type(event) is Received:
            actions = self.receive([event.message], now_ms)
            while self.has_deferred_work:
                actions = [*actions, *self.run_deferred(now_ms)]
            return actions
        self._now_ms = now_ms
        self._actions = []
        match event:
            case Tick():
                self._tick()
            case LinkLost():
                self._link_lost()
            case Interrupted(_):
                self._end(0)
            case _:
                raise InternalError(f"a node takes no {event!r}")
        return self._actions

    def receive(self, messages: Sequence[bytes], now_ms: float) -> Sequence[Action]:
        """Handle messages, each an address and frames; return the actions. Invalid frames raise no error: they are counted."""
        self._now_ms = now_ms
        self._actions = []
        self.received += len(messages)
        receiver = self.hosting.receiver
        for message in messages if len(messages) < JOINED_FROM else _joined_data(messages):
            if message[:1] not in _DATA:
                # Process the earlier data frames before the control message.
                self._run(receiver)
                while self.has_deferred_work:
                    self._learn()
                self._address = message[:ADDRESS_LENGTH]
                for frame in split(message):
                    self._receive_control(frame)
                receiver = self.hosting.receiver
            elif receiver is None:
                self._reject(rejected(split(message), _receive_without_groups))
            elif rejections := receiver.receive(message):
                self._reject(rejections)
        self._run(receiver)
        return self._actions

    def _run(self, receiver: Group | LocalDelivery | None) -> None:
        if receiver is None:
            self.wanted, self.has_deferred_work = 1, False
            return
        sends = receiver.run()
        self.wanted, self.has_deferred_work = receiver.wanted, bool(receiver.unlearned)
        self.sent += len(sends)
        self._actions += sends

    def run_deferred(self, now_ms: float) -> Sequence[Action]:
        """Learn the passes whose errors have been sent; return the actions."""
        self._now_ms = now_ms
        self._actions = []
        self._learn()
        return self._actions

    def _learn(self) -> None:
        receiver = self.hosting.receiver
        if receiver is not None:
            sends = receiver.learn()
            self.sent += len(sends)
            self._actions += sends
        self._run(receiver)

    def _reject(self, rejections: Iterable[Rejection]) -> None:
        for frame, fault in rejections:
            self._actions.extend(self.drops.note(fault, frame))

    def _receive_control(self, frame: bytes) -> None:
        if self.ended:
            return
        try:
            if self._verify is not None and self._address.startswith(NODES):
                frame = opened(self._address, frame, self._verify)
            message = decode(frame)
            check(message, self._address, self._standing())
            transition = TRANSITIONS.get((self.state, type(message)))
            if transition is None:
                raise Unexpected(f"{type(message).__name__} while {self.state.value}")
            transition(self, message)
        except PeerError as fault:
            self._actions.extend(self.drops.note(fault, frame))

    @property
    def ended(self) -> bool:
        """Whether the node handles no more messages."""
        return self.state is NodeState.ENDED

    def start(self, now_ms: float) -> Sequence[Action]:
        """Return the first actions: subscribe and register."""
        return self.handle(LinkLost(), now_ms)

    @property
    def tick_interval_ms(self) -> float:
        """The longest time between two ticks, in milliseconds."""
        return max(TICK_MS, self._heartbeat_interval_ms / TICKS_A_HEARTBEAT)

    def _welcomed(self, message: Welcome) -> None:
        self._begin_run(message.header)
        self._heartbeat_interval_ms = message.heartbeat_interval_ms
        self._register_wait_ms = REGISTER_AGAIN_MS
        self._actions.extend(self.hosting.let_go())
        self._enter(NodeState.SPARE, self._heartbeat_interval_ms)

    def _refused(self, message: Reject) -> None:
        self._log(logging.ERROR, f"the coordinator refused this node: {message.reason}")
        self._enter(NodeState.ENDED, 0)
        self._actions.append(End(1))

    def _granted(self, message: Grant) -> None:
        header = message.header
        if (header.run, header.generation) == (self.run, self.generation) and self.hosting.groups:
            # A repeated grant asks whether the node is ready. In WIRING, the node answers when its links are proved.
            if self.state is NodeState.WORKING:
                self._send(COORDINATOR, Ready(self._header(), self._traffic()))
            return
        self._begin_run(header)
        lacking = self.hosting.lacking(message)
        if lacking:
            self._send(COORDINATOR, SnapshotMissing(header._replace(incarnation=self.born.incarnation), lacking))
            return
        self.generation, self._called = header.generation, None
        self._actions.extend(self.hosting.host(message))
        if not self.hosting.groups:
            self._enter(NodeState.SPARE, self._heartbeat_interval_ms)
        elif self.hosting.unproved:
            self._prove()
        else:
            # All links were proved in an earlier generation, and no connection has broken since.
            self._ready()

    def _proved(self, message: Probe) -> None:
        self._actions.extend(self._proof.returned(message))
        self._ready_if_proved()

    def _echoed(self, message: Echo) -> None:
        self._actions.extend(self._proof.echoed(self._address, message))
        self._ready_if_proved()

    def _ready_if_proved(self) -> None:
        if self._proof.complete:
            self.hosting.unproved = False
            self._ready()

    def _begin_run(self, header: Header) -> None:
        self._coordinator = header.incarnation
        self._obeyed[header.incarnation] = None
        if len(self._obeyed) > COORDINATORS_KEPT:
            del self._obeyed[next(iter(self._obeyed))]
        if header.run != self.run:
            self.run, self.generation = header.run, 0
            self.hosting.begin_run()

    def _ready(self) -> None:
        self._enter(NodeState.WORKING, self._heartbeat_interval_ms)
        self._send(COORDINATOR, Ready(self._header(), self._traffic()))

    def _late(self, message: Message) -> None:
        raise Stale(f"a late {type(message).__name__}")

    def _superseded(self, _message: Superseded) -> None:
        self._log(logging.WARNING, "another node has replaced this one; beginning again as a spare")
        self._enter(NodeState.ENDED, 0)
        self._actions.append(End(BEGIN_AGAIN))

    def _enquired(self, message: Reregister) -> None:
        if message.header.run != self.run and self.hosting.groups and not self._stands_still():
            raise Stale("a call of another run")
        self._seek()

    def _stands_still(self) -> bool:
        """Whether the run has not answered, and no group has begun a pass, for a while since another run called first."""
        passes = [group.due for group in self.hosting.groups.values()]
        if self._called is None or self._called[1] != passes:
            self._called = self._now_ms, passes
            # The coordinator of the run asks this node for its status.
            self._send(COORDINATOR, Heartbeat(self._header(), CALLED, self._traffic()))
        return self._now_ms - self._called[0] >= STANDSTILL_MS

    def _stopped(self, message: Stop) -> None:
        self._begin_run(message.header)
        if message.at_once:
            self._enter(NodeState.ENDED, 0)
            self._actions.append(Die())
            return
        self._end(0)

    def _fetched(self, message: Fetch) -> None:
        group = self.hosting.groups.get(message.group)
        if group is None:
            raise Unexpected(f"group {message.group} is not hosted here")
        step = group.step if message.step == LATEST_STEP else message.step
        self._actions.append(self._state_sent(group, step))
        self.sent += 1

    def _state_sent(self, group: Group, step: int) -> Send:
        state = group.state_after(step)
        if state is None:
            raise Unexpected(f"no state of group {group.role.group} after step {step}")
        last = (group.last_activity, group.last_error)
        message = GroupState(self._header(), group.role.group, step, state, *last, self._traffic())
        return Send(COORDINATOR + encode(message))

    def _trace_requested(self, message: TraceRequest) -> None:
        group = self.hosting.groups.get(message.group)
        if group is None:
            raise Unexpected(f"group {message.group} is not hosted here")
        self._actions.append(group.last_step())
        self.sent += 1

    def _queried(self, message: NodeStatusRequest) -> None:
        waits = tuple(group.waits(message.header.pass_number) for group in self.hosting.groups.values())
        if message.header.run == self.run:
            self._called = None
        # The answer names the run of the question: the node may have missed its welcome.
        header = self._header(message.header.pass_number)._replace(run=message.header.run)
        self._send(COORDINATOR, NodeStatus(header, self.state.value, waits))

    # Time and links.

    def _tick(self) -> None:
        if self.state is NodeState.SEEKING and self._now_ms >= self._say_due_ms:
            self._say_waiting()
        if self._now_ms < self._due_ms or self.ended:
            return
        PERIODIC[self.state](self)

    def _say_waiting(self) -> None:
        assert self._seeking_since_ms is not None
        seconds = (self._now_ms - self._seeking_since_ms) / 1_000
        self._log(
            logging.WARNING,
            f"no coordinator has answered for {seconds:.0f} s; waiting for a broker{self._broker} and a coordinator that uses it",
        )
        self._say_wait_ms = min(2 * self._say_wait_ms, SAY_WAITING_AT_MOST_MS)
        self._say_due_ms = self._now_ms + self._say_wait_ms

    def _register(self) -> None:
        born = self.born
        who = (born.name, born.host, born.process, born.software, born.fingerprint, born.endpoint, born.key, born.proof)
        frame = encode(Register(self._header(), *who))
        self.registration = crc32(frame)
        self.sent += 1
        self._actions.append(Send(COORDINATOR + frame))
        self._due_ms = self._now_ms + self._register_wait_ms
        self._register_wait_ms = min(2 * self._register_wait_ms, REGISTER_AGAIN_AT_MOST_MS)

    def _beat(self) -> None:
        self._send(COORDINATOR, Heartbeat(self._header(), self.state.value, self._traffic()))
        self._due_ms = self._now_ms + self._heartbeat_interval_ms

    def _probe_again(self) -> None:
        self._actions.extend(self._proof.again())
        if not self._proof.pending:
            # Tell the coordinator that this node is alive, although a peer does not answer.
            self._beat()
        self._due_ms = self._now_ms + PROBE_AGAIN_MS

    def _link_lost(self) -> None:
        """Subscribe to all addresses again, on new sockets. Prove the links again, or register again if there is no group."""
        if self.ended:
            return
        self._actions.extend(self.hosting.subscribe_again())
        if self.hosting.groups:
            self._prove()
        else:
            self._seek()

    def _seek(self) -> None:
        self._actions.extend(self.hosting.let_go())
        self._register_wait_ms = REGISTER_AGAIN_MS
        if self.state is not NodeState.SEEKING or self._seeking_since_ms is None:
            self._seeking_since_ms, self._say_wait_ms = self._now_ms, float(SAY_WAITING_MS)
            self._say_due_ms = self._now_ms + SAY_WAITING_MS
        self._enter(NodeState.SEEKING, 0)
        self._register()

    def _prove(self) -> None:
        self._actions.extend(self._proof.begin(self.hosting.peers))
        self._enter(NodeState.WIRING, PROBE_AGAIN_MS)

    # Helpers.

    def _enter(self, state: NodeState, next_in_ms: float) -> None:
        if state is not self.state:
            self._log(logging.INFO, f"{self.born.name}: {self.state.value} → {state.value}" + self._hosted())
        self.state = state
        if state is NodeState.ENDED:
            self.hosting.rest()
        self._due_ms = self._now_ms + next_in_ms

    def _hosted(self) -> str:
        names = [name for group in self.hosting.groups.values() for name in group.role.names]
        return (
            f": {names[0]}{f' … {names[-1]}' if len(names) > 1 else ''}, generation {self.generation}" if names else ""
        )

    def _end(self, code: int) -> None:
        if self.ended:
            return
        self._send(COORDINATOR, Stopped(self._header(), self._traffic()))
        self._enter(NodeState.ENDED, 0)
        self._actions.append(End(code))

    def _send(self, address: bytes, message: Message) -> None:
        self.sent += 1
        self._actions.append(Send(address + encode(message)))

    def _log(self, level: int, text: str) -> None:
        self._actions.append(Log(level, text))

    def _header(self, pass_number: int = 0) -> Header:
        return Header(self.run, self.generation, pass_number, self.born.incarnation)

    def _standing(self) -> Standing:
        where = (self.born.incarnation, self._coordinator, self.run, self.generation, bool(self.hosting.groups))
        bound = self.born.run != NOBODY
        return Standing(*where, self.registration, self.state is NodeState.SEEKING, bound, self._obeyed)

    def _traffic(self) -> Traffic:
        return Traffic(self.sent, self.received, self.drops.counts.total())


_DATA = frozenset(DATA_LETTERS[place : place + 1] for place in range(len(DATA_LETTERS)))


def _joined_data(messages: Sequence[bytes]) -> Sequence[bytes]:
    """Join the frames of data messages. If there is a control message, return the messages unchanged: their order matters."""
    joined = joined_in_turn(messages)
    return joined if all(message[:1] in _DATA for message in joined) else messages


def _receive_without_groups(frame: bytes) -> None:
    """Raise `PeerError` for a data frame that arrives at a node without groups."""
    parse(frame)
    raise Stale("no group is hosted here")


_ALIVE = (NodeState.SEEKING, NodeState.SPARE, NodeState.WIRING, NodeState.WORKING)
_HOSTING = (NodeState.WIRING, NodeState.WORKING)

# A message without an entry for the present state is `Unexpected`: it is counted and dropped. ENDED has none, and drops without a count.
TRANSITIONS: dict[tuple[NodeState, type], Callable[[Node, Any], None]] = {
    **{(NodeState.SEEKING, Welcome): Node._welcomed},
    **{(state, Welcome): Node._late for state in _ALIVE if state is not NodeState.SEEKING},
    **{(state, Grant): Node._granted for state in _ALIVE},
    **{(NodeState.SEEKING, Reject): Node._refused},
    **{(state, Reregister): Node._enquired for state in _ALIVE},
    **{(state, Superseded): Node._superseded for state in _ALIVE},
    **{(state, Stop): Node._stopped for state in _ALIVE},
    **{(state, NodeStatusRequest): Node._queried for state in _ALIVE},
    **{(NodeState.WIRING, Probe): Node._proved},
    **{(NodeState.WIRING, Echo): Node._echoed},
    **{(state, kind): Node._late for state in _ALIVE if state is not NodeState.WIRING for kind in (Probe, Echo)},
    **{(state, Fetch): Node._fetched for state in _HOSTING},
    **{(state, TraceRequest): Node._trace_requested for state in _HOSTING},
}

PERIODIC: dict[NodeState, Callable[[Node], None]] = {
    NodeState.SEEKING: Node._register,
    NodeState.SPARE: Node._beat,
    NodeState.WIRING: Node._probe_again,
    NodeState.WORKING: Node._beat,
}

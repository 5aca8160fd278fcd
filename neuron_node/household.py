"""Several groups in one node: what one says to another does not leave the program.

A frame that a group sends is handed to the groups of the same node that hear at its address, as bytes, just as it would come
from outside, and it goes to the link only if somebody elsewhere hears there too. Who does is known from the roles. So a
node does not subscribe where its own groups speak to several, and no message is taken twice.

The shell waits until as many frames have come as are bound to come before much can move here. A pass goes through a node in
stages: the groups that hear the same senders, in the order of their numbers, then, upwards, those that hear the same
receivers. A frame from outside that the first stage still lacks depends on earlier stages alone, which are over here: it
comes, whatever is done here. The frames of later stages may depend on what this node has yet to say, and are not waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from neuron_node.addresses import ADDRESS_LENGTH, axon_address, error_address, group_address
from neuron_node.events import Action, Send
from neuron_node.intake import AT_ONCE
from neuron_node.messages import Input, Target
from neuron_node.passes import FORWARD, LISTENING, Pass
from neuron_node.ways import Way
from neuron_node.worker import Worker


class Place(NamedTuple):
    """A group in the house, and the numbers of those whom it hears and who hear it."""

    worker: Worker
    senders: tuple[int, ...]
    receivers: tuple[int, ...]


Hear = Callable[[bytes, Sequence[Worker]], list[Action]]
"""Decodes a frame and lets workers hear it; what is to be done because of it."""


class Household:
    """The workers of a node that hosts several, as one intake."""

    def __init__(self, workers: Sequence[Worker], hearers: dict[bytes, list[Worker]], hear: Hear) -> None:
        self.due = 1
        """Frames from outside that are worth waiting for."""
        self.heard_only_here = only_here(workers)
        self._places = sorted(map(_place, workers), key=lambda place: place.worker.role.group)
        self._hearers = hearers
        self._hear = hear
        self._kept: list[bytes] = []
        """What has come, and has not been looked at."""
        self._to_learn: list[Worker] = []

    @property
    def postponed(self) -> bool:
        """Whether something has been replied to and not been learned."""
        return bool(self._to_learn)

    def keep(self, frame: bytes) -> bool:
        """Keep a frame for the next look; False if it is not for a group of this node."""
        if frame[:ADDRESS_LENGTH] not in self._hearers:
            return False
        self._kept.append(frame)
        return True

    def look(self) -> list[Action]:
        """Hand out what was kept, and what groups here say to each other because of it, until nothing moves any more.

        When nothing was kept, do what was put off: what has to be learned need not delay what others wait for.
        """
        frames, self._kept = self._kept, []
        actions: list[Action] = []
        if not frames and self._to_learn:
            workers, self._to_learn = self._to_learn, []
            frames = self._leave(self._settle(workers), actions)
        while frames:
            frames = self._leave(self._hand_out(frames), actions)
        self.due = self._count_due()
        return actions

    def _leave(self, actions: list[Action], leaving: list[Action]) -> list[bytes]:
        """Put what somebody outside is to hear, or do, with what leaves; the frames that groups here hear."""
        hearers, only_here, frames = self._hearers, self.heard_only_here, []
        for action in actions:
            if type(action) is Send:
                address = action.frame[:ADDRESS_LENGTH]
                if address in hearers:
                    frames.append(action.frame)
                    if address in only_here:
                        continue
            leaving.append(action)
        return frames

    def _hand_out(self, frames: list[bytes]) -> list[Action]:
        """Let every group take those of the frames that it hears, all at once where they are just what it waits for."""
        heard_by: dict[int, list[bytes]] = {}
        workers: dict[int, Worker] = {}
        for frame in frames:
            for worker in self._hearers[frame[:ADDRESS_LENGTH]]:
                group = worker.role.group
                if group in heard_by:
                    heard_by[group].append(frame)
                else:
                    heard_by[group], workers[group] = [frame], worker
        actions: list[Action] = []
        slow: list[Worker] = []
        for group, worker in workers.items():
            sends = worker.take(heard_by[group])
            if sends is None:
                slow.append(worker)
                continue
            actions += sends
            if worker.given_back:
                actions += self._settle([worker])
            self._put_off(worker)
        return actions + self._one_by_one(frames, slow) if slow else actions

    def _one_by_one(self, frames: list[bytes], slow: list[Worker]) -> list[Action]:
        """Let these groups sort the frames that they hear, or take them in full."""
        actions: list[Action] = []
        for frame in frames:
            hearers = self._hearers[frame[:ADDRESS_LENGTH]]
            strangers = [worker for worker in hearers if worker in slow and not worker.sort(frame)]
            if strangers:
                actions += self._settle(strangers)
                actions += self._hear(frame, strangers)
        return actions + self._settle(slow, may_put_off=True)

    def _put_off(self, worker: Worker) -> bool:
        """Whether a group has something to learn: it will, once what others wait for is on its way."""
        if worker.postponed and worker not in self._to_learn:
            self._to_learn.append(worker)
        return worker.postponed

    def _settle(self, workers: Iterable[Worker], *, may_put_off: bool = False) -> list[Action]:
        """Let groups do all that is possible with what they have sorted."""
        actions: list[Action] = []
        for worker in workers:
            while True:
                actions += worker.look()
                if may_put_off and not worker.given_back and self._put_off(worker):
                    break
                actions += worker.learn()
                for frame in worker.give_back():
                    actions += self._hear(frame, [worker])
                if not worker.looks_again:
                    break
        return actions

    def _count_due(self) -> int:
        """The frames from outside that the first stage of the oldest pass lacks; 1 where none is known to be on its way."""
        standing: list[tuple[Place, Pass]] = []
        for place in self._places:
            record = place.worker.oldest
            if record is None:
                return 1
            standing.append((place, record))
        oldest = min(record.number for _, record in standing)
        there = [(place, record) for place, record in standing if record.number == oldest]
        begun = next((record for place, record in there if _has_begun(place.worker, record)), None)
        # Where something of another mode or size has come than was expected, the others still expect it.
        if begun is None or not all(_is_like(record, begun) for _, record in there):
            return 1
        return max(1, min(AT_ONCE, _lacking(there)))


def only_here(workers: Sequence[Worker]) -> frozenset[bytes]:
    """The addresses at which groups of a node speak, and nobody but groups of this node hears."""
    here = {worker.role.group for worker in workers}
    found = {group_address(group) for group in here}
    for worker in workers:
        role = worker.role
        if here.issuperset(block.receiver for block in role.blocks):
            found.add(axon_address(role.group))
        if here.issuperset(sender.group for sender in role.senders):
            found.add(error_address(role.group))
    return frozenset(found)


def _place(worker: Worker) -> Place:
    role = worker.role
    return Place(worker, tuple(sender.group for sender in role.senders), tuple(block.receiver for block in role.blocks))


def _has_begun(worker: Worker, record: Pass) -> bool:
    """Whether something of a pass has come to a group, or is known to come."""
    return bool(record is not worker.ahead or record.chain or record.part or record.down.frames or record.up.frames)


def _is_like(record: Pass, other: Pass) -> bool:
    return record.mode == other.mode and record.memory.batch == other.memory.batch


def _lacking(there: list[tuple[Place, Pass]]) -> int:
    """What groups that stand in the same pass, in the order of their numbers, lack of its first stage, and of the targets.

    All that comes from groups of this node is here by now, so what is missing comes from outside.
    """
    listening = [(place, record) for place, record in there if record.state is LISTENING]
    if not listening:
        last = there[-1][0].receivers
        return _frames([record.up for place, record in there if place.receivers == last])
    first = listening[0][0].senders
    stage = _frames([record.down for place, record in listening if place.senders == first])
    targets = [record.up for place, record in listening if not place.receivers and record.mode != FORWARD]
    return stage + _frames(targets)


def _frames(ways: list[Way]) -> int:
    """How many frames the ways of a stage lack at least: inputs and targets are for one group each, others may be for all."""
    missing = [way.missing for way in ways]
    return sum(missing) if ways and ways[0].layout.kind in (Input, Target) else max(missing, default=0)

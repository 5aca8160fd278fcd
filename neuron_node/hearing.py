"""How frames reach a node and its groups: the short way of data that are like what came before, and the long one.

In the long one a frame is decoded, and what is then done with it, `_hear`, is the machine's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.codec import decode
from neuron_node.drops import Drops
from neuron_node.errors import PeerError
from neuron_node.events import Action, Send
from neuron_node.hosting import Hosting
from neuron_node.intake import Intake
from neuron_node.messages import Data, Message
from neuron_node.passes import NOTHING
from neuron_node.worker import Worker


class Hearing:
    """A node, as far as it takes frames; it counts what it receives, sends and drops."""

    def __init__(self, incarnation: bytes) -> None:
        self.sent = 0
        self.received = 0
        self.drops = Drops()
        self.hosting = Hosting(incarnation, self._state_sent, self._let_hear)
        self._address = b""
        self._hearers: Sequence[Worker] = ()
        """Who hears the frame that is being received."""
        self._actions: list[Action] = []
        self._now_ms = 0.0

    @property
    def workers(self) -> dict[int, Worker]:
        """The groups that live here."""
        return self.hosting.workers

    @property
    def dropped(self) -> Counter[str]:
        """How many messages could not be used, by reason."""
        return self.drops.counts

    @property
    def intake(self) -> Intake:
        """Its worker's, or all its workers'."""
        return self.hosting.intake

    @property
    def ended(self) -> bool:
        """Whether nothing is to be heard any more."""
        raise NotImplementedError

    def _hear(self, message: Message) -> None:
        """Do what a message says. Raises `PeerError` if it can't be used."""
        raise NotImplementedError

    def _state_sent(self, worker: Worker, step: int) -> Send:
        """A message with a group's state after a step."""
        raise NotImplementedError

    def receive(self, frame: bytes, now_ms: float) -> Sequence[Action]:
        """Take a frame: the short way if it is like what came before, else the long one."""
        return [*self._receive_each([frame], now_ms), *self._catch_up(now_ms)]

    def take(self, frames: list[bytes], now_ms: float) -> Sequence[Action]:
        """Take several frames: all at once, if they are just what is waited for. With none, do what was put off."""
        worker = self.hosting.only_worker
        sends = worker.take(frames) if worker is not None else None
        if sends is None:
            return self._receive_each(frames, now_ms)
        self.received += len(frames)
        self.sent += len(sends)
        return [*sends, *self._look(now_ms)] if worker is not None and worker.given_back else sends

    def _receive_each(self, frames: list[bytes], now_ms: float) -> list[Action]:
        actions: list[Action] = []
        for frame in frames:
            self.received += 1
            worker, household = self.hosting.only_worker, self.hosting.household
            if not (worker.sort(frame) if worker is not None else household is not None and household.keep(frame)):
                actions += [*self._look(now_ms), *self._catch_up(now_ms), *self._receive([frame], NOTHING, now_ms)]
        return [*actions, *self._look(now_ms)]

    def _look(self, now_ms: float) -> list[Action]:
        actions: list[Action] = []
        while (worker := self.hosting.only_worker) is not None:
            sends = worker.look() + worker.learn()
            self.sent += len(sends)
            actions += self._receive(worker.give_back(), sends, now_ms)
            if not worker.looks_again:
                break
        if self.hosting.household is not None:
            self._now_ms = now_ms
            actions += self.hosting.household.look()
            self.sent += sum(type(action) is Send for action in actions)
        return actions

    def _catch_up(self, now_ms: float) -> list[Action]:
        """Do what was put off."""
        actions: list[Action] = []
        while self.hosting.intake.postponed:
            actions += self._look(now_ms)
        return actions

    def _let_hear(self, frame: bytes, workers: Sequence[Worker]) -> list[Action]:
        # What is sent because of it is counted when it leaves.
        sent, self._actions = self.sent, []
        self._receive_in_full(frame, workers)
        self.sent = sent
        return self._actions

    def _receive(self, frames: list[bytes], sends: list[Send], now_ms: float) -> list[Action]:
        self._now_ms = now_ms
        self._actions = [*sends]
        if not self.ended:
            for frame in frames:
                self._receive_in_full(frame)
        return self._actions

    def _receive_in_full(self, frame: bytes, hearers: Sequence[Worker] | None = None) -> None:
        self._address = frame[:ADDRESS_LENGTH]
        self._hearers = self.hosting.hearers.get(self._address, ()) if hearers is None else hearers
        try:
            message = decode(frame)
            self._hear(message)
        except PeerError as fault:
            self._actions.extend(self.drops.note(fault, frame))

    def _data(self, message: Data) -> None:
        faults = []
        for worker in self._hearers:
            for frame in worker.take_back(message.header.pass_number):
                self._receive_in_full(frame, [worker])
            try:
                sends = worker.hear(message) + worker.learn()
            except PeerError as fault:
                # Others who hear it may still have use for it.
                faults.append(fault)
                continue
            self.sent += len(sends)
            self._actions.extend(sends)
        if faults:
            raise faults[0]

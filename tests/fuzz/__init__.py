"""Wrong frames among the right ones of a run: no exception, and the weights of an undisturbed run.

All frames of an undisturbed run are captured. The run is then done again; in it every program also gets captured frames in each
of which one byte was changed, anywhere but in the numbers, joined to each other and to right frames in any way. A right frame
behind a wrong length is lost, as on the wire; the coordinator then asks for it again.

Data frames have a check, so a wrong byte always shows. Control frames have none until they are signed: a changed byte may make
another valid command (a `Stop`, for example), which is rightly obeyed. So a changed control frame is used only if no message
can be decoded from it.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from coordinator.core.machine import CoordinatorMachine
from coordinator.core.run_plan import RunPlan
from coordinator.defaults import SEED_ARITHMETIC
from coordinator.in_memory import MemoryNetwork, add_run
from neuron_node.addresses import ADDRESS_LENGTH, DATA_LETTERS
from neuron_node.codec import decode
from neuron_node.errors import PeerError
from neuron_node.frames import NUMBERS_BEGIN, split
from tests.networks import made_data, plan_of, settings_of, weights_sha256

LAYERS = (5, 4, 3)
LOST_IN = 400
"""One of so many right messages gets wrong frames before its own, which may make it unreadable."""
JOINED_AT_MOST = 12
PER_DELIVERY_AT_MOST = 40.0


class Outcome(NamedTuple):
    """What a disturbed run came to."""

    frames: int
    dropped: int
    sha256: str
    should_be: str


class Wrong(NamedTuple):
    """A source of wrong frames."""

    random: Random
    frames: list[tuple[bytes, bytes]]
    """Right ones, each with its address."""

    def frame(self) -> tuple[bytes, bytes]:
        """A frame with one byte changed, and the address of the right one."""
        while True:
            address, right = self.random.choice(self.frames)
            is_data = address[0] in DATA_LETTERS
            changed = bytearray(right)
            changed[self.place(NUMBERS_BEGIN if is_data else len(right), len(right))] ^= self.random.randrange(1, 256)
            if is_data or not _can_be_read(bytes(changed)):
                return address, bytes(changed)

    def place(self, end: int, _length: int) -> int:
        """Which byte to change, before `end`."""
        return self.random.randrange(end)

    def message(self) -> tuple[int, bytes]:
        """A message of some wrong frames, and how many they are."""
        address, first = self.frame()
        others = [self.frame()[1] for _ in range(self.random.randrange(JOINED_AT_MOST))]
        return 1 + len(others), address + first + b"".join(others)


def _can_be_read(frame: bytes) -> bool:
    try:
        decode(frame)
    except PeerError:
        return False
    return True


class Recording(MemoryNetwork):
    """Keeps all frames, and counts deliveries."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[tuple[bytes, bytes], None] = {}
        self.deliveries = 0

    def send(self, frame: bytes) -> None:
        """Note its frames."""
        for one in split(frame):
            self.sent[frame[:ADDRESS_LENGTH], one] = None
        super().send(frame)

    def _deliver(self) -> None:
        self.deliveries += 1
        super()._deliver()


class Disturbed(MemoryNetwork):
    """Gives each program wrong frames with every right message."""

    def __init__(self, wrong: Wrong, per_delivery: float) -> None:
        super().__init__(wrong.random.randrange)
        self.frames = 0
        self._wrong = wrong
        self._per_delivery = per_delivery
        self._due = 0.0

    def _deliver(self) -> None:
        random = self._wrong.random
        programs = sorted(self._waiting)
        program = random.choice(programs)
        right = self._waiting[program].popleft()
        if not self._waiting[program]:
            del self._waiting[program]
        self._due += self._per_delivery
        messages = [right]
        while self._due >= 1.0:
            count, message = self._wrong.message()
            self._due -= count
            self.frames += count
            messages.append(message)
        if len(messages) > 1 and random.randrange(2):
            # Joined with the right one: behind it, and seldom before it.
            body = messages.pop()[ADDRESS_LENGTH:]
            address, ours = right[:ADDRESS_LENGTH], right[ADDRESS_LENGTH:]
            messages[0] = address + (ours + body if random.randrange(LOST_IN) else body + ours)
        random.shuffle(messages)
        if program in self._ended:
            return
        machine: Any = self._machines[program]
        self._perform(program, machine.receive(messages, self.now_ms))
        while machine.has_deferred_work:
            self._perform(program, machine.run_deferred(self.now_ms))


def plans() -> list[RunPlan]:
    """One neuron per node and one sample per step; and several groups per node, batches in parts, biases of input neurons."""
    data = made_data(40, LAYERS[0], LAYERS[-1])
    alone = plan_of(settings_of(LAYERS, batch_size=1, epochs=3), data)
    together = settings_of(LAYERS, batch_size=7, epochs=6, **SEED_ARITHMETIC["exmachina"])
    return [alone, plan_of(together, data, group_size=2, nodes=3, microbatches=3)]


def disturb(plan: RunPlan, frames: int, seed: int) -> Outcome:
    """Do a run undisturbed, and then as often as it takes for so many wrong frames, each time with others."""
    recording = Recording()
    should = weights_sha256(_finished(recording, plan))
    given = dropped = 0
    while True:
        rate = min(PER_DELIVERY_AT_MOST, (frames - given) / recording.deliveries + 1e-9)
        network = Disturbed(Wrong(Random(seed), list(recording.sent)), rate)
        found = weights_sha256(_finished(network, plan))
        machines: list[Any] = network._machines
        given += network.frames
        dropped += sum(machine.drops.counts.total() for machine in machines)
        if found != should or given >= frames:
            return Outcome(given, dropped, found, should)
        seed += 1_000


def _finished(network: MemoryNetwork, plan: RunPlan) -> CoordinatorMachine:
    coordinator = add_run(network, plan)

    def over() -> bool:
        assert coordinator.failure is None, coordinator.failure
        return coordinator.finished is not None

    network.run_until(over)
    return coordinator

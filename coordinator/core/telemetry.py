"""What the people who watch a run get: the numbers of marked training steps, from all groups or some.

A watcher holds a lease, and asks again before it ends. While there is a lease, a step is marked now and then; each group then
sends its numbers, which are passed on without decoding. Only complete sets are passed on, and only the latest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from coordinator.core.events import Publish
from coordinator.core.run import Run
from coordinator.core.traffic import Pass, load_of
from neuron_node.errors import Stale, UserError, WrongShape
from neuron_node.frames import HEAD, NUMBERS_BEGIN, DataKind, Mode, data_head, pass_of
from neuron_node.role import OUTSIDE
from neuron_node.telemetry import SHOWN_ROWS, frame_bytes

LEASE_MS = 5_000.0
LEASES_AT_MOST = 64
LONGEST_NAME = 64
DEFAULT_RATE, LEAST_RATE, MOST_RATE = 5.0, 0.1, 50.0
"""Updates per second."""
SHARE_AT_MOST = 0.03
"""The largest share of telemetry in the messages that the programs of a run receive, and in their bytes."""
SET_BYTES_AT_MOST = 4 * 1024 * 1024
"""The most bytes of one update."""
TOPIC = b"telemetry."
"""The first bytes of the topics; the number of a group follows, or ALL."""
ALL = b"all"
MOMENT = "a training step, with each weight before and after its update"


class Lease(NamedTuple):
    """What a watcher wants, and until when."""

    until_ms: float
    groups: frozenset[int] | None
    """None: all groups."""
    interval_ms: float


class Telemetry:
    """The leases, and the frames of the marked step."""

    def __init__(self, run: Run) -> None:
        self._run = run
        topology, rows = run.topology, run.plan.network.batch_size
        self._sizes = {
            number: (group.size, sum(topology.groups[below].size for below in topology.receivers[number]))
            for number, group in topology.groups.items()
        }
        self._bytes = {number: frame_bytes(*size, rows) for number, size in self._sizes.items()}
        load = load_of(topology, Pass(rows, followed=True))
        shares = (len(self._sizes) / load.deliveries, sum(self._bytes.values()) / load.delivered_bytes)
        self._steps_between = max(1, math.ceil(max(shares) * (1.0 - SHARE_AT_MOST) / SHARE_AT_MOST))
        """The least number of steps from one marked step to the next."""
        self._leases: dict[str, Lease] = {}
        self._marked: tuple[int, int] | None = None
        """The marked step whose frames are missing, and the number of its first pass."""
        self._marked_step = -self._steps_between
        self._marked_ms = -math.inf
        self._generation = -1
        self._heads: dict[bytes, int] = {}
        self._frames: dict[int, bytes] = {}

    def watch(self, watcher: object, groups: frozenset[int] | None, rate: object) -> dict[str, Any]:
        """Begin or prolong a lease; return where the numbers are published. Raises `UserError`."""
        if not isinstance(watcher, str) or not 0 < len(watcher) <= LONGEST_NAME:
            raise UserError(f"a watcher needs a name of 1 to {LONGEST_NAME} characters")
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not LEAST_RATE <= rate <= MOST_RATE:
            raise UserError(f"a rate is a number from {LEAST_RATE:g} to {MOST_RATE:g} updates per second, not {rate!r}")
        wanted = self._sizes.keys() if groups is None else groups
        if (size := sum(self._bytes.values())) > SET_BYTES_AT_MOST:
            raise UserError(
                f"the numbers of a step have {size:,} bytes, and may have {SET_BYTES_AT_MOST:,} to be watched; "
                "see one neuron: coordinator neuron NAME"
            )
        self._forget_ended()
        if watcher not in self._leases and len(self._leases) >= LEASES_AT_MOST:
            raise UserError(f"{LEASES_AT_MOST} programs watch already; try again when one has ended")
        self._leases[watcher] = Lease(self._run.now_ms + LEASE_MS, groups, 1_000.0 / rate)
        topics = [ALL] if groups is None else [b"%d" % number for number in sorted(wanted)]
        return {
            "topics": [(TOPIC + topic).decode() for topic in topics],
            "groups": {str(number): self._description(number) for number in sorted(wanted)},
            "lease_seconds": LEASE_MS / 1_000.0,
            "steps_between_at_least": self._steps_between,
        }

    def _description(self, number: int) -> dict[str, Any]:
        topology = self._run.topology
        group = topology.groups[number]
        receivers = [name for below in topology.receivers[number] for name in topology.groups[below].names]
        return {"layer": group.layer, "neurons": list(group.names), "receivers": receivers}

    @property
    def watched(self) -> bool:
        """Whether a watcher holds a lease."""
        self._forget_ended()
        return bool(self._leases)

    def mode_of(self, step: int) -> Mode:
        """Return the mode of the next training step: marked, if an update is due."""
        if not self._leases or not self.watched:
            return Mode.TRAIN
        interval = min(lease.interval_ms for lease in self._leases.values())
        # A rollback goes back in steps, so the distance counts in both directions.
        far = abs(step - self._marked_step) >= self._steps_between
        due = self._run.now_ms - self._marked_ms >= interval
        return Mode.TRAIN_AND_REPORT if far and due else Mode.TRAIN

    def mark(self, step: int, first_pass: int, parts: int) -> None:
        """Note a marked step, the number of its first pass, and its number of passes. Frames of earlier ones are forgotten."""
        self._renew_heads()
        self._marked, self._marked_step, self._marked_ms = (first_pass, first_pass + parts - 1), step, self._run.now_ms
        self._frames.clear()

    def receive(self, frame: bytes, progress: Callable[[], Mapping[str, Any]]) -> bool:
        """Keep a frame of telemetry; publish the set when it is complete. Return False for a frame of another kind.

        Raises:
            PeerError: the frame does not belong to the marked step, or is damaged.
        """
        self._renew_heads()
        group = self._heads.get(frame[HEAD])
        if group is None:
            return False
        number, mode, *_ = pass_of(frame, 0) if len(frame) >= NUMBERS_BEGIN else (0, 0)
        if self._marked is None or not self._marked[0] <= number <= self._marked[1] or group in self._frames:
            raise Stale(f"the numbers of pass {number}")
        if mode != Mode.TRAIN_AND_REPORT or not _fits(len(frame), *self._sizes[group]):
            raise WrongShape(f"the numbers of group {group}")
        self._frames[group] = frame
        if len(self._frames) == len(self._sizes):
            self._publish(progress())
        return True

    def _publish(self, progress: Mapping[str, Any]) -> None:
        """Publish the complete set, with the progress of the run."""
        assert self._marked is not None
        facts = {**progress, "step": self._marked_step, "pass": self._marked[0], "moment": MOMENT}
        header, act = json.dumps(facts).encode(), self._run.outbox.act
        self._forget_ended()
        wanted = [lease.groups for lease in self._leases.values()]
        if any(groups is None for groups in wanted):
            act(Publish(TOPIC + ALL, (header, b"".join(self._frames[number] for number in sorted(self._frames)))))
        for number in sorted(frozenset[int]().union(*(groups for groups in wanted if groups is not None))):
            act(Publish(TOPIC + b"%d" % number, (header, self._frames[number])))
        self._marked = None
        self._frames.clear()

    def _renew_heads(self) -> None:
        generation = self._run.outbox.generation
        if generation != self._generation:
            self._generation, self._marked = generation, None
            self._frames.clear()
            run = self._run.plan.run
            self._heads = {
                data_head(DataKind.TELEMETRY, run, generation, OUTSIDE, number): number for number in self._sizes
            }

    def _forget_ended(self) -> None:
        now = self._run.now_ms
        self._leases = {name: lease for name, lease in self._leases.items() if lease.until_ms > now}


def _fits(frame_length: int, neurons: int, synapses: int) -> bool:
    """Whether a frame has as many bytes as the numbers of such a group in some step."""
    empty = frame_bytes(neurons, synapses, 0)
    rows, rest = divmod(frame_length - empty, frame_bytes(neurons, synapses, 1) - empty)
    return not rest and 0 < rows <= SHOWN_ROWS

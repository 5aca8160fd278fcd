"""Chaos decides which faults happen in a local run, and when. The supervisor injects them (`fault_injector.py`).

A seed decides before the first fault: the order of the kinds, the neurons, and the number of finished steps before each fault.
So the same seed disturbs the same neurons in the same order, but not at the same microsecond.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from coordinator.core.recovery_stats import percentile
from coordinator.errors import UserError
from coordinator.local.recoveries import Recoveries
from neuron_node.initializers import uniform

KINDS = {
    "kill": "kill -9 of a neuron's program",
    "pause": "SIGSTOP of a neuron's program, and SIGCONT when the others have continued without it",
    "partition": "a neuron's program is disconnected from the broker until the others have continued without it",
    "broker": "kill -9 of the broker",
    "coordinator": "kill -9 of the coordinator",
    "everything": "kill -9 of all these programs at once",
    "terminate": "SIGTERM of a neuron's program",
    "interrupt": "SIGINT of a neuron's program",
    "stop-broker": "SIGSTOP of the broker, and SIGCONT some seconds later",
    "layer": "kill -9 of all programs of a layer at the same instant",
    "all": "SIGTERM of all neurons' programs at the same instant",
}
MOST_OF_A_KIND = 10_000
LAST_PART_OF_A_RUN = 0.9
"""No fault begins after this share of the steps, so that the run can recover from the last fault too."""
LINGER_AT_MOST_MS = 400.0
"""The longest time from the recovery of the others to the release of a held program; the seed decides the time."""
HOLD_AT_MOST_MS = 20_000.0
"""No program is held for longer, even without a recovery."""
STOP_BROKER_AT_MOST_MS = 8_000.0
"""The longest stop of the broker; the duration is drawn. It is longer than connections live without the broker."""
HOLDING = ("pause", "partition", "stop-broker")


@dataclass(frozen=True)
class Chaos:
    """The requested number of faults of each kind; one after the other, or several at once (`overlap`)."""

    counts: Mapping[str, int]
    seed: int = 0
    overlap: bool = False

    @property
    def relayed(self) -> bool:
        """Whether nodes connect through a relay, so that they can be disconnected."""
        return "partition" in self.counts


def parse_counts(text: str) -> dict[str, int]:
    """Parse `kill=20,pause=5`. Raises `UserError`."""
    right = f"give KIND=COUNT, …, such as kill=20,pause=5; the kinds are {', '.join(KINDS)}"
    counts: dict[str, int] = {}
    for part in text.split(","):
        kind, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals or kind not in KINDS:
            raise UserError(f"--chaos: {part.strip()[:60]!r} is not a kind of fault with a count; {right}")
        if not (number.isascii() and number.isdigit() and len(number) <= 9 and 1 <= int(number) <= MOST_OF_A_KIND):
            raise UserError(f"--chaos: {kind} must be a whole number from 1 to {MOST_OF_A_KIND:,}, not {number[:60]!r}")
        if kind in counts:
            raise UserError(f"--chaos: {kind} is given twice; give it once, with the sum")
        counts[kind] = int(number)
    return counts


class Disturbance(NamedTuple):
    """One fault. `neuron` names the program, for kinds that hit the program of a neuron."""

    number: int
    kind: str
    after_step: int
    neuron: str
    linger_ms: float


def drawn(chaos: Chaos, steps: int, neurons: list[str]) -> list[Disturbance]:
    """Return all faults of a run, in order: a pure function of the arguments."""
    kinds = [kind for kind in KINDS for _ in range(chaos.counts.get(kind, 0))]
    count = len(kinds)
    order, when, whom, linger = (
        uniform(chaos.seed, f"chaos/{what}", count).tolist() for what in ("order", "when", "whom", "linger")
    )
    shuffled = [kinds[place] for place in sorted(range(count), key=lambda place: (order[place], place))]
    return [
        Disturbance(
            place + 1,
            kind,
            1 + int((place + when[place]) / count * LAST_PART_OF_A_RUN * steps),
            neurons[int(whom[place] * len(neurons))],
            LINGER_AT_MOST_MS * linger[place],
        )
        for place, kind in enumerate(shuffled)
    ]


@dataclass
class _Struck:
    """A fault that has begun, and its state."""

    disturbance: Disturbance
    recovered: bool = False
    released: bool = False
    releasing: bool = False

    @property
    def over(self) -> bool:
        """Whether the network has recovered, and a held program has been released."""
        return self.recovered and (self.released or self.disturbance.kind not in HOLDING)


class ChaosSchedule:
    """Receives all events of a run, and returns commands for the supervisor."""

    def __init__(self, chaos: Chaos, spares: int, placements: Callable[[], Mapping[str, Mapping[str, Any]]]) -> None:
        """`placements` returns the present place of each neuron: the name of its node under `node`."""
        self.recoveries = Recoveries()
        self.plan: list[Disturbance] = []
        self._steps = 0
        self._chaos = chaos
        self._spares = spares
        self._placements = placements
        self._next = 0
        self._struck: dict[int, _Struck] = {}
        self._done: Counter[str] = Counter()
        self._finished = False

    def handle(self, event: str, facts: Mapping[str, Any], now: float) -> list[dict[str, Any]]:
        """Handle an event of coordinator or supervisor at a time in seconds, and return commands."""
        for number in self.recoveries.handle(event, facts, now):
            self._struck[number].recovered = True
        commands = []
        if event == "struck":
            self._done[facts["kind"]] += bool(facts["programs"])
        elif event == "released" and facts["number"] in self._struck:
            self._struck[facts["number"]].released = True
        elif event == "finished":
            self._finished = True
        elif event == "progress" and not self.plan:
            self._steps = facts["steps"]
            self.plan = drawn(self._chaos, self._steps, list(self._placements()))
        elif event == "epoch":
            # Reports of progress are rare: without this line, a short run would end before the next one.
            self.recoveries.reached(facts["epoch"] * self._steps // facts["epochs"])
        commands += self._releases(event)
        self._struck = {number: struck for number, struck in self._struck.items() if not struck.over}
        # Only these events contain the present step.
        if event in ("progress", "epoch", "recovered"):
            commands += self._due(now)
        return commands

    def figures(self) -> dict[str, Any]:
        """Return the faults and the times of recoveries: the keys that `--chaos` adds to `learn --json`."""
        samples = self.recoveries.samples
        return {
            "chaos": {
                kind: {
                    "asked": asked,
                    "done": self._done[kind],
                    **_percentiles([sample.seconds for sample in samples if sample.kind == kind]),
                }
                for kind, asked in self._chaos.counts.items()
            },
            "chaos_seed": self._chaos.seed,
            **_percentiles([sample.seconds for sample in samples]),
            "stale_messages": self.recoveries.stale_messages,
            "steps_repeated_most": self.recoveries.steps_repeated_most,
        }

    def _due(self, now: float) -> list[dict[str, Any]]:
        """Begin the faults whose step has come: one at a time after a recovery, or all of them with `overlap`."""
        commands = []
        while (
            not self._finished
            and self._next < len(self.plan)
            and (self._chaos.overlap or not self._struck)
            and self.recoveries.highest_step >= self.plan[self._next].after_step
        ):
            disturbance = self.plan[self._next]
            self._next += 1
            # Without a broker no event arrives that could end the fault, so its duration is fixed.
            timed = disturbance.kind == "stop-broker"
            self._struck[disturbance.number] = _Struck(disturbance, releasing=timed)
            self.recoveries.expect(disturbance.number, disturbance.kind, now)
            commands.append(
                {
                    "do": disturbance.kind,
                    "number": disturbance.number,
                    "of": len(self.plan),
                    "nodes": self._nodes(disturbance),
                    "neuron": disturbance.neuron,
                    "after_step": self.recoveries.highest_step,
                    "at_most_ms": self._held_at_most_ms(disturbance),
                }
            )
        return commands

    def _nodes(self, disturbance: Disturbance) -> list[str]:
        """Return the nodes that host the target: one neuron, its layer, or all neurons."""
        placements = self._placements()
        layer = disturbance.neuron.partition(".")[0]
        hit = {
            "layer": [name for name in placements if name.partition(".")[0] == layer],
            "all": list(placements),
        }.get(disturbance.kind, [disturbance.neuron])
        return list(dict.fromkeys(str(placements[name]["node"]) for name in hit))

    @staticmethod
    def _held_at_most_ms(disturbance: Disturbance) -> float:
        if disturbance.kind == "stop-broker":
            return STOP_BROKER_AT_MOST_MS * disturbance.linger_ms / LINGER_AT_MOST_MS
        return HOLD_AT_MOST_MS

    def _releases(self, event: str) -> list[dict[str, Any]]:
        """Release a held program when the others have continued without it, or when they wait for it without a spare."""
        commands = []
        for number, struck in self._struck.items():
            if struck.disturbance.kind not in HOLDING or struck.releasing:
                continue
            noticed = event == "recovery" and self.recoveries.noticed(number)
            if struck.recovered or event in ("waiting", "finished") or (noticed and not self._spares):
                struck.releasing = True
                commands.append({"do": "release", "number": number, "after_ms": struck.disturbance.linger_ms})
        return commands


def _percentiles(seconds: list[float]) -> dict[str, float | None]:
    return {
        "recovery_seconds_p50": percentile(seconds, 0.50),
        "recovery_seconds_p99": percentile(seconds, 0.99),
        "recovery_seconds_most": max(seconds) if seconds else None,
    }

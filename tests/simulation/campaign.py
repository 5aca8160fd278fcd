"""Many seeds, or the story of one.

python -m tests.simulation.campaign --seeds 1000 --processes 2
python -m tests.simulation.campaign --seed 7
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from tests.simulation.coverage import all_rows, rows_noted
from tests.simulation.faults import FAULTS
from tests.simulation.forgers import FORGERIES
from tests.simulation.run_seed import LEAST_SNAPSHOTS, Outcome, run_seed

SEEDS_AT_ONCE = 50
LEAST_STEPS, LEAST_MEDIAN_RECOVERIES = 12, 3
ENOUGH_SEEDS = 1_260
"""From so many on, every row and every kind of fault is expected to have come: the rarest row comes after seed 1,000."""
FRAMES = (
    "frame lost", "frame doubled", "frame delayed", "frames joined", "joined frames lost", "joined frame lost",
    "copy altered", "frame with a NaN", "frame too long", "dropped at the high-water mark",
)  # fmt: skip
"""What becomes of messages and of their frames."""
COUNTED = (*FAULTS, *FRAMES, *FORGERIES, "intervention", "rewind")


@dataclass
class Campaign:
    """What many seeds came to."""

    failing: list[Outcome] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    rows: set[str] = field(default_factory=set)
    steps: list[int] = field(default_factory=list)
    snapshots: list[int] = field(default_factory=list)
    recoveries: list[int] = field(default_factory=list)
    events: int = 0
    seeds: int = 0

    def add(self, outcome: Outcome) -> None:
        """One more seed."""
        self.seeds += 1
        self.events += outcome.events
        self.counts.update(outcome.counts)
        if outcome.trouble is not None:
            self.failing.append(outcome)
        if not outcome.diverges:
            self.steps.append(outcome.steps)
            self.snapshots.append(outcome.snapshots)
            self.recoveries.append(outcome.recoveries)

    @property
    def missing(self) -> list[str]:
        """What the campaign should have covered, and has not."""
        lacks = []
        good = not self.failing
        if good and min(self.steps) < LEAST_STEPS:
            lacks.append(f"a seed took {min(self.steps)} steps; {LEAST_STEPS} are the least")
        if good and min(self.snapshots) < LEAST_SNAPSHOTS:
            lacks.append(f"a seed took {min(self.snapshots)} snapshots; {LEAST_SNAPSHOTS} are the least")
        if statistics.median(self.recoveries) < LEAST_MEDIAN_RECOVERIES and self.seeds >= ENOUGH_SEEDS:
            lacks.append(f"the median of recoveries is {statistics.median(self.recoveries)}")
        if self.seeds >= ENOUGH_SEEDS:
            lacks += [f"no row was used: {row}" for row in all_rows() if row not in self.rows]
            lacks += [f"no such fault came: {name}" for name in COUNTED if not self.counts[name]]
        return lacks


def run_seeds(seeds: Iterable[int]) -> tuple[list[Outcome], list[str]]:
    """Several seeds, in one process; their outcomes, and the rows that they used."""
    # Looking for cycles in the middle of a seed takes a tenth of its time; between the bunches it is enough.
    gc.disable()
    try:
        with rows_noted() as rows:
            outcomes = [run_seed(seed) for seed in seeds]
    finally:
        gc.enable()
        gc.collect()
    for outcome in outcomes:
        if outcome.trouble is None:
            outcome.story = []
    return outcomes, list(rows)


def run_campaign(first: int, seeds: int, processes: int = 1) -> Campaign:
    """Many seeds, over some processes."""
    campaign = Campaign()
    for outcomes, rows in _chunks(first, seeds, processes):
        campaign.rows.update(rows)
        for outcome in outcomes:
            campaign.add(outcome)
    return campaign


def _chunks(first: int, seeds: int, processes: int) -> Iterator[tuple[list[Outcome], list[str]]]:
    chunks = [
        range(begin, min(begin + SEEDS_AT_ONCE, first + seeds)) for begin in range(first, first + seeds, SEEDS_AT_ONCE)
    ]
    if processes == 1:
        yield from map(run_seeds, chunks)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(run_seeds, chunks)


def story_of(outcome: Outcome) -> str:
    """What happened in a seed's run, and what it came to."""
    lines = [f"{at_ms / 1000:9.3f} s  {line}" for at_ms, line in outcome.story]
    figures = (
        f"seed {outcome.seed}: {outcome.steps} steps, {outcome.snapshots} snapshots, {outcome.recoveries} recoveries in "
        f"mid-training, {outcome.events} events, trace {outcome.trace_sha256}"
    )
    return "\n".join([*lines, figures, outcome.trouble or "every promise was kept"])


def report(campaign: Campaign, seconds: float) -> str:
    """The figures of a campaign."""
    used = sum(row in campaign.rows for row in all_rows())
    faults = ", ".join(f"{name} {campaign.counts[name]}" for name in COUNTED)
    lines = [
        f"seeds       {campaign.seeds:,} in {seconds:.1f} s, {campaign.events:,} events",
        f"failed      {len(campaign.failing)}",
        f"steps       {min(campaign.steps)} at least, {statistics.mean(campaign.steps):.1f} on average",
        f"snapshots   {min(campaign.snapshots)} at least, {statistics.mean(campaign.snapshots):.1f} on average",
        f"recoveries  {statistics.median(campaign.recoveries):g} in the median, {max(campaign.recoveries)} at most",
        f"rows        {used} of {len(all_rows())}",
        f"faults      {faults}",
    ]
    for outcome in campaign.failing:
        trouble = (outcome.trouble or "").strip().splitlines()[-1]
        lines.append(f"seed {outcome.seed} failed: {trouble}; make simulate SEED={outcome.seed} tells its story")
    return "\n".join([*lines, *campaign.missing])


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 if a promise was broken, or too little was tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.campaign", description=__doc__)
    parser.add_argument("--seeds", type=int, default=ENOUGH_SEEDS, help="how many (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="processes to share them (default %(default)s)")
    parser.add_argument("--seed", type=int, help="tell the story of this one instead")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        outcome = run_seed(options.seed)
        print(story_of(outcome))
        return int(outcome.trouble is not None)
    begun = time.perf_counter()
    campaign = run_campaign(options.first, options.seeds, options.processes)
    print(report(campaign, time.perf_counter() - begun))
    return int(bool(campaign.failing or campaign.missing))


if __name__ == "__main__":
    sys.exit(main())

"""The seed by which `make test` finds each planted bug: the first one that finds it.

`python -m tests.simulation.pinned` searches all of them again, and writes them down; a change of what the simulator draws
gives other seeds.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.simulation.plans import know_all_references
from tests.simulation.plants import PLANTS
from tests.simulation.plants_of_faults import PLANTS_OF_A_FORGER
from tests.simulation.reached import reached
from tests.simulation.run_seed import run_seed

FILE = Path(__file__).with_name("pinned.json")
FORGED = frozenset(plant.__name__ for plant in PLANTS_OF_A_FORGER)
"""The bugs that only a forger finds. The others are planted where nothing is signed."""
SEEDS = 2_000
PROCESSES = 2


def pinned_seeds() -> dict[str, int]:
    """Read the seed of each bug."""
    seeds: dict[str, int] = json.loads(FILE.read_text(encoding="utf-8"))
    return seeds


def is_found(name: str, seed: int) -> bool:
    """Whether a seed breaks a promise with the bug, and the planted code was run."""
    know_all_references()
    reached.discard(name)
    with pytest.MonkeyPatch.context() as patch:
        PLANTS[name](patch)
        return run_seed(seed, signs=name in FORGED).trouble is not None and name in reached


def passes(name: str, seed: int) -> bool:
    """Whether a seed keeps every promise without the bug, under the same conditions."""
    return run_seed(seed, signs=name in FORGED).trouble is None


def first_seed(name: str) -> int | None:
    """Find the first seed that finds a bug and passes without it."""
    return next((seed for seed in range(SEEDS) if is_found(name, seed) and passes(name, seed)), None)


def main() -> int:
    """Exit code 1 if there is a bug that no seed finds."""
    with ProcessPoolExecutor(PROCESSES) as pool:
        found = dict(zip(PLANTS, pool.map(first_seed, PLANTS), strict=True))
    for name, seed in found.items():
        print(f"{name}: {'not found' if seed is None else f'seed {seed}'}")
    if None in found.values():
        return 1
    FILE.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

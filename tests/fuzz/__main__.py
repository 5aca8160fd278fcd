"""Fuzz a node and a coordinator: `python -m tests.fuzz --frames N [--seed S]`. Exit code 1 if the weights differ."""

from __future__ import annotations

import argparse
import sys

from tests.fuzz import disturb, plans


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000, help="wrong frames in all (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default %(default)s)")
    options = parser.parse_args(arguments)
    code, chosen = 0, plans()
    for plan in chosen:
        outcome = disturb(plan, -(-options.frames // len(chosen)), options.seed)
        good = outcome.sha256 == outcome.should_be
        code = code if good else 1
        print(
            f"{outcome.frames:,} wrong frames, {outcome.dropped:,} dropped, weights sha256 {outcome.sha256}"
            f"{'' if good else f', but {outcome.should_be} undisturbed'}"
        )
    return code


if __name__ == "__main__":
    sys.exit(main())

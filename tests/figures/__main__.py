"""`python -m tests.figures [NAME …]`: measure how a network of 86 programs takes what is done to it, and what that costs.

`--scale 0.1` does a tenth of everything, to see that it works. A table for people on stdout, or with `--json` one object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from tests.figures.cost import cost
from tests.figures.disturbed import DISTURBED, Figure, measured, missed, shown_row


def main() -> int:
    """Exit 1 if a run was not identical, or a limit was not kept."""
    parser = argparse.ArgumentParser(prog="figures", description=__doc__)
    names = [*DISTURBED, "cost"]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(names)} (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, help="how much of it (default 1)")
    parser.add_argument("--dataset", default="digits", help="what the network learns (default digits)")
    parser.add_argument(
        "--interval", type=int, help="steps between snapshots in disturbed runs (default: as learn does)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"nothing is called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    figures: dict[str, Figure] = {}
    faults: list[str] = []
    for name in options.names or names:
        begun = time.monotonic()
        if name == "cost":
            figures[name] = cost(options.dataset, options.scale)
        else:
            figures[name] = measured(name, options.dataset, options.scale, options.interval)
        figures[name]["seconds"] = round(time.monotonic() - begun, 1)
        faults += [f"{name}: {fault}" for fault in missed(figures[name])]
        print(f"{name}: {figures[name]['seconds']} s", file=sys.stderr)
        if not options.json:
            print(shown_row(name, figures[name]), flush=True)
    if options.json:
        print(json.dumps(figures))
    for fault in faults:
        print(f"figures: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

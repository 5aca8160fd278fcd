"""`python -m tests.figures.watching`: measure what a watcher costs a training run, and how fast people get answers.

One run of 86 programs, a neuron each, learns digits. In turn, for some seconds each, there is no watcher and one watcher of all
neurons at 5 updates per second. The speed with a watcher is compared with that of the seconds before and after, in the same
run. Then the same run is traced, paused and changed, several times each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from coordinator.client import Client
from tests.figures.clients import PATIENCE_SECONDS, begun, in_turn, speed, training

WATCHES = "import sys; from tests.figures.watching import watch_on; watch_on(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))"
SLOWEST_RATIO = 0.95
LIMITS_SECONDS = {"trace": 1.0, "pause": 0.5, "set": 2.0, "silence": 2.0, "rewind": 2.0}


def main() -> int:
    """Exit 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(prog="watching", description=__doc__)
    parser.add_argument("--rate", type=float, default=5.0, help="updates per second (default 5)")
    parser.add_argument("--pairs", type=int, default=6, help="how many times with a watcher (default 6)")
    parser.add_argument("--window", type=float, default=20.0, help="seconds between two changes (default 20)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="figures-") as runs, training(runs) as (process, door):
        with Client(door, PATIENCE_SECONDS) as client:
            figure = _with_a_watcher(client, door, options)
            figure["answers_seconds"] = _answers(client)
            client.ask("stop")
        process.wait()
    print(json.dumps(figure, indent=1))
    late = [kind for kind, most in LIMITS_SECONDS.items() if max(figure["answers_seconds"][kind]) > most]
    return int(figure["ratio"] < SLOWEST_RATIO or bool(late))


def watch_on(door: str, rate: float, seconds: float) -> None:
    """Watch all neurons for some seconds after the first update. Print a line then, and the number of updates at the end."""
    # A benchmark of another commit may not have the module.
    from coordinator.watching import Watch

    with Client(door, PATIENCE_SECONDS) as client:
        watching, updates = Watch(client, None, rate), 0
        while watching.next(PATIENCE_SECONDS) is None:
            pass
        print("watching", flush=True)
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            updates += watching.next(rest) is not None
    print(updates)


def _with_a_watcher(client: Client, door: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the ratio of the speeds, and the updates per second, from windows in turn without and with a watcher."""
    updates = []

    def with_a_watcher() -> float:
        with begun(WATCHES, door, options.rate, options.window) as watching:
            during = speed(client, options.window)
            told, _ = watching.communicate()
        updates.append(int(told) / options.window)
        return during

    ratios, last = in_turn(client, options.window, options.pairs, with_a_watcher)
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratio_of_each_window": [round(ratio, 3) for ratio in ratios],
        "ratio_at_least": SLOWEST_RATIO,
        "updates_per_second": [round(each, 2) for each in updates],
        "steps_per_second": round(last, 1),
    }


def _answers(client: Client) -> dict[str, list[float]]:
    """Return the seconds of several answers of each kind."""
    found: dict[str, list[float]] = {kind: [] for kind in LIMITS_SECONDS}
    for number in range(5):
        for kind, command, arguments in (
            ("trace", "trace", {"sample": 1, "neurons": ["hidden.3"]}),
            ("pause", "pause", {}),
            ("", "resume", {}),
            ("set", "set", {"what": "weight", "neuron": "hidden.3", "to": "output.1", "value": 0.1 * number}),
            ("silence", "silence", {"neuron": "hidden.3", "end": bool(number % 2)}),
        ):
            seconds = _seconds_of(lambda command=command, arguments=arguments: client.ask(command, **arguments))  # type: ignore[misc]
            if kind:
                found[kind].append(round(seconds, 3))
        found["rewind"].append(round(_seconds_of(lambda: client.ask("rewind", step=0)), 3))
    return found


def _seconds_of(call: Callable[[], object]) -> float:
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


if __name__ == "__main__":
    sys.exit(main())

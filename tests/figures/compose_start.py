"""`python -m tests.figures.compose_start`: compare the start of 86 encrypted containers with that of 86 containers with --insecure.

--insecure listens on loopback only, and containers have loopback addresses of their own. So for this figure all containers
use the network of this machine, encrypted ones too, in turn. The time is that from `docker compose up` until the network is
wired. Everything is taken down. One JSON object on stdout.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.containers.compose import NO_PAGE, Project
from tests.ports import free_ports

NEURONS = 86
LARGEST_RATIO = 1.2
KINDS = {"insecure": {"EXMACHINA_KEYS": "", "EXMACHINA_INSECURE": "1"}, "encrypted": {"EXMACHINA_KEYS": "/keys"}}


def main() -> int:
    """Exit 1 if the limit is not kept."""
    parser = argparse.ArgumentParser(prog="compose_start", description=__doc__)
    parser.add_argument("--pairs", type=int, default=3, help="how often each (default 3)")
    options = parser.parse_args()
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(options.pairs):
        for kind in KINDS:
            found[kind].append(round(seconds_until_wired(kind), 1))
            print(f"{kind}: {found[kind][-1]} s", file=sys.stderr, flush=True)
    ratio = statistics.median(found["encrypted"]) / statistics.median(found["insecure"])
    print(json.dumps({"seconds": found, "ratio": round(ratio, 3), "ratio_at_most": LARGEST_RATIO}, indent=1))
    return int(ratio > LARGEST_RATIO)


def seconds_until_wired(kind: str) -> float:
    """Start the containers on the network of this machine, and take them down when they are wired."""
    incoming, outgoing, door = free_ports(3)
    protected = {
        **KINDS[kind],
        "EXMACHINA_BROKER_IN": f"tcp://127.0.0.1:{incoming}",
        "EXMACHINA_BROKER_OUT": f"tcp://127.0.0.1:{outgoing}",
        "EXMACHINA_LISTEN": "tcp://127.0.0.1:*",
    }
    binds = {
        "EXMACHINA_BIND_IN": f"tcp://127.0.0.1:{incoming}",
        "EXMACHINA_BIND_OUT": f"tcp://127.0.0.1:{outgoing}",
        "EXMACHINA_BIND_DOOR": f"tcp://127.0.0.1:{door}",
    }
    # A node's name has its host's name and its process id: with those of this machine, no two are equal.
    shared = {"network_mode": "host", "pid": "host", "environment": protected | binds}
    services = dict.fromkeys(("broker", "coordinator", "neuron"), shared)
    with tempfile.TemporaryDirectory(prefix="exmachina-figures-") as name:
        changes = Path(name, "changes.yaml")
        # `!reset` needs the block style: published ports and the network of the machine exclude each other.
        lines = [f"  {name}: {json.dumps(service)[:-1]}, ports: !reset []}}" for name, service in services.items()]
        changes.write_text("\n".join(["services:", *lines, ""]), encoding="utf-8")
        project = Project({"NEURONS": str(NEURONS), "EXMACHINA_EPOCHS": "100000"}, Path(name), changes=changes)
        try:
            project.must("build", "--quiet")
            begun = time.monotonic()
            up = project.start("up", "--no-build", *NO_PAGE, stdout=-1, stderr=-2)
            project.line_with(up, "wired: ")
            seconds = time.monotonic() - begun
            if ("--insecure" in "".join(project.said)) != (kind == "insecure"):
                raise SystemExit(f"the containers were not {kind}: {''.join(project.said)}")
            up.terminate()
            up.communicate()
        finally:
            project.down()
        return seconds


if __name__ == "__main__":
    sys.exit(main())

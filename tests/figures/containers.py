"""`python -m tests.figures.containers [--neurons 500]`: a container a neuron, on this machine's engine.

A Compose project of its own name and ports is started, wired and trains; the program in one container is ended by kill -9,
the engine starts it again, the network recovers; everything is taken down. One line of JSON on stdout. Broker and
coordinator are two containers more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from coordinator.bench.network import made_samples
from coordinator.client import Client
from tests.containers.compose import NO_PAGE, Project
from tests.containers.disturbing import host_of, kill, service_of

Figure = dict[str, Any]
MEGABYTE = 1024 * 1024
OUTPUTS = 10
HIDDEN_SHARE = 0.08
PATIENCE = 6.0
"""Five hundred containers take the engine minutes to start, and minutes to take down."""
ASK_SECONDS = 60.0
ENDING_SECONDS = 180.0
NEIGHBOURS = Path("/proc/net/stat/arp_cache")
TROUBLE = ("recovering: ", "a step is stuck", "keeps ending")


def layers_of(neurons: int) -> tuple[int, int, int]:
    """Three layers of so many neurons; 500 are 450-40-10."""
    hidden = max(1, round(neurons * HIDDEN_SHARE))
    return neurons - hidden - OUTPUTS, hidden, OUTPUTS


def containers(neurons: int, seconds: float) -> Figure:
    """So many containers from start to stop, one of them killed on the way."""
    layers = layers_of(neurons)
    with tempfile.TemporaryDirectory(prefix="exmachina-figures-") as folder:
        inputs, targets = made_samples(layers, 1)
        np.savez(Path(folder, "made.npz"), X=inputs, y=targets.argmax(axis=1))
        settings = {
            "NEURONS": str(neurons),
            "EXMACHINA_DATASET": "/config/made.npz",
            "EXMACHINA_LAYERS": ",".join(map(str, layers)),
            "EXMACHINA_BATCH_SIZE": "1",
            "EXMACHINA_EPOCHS": "1000000",
        }
        project = Project(settings, Path(folder), PATIENCE)
        project.must("build", "--quiet")
        figure: Figure = {"layers": list(layers), "containers": neurons, "load_before": os.getloadavg()[0]}
        try:
            _started(project, figure)
            _trained_and_killed(project, figure, seconds)
            stopping = time.monotonic()
            figure["ended_by_themselves"] = _ended_by_themselves(project)
            figure["seconds_until_ended"] = time.monotonic() - stopping
            project.down()
        except BaseException:
            print(figure, project.run("logs", "--tail", "20", "coordinator").stdout, sep="\n", file=sys.stderr)
            project.down()
            raise
        figure["seconds_stopping"] = time.monotonic() - stopping
        figure["left_behind"] = sum(map(len, project.left_behind().values()))
    return figure


def _ended_by_themselves(project: Project) -> int:
    """How many neurons end, with exit code 0, when the coordinator is asked to stop; all that do so have ended then.

    What `down` finds still running it stops all at once: five hundred did not end within 5 s, and of as many kills at a time
    the engine lost one.
    """
    with project.client(ASK_SECONDS) as client:
        client.ask("stop")
    neurons = [container["Id"] for container in project.containers() if service_of(container) == "neuron"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        codes = subprocess.run(
            ["docker", "wait", *neurons], capture_output=True, text=True, check=True, timeout=ENDING_SECONDS
        )
        return codes.stdout.split().count("0")
    states = [container["State"] for container in project.containers() if service_of(container) == "neuron"]
    return sum(not state["Running"] and state["ExitCode"] == 0 for state in states)


def _started(project: Project, figure: Figure) -> None:
    before, begun = psutil.virtual_memory().available, time.monotonic()
    project.must("up", "--detach", "--no-build", *NO_PAGE)
    figure["seconds_started"] = time.monotonic() - begun
    _logged(project, [f"wired: {figure['containers']} nodes"])
    figure["seconds_wired"] = time.monotonic() - begun
    figure["megabytes_of_all"] = (before - psutil.virtual_memory().available) / MEGABYTE
    figure["neighbours"] = _neighbours()


def _trained_and_killed(project: Project, figure: Figure, seconds: float) -> None:
    with project.client(ASK_SECONDS) as client:
        figure["steps_per_second"] = _steps_per_second(client, seconds)
        victim = host_of(project, "hidden.0")
        before = client.ask("status")[0]["recoveries"]
        killed = time.monotonic()
        kill(victim, "neuron-node")
        said = _logged(project, ["recovering: "] * (before + 1) + ["recovered in "])
        figure["seconds_of_recovery"] = time.monotonic() - killed
        figure["seconds_of_recovery_told"] = float(said.split("recovered in ")[1].split(" s:")[0])
        figure["steps_per_second_afterwards"] = _steps_per_second(client, seconds)
        figure["recoveries"] = client.ask("status")[0]["recoveries"]
    lines = project.must("logs", "--no-log-prefix", "coordinator").splitlines()
    # Compose puts control characters before a line.
    figure["trouble"] = [line[line.index(sign) :] for line in lines for sign in TROUBLE if sign in line]


def _logged(project: Project, texts: list[str]) -> str:
    """Wait until the coordinator has said these things, one after the other, since it began; the last line."""
    line = ""
    with project.start("logs", "--follow", "coordinator", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as logs:
        try:
            for text in texts:
                line = project.line_with(logs, text)
        finally:
            logs.kill()
    return line


def _steps_per_second(client: Client, seconds: float) -> float:
    first, begun = client.ask("status")[0]["step"], time.monotonic()
    time.sleep(seconds)
    last, elapsed = client.ask("status")[0]["step"], time.monotonic() - begun
    return float(last - first) / elapsed


def _neighbours() -> int:
    """Entries in the kernel's neighbour tables, of all containers together: net.ipv4.neigh.default.gc_thresh3 limits them."""
    return int(NEIGHBOURS.read_text(encoding="ascii").splitlines()[1].split()[0], 16) if NEIGHBOURS.exists() else 0


def missed(figure: Figure) -> list[str]:
    """What is not as it should be."""
    faults = (
        [f"{figure['left_behind']} containers, volumes or networks were left behind"] if figure["left_behind"] else []
    )
    if figure["recoveries"] != 1:
        faults.append(f"one container was killed, and there were {figure['recoveries']} recoveries")
    return faults


def main() -> int:
    """Exit 1 if something was left behind, or the network recovered from what nobody had done to it."""
    parser = argparse.ArgumentParser(prog="containers", description=__doc__)
    parser.add_argument("--neurons", type=int, default=500, help="how many (default 500; at least 12)")
    parser.add_argument("--seconds", type=float, default=15.0, help="of training, before and after (default 15)")
    options = parser.parse_args()
    if options.neurons < OUTPUTS + 2:
        parser.error(f"--neurons: at least {OUTPUTS + 2}")
    # However it ends, no container stays.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    figure = containers(options.neurons, options.seconds)
    print(json.dumps({key: round(v, 2) if isinstance(v, float) else v for key, v in figure.items()}), flush=True)
    faults = missed(figure)
    for fault in faults:
        print(f"containers: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

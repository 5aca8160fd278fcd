"""Shows that the figures of `make figures` compare with what they say."""

import subprocess
import sys

from tests.figures.cost import WITHOUT_HEARTBEATS


def test_the_run_without_heartbeats_has_none() -> None:
    """The program text that switches heartbeats off reaches the plan of a run. Python only prints an error in such a text."""
    shown = WITHOUT_HEARTBEATS + "print(service.RunPlan.keywords['heartbeat_interval_ms'])"
    result = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, timeout=60, check=True)
    assert int(result.stdout) >= 3_600_000

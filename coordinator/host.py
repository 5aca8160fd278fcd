"""What the machine under a program allows and has: open files, tasks, memory, cores; as the kernel tells it."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1024 * 1024
CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Machine:
    """What this machine allows and has; None where it can't be told, or there is no limit."""

    descriptors: int | None
    tasks: int | None
    """Processes and threads together."""
    memory_megabytes: float | None
    cores: int = 1
    """That a process started now may use."""


def this_machine() -> Machine:
    """The limits that hold for a process started now, and the memory that is free or can be freed."""
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Machine(
        descriptors=None if descriptors == resource.RLIM_INFINITY else descriptors,
        tasks=_tasks_left(),
        memory_megabytes=_memory_left_megabytes(),
        cores=_cores(),
    )


def other_machines() -> Machine:
    """Where nodes run that somebody else starts: nothing is known of it but that it may be like this one."""
    return Machine(descriptors=None, tasks=None, memory_megabytes=None, cores=_cores())


def limit_of_memory() -> str:
    """How much memory one process may have, as the rest of a line; empty where nothing limits it."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    return "" if most == resource.RLIM_INFINITY else f" (one process may have {most // MEGABYTE:,} MB: ulimit -v)"


def _cores() -> int:
    """Of those that this process may run on, as many as its control group gives it the time of; at least one."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = [len(affinity(0)) if affinity else os.cpu_count() or 1]
    for folder in _control_groups():
        try:
            quota, period = (int(word) for word in (folder / "cpu.max").read_text(encoding="ascii").split())
        except (OSError, ValueError):
            continue
        cores.append(quota // max(1, period))
    return max(1, min(cores))


def _tasks_left() -> int | None:
    """How many more processes and threads may be started here."""
    limits = []
    _, own = resource.getrlimit(resource.RLIMIT_NPROC)
    if own != resource.RLIM_INFINITY and os.geteuid() != 0:
        limits.append(own)
    kernel = [_number(f"/proc/sys/kernel/{name}") for name in ("threads-max", "pid_max")]
    limits += [most - _tasks_of_all() for most in kernel if most]
    for folder in _control_groups():
        if (most := _number(folder / "pids.max")) is not None:
            limits.append(most - (_number(folder / "pids.current") or 0))
    return min(limits, default=None)


def _tasks_of_all() -> int:
    """Processes and threads that are there now."""
    try:
        return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].rpartition("/")[2])
    except (OSError, ValueError, IndexError):
        return 0


def _memory_left_megabytes() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        left = [int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError):
        left = []
    for folder in _control_groups():
        if (most := _number(folder / "memory.max")) is not None:
            left.append((most - (_number(folder / "memory.current") or 0) + _cached_bytes(folder)) / MEGABYTE)
    return min(left, default=None)


def _cached_bytes(folder: Path) -> int:
    """What a control group holds of files, which it lets go of when programs want the memory."""
    try:
        words = [line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines()]
        return sum(int(value) for name, value in words if name in ("active_file", "inactive_file"))
    except (OSError, ValueError):
        return 0


def _control_groups() -> list[Path]:
    """The folders of this process's control group and of all around it: each may set limits."""
    try:
        lines = OWN_CGROUP.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    # A container may be told a path that only its host knows: what is not there is not read.
    return [CGROUP / own, *(CGROUP / folder for folder in Path(own).parents)] if own else [CGROUP]


def _number(path: str | Path) -> int | None:
    """The number in a file of the kernel's; None if there is no such file, or it says that there is no limit."""
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None

"""The limits and resources of this machine: open files, tasks, memory and cores."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1024 * 1024
CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
MEMORY_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
"""Limit and use of a control group, in version 2 and version 1."""


@dataclass(frozen=True)
class Host:
    """Limits and resources of a machine; None means unknown or unlimited."""

    descriptors: int | None
    tasks: int | None
    """The number of processes and threads, together."""
    memory_megabytes: float | None
    cores: int = 1
    """The number of cores that a new process may use."""


def this_machine() -> Host:
    """Return the limits of a new process, and the memory that is free or can be freed."""
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Host(
        descriptors=None if descriptors == resource.RLIM_INFINITY else descriptors,
        tasks=_tasks_left(),
        memory_megabytes=_memory_left_megabytes(),
        cores=_cores(),
    )


def other_machines() -> Host:
    """Return a machine for nodes that are started separately: its limits are unknown, its cores are assumed to be like ours."""
    return Host(descriptors=None, tasks=None, memory_megabytes=None, cores=_cores())


def _cores() -> int:
    """Return the number of cores of this process, limited by the time of its control group; at least one."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = [len(affinity(0)) if affinity else os.cpu_count() or 1]
    cores += [quota for folder in _control_groups("cpu") if (quota := _quota(folder)) is not None]
    return max(1, min(cores))


def _quota(folder: Path) -> int | None:
    """Return the number of whole cores that a control group of version 1 or 2 grants; None without a limit."""
    try:
        quota, period = (int(word) for word in (folder / "cpu.max").read_text(encoding="ascii").split())
    except (OSError, ValueError):
        first, second = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if first is None or second is None or first <= 0:
            return None
        quota, period = first, second
    return quota // max(1, period)


def _tasks_left() -> int | None:
    """Return how many more processes and threads may be started."""
    limits = []
    _, own = resource.getrlimit(resource.RLIMIT_NPROC)
    if own != resource.RLIM_INFINITY and os.geteuid() != 0:
        limits.append(own)
    kernel = [_number(f"/proc/sys/kernel/{name}") for name in ("threads-max", "pid_max")]
    limits += [most - _tasks_of_all() for most in kernel if most]
    for folder in _control_groups("pids"):
        if (most := _number(folder / "pids.max")) is not None:
            limits.append(most - (_number(folder / "pids.current") or 0))
    return min(limits, default=None)


def _tasks_of_all() -> int:
    """Return the present number of processes and threads."""
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
    for folder in _control_groups("memory"):
        for most_name, taken_name in MEMORY_FILES:
            # In version 1, no limit is a number larger than any memory, and so never the smallest.
            if (most := _number(folder / most_name)) is not None:
                left.append((most - (_number(folder / taken_name) or 0) + _cached_bytes(folder)) / MEGABYTE)
    return min(left, default=None)


def _cached_bytes(folder: Path) -> int:
    """Return the memory that a control group uses for cached files, and frees when programs need it."""
    try:
        words = [line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines()]
        found = {name: int(value) for name, value in words}
    except (OSError, ValueError):
        return 0
    # Version 1 counts the groups below under other names.
    return sum(found.get(f"total_{name}", found.get(name, 0)) for name in ("active_file", "inactive_file"))


def _control_groups(controller: str) -> list[Path]:
    """Return the folders of the control group of this process and of its parents: each may set limits.

    Version 2 has one tree for all controllers, version 1 has one tree per controller.
    """
    try:
        lines = [line.split(":", 2) for line in OWN_CGROUP.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        lines = []
    folders: list[Path] = []
    for line in lines:
        if len(line) == 3 and (line[1] == "" or controller in line[1].split(",")):
            roots = [CGROUP / name for name in ({line[1], controller} if line[1] else {"", "unified"})]
            own = line[2].strip("/")
            # A container may see a path that exists only on its host: skip missing folders.
            folders += [
                root / group for root in roots for group in ([Path(own), *Path(own).parents] if own else [Path()])
            ]
    return folders or [CGROUP]


def _number(path: str | Path) -> int | None:
    """Return the number in a file of the kernel; None if there is no such file, or no limit."""
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None

"""What the kernel tells of limits is read as it is meant, in a control group as without one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coordinator.capacity import host
from coordinator.capacity.host import MEGABYTE, other_machines, this_machine


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all control groups; this process is in `outer/inner`, on eight processors."""
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    own = tmp_path / "own"
    own.write_text("1:cpu:/elsewhere\n0::/outer/inner\n", encoding="utf-8")
    monkeypatch.setattr(host, "CGROUP", tmp_path)
    monkeypatch.setattr(host, "OWN_CGROUP", own)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("quotas", "cores"),
    [
        ({}, 8),
        ({"outer/inner": "max 100000"}, 8),
        ({"outer/inner": "300000 100000"}, 3),
        ({"outer/inner": "350000 100000"}, 3),
        ({"outer/inner": "50000 100000"}, 1),
        ({"outer/inner": "600000 100000", "outer": "200000 100000"}, 2),
        ({".": "4000000 1000000"}, 4),
        ({"outer": "900000 100000"}, 8),
        ({"outer": "nonsense"}, 8),
    ],
)
def test_cores_are_those_that_may_be_used(groups: Path, quotas: dict[str, str], cores: int) -> None:
    """Processors it may run on, and the time that its control group and those around it grant; one at least."""
    for folder, text in quotas.items():
        (groups / folder / "cpu.max").write_text(f"{text}\n", encoding="ascii")
    assert this_machine().cores == other_machines().cores == cores


def test_host_without_control_groups_has_no_limits_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that has none, or tells another path than is mounted here, is no error."""
    monkeypatch.setattr(host, "CGROUP", tmp_path / "none")
    monkeypatch.setattr(host, "OWN_CGROUP", tmp_path / "nothing")
    assert this_machine().cores >= 1


def test_the_tightest_limit_of_tasks_holds(groups: Path) -> None:
    """Whichever group sets it, less what is there already."""
    for folder, most, present in (("outer/inner", "max", 3), ("outer", "40", 15), (".", "400", 15)):
        (groups / folder / "pids.max").write_text(f"{most}\n", encoding="ascii")
        (groups / folder / "pids.current").write_text(f"{present}\n", encoding="ascii")
    assert this_machine().tasks == 25


def test_memory_that_holds_files_is_free(groups: Path) -> None:
    """The kernel gives it up for programs; so only the rest counts as taken."""
    (groups / "outer" / "memory.max").write_text(f"{9 * MEGABYTE}\n", encoding="ascii")
    (groups / "outer" / "memory.current").write_text(f"{8 * MEGABYTE}\n", encoding="ascii")
    assert this_machine().memory_megabytes == 1.0
    stat = f"anon {3 * MEGABYTE}\ninactive_file {4 * MEGABYTE}\nactive_file {MEGABYTE}\n"
    (groups / "outer" / "memory.stat").write_text(stat, encoding="ascii")
    assert this_machine().memory_megabytes == 6.0


def test_of_other_machines_only_the_cores_are_guessed(groups: Path) -> None:
    """What this machine lacks says nothing about where nodes are started by somebody else."""
    (groups / "pids.max").write_text("1\n", encoding="ascii")
    machine = other_machines()
    assert (machine.descriptors, machine.tasks, machine.memory_megabytes) == (None, None, None)


@pytest.fixture
def old_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Version 1: a hierarchy for each controller, some of them together, and the empty one of version 2 beside them."""
    own = tmp_path / "own"
    own.write_text(
        "5:memory:/outer/inner\n4:pids:/outer\n3:cpu,cpuacct:/outer\n1:name=systemd:/x\n0::/\n", encoding="utf-8"
    )
    for folder in ("memory/outer/inner", "pids/outer", "cpu,cpuacct/outer", "unified"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(host, "CGROUP", tmp_path)
    monkeypatch.setattr(host, "OWN_CGROUP", own)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)
    return tmp_path


def test_limits_of_control_groups_of_version_1_hold(old_groups: Path) -> None:
    """Memory less what is used and can't be freed, tasks, and the time of processors; the outer group's too."""
    for file, number in {
        "memory/outer/memory.limit_in_bytes": 9 * MEGABYTE,
        "memory/outer/memory.usage_in_bytes": 8 * MEGABYTE,
        "memory/outer/inner/memory.limit_in_bytes": 2**63 - 4096,
        "pids/outer/pids.max": 40,
        "pids/outer/pids.current": 15,
        "cpu,cpuacct/outer/cpu.cfs_quota_us": 350_000,
        "cpu,cpuacct/outer/cpu.cfs_period_us": 100_000,
    }.items():
        (old_groups / file).write_text(f"{number}\n", encoding="ascii")
    machine = this_machine()
    assert (machine.memory_megabytes, machine.tasks, machine.cores) == (1.0, 25, 3)
    stat = f"inactive_file 0\ntotal_inactive_file {4 * MEGABYTE}\ntotal_active_file {MEGABYTE}\n"
    (old_groups / "memory/outer/memory.stat").write_text(stat, encoding="ascii")
    (old_groups / "cpu,cpuacct/outer/cpu.cfs_quota_us").write_text("-1\n", encoding="ascii")
    (old_groups / "pids/outer/pids.max").write_text("max\n", encoding="ascii")
    machine = this_machine()
    assert machine.memory_megabytes == 6.0 and machine.cores == 8 and machine.tasks != 25

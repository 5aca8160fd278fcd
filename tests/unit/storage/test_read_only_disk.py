"""A disk that becomes read-only ends a run in one line; a disk that is full does not."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from coordinator.core.events import GenerationPersisted, Persist, PersistFailed, PersistGeneration
from coordinator.errors import JobError
from coordinator.service import Service
from coordinator.storage.disk import RealDisk
from tests.finished_runs import EPOCHS, finished_run


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The coordinator of a run whose last snapshot is durable."""
    directory = finished_run(tmp_path)
    yield Service(directory, lambda _event, _facts: None, stop_when_finished=True)
    directory.unlock()


def writes_fail(monkeypatch: pytest.MonkeyPatch, code: int, flags: int) -> None:
    def fail(_disk: RealDisk, path: Path, _content: bytes) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(RealDisk, "write", fail)
    monkeypatch.setattr(RealDisk, "append", fail)
    monkeypatch.setattr(os, "statvfs", lambda _folder: SimpleNamespace(f_flag=flags))


def test_a_full_disk_is_tried_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine gets the reason, as an event, for every kind of write; with room again the same write succeeds."""
    snapshot = service.plan.restart
    assert snapshot is not None
    actions = (PersistGeneration(2), Persist(snapshot, 2, False, ()), Persist(snapshot, 2, True, ()))
    with monkeypatch.context() as patch:
        writes_fail(patch, errno.ENOSPC, os.ST_NOSUID)
        for action in actions:
            [answer] = service._perform(action)
            assert isinstance(answer, PersistFailed) and os.strerror(errno.ENOSPC) in answer.reason
    assert service._perform(actions[0]) == [GenerationPersisted(2)]


def test_a_read_only_disk_ends_the_run(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line: which write failed and why, which snapshot is kept, and how the run goes on."""
    snapshot = service.plan.restart
    assert snapshot is not None
    writes_fail(monkeypatch, errno.EROFS, os.ST_RDONLY)
    for action, what in (
        (PersistGeneration(2), "generation 2"),
        (Persist(snapshot, 2, False, ()), f"step {EPOCHS}"),
        (Persist(snapshot, 2, True, ()), "model"),
    ):
        with pytest.raises(JobError) as caught:
            service._perform(action)
        line = str(caught.value)
        assert "\n" not in line and what in line.partition(";")[0] and os.strerror(errno.EROFS) in line
        assert f"the snapshot after step {EPOCHS} is kept" in line and line.endswith("learn --resume r")

"""The folder of a run's sockets, and its removal after all programs of the run were killed.

    $TMPDIR/exmachina-XXXXXXXX/owner    names the run; locked while a program of the run lives
    $TMPDIR/exmachina-XXXXXXXX/in, out  the sockets of the broker; other sockets are beside them
    $TMPDIR/exmachina-XXXXXXXX/door     the front door, and door.pub for its published messages

The kernel releases the lock when the last program ends. So a folder that is not locked belongs to a dead run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from coordinator.errors import JobError, UserError
from coordinator.front_door import check_door
from coordinator.storage.disk import open_regular
from coordinator.storage.run_folder import RunFolder
from neuron_node.transport import Endpoints

PREFIX = "exmachina-"
OWNER = "owner"
NEW_OWNER = ".owner.new"
DOOR = "door"
LONGEST_PATH_BYTES = 4_096
UNOWNED_AT_LEAST_SECONDS = 60.0
"""A folder without an owner that is younger than this is still being made."""


class SocketFolder(NamedTuple):
    """The folder of a run's sockets. Every program of the run has the open file `lock`."""

    path: Path
    lock: int


def make_socket_folder(run: Path) -> SocketFolder:
    """Make the folder of a run's sockets, and lock it. Raises `OSError`."""
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        lock = os.open(path / NEW_OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(lock, os.fsencode(run.resolve()))
        # The file gets its name only after it is locked.
        (path / NEW_OWNER).rename(path / OWNER)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return SocketFolder(path, lock)


def write_endpoints(directory: RunFolder, broker: Endpoints, door: str) -> None:
    """Write where the broker and the front door of a run listen. Raises `OSError`."""
    directory.write_json("endpoints", {"broker": list(broker), "door": door})


@contextlib.contextmanager
def local_door(directory: RunFolder, broker: Endpoints) -> Iterator[str]:
    """Make a folder for the front door of a coordinator without supervisor, and remove it in the end; give the endpoint.

    Raises:
        JobError: the folder can't be made.
        UserError: its path is too long for a socket.
    """
    try:
        folder = make_socket_folder(directory.path)
    except OSError as fault:
        raise JobError(f"the front door can't be made in {tempfile.gettempdir()}: {fault.strerror or fault}") from None
    try:
        door = check_door("TMPDIR", f"ipc://{folder.path}/{DOOR}")
        write_endpoints(directory, broker, door)
        yield door
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)
        os.close(folder.lock)
        with contextlib.suppress(OSError):
            directory.forget("endpoints")


def remove_remains() -> list[str]:
    """Remove the socket folders of all dead runs of this user; return one line for each."""
    said = []
    for path in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        run = _dead_run(path)
        if run is not None and _removed(path):
            whose = f"the run {run}, which was killed" if run else "a run that was killed at its start"
            said.append(f"removed the sockets of {whose}: {path}")
    return said


def remove_remains_of(directory: RunFolder) -> list[str]:
    """Remove temporary files and sockets of a run that no program uses; return one line for each kind."""
    said = []
    if directory.remove_half_written():
        said.append(f"removed temporary files of the run {directory.path.name}, which was killed")
    try:
        endpoints = directory.read_json("endpoints")
        # Before version 0.3, the file was a list with the endpoints of the broker.
        socket = str(endpoints["door"] if isinstance(endpoints, dict) else endpoints[0])
    except (UserError, LookupError, TypeError):
        socket = ""
    path = Path(socket.removeprefix("ipc://")).parent
    if path.parent == Path(tempfile.gettempdir()) and path.name.startswith(PREFIX):
        # A folder without an owner was made by version 0.1.
        if (_dead_run(path) is not None or not (path / OWNER).exists()) and _removed(path):
            said.append(f"removed the sockets of the run {directory.path.name}, which was killed: {path}")
        if not path.exists():
            directory.forget("endpoints")
    elif socket:
        directory.forget("endpoints")
    return said


def _dead_run(path: Path) -> str | None:
    """Return the name of a dead run with this socket folder, empty if it never had an owner; None if the run may live."""
    try:
        facts = path.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
            return None
        names = set(os.listdir(path))  # noqa: PTH208 - of names alone
        if OWNER not in names:
            unowned = names <= {NEW_OWNER} and time.time() - facts.st_mtime > UNOWNED_AT_LEAST_SECONDS
            return "" if unowned else None
        with open_regular(path / OWNER) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.fsdecode(file.read(LONGEST_PATH_BYTES)) or "?"
    except OSError:
        # A program of the run lives, or another command removes the folder at the same time.
        return None


def _removed(path: Path) -> bool:
    if path.is_symlink() or not path.exists():
        return False
    with contextlib.suppress(OSError):
        shutil.rmtree(path)
    return not path.exists()

"""The disk of a run, and files that are written as a whole or not at all.

Only synced data survive a power failure: the content of a file after `sync`, its name after `sync_folder`. The disk of the
simulator forgets everything else, so that the order of these calls is tested.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Protocol, cast


class Disk(Protocol):
    """The operations on files. All of them raise `OSError`."""

    def read(self, path: Path, most: int) -> bytes:
        """Return the first `most` bytes of a file."""

    def size(self, path: Path) -> int:
        """Return the size of a file in bytes."""

    def write(self, path: Path, content: bytes) -> None:
        """Replace the content of a file."""

    def append(self, path: Path, content: bytes) -> None:
        """Append content to a file."""

    def sync(self, path: Path) -> None:
        """Wait until the content of a file is durable."""

    def sync_folder(self, folder: Path) -> None:
        """Wait until the names in a folder are durable."""

    def rename(self, path: Path, target: Path) -> None:
        """Rename a file, and replace the file that has the new name."""

    def remove(self, path: Path) -> None:
        """Remove a file, if it exists."""

    def make_folder(self, folder: Path) -> None:
        """Create a folder, unless it exists."""

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted; an empty list if there is no such folder."""


class RealDisk:
    """The disk of this machine."""

    def read(self, path: Path, most: int) -> bytes:
        """Return the first `most` bytes of a file."""
        return read_regular(path, most)

    def size(self, path: Path) -> int:
        """Return the size of a file in bytes."""
        return path.stat().st_size

    def write(self, path: Path, content: bytes) -> None:
        """Replace the content of a file."""
        with open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW) as file:
            file.truncate(0)
            file.write(content)

    def append(self, path: Path, content: bytes) -> None:
        """Append content to a file."""
        with open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as file:
            file.write(content)

    def sync(self, path: Path) -> None:
        """Wait until the content of a file is durable."""
        _sync(path)

    def sync_folder(self, folder: Path) -> None:
        """Wait until the names in a folder are durable."""
        _sync(folder)

    def rename(self, path: Path, target: Path) -> None:
        """Rename a file, and replace the file that has the new name."""
        path.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file, if it exists."""
        path.unlink(missing_ok=True)

    def make_folder(self, folder: Path) -> None:
        """Create a folder, unless it exists."""
        folder.mkdir(exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted; an empty list if there is no such folder."""
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


REAL_DISK = RealDisk()


def open_regular(path: Path, flags: int = os.O_RDONLY) -> BinaryIO:
    """Open a regular file, and refuse any other without waiting. Raises `OSError`.

    Opening a FIFO waits for a writer, and a device such as /dev/zero never ends.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        modes = {os.O_RDONLY: "rb", os.O_WRONLY: "wb", os.O_RDWR: "r+b"}
        return cast("BinaryIO", os.fdopen(descriptor, modes[flags & os.O_ACCMODE]))
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int) -> bytes:
    """Read the first `most` bytes of a regular file. Raises `OSError`."""
    with open_regular(path) as file:
        # A read allocates all memory that it may need at once: ask for no more than the file has.
        return file.read(min(most, os.fstat(file.fileno()).st_size))


def is_read_only(folder: Path) -> bool:
    """Whether the file system of a folder refuses all writes, as after a fault of the disk."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def write_whole(path: Path, content: bytes, disk: Disk = REAL_DISK) -> None:
    """Write a temporary file, sync it, rename it, and sync the folder: a crash leaves the old or the new file.

    Only one program may write a file at a time. The next attempt overwrites the temporary file of a crash.

    Raises: `OSError`.
    """
    aside = path.with_name(f".{path.name}.new")
    try:
        disk.write(aside, content)
        disk.sync(aside)
        disk.rename(aside, path)
    except OSError as fault:
        try:
            disk.remove(aside)
        except OSError:
            # The first fault says more.
            raise fault from None
        raise
    disk.sync_folder(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

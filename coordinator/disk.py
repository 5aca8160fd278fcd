"""What a run asks of a disk, and files that are there whole or not at all.

Only what was synced survives a power cut: a file's content after `sync`, its name after `sync_folder`. The simulator has
a disk of its own that forgets everything else, so every order of these calls is tested.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Protocol, cast


class Disk(Protocol):
    """The few things that are done to files. All raise `OSError`."""

    def read(self, path: Path, most: int) -> bytes:
        """The first `most` bytes of a file."""

    def write(self, path: Path, content: bytes) -> None:
        """Put content into a file, in place of what it held."""

    def append(self, path: Path, content: bytes) -> None:
        """Add content at a file's end."""

    def sync(self, path: Path) -> None:
        """Return when the file's content is durable."""

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in a folder are durable."""

    def rename(self, path: Path, target: Path) -> None:
        """Give a file another name, in place of the file that had it."""

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder, if it is not there."""

    def names(self, folder: Path) -> list[str]:
        """The names in a folder, sorted; none if it is not there."""


class RealDisk:
    """The machine's own."""

    def read(self, path: Path, most: int) -> bytes:
        """The first `most` bytes of a file."""
        return read_regular(path, most)

    def write(self, path: Path, content: bytes) -> None:
        """Put content into a file, in place of what it held."""
        with open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW) as file:
            file.truncate(0)
            file.write(content)

    def append(self, path: Path, content: bytes) -> None:
        """Add content at a file's end."""
        with open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as file:
            file.write(content)

    def sync(self, path: Path) -> None:
        """Return when the file's content is durable."""
        _sync(path)

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in a folder are durable."""
        _sync(folder)

    def rename(self, path: Path, target: Path) -> None:
        """Give a file another name, in place of the file that had it."""
        path.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        path.unlink(missing_ok=True)

    def make_folder(self, folder: Path) -> None:
        """Make a folder, if it is not there."""
        folder.mkdir(exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        """The names in a folder, sorted; none if it is not there."""
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


REAL_DISK = RealDisk()


def open_regular(path: Path, flags: int = os.O_RDONLY) -> BinaryIO:
    """Open a file that is stored on a disk, and never wait for one that is not. Raises `OSError`.

    A FIFO would be waited for, and a device such as /dev/zero never ends.
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
    """Read the first `most` bytes of a file that is stored on a disk. Raises `OSError`."""
    with open_regular(path) as file:
        # As much memory as is asked for is taken at once, so no more is asked for than there is.
        return file.read(min(most, os.fstat(file.fileno()).st_size))


def is_read_only(folder: Path) -> bool:
    """Say whether the file system of a folder refuses all writes, as Linux makes it do after a fault of the disk."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def write_whole(path: Path, content: bytes, disk: Disk = REAL_DISK) -> None:
    """Write aside, sync, rename, sync the folder: a crash leaves the old file or the new one. Raises `OSError`.

    One program at a time may write a file; what a crash leaves aside is written over by the next attempt.
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
            # Of a disk that can't be written the first fault tells more.
            raise fault from None
        raise
    disk.sync_folder(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

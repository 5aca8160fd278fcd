"""A disk in memory that keeps what was synced apart from what was not, and forgets the rest when the power is cut.

A file's content is durable after `sync`, its name after `sync_folder`. Until then a power cut may leave the old, the
new, or a torn content, and any of the names on the way from the old to the new one. The end of a program alone loses
nothing that a call had finished; it may end in the middle of any call.
"""

from __future__ import annotations

import errno
from pathlib import Path

from tests.simulation.dice import Dice

Names = dict[str, "Content"]


class Killed(BaseException):
    """The program ended in the middle of a call to the disk."""


class Content:
    """What a file holds, as read now, and as far as a power cut can't take it away."""

    __slots__ = ("durable", "now", "poisoned")

    def __init__(self) -> None:
        self.now = b""
        self.durable: bytes | None = None
        self.poisoned = False
        """A sync of it failed: the system has dropped what it could not write, and a later sync does not bring it back."""


class SimulatedDisk:
    """A `coordinator.storage.disk.Disk`. What goes wrong is set from outside: `failing`, `full`, `calls_to_live`."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._now: dict[str, Names] = {}
        # For each folder the names it had when it was last synced, and after each change since then.
        self._kept: dict[str, list[Names]] = {}
        self.failing = 0.0
        """The share of writing calls that fail."""
        self.full = False
        self.calls_to_live: int | None = None
        self.calls = 0
        self.failures = 0
        self.make_folder(Path("run"))
        self.sync_folder(Path())
        self.sync_folder(Path("run"))

    # What the programs call.

    def read(self, path: Path, most: int) -> bytes:
        """The first `most` bytes of a file."""
        content = self._names(path).get(path.name)
        if content is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return content.now[:most]

    def size(self, path: Path) -> int:
        """The size of a file."""
        return len(self.read(path, 1 << 62))

    def write(self, path: Path, new: bytes) -> None:
        """Put content into a file, in place of what it held."""
        names = self._names(path)
        content = names.get(path.name)
        if content is None:
            content = names[path.name] = Content()
            self._note(path.parent)
        content.poisoned = False
        content.now = b""
        self._put(content, new)

    def append(self, path: Path, new: bytes) -> None:
        """Add content at a file's end."""
        content = self._names(path).get(path.name)
        if content is None:
            self.write(path, new)
        else:
            self._put(content, new)

    def sync(self, path: Path) -> None:
        """Return when the file's content is durable."""
        content = self._names(path)[path.name]
        try:
            self._call()
        except OSError:
            content.poisoned = True
            raise
        if not content.poisoned:
            content.durable = content.now

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in a folder are durable."""
        self._call()
        self._kept[str(folder)] = [dict(self._now.get(str(folder), {}))]

    def rename(self, path: Path, target: Path) -> None:
        """Give a file another name, in place of the file that had it."""
        self._call()
        self._names(target)[target.name] = self._names(path).pop(path.name)
        for folder in {path.parent, target.parent}:
            self._note(folder)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        if self._names(path).pop(path.name, None) is not None:
            self._note(path.parent)

    def make_folder(self, folder: Path) -> None:
        """Make a folder, if it is not there."""
        if str(folder) not in self._now:
            self._call()
            self._now[str(folder)] = {}
            self._kept[str(folder)] = [{}]
            self._now.setdefault(str(folder.parent), {})[folder.name] = Content()
            self._note(folder.parent)

    def names(self, folder: Path) -> list[str]:
        """The names in a folder, sorted; none if it is not there."""
        return sorted(self._now.get(str(folder), {}))

    # What befalls it.

    def cut_power(self) -> None:
        """Whatever was not synced is lost, or torn, or there after all."""
        for folder in sorted(self._kept):
            states = self._kept[folder]
            names = dict(self._dice.pick(states))
            for name in sorted(names):
                names[name] = self._survivor(names[name])
            self._now[folder] = names
            self._kept[folder] = [dict(names)]
        for folder in sorted(self._now):
            parent = str(Path(folder).parent)
            if folder != "." and Path(folder).name not in self._now.get(parent, {}):
                del self._now[folder], self._kept[folder]

    def flip(self, path: Path) -> None:
        """One bit of a file turns, on the medium."""
        old = self._names(path)[path.name].now
        where = self._dice.below(len(old))
        self._become(path, old[:where] + bytes([old[where] ^ (1 << self._dice.below(8))]) + old[where + 1 :])

    def damage(self, path: Path) -> str:
        """A file is lost, cut short, or has a bit turned; what befell it."""
        kind = self._dice.pick(("lost", "cut short", "flipped"))
        if kind == "lost":
            self._names(path).pop(path.name)
            for state in self._kept[str(path.parent)]:
                state.pop(path.name, None)
        elif kind == "cut short":
            old = self._names(path)[path.name].now
            self._become(path, old[: self._dice.below(len(old))])
        else:
            self.flip(path)
        return kind

    def _become(self, path: Path, new: bytes) -> None:
        content = Content()
        content.now = content.durable = new
        self._names(path)[path.name] = content
        for state in self._kept[str(path.parent)]:
            if path.name in state:
                state[path.name] = content

    def durable(self, path: Path) -> bytes | None:
        """What a power cut would certainly leave of a file; None if nothing is certain."""
        contents = [state.get(path.name) for state in self._kept.get(str(path.parent), [{}])]
        first = contents[0]
        if first is None or any(content is not first for content in contents) or first.durable != first.now:
            return None
        return first.durable

    def _survivor(self, content: Content) -> Content:
        if content.durable == content.now:
            return content
        old, new, survivor = content.durable or b"", content.now, Content()
        fate = self._dice.below(4)
        if content.poisoned or fate == 0:
            survivor.now = old
        elif fate == 1:
            survivor.now = new
        elif new.startswith(old):
            survivor.now = new[: self._dice.between(len(old), len(new))]
        else:
            survivor.now = new[: self._dice.between(0, len(new))]
        if fate == 3 and survivor.now is not old:
            # The length was written, the blocks were not.
            survivor.now += bytes(min(7, len(new) - len(survivor.now)))
        survivor.durable = survivor.now
        return survivor

    def _put(self, content: Content, new: bytes) -> None:
        before = content.now
        try:
            self._call(writes=True)
        except (OSError, Killed):
            content.now = before + new[: self._dice.between(0, len(new))]
            raise
        content.now = before + new

    def _call(self, *, writes: bool = False) -> None:
        self.calls += 1
        if self.calls_to_live is not None:
            self.calls_to_live -= 1
            if self.calls_to_live < 0:
                self.calls_to_live = None
                raise Killed
        if self.full and writes:
            self.failures += 1
            raise OSError(errno.ENOSPC, "no space left on device")
        if self.failing and self._dice.falls(self.failing):
            self.failures += 1
            raise OSError(errno.EIO, "input/output error")

    def _names(self, path: Path) -> Names:
        names = self._now.get(str(path.parent))
        if names is None:
            raise FileNotFoundError(errno.ENOENT, "no such folder", str(path.parent))
        return names

    def _note(self, folder: Path) -> None:
        self._kept.setdefault(str(folder), [{}]).append(dict(self._now[str(folder)]))

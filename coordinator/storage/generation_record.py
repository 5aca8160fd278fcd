"""The generation of a run on disk: the same number in two files, each with a checksum."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from coordinator.errors import Damaged
from coordinator.storage.disk import Disk, write_whole

LARGEST_RECORD_BYTES = 1024
LARGEST_GENERATION = 2**62


class GenerationRecord:
    """The files `generation.0` and `generation.1` of a run. If one is damaged, the other is used."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._paths = [folder / "generation.0", folder / "generation.1"]
        self._disk = disk

    def write(self, generation: int) -> None:
        """Make a generation durable, in both copies. Raises `OSError`."""
        content = _encoded(generation)
        for path in self._paths:
            write_whole(path, content, self._disk)

    def read(self) -> int:
        """Return the highest generation of both copies, or 0 if there are none. Raises `Damaged` if no copy is good."""
        found, damaged = [], []
        for path in self._paths:
            try:
                found.append(_generation(self._disk.read(path, LARGEST_RECORD_BYTES)))
            except FileNotFoundError:
                continue
            except (OSError, Damaged) as fault:
                damaged.append(f"{path.name}: {fault}")
        if damaged and not found:
            raise Damaged("; ".join(damaged))
        return max(found, default=0)

    def check(self, name: str) -> int:
        """Return the generation in one copy. Raises `OSError` and `Damaged`."""
        [path] = [path for path in self._paths if path.name == name]
        return _generation(self._disk.read(path, LARGEST_RECORD_BYTES))


def _encoded(generation: int) -> bytes:
    text = json.dumps({"generation": generation})
    return f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}\n".encode()


def _generation(content: bytes) -> int:
    try:
        generation = json.loads(content.partition(b"\n")[0])["generation"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Damaged("it is no record of ours") from None
    if type(generation) is not int or not 0 <= generation <= LARGEST_GENERATION:
        raise Damaged("it holds no generation")
    if content != _encoded(generation):
        raise Damaged("its checksum does not match")
    return generation

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

    def write(self, generation: int, interventions: int = 0) -> None:
        """Make a generation durable, in both copies. Raises `OSError`."""
        content = _encoded(generation, interventions)
        for path in self._paths:
            write_whole(path, content, self._disk)

    def read(self) -> tuple[int, int]:
        """Return the highest generation of both copies, and how many generations were begun by an intervention.

        Both are 0 if there are no copies. Raises `Damaged` if no copy is good.
        """
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
        return max(found, default=(0, 0))

    def check(self, name: str) -> int:
        """Return the generation in one copy. Raises `OSError` and `Damaged`."""
        [path] = [path for path in self._paths if path.name == name]
        return _generation(self._disk.read(path, LARGEST_RECORD_BYTES))[0]


def _encoded(generation: int, interventions: int) -> bytes:
    text = json.dumps({"generation": generation} | ({"interventions": interventions} if interventions else {}))
    return f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}\n".encode()


def _generation(content: bytes) -> tuple[int, int]:
    try:
        record = json.loads(content.partition(b"\n")[0])
        generation, interventions = record["generation"], record.get("interventions", 0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Damaged("it is no record of ours") from None
    if type(generation) is not int or not 0 <= generation <= LARGEST_GENERATION:
        raise Damaged("it holds no generation")
    if type(interventions) is not int or content != _encoded(generation, interventions):
        raise Damaged("its checksum does not match")
    return generation, interventions

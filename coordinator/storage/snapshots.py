"""The snapshots of a run on disk, with checksums.

    snapshots/step-000000150.snapshot   magic, SHA-256 of the rest, then the groups' states as safetensors, and as
                                        metadata the step, the generation, the progress, the identity of the run, and
                                        a digest of each group's state that is bound to the group and the step

A file is written under a temporary name, synced, renamed, and its folder is synced. The last two snapshots are kept. If the
checksums show damage, the previous snapshot is used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from coordinator.core.events import Snapshot
from coordinator.core.journal import Changes
from coordinator.core.training import Epoch, Progress
from coordinator.errors import Damaged
from coordinator.storage.disk import Disk, write_whole
from coordinator.storage.run_log import Extent
from coordinator.topology import Topology
from neuron_node.activations import Array
from neuron_node.protocol import State, state_of

HEADER_LENGTH_BYTES = 8
MAGIC = b"exmachina snapshot 1\n"
DIGEST_LENGTH = 32
KEPT = 2
HALF_WRITTEN = re.compile(r"\.step-\d{9,18}\.snapshot\.new")
LARGEST_SNAPSHOT_BYTES = 16 * 1024**3
LARGEST_BRANCH = 10**9 - 1
LARGEST_HEADER_BYTES = 256 * 1024**2

LetGo = Callable[[Path, int, Sequence[Epoch], int], None]
"""Receives the file and the step of a snapshot, the metrics of all epochs of its branch so far, and the branch."""

logger = logging.getLogger("exmachina")


class Saved(NamedTuple):
    """A snapshot, its generation, and the extent of metrics.csv at that time; None in a snapshot of version 0.1."""

    snapshot: Snapshot
    generation: int
    metrics: Extent | None = None


class SnapshotStore:
    """The snapshots of one run."""

    def __init__(self, folder: Path, identity: str, disk: Disk, let_go: LetGo | None = None) -> None:
        """`identity` stands for run, network, data and arithmetic. Snapshots with another identity are not loaded.

        `let_go` receives each snapshot that is no longer one of the last two, instead of its removal.
        """
        self._let_go = let_go
        self._folder = folder / "snapshots"
        self._identity = identity
        self._disk = disk
        self._branches: dict[int, int] = {}
        """The branch of each snapshot, by its step, as far as this process has read or written it."""

    def write(self, snapshot: Snapshot, generation: int, metrics: Extent | None = None) -> None:
        """Make a snapshot durable, then remove older ones. Raises `OSError`.

        If the run went back to begin a branch, later snapshots of other branches are removed too.
        """
        names = self._disk.names(self._folder)
        if not names:
            self._disk.make_folder(self._folder)
            self._disk.sync_folder(self._folder.parent)
        branch, epochs = snapshot.changes.branch, snapshot.progress.epochs
        for later in steps_in(names):
            if later >= snapshot.step and self._branch_of(later, branch) != branch:
                self._remove(later, branch, epochs)
        write_whole(
            self._path(snapshot.step), encode_snapshot(snapshot, generation, self._identity, metrics), self._disk
        )
        self._branches[snapshot.step] = branch
        names = self._disk.names(self._folder)
        for old in sorted(steps_in(names), key=lambda step: (self._branch_of(step, branch), step))[:-KEPT]:
            self._remove(old, branch, epochs)
        # Remove the temporary files of killed processes too.
        for name in filter(HALF_WRITTEN.fullmatch, names):
            self._disk.remove(self._folder / name)

    def _remove(self, step: int, present: int, epochs: Sequence[Epoch]) -> None:
        """Remove a snapshot, or let it go; `epochs` are the metrics of the present branch. Raises `OSError`."""
        path, branch = self._path(step), self._branch_of(step, present)
        if self._let_go is None:
            self._disk.remove(path)
        else:
            self._let_go(path, step, epochs if branch == present else header_of(self._disk, path).epochs, branch)
        self._branches.pop(step, None)

    def _branch_of(self, step: int, present: int) -> int:
        """Return the branch of a snapshot; the present one for a damaged file. Raises `OSError`."""
        if step not in self._branches:
            try:
                self._branches[step] = header_of(self._disk, self._path(step)).branch
            except Damaged:
                return present
        return self._branches[step]

    def latest(
        self,
        topology: Topology,
        damaged: Callable[[str], None] = lambda _line: None,
        belongs: Callable[[Snapshot], bool] = lambda _snapshot: True,
    ) -> Saved | None:
        """Return the latest snapshot that is complete and belongs to this run, or None; report others to `damaged`.

        `belongs` says whether the present branch of the run continues from a snapshot.

        Raises: `OSError`.
        """
        for step in reversed(self.steps()):
            try:
                saved = self.check(step, topology)
            except (OSError, Damaged) as fault:
                line = f"the snapshot after step {step:,} can't be used ({_reason(fault)})"
                logger.error("%s; looking at the one before", line)
                damaged(line)
            else:
                if belongs(saved.snapshot):
                    self._make_durable(step)
                    return saved
        return None

    def check(self, step: int, topology: Topology) -> Saved:
        """Return the snapshot after a step. Raises `OSError` and `Damaged`."""
        saved = decode_snapshot(self._disk.read(self._path(step), LARGEST_SNAPSHOT_BYTES), self._identity, topology)
        if saved.snapshot.step != step:
            raise Damaged(f"it holds step {saved.snapshot.step}")
        return saved

    def kept(self) -> Iterator[tuple[int, int, bool]]:
        """List the snapshots: step, size, and whether the checksum is right."""
        for step in self.steps():
            content, whole = b"", True
            try:
                content = self._disk.read(self._path(step), LARGEST_SNAPSHOT_BYTES)
                _payload(content)
            except FileNotFoundError:
                # The run has replaced this snapshot in the meantime.
                continue
            except (OSError, Damaged):
                whole = False
            yield step, len(content), whole

    def steps(self) -> list[int]:
        """Return the steps that have a file, damaged or not, in order."""
        return steps_in(self._disk.names(self._folder))

    def _make_durable(self, step: int) -> None:
        """Sync the folder: the process that wrote a snapshot may have ended just before it did so."""
        self._disk.sync(self._path(step))
        for folder in (self._folder, self._folder.parent):
            self._disk.sync_folder(folder)

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:09d}.snapshot"


def steps_in(names: Iterable[str]) -> list[int]:
    """Return the steps of the snapshots among the names of a folder, in order."""
    found = (re.fullmatch(r"step-(\d{9,18})\.snapshot", name) for name in names)
    return sorted(int(match[1]) for match in found if match)


def encode_snapshot(snapshot: Snapshot, generation: int, identity: str, metrics: Extent | None = None) -> bytes:
    """Encode a snapshot, with size and digest of metrics.csv at that time."""
    tensors: dict[str, Array] = {}
    for group, state in snapshot.states.items():
        tensors[f"{group}.bias"] = np.ascontiguousarray(state.bias)
        tensors[f"{group}.weights"] = np.ascontiguousarray(state.weights)
    facts = {
        "step": str(snapshot.step),
        "generation": str(generation),
        "identity": identity,
        "progress": json.dumps(asdict(snapshot.progress)),
        "digests": json.dumps(
            {str(group): _digest(group, snapshot.step, state) for group, state in snapshot.states.items()}
        ),
    }
    if snapshot.changes != Changes():
        facts["changes"] = json.dumps(snapshot.changes._asdict())
    if metrics is not None:
        facts["metrics"] = json.dumps(metrics._asdict())
    payload = _in_order(save(tensors, facts))
    return MAGIC + hashlib.sha256(payload).digest() + payload


def _in_order(payload: bytes) -> bytes:
    """Return the same safetensors file with a sorted header. The library writes the metadata in an order that differs each time.

    The file begins with the length of its header, which is JSON and may end with spaces.
    """
    begin = HEADER_LENGTH_BYTES + int.from_bytes(payload[:HEADER_LENGTH_BYTES], "little")
    header = json.loads(payload[HEADER_LENGTH_BYTES:begin])
    in_order = json.dumps(header, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return payload[:HEADER_LENGTH_BYTES] + in_order.ljust(begin - HEADER_LENGTH_BYTES) + payload[begin:]


def decode_snapshot(content: bytes, identity: str, topology: Topology) -> Saved:
    """Decode a snapshot of this run. Raises `Damaged` if a single byte is wrong."""
    payload = _payload(content)
    try:
        tensors = load(payload)
        header = json.loads(payload[8 : 8 + int.from_bytes(payload[:8], "little")])["__metadata__"]
        progress = _progress(json.loads(header["progress"]))
        digests = dict(json.loads(header["digests"]))
        step, generation = int(header["step"]), int(header["generation"])
        states = {
            number: state_of(tensors[f"{number}.bias"], tensors[f"{number}.weights"]) for number in topology.groups
        }
        belongs = header["identity"] == identity
        changes = _changes(json.loads(header.get("changes", "{}")), topology)
        metrics = Extent.from_json(header["metrics"]) if "metrics" in header else None
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as fault:
        raise Damaged(f"{type(fault).__name__}: {fault}") from None
    if not belongs:
        raise Damaged("it belongs to another run, network, data or arithmetic")
    if len(tensors) != 2 * len(states) or progress.step != step:
        raise Damaged("its parts are not those of this network after this step")
    for number, state in states.items():
        group = topology.groups[number]
        fan_out = sum(topology.groups[below].size for below in topology.receivers[number])
        if state.bias.shape != (1, group.size) or state.weights.shape != (group.size, fan_out):
            raise Damaged(f"the state of {group.names[0]} has another shape")
        if not state.bias.dtype == state.weights.dtype == np.float64:
            raise Damaged(f"the state of {group.names[0]} is of another type")
        if digests.get(str(number)) != _digest(number, step, state):
            raise Damaged(f"the state of {group.names[0]} is another's")
    return Saved(Snapshot(step, states, progress, changes), generation, metrics)


class Header(NamedTuple):
    """Facts in the header of a snapshot: the metrics of all epochs, and the branch."""

    epochs: tuple[Epoch, ...]
    branch: int


def header_of(disk: Disk, path: Path) -> Header:
    """Read the header of a snapshot, without its numbers. Raises `OSError` and `Damaged`."""
    start = len(MAGIC) + DIGEST_LENGTH + 8
    content = disk.read(path, start)
    length = int.from_bytes(content[start - 8 :], "little")
    if content[: len(MAGIC)] != MAGIC or len(content) < start or length > LARGEST_HEADER_BYTES:
        raise Damaged("it is no snapshot")
    try:
        facts = json.loads(disk.read(path, start + length)[start:])["__metadata__"]
        branch = json.loads(facts.get("changes", "{}")).get("branch", 0)
        if type(branch) is not int or not 0 <= branch <= LARGEST_BRANCH:
            raise TypeError("a whole number belongs there")
        return Header(_progress(json.loads(facts["progress"])).epochs, branch)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise Damaged(f"{type(fault).__name__}: {fault}") from None


def _reason(fault: Exception) -> str:
    return str(fault.strerror or fault) if isinstance(fault, OSError) else str(fault)


def _payload(content: bytes) -> bytes:
    """Return the bytes after the checksum, if it is right. Raises `Damaged`."""
    start = len(MAGIC) + DIGEST_LENGTH
    if content[: len(MAGIC)] != MAGIC or len(content) < start + 8:
        raise Damaged("it is no snapshot")
    payload = content[start:]
    if hashlib.sha256(payload).digest() != content[len(MAGIC) : start]:
        raise Damaged("its checksum does not match")
    return payload


def _digest(group: int, step: int, state: State) -> str:
    """Return the digest of the state of a group after a step; it differs for each group and step."""
    digest = hashlib.sha256(f"{group} {step} ".encode())
    digest.update(np.ascontiguousarray(state.bias).data)
    digest.update(np.ascontiguousarray(state.weights).data)
    return digest.hexdigest()


def _changes(fields: Any, topology: Topology) -> Changes:
    if not isinstance(fields, dict):
        raise TypeError("an object belongs there")
    changes = Changes(**{**fields, "silent": tuple(fields.get("silent", ()))})
    if type(changes.branch) is not int or type(changes.applied) is not int:
        raise TypeError("whole numbers belong there")
    if type(changes.learning_rate) not in (float, type(None)) or not all(
        name in topology.group_of for name in changes.silent
    ):
        raise TypeError("a rate and names of neurons belong there")
    return changes


def _progress(fields: Any) -> Progress:
    if not isinstance(fields, dict):
        raise TypeError("an object belongs there")
    epochs, recent = fields.pop("epochs"), fields.pop("recent")
    if not isinstance(epochs, list) or not isinstance(recent, list):
        raise TypeError("lists belong there")
    return Progress(**fields, epochs=tuple(Epoch(*epoch) for epoch in epochs), recent=tuple(recent))

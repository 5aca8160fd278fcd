"""Writes the folder of keys that `neuron_node/keys.py` reads.

A file appears as a whole or not at all. The secrets are written before the public part, so a key that others know can always be
used. Only one command at a time changes a folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from coordinator.errors import UserError
from neuron_node.curve import new_curve_pair
from neuron_node.ed25519 import new_signing_pair
from neuron_node.keys import (
    BROKER,
    COORDINATOR,
    MOST_KEYS,
    NODE,
    OPERATOR,
    SUFFIX,
    VIEWER,
    KeysFolder,
    PublicKeys,
    SecretKeys,
    check_name,
)

DEFAULT_NODE, DEFAULT_OPERATOR, DEFAULT_VIEWER = "neurons", "operator", "viewer"
"""The names of the first keys of a node, an operator and a viewer."""
SECRET_MODE, PUBLIC_MODE = 0o600, 0o644
SECRET_FOLDER_MODE, PUBLIC_FOLDER_MODE = 0o700, 0o755


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Keyring:
    """A folder of keys that may be changed."""

    def __init__(self, path: Path, time: Callable[[], str] = now) -> None:
        self._folder = KeysFolder(path)
        self._time = time

    def init(self, places: int, *, keep: bool = False, viewer: bool = False) -> list[PublicKeys]:
        """Create the keys of the broker and the coordinator, and of a first node and a first operator; return the new ones.

        With `viewer`, a first viewer gets one too. With `keep`, existing keys stay, and missing ones are created.

        Raises:
            UserError: there are keys already, or the folder can't be written.
        """
        first = [(BROKER, BROKER, 0), (COORDINATOR, COORDINATOR, 0), (DEFAULT_NODE, NODE, places)]
        first += [(DEFAULT_OPERATOR, OPERATOR, 0), *([(DEFAULT_VIEWER, VIEWER, 0)] if viewer else [])]
        with self._locked(create=True):
            known = self._folder.holders()
            if known and not keep:
                raise UserError(
                    f"{self._folder.path} has {len(known):,} keys already; `coordinator keys list` shows them"
                )
            return [
                self._create(name, role, count) for name, role, count in first if not self._is_complete(known.get(name))
            ]

    def _is_complete(self, known: PublicKeys | None) -> bool:
        return known is not None and self._folder.secret(known.role, known.name).exists()

    def add(self, name: str, role: str, places: int = 0) -> PublicKeys:
        """Create the key of another holder. Raises `UserError` if the name is taken, invalid, or one too many."""
        check_name(name)
        with self._locked():
            known = self._folder.holders()
            if name in known:
                raise UserError(f"there is a key {name} already ({known[name].role}); take another name, or rotate it")
            if len(known) >= MOST_KEYS:
                raise UserError(f"{self._folder.path} has {len(known):,} keys, the most that are allowed")
            if name in (BROKER, COORDINATOR):
                raise UserError(f"{name} is the name of the {name}'s own key; take another name")
            return self._create(name, role, places)

    def holders(self) -> dict[str, PublicKeys]:
        """Return the public parts of all holders. Raises `UserError`."""
        return self._folder.holders()

    def has_secret(self, holder: PublicKeys) -> bool:
        """Whether the secrets of a holder are in this folder."""
        return self._folder.secret(holder.role, holder.name).exists()

    def revoke(self, name: str) -> PublicKeys:
        """Mark a key as revoked. Raises `UserError` if there is no such key, or if it is the broker's or the coordinator's."""
        with self._locked():
            holder = self._known(name)
            if holder.role in (BROKER, COORDINATOR):
                raise UserError(
                    f"without a key, no {name} can run; replace it: coordinator keys rotate {name} --keys {self._folder.path}"
                )
            if not holder.revoked:
                holder = holder._replace(revoked=self._time())
                self._write_public(holder)
            return holder

    def rotate(self, name: str) -> PublicKeys:
        """Replace the keys of a holder; the old ones are then unknown. Raises `UserError` if there is no such key."""
        with self._locked():
            holder = self._known(name)
            return self._create(name, holder.role, holder.places)

    def export(self, name: str, target: Path) -> None:
        """Write the secrets of one holder, and all public parts, into a new folder. Raises `UserError`."""
        files = self._files_for(name)
        try:
            target.mkdir(mode=SECRET_FOLDER_MODE)
        except FileExistsError:
            raise UserError(f"{target} exists already; name a new folder") from None
        except OSError as fault:
            raise UserError(f"{target} can't be created: {fault.strerror or fault}") from None
        for path, content, mode in files:
            _write(target / path, content, mode)

    def export_archive(self, name: str, output: BinaryIO) -> None:
        """Write the same folder as a tar archive. Raises `UserError`."""
        with tarfile.open(fileobj=output, mode="w|") as archive:
            for path, content, mode in self._files_for(name):
                entry = tarfile.TarInfo(f"keys/{path}")
                entry.size, entry.mode = len(content), mode
                archive.addfile(entry, io.BytesIO(content))

    def _files_for(self, name: str) -> list[tuple[Path, bytes, int]]:
        """Return path, content and mode of each file that a holder needs."""
        holder = self._known(name)
        self._folder.own([holder.role], name)
        secret = self._folder.secret(holder.role, name)
        public = (self._folder.public / f"{each}{SUFFIX}" for each in self._folder.holders())
        try:
            return [
                (secret.relative_to(self._folder.path), secret.read_bytes(), SECRET_MODE),
                *((path.relative_to(self._folder.path), path.read_bytes(), PUBLIC_MODE) for path in public),
            ]
        except OSError as fault:
            raise UserError(f"{fault.filename} can't be read: {fault.strerror or fault}") from None

    def _known(self, name: str) -> PublicKeys:
        known = self._folder.holders()
        if name not in known:
            raise UserError(f"there is no key {name[:80]!r}; `coordinator keys list` shows all keys")
        return known[name]

    def _create(self, name: str, role: str, places: int) -> PublicKeys:
        """Write new keys of a holder, the secrets first."""
        curve_public, curve_secret = new_curve_pair()
        sign_public, sign_secret = new_signing_pair() if role == COORDINATOR else (b"", b"")
        secret = SecretKeys(name, role, curve_public, curve_secret, sign_public, sign_secret)
        public = PublicKeys(name, role, places, self._time(), curve_public, sign_public)
        fields = {field: _text(getattr(secret, field)) for field in ("name", "role", *SECRET_FIELDS)}
        _write(self._folder.secret(role, name), _document(fields), SECRET_MODE)
        self._write_public(public)
        return public

    def _write_public(self, holder: PublicKeys) -> None:
        fields = {field: _text(value) for field, value in holder._asdict().items()}
        _write(self._folder.public / f"{holder.name}{SUFFIX}", _document(fields), PUBLIC_MODE)

    @contextlib.contextmanager
    def _locked(self, *, create: bool = False) -> Iterator[None]:
        """Wait until no other command changes the folder. Raises `UserError` if it can't be used."""
        public = self._folder.public
        try:
            if create:
                self._folder.path.mkdir(mode=SECRET_FOLDER_MODE, parents=True, exist_ok=True)
                _make_folder(public, PUBLIC_FOLDER_MODE)
            lock = os.open(public, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as fault:
            raise UserError(_unusable(self._folder.path, fault)) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


SECRET_FIELDS = ("curve_public", "curve_secret", "sign_public", "sign_secret")


def rows_of(holders: Iterable[PublicKeys]) -> list[dict[str, object]]:
    """Return holders as plain data, without their full keys."""
    return [
        {
            "name": holder.name,
            "role": holder.role,
            "places": holder.places or None,
            "created": holder.created,
            "fingerprint": holder.fingerprint,
            "revoked": holder.revoked or None,
        }
        for holder in holders
    ]


def _text(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


def _document(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, indent=2).encode() + b"\n"


def _make_folder(folder: Path, mode: int) -> None:
    """Create a folder with this mode, unless it exists."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=mode)
        folder.chmod(mode)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file with this mode, as a whole or not at all. Raises `UserError`."""
    aside = path.with_name(f".{path.name}.new")
    try:
        _make_folder(path.parent, SECRET_FOLDER_MODE if mode == SECRET_MODE else PUBLIC_FOLDER_MODE)
        aside.unlink(missing_ok=True)
        # The file never had another mode: a reader that opened it before a change could go on reading.
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        aside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as fault:
        raise UserError(f"{path} can't be written: {fault.strerror or fault}") from None


def _unusable(folder: Path, fault: OSError) -> str:
    if fault.errno == errno.ENOENT:
        return f"{folder} has no keys; create them: coordinator keys init --keys {folder}"
    return f"{folder} can't be used: {fault.strerror or fault}"

"""Key files: the keys that a program holds, and the public keys of all other holders.

A folder of keys has one folder of public parts, and one folder of secrets for each role:

    FOLDER/public/NAME.json     the public part of every holder; not secret, needed by every program
    FOLDER/ROLE/NAME.json       the secrets of one holder, mode 0600; needed by that program only

All keys are 32 bytes, in hexadecimal. `curve_public` and `curve_secret` are the key pair of CURVE. The coordinator also has
`sign_secret`, an Ed25519 seed, and `sign_public`, by which nodes verify its control messages. `coordinator keys` writes the
files (coordinator/security); this module reads them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from neuron_node.errors import UserError

BROKER, COORDINATOR, NODE, OPERATOR, VIEWER = ROLES = ("broker", "coordinator", "node", "operator", "viewer")
"""The roles of holders. There is one broker and one coordinator, and each has the name of its role."""
PUBLIC = "public"
SUFFIX = ".json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_IN_WORDS = "up to 64 letters, digits, dots, - and _, beginning with a letter or a digit"
MOST_KEYS = 1_000
MOST_PLACES = 65_536
KEY_BYTES = 32
LARGEST_FILE_BYTES = 4_096
LONGEST_TIME = 40
FINGERPRINT_LENGTH = 16
READ_BY_OTHERS = stat.S_IRWXG | stat.S_IRWXO
VARIABLE = "EXMACHINA_KEYS"


class PublicKeys(NamedTuple):
    """The public part of a holder's keys."""

    name: str
    role: str
    places: int
    """The number of node programs that may use the key; 0 for other roles."""
    created: str
    """The time, in ISO 8601 and UTC."""
    curve_public: bytes
    sign_public: bytes = b""
    """The coordinator's key to verify its signatures; empty for other roles."""
    revoked: str = ""
    """The time when the key was revoked; empty for a valid key."""

    @property
    def fingerprint(self) -> str:
        """A short name of the public key, for people to compare."""
        return fingerprint_of(self.curve_public)

    @property
    def user(self) -> str:
        """The ZAP User-Id of the holder: `role:name`."""
        return f"{self.role}:{self.name}"


class SecretKeys:
    """The keys of this program. Its text does not show them, so no log and no traceback can."""

    __slots__ = ("curve_public", "curve_secret", "name", "role", "sign_public", "sign_secret")

    def __init__(
        self, name: str, role: str, curve_public: bytes, curve_secret: bytes, sign_public: bytes, sign_secret: bytes
    ) -> None:
        self.name = name
        self.role = role
        self.curve_public = curve_public
        self.curve_secret = curve_secret
        self.sign_public = sign_public
        self.sign_secret = sign_secret

    def __repr__(self) -> str:
        return f"SecretKeys({self.role}:{self.name}, {fingerprint_of(self.curve_public)})"


class KeysFolder:
    """A folder of keys, as far as this program may read it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def public(self) -> Path:
        """The folder of all public parts."""
        return self.path / PUBLIC

    def secret(self, role: str, name: str) -> Path:
        """Return the path of the secrets of a holder."""
        return self.path / role / f"{name}{SUFFIX}"

    def holders(self) -> dict[str, PublicKeys]:
        """Return the public parts of all holders by name, in order.

        Raises:
            UserError: the folder or one of its files can't be read, or a file is damaged.
        """
        try:
            with os.scandir(self.public) as entries:
                names = sorted(entry.name for entry in entries if entry.name.endswith(SUFFIX) and entry.name[0] != ".")
        except OSError as fault:
            raise UserError(_no_keys(self.path, fault)) from None
        if len(names) > MOST_KEYS:
            raise UserError(f"{self.public} has {len(names):,} keys; at most {MOST_KEYS:,} are allowed")
        return {name.removesuffix(SUFFIX): read_public(self.public / name) for name in names}

    def holder(self, name: str) -> PublicKeys:
        """Return the public part of one holder, such as the broker. Raises `UserError` if there is none."""
        return read_public(self.public / f"{name}{SUFFIX}")

    def version(self) -> tuple[tuple[str, int, int], ...]:
        """Return a value that changes when a public part is written or removed. Empty if the folder can't be read.

        A file that is replaced has another inode, so two changes within one tick of the file system's clock differ too.
        """
        try:
            with os.scandir(self.public) as entries:
                found = [
                    (entry.name, entry.inode(), entry.stat().st_mtime_ns) for entry in islice(entries, MOST_KEYS + 1)
                ]
        except OSError:
            return ()
        return tuple(sorted(found))

    def own(self, roles: Sequence[str], name: str = "") -> SecretKeys:
        """Return the secrets of this program. Without a name, the folder must hold the key of only one holder of these roles.

        Raises:
            UserError: there is no such key, it is revoked or damaged, or others can read its file.
        """
        role, name = self._only(roles, name)
        keys = read_secret(self.secret(role, name))
        known = self.holder(keys.name)
        if known.revoked:
            raise UserError(f"the key {keys.name} was revoked on {known.revoked}; ask for another one")
        if (known.role, known.curve_public) != (keys.role, keys.curve_public):
            raise UserError(
                f"{self.secret(role, keys.name)} is not the present key of {known.user}; copy both parts of the key again"
            )
        return keys

    def _only(self, roles: Sequence[str], name: str) -> tuple[str, str]:
        """Return role and name of the only holder of these roles whose secrets are here, or of the one with this name."""
        found = [(role, other) for role in roles for other in self._names(role) if name in ("", other)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(other for _, other in found[:5])
            raise UserError(f"{self.path} has {len(found):,} keys to choose from ({names}); name yours with --key NAME")
        kind = f"{'an' if roles[0] == OPERATOR else 'a'} {' or '.join(roles)}"
        if name:
            raise UserError(f"{self.path} has no key {name[:80]} of {kind}; `coordinator keys list` shows all keys")
        make = "init" if set(roles) & {BROKER, COORDINATOR} else f"add-{roles[0]} NAME"
        raise UserError(f"{self.path} has no key of {kind}; create one: coordinator keys {make} --keys {self.path}")

    def _names(self, role: str) -> list[str]:
        """Return the names of the holders of a role whose secrets are here, in order."""
        folder = self.path / role
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries if entry.name.endswith(SUFFIX) and entry.name[0] != "."]
        except FileNotFoundError:
            return []
        except OSError as fault:
            raise UserError(f"{folder} can't be read: {fault.strerror or fault}") from None
        return sorted(name.removesuffix(SUFFIX) for name in names)


def folder_from(option: str | os.PathLike[str] | None) -> KeysFolder | None:
    """Return the folder that the option --keys or the variable EXMACHINA_KEYS names; None if neither is set."""
    path = option or os.environ.get(VARIABLE)
    return KeysFolder(Path(path)) if path else None


def fingerprint_of(public: bytes) -> str:
    """Return a short name of a public key, for people to compare."""
    return hashlib.sha256(public).hexdigest()[:FINGERPRINT_LENGTH]


def check_name(name: str) -> str:
    """Return the name of a holder, checked. Raises `UserError` if it is invalid."""
    if not NAME.fullmatch(name):
        raise UserError(f"{name[:80]!r} is no name of a key; right would be {NAME_IN_WORDS}")
    return name


def read_public(path: Path) -> PublicKeys:
    """Read the public part of a holder. Raises `UserError` if the file is missing or damaged."""
    fields = _read(path, secret=False)
    _check_fields(path, fields, frozenset(PublicKeys._fields))
    name, role = _holder(path, fields)
    places = fields["places"]
    if type(places) is not int or not 0 <= places <= MOST_PLACES:
        raise _damaged(path, f"places is no number from 0 to {MOST_PLACES:,}")
    times = [fields["created"], fields["revoked"]]
    if not all(isinstance(time, str) and len(time) <= LONGEST_TIME and time.isprintable() for time in times):
        raise _damaged(path, "created and revoked must be times")
    signs = _key(path, fields, "sign_public") if role == COORDINATOR else b""
    return PublicKeys(name, role, places, times[0], _key(path, fields, "curve_public"), signs, times[1])


def read_secret(path: Path) -> SecretKeys:
    """Read the secrets of a holder. Raises `UserError` if the file is missing or damaged, or if others can read it."""
    fields = _read(path, secret=True)
    _check_fields(path, fields, frozenset(SecretKeys.__slots__))
    name, role = _holder(path, fields)
    curve = _key(path, fields, "curve_public"), _key(path, fields, "curve_secret")
    signs = role == COORDINATOR
    sign = [_key(path, fields, field) if signs else b"" for field in ("sign_public", "sign_secret")]
    return SecretKeys(name, role, *curve, *sign)


def _read(path: Path, *, secret: bool) -> Mapping[str, Any]:
    """Read a file of keys without waiting for a FIFO, and return its fields, unchecked."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            if secret and status.st_mode & READ_BY_OTHERS:
                mode = stat.S_IMODE(status.st_mode)
                raise UserError(f"{path} can be read by others (mode {mode:04o}); type: chmod 600 {path}")
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as fault:
        raise UserError(_no_key(path, fault)) from None
    if len(content) > LARGEST_FILE_BYTES:
        raise _damaged(path, f"it has more than {LARGEST_FILE_BYTES:,} bytes")
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        # The error would quote the file.
        raise _damaged(path, "it is no JSON") from None
    if not isinstance(fields, dict):
        raise _damaged(path, "it is no JSON object")
    return fields


def _check_fields(path: Path, fields: Mapping[str, Any], expected: frozenset[str]) -> None:
    if missing := sorted(expected - fields.keys()):
        raise _damaged(path, f"{missing[0]} is missing")
    if len(fields) > len(expected):
        raise _damaged(path, "it has an unknown field")


def _holder(path: Path, fields: Mapping[str, Any]) -> tuple[str, str]:
    """Return name and role, which must agree with the name of the file."""
    name, role = fields["name"], fields["role"]
    if not isinstance(name, str) or name != path.name.removesuffix(SUFFIX) or not NAME.fullmatch(name):
        raise _damaged(path, "its name is not the name of the file")
    if role not in ROLES or (role in (BROKER, COORDINATOR)) != (name in (BROKER, COORDINATOR)):
        raise _damaged(path, f"role is not {', '.join(ROLES[:-1])} or {ROLES[-1]}")
    return name, role


def _key(path: Path, fields: Mapping[str, Any], field: str) -> bytes:
    text = fields[field]
    if not (isinstance(text, str) and re.fullmatch(f"[0-9a-f]{{{2 * KEY_BYTES}}}", text)):
        # Do not quote the value: it may be a secret.
        raise _damaged(path, f"{field} is no key of {KEY_BYTES} bytes in hexadecimal")
    return bytes.fromhex(text)


def _damaged(path: Path, why: str) -> UserError:
    name = path.name.removesuffix(SUFFIX)
    return UserError(
        f"{path} is damaged: {why}; copy the file again, or replace the key: coordinator keys rotate {name}"
    )


def _no_keys(folder: Path, fault: OSError) -> str:
    if fault.errno == errno.ENOENT:
        return f"{folder} has no keys; create them: coordinator keys init --keys {folder}"
    return f"{folder} can't be read: {fault.strerror or fault}"


def _no_key(path: Path, fault: OSError) -> str:
    if fault.errno == errno.ENOENT:
        return f"there is no key {path}; `coordinator keys list` shows all keys"
    return f"{path} can't be read: {fault.strerror or fault}"

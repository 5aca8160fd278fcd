"""Every error of Exmachina, in one place. Whose fault is it? The class says.

* `PeerError`: another program sent something that can't be used. It is counted, logged once a sender, and dropped.
* `UserError`: the person at the keyboard asked for something impossible. One line, exit 2, no traceback.
* `JobError`: the job was well-formed but failed (it diverged, a program could not be started). One line, exit 1.
* `InternalError`: our own shell or machine broke its contract. A traceback is right: it is a bug.
"""

from __future__ import annotations


class ExmachinaError(Exception):
    """The root of the tree."""


class PeerError(ExmachinaError):
    """A message that another program sent can't be used; `reason` names the class of fault for the counters."""

    reason = "peer"


class Malformed(PeerError):
    """Not a message of ours: not msgpack, wrong field count, wrong type, out of bounds."""

    reason = "malformed"


class Oversized(PeerError):
    """Larger than the protocol allows."""

    reason = "oversized"


class WrongVersion(PeerError):
    """A message of another protocol version."""

    reason = "version"

    def __init__(self, version: int, kind: int = 0, sender: bytes = b"") -> None:
        super().__init__(f"protocol version {version}")
        self.version = version
        self.kind = kind
        self.sender = sender


class WrongShape(PeerError):
    """Numbers of another shape than the receiver's place in the network asks for."""

    reason = "shape"


class Duplicate(PeerError):
    """A second copy of a frame: the first one counts. Its `attempt` may still ask for a repetition."""

    reason = "duplicate"

    def __init__(self, attempt: int) -> None:
        super().__init__("a second copy; the first one counts")
        self.attempt = attempt


class NotFinite(PeerError):
    """A NaN or an infinity where numbers belong."""

    reason = "not finite"


class Stale(PeerError):
    """Of another run, generation, pass or incarnation: it counts for nothing."""

    reason = "stale"


class Unexpected(PeerError):
    """A well-formed message that the receiver's present state has no transition for."""

    reason = "unexpected"


class UserError(ExmachinaError):
    """What was wrong, where, and what would be right: in one line. The command line exits with 2."""


class JobError(ExmachinaError):
    """The job failed for a reason that one line can tell. The command line exits with 1."""


class InternalError(ExmachinaError):
    """A contract between our own parts was broken."""

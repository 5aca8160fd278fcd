"""All errors of Exmachina. The class says which side is at fault.

* `PeerError`: another program sent an invalid frame. The receiver counts it, logs it once per sender, and drops it.
* `UserError`: the user asked for something impossible. The program prints one line and exits with 2, without a traceback.
* `JobError`: a valid job failed (it diverged, a program could not be started). The program prints one line and exits with 1.
* `InternalError`: the program itself has a bug. It ends with a traceback.
"""

from __future__ import annotations


class ExmachinaError(Exception):
    """The base class of all errors."""


class PeerError(ExmachinaError):
    """A frame from another program is invalid; `reason` is the name under which it is counted."""

    reason = "peer"


class Malformed(PeerError):
    """The bytes are no message of this protocol: not msgpack, wrong number of fields, wrong type, or out of bounds."""

    reason = "malformed"


class Oversized(PeerError):
    """The frame is larger than the protocol allows, or larger than any data frame for the receiver's groups."""

    reason = "oversized"


class WrongVersion(PeerError):
    """The message has another protocol version."""

    reason = "version"

    def __init__(self, version: int, kind: int = 0, sender: bytes = b"") -> None:
        super().__init__(f"protocol version {version}")
        self.version = version
        self.kind = kind
        self.sender = sender


class WrongShape(PeerError):
    """The numbers have another shape than the receiver's role and the pass require."""

    reason = "shape"


class Duplicate(PeerError):
    """The frame has arrived before. Its `attempt` may still ask for a repetition."""

    reason = "duplicate"

    def __init__(self, attempt: int) -> None:
        super().__init__("a duplicate; the first copy counts")
        self.attempt = attempt


class NotFinite(PeerError):
    """A number is a NaN or an infinity."""

    reason = "not finite"


class Stale(PeerError):
    """The message belongs to another run, generation, pass or incarnation."""

    reason = "stale"


class Unexpected(PeerError):
    """The message is valid, but the receiver's state has no transition for it."""

    reason = "unexpected"


class Unsigned(PeerError):
    """The control message has no signature, and this node has a key to verify signatures."""

    reason = "unsigned"


class WrongSignature(PeerError):
    """The signature of the control message is wrong, or the message is for another node."""

    reason = "signature"


class UserError(ExmachinaError):
    """The user's input is invalid. The message is one line: the fault, its place, and valid input. Exit code 2."""


class JobError(ExmachinaError):
    """The job failed. The message is one line with the reason. Exit code 1."""


class DivergedError(JobError):
    """The numbers of the network became infinite. Exit code 3."""


class InternalError(ExmachinaError):
    """Two parts of the program disagree: a bug."""

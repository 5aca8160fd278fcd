"""The coordinator's view of the one error tree, so that its modules import errors from one place."""

from neuron_node.errors import ExmachinaError, InternalError, JobError, PeerError, UserError

__all__ = ["Damaged", "InternalError", "JobError", "PeerError", "UserError"]


class Damaged(ExmachinaError):
    """A file of a run is not what was written: it is recognised, and something older or nothing is used in its place."""

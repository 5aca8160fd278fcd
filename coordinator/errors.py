"""The coordinator's view of the one error tree, so that its modules import errors from one place."""

from neuron_node.errors import InternalError, JobError, PeerError, UserError

__all__ = ["InternalError", "JobError", "PeerError", "UserError"]

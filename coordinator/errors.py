"""The errors of the coordinator. Its modules import all errors from here."""

from neuron_node.errors import ExmachinaError, InternalError, JobError, PeerError, UserError

__all__ = ["Damaged", "InternalError", "JobError", "PeerError", "UserError"]


class Damaged(ExmachinaError):
    """A file of a run is damaged. An older file, or none, is used instead."""

"""The errors of the coordinator. Its modules import all errors from here."""

from neuron_node.errors import DivergedError, ExmachinaError, InternalError, JobError, PeerError, UserError

__all__ = ["Damaged", "DivergedError", "InternalError", "JobError", "NobodyAnswers", "PeerError", "UserError"]


class NobodyAnswers(JobError):
    """No broker or no coordinator answers in time. Exit code 4."""


class Damaged(ExmachinaError):
    """A file of a run is damaged. An older file, or none, is used instead."""

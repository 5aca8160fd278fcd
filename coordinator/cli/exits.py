"""The exit codes of `coordinator`, and errors as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from coordinator.core.state import RESTARTED as RESTARTED_CODE
from coordinator.errors import DivergedError, JobError, NobodyAnswers, UserError


class Exit(NamedTuple):
    """An exit code: its number, its name in JSON, and what it means."""

    code: int
    kind: str
    meaning: str


SUCCESS = Exit(0, "success", "success")
FAILED = Exit(1, "failed", "the job failed, or `verify`, `learn --compare` or `runs --check` found a difference")
USAGE = Exit(2, "usage", "wrong usage: an option, a file or a number that cannot be right")
DIVERGED = Exit(3, "diverged", "the training diverged: its numbers overflowed")
NOBODY_ANSWERED = Exit(4, "nobody_answered", "no broker or no coordinator answered in time")
RESTARTED = Exit(RESTARTED_CODE, "restarted", "`serve` ended because of `restart`; the next `serve` begins the new run")
INTERRUPTED = Exit(130, "interrupted", "interrupted by Ctrl-C or SIGTERM")
EXITS = (SUCCESS, FAILED, USAGE, DIVERGED, NOBODY_ANSWERED, RESTARTED, INTERRUPTED)
"""All exit codes; docs/reference/commands.md has this table."""


def exit_of(error: BaseException) -> Exit:
    """Return the exit code of an error."""
    match error:
        case DivergedError():
            return DIVERGED
        case NobodyAnswers():
            return NOBODY_ANSWERED
        case UserError():
            return USAGE
    return FAILED


def job_failure(reason: str) -> JobError:
    """Return the error for the reason of a failed run."""
    return DivergedError(reason) if reason.startswith("diverged:") else JobError(reason)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, so that its errors are JSON too."""
    before = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    return "--json" in before or "--json-lines" in before


def error_document(error: Exit, message: str) -> dict[str, object]:
    """Return an error as JSON."""
    return {"error": {"kind": error.kind, "message": message, "exit_code": error.code}}

"""Prints what a job has chosen, before anything starts."""

from __future__ import annotations

from coordinator.capacity.wiring import told
from coordinator.cli.output import errors
from coordinator.job import Job


def say_data(job: Job) -> None:
    """Report what was understood of the data, before anything starts."""
    if job.data.report is not None:
        errors.print("\n".join(job.data.report.lines()))


def say_placement(job: Job) -> None:
    """Print the choices for group size `auto` and wiring `auto`."""
    if job.placement is not None:
        errors.print(job.placement.told)
    if job.settings.wiring == "auto" and "wiring" in job.settings.model_fields_set:
        errors.print(told(job.wiring, job.network.layers, job.group_size, job.settings.nodes))

"""A death at any message boundary leaves no trace. A part of `python -m tests.simulation.crash_points`, which tries all."""

from __future__ import annotations

from tests.simulation.crash_points import pairs_of_deaths, points, programs, single_deaths, sweep

EVERY_SINGLE, EVERY_PAIR = 7, 211
"""Coprime to the number of programs and of boundaries, so that each comes with many of the others."""


def test_one_death_anywhere() -> None:
    """Each program, in each of three steps, in a seventh of all places."""
    cases = single_deaths()
    assert len(cases) == len(programs()) * (points().ends[2] - points().first)
    chosen = cases[::EVERY_SINGLE]
    assert {who for [(_, who)] in chosen} == set(programs())
    assert sweep(chosen) == []


def test_two_deaths_within_one_step() -> None:
    """Pairs of programs, one after the other or at once."""
    chosen = pairs_of_deaths()[::EVERY_PAIR]
    assert len({(one, other) for [(_, one), (_, other)] in chosen}) > 40
    assert sweep(chosen) == []

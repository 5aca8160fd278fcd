"""A death at any message boundary leaves no trace. A part of `python -m tests.simulation.crash_points`, which tries all."""

from __future__ import annotations

import pytest

from tests.simulation.crash_points import pairs_of_deaths, points, programs, single_deaths, sweep

EVERY_SINGLE, EVERY_PAIR = 7, 97
"""Coprime to the number of programs and of boundaries, so that each comes with many of the others."""


@pytest.mark.parametrize("joins", [True, False], ids=["frames joined", "through a proxy"])
def test_one_death_anywhere(joins: bool) -> None:
    """Each program, in each of three steps, in a seventh of all places."""
    cases, swept = single_deaths(joins=joins), points(joins=joins)
    assert len(cases) == len(programs()) * (swept.ends[2] - swept.first)
    chosen = cases[::EVERY_SINGLE]
    assert {who for [(_, who)] in chosen} == set(programs())
    assert sweep(chosen, joins=joins) == []


def test_two_deaths_within_one_step() -> None:
    """Pairs of programs, one after the other or at once."""
    chosen = pairs_of_deaths(joins=True)[::EVERY_PAIR]
    assert len({(one, other) for [(_, one), (_, other)] in chosen}) > 40
    assert sweep(chosen, joins=True) == []

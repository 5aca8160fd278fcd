"""Whether and when a program that ended starts again."""

from __future__ import annotations

import signal

import pytest

from coordinator.local.restarts import (
    LONGEST_DELAY_SECONDS,
    RESTARTS_AT_MOST,
    RESTARTS_WITHIN_SECONDS,
    Restarts,
    is_own_fault,
)


@pytest.mark.parametrize(
    ("code", "own"),
    [
        (0, False), (130, False), (1, True), (2, True), (3, True),
        *((-number, False) for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)),
        *((-number, True) for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)),
    ],
)  # fmt: skip
def test_whose_fault_an_end_is(code: int, own: bool) -> None:
    """Codes of failures and signals that a program brings upon itself are its own; a polite end and a kill are not."""
    assert is_own_fault(code) == own


def delays(code: int, ends: int, seconds_between: float) -> list[float | None]:
    """Of a program that ends again and again, and starts again when it may."""
    restarts, now, found = Restarts(), 0.0, []
    for _ in range(ends):
        restarts.started("node-1", now)
        now += seconds_between
        delay = restarts.delay("node-1", code, now)
        found.append(delay)
        now += delay or 0.0
    return found


def test_a_program_that_keeps_failing_is_put_aside() -> None:
    """After so many starts in so short a time; one that fails rarely never is."""
    assert delays(1, RESTARTS_AT_MOST, 0.1) == [0.0] * (RESTARTS_AT_MOST - 1) + [None]
    assert set(delays(1, 20, RESTARTS_WITHIN_SECONDS / 3)) == {0.0}


def test_a_program_that_is_ended_by_others_always_comes_back() -> None:
    """Later and later, up to a bound."""
    found = delays(-signal.SIGTERM, 40, 0.1)
    assert found[: RESTARTS_AT_MOST - 1] == [0.0] * (RESTARTS_AT_MOST - 1)
    assert None not in found and max(filter(None, found)) <= LONGEST_DELAY_SECONDS
    assert found[RESTARTS_AT_MOST - 1] == 1.0


def test_programs_are_counted_one_by_one() -> None:
    """The ends of one program do not delay another."""
    restarts = Restarts()
    for at in range(RESTARTS_AT_MOST):
        restarts.started("node-1", at / 10)
    restarts.started("node-2", 0.5)
    assert restarts.delay("node-1", 1, 0.6) is None and restarts.delay("node-2", 1, 0.6) == 0.0

"""Whether and when a program that ended starts again."""

from __future__ import annotations

import signal

import pytest

from coordinator.local.restarts import (
    FORK_AGAIN_SECONDS,
    FORKS_FAIL_AT_MOST_SECONDS,
    LONGEST_DELAY_SECONDS,
    RESTARTS_AT_MOST,
    RESTARTS_WITHIN_SECONDS,
    STOPPED_AT_MOST_SECONDS,
    Next,
    Restarts,
    fork_again_at,
    is_overdue,
    is_own_fault,
    next_of,
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


@pytest.mark.parametrize("code", [0, 1, 130, -signal.SIGTERM, -signal.SIGKILL])
def test_a_program_that_the_run_did_not_end_starts_again(code: int) -> None:
    """With any exit code; so does a broker at any time, and a coordinator that was killed while it ended the run."""
    for name in ("broker", "coordinator", "relay", "node-1"):
        assert next_of(name, code, run_ends=False) is Next.STARTS_AGAIN
    assert next_of("broker", code, run_ends=True) is Next.STARTS_AGAIN
    assert next_of("node-1", code, run_ends=True) is Next.STAYS_ENDED
    assert next_of("coordinator", code, run_ends=True) is (Next.RUN_OVER if code >= 0 else Next.STARTS_AGAIN)


def test_a_stop_and_failing_forks_have_their_limits() -> None:
    """A stopped program is killed after a while; a fork is tried again until the run is given up."""
    assert not is_overdue(1.0, 1.0 + STOPPED_AT_MOST_SECONDS - 0.01) and is_overdue(1.0, 1.0 + STOPPED_AT_MOST_SECONDS)
    assert fork_again_at(1.0, 1.0) == 1.0 + FORK_AGAIN_SECONDS
    assert fork_again_at(1.0, 1.0 + FORKS_FAIL_AT_MOST_SECONDS) is None


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

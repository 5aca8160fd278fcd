"""Stopwatches of `bench --profile`: where they sit, and what they count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from coordinator.bench.profiled import STAGES, STEP_ENDS, WATCHED, Stopwatch, _owner, mean_by_role


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A clock that stands still until a test changes its only number, in nanoseconds."""
    now = [0]
    monkeypatch.setattr("time.perf_counter_ns", lambda: now[0])
    return now


def test_names_that_the_profile_watches_exist() -> None:
    """Every watched name is a function of the module or class that it is looked for in, and every stage is known."""
    for stage, place, name in WATCHED:
        assert callable(getattr(_owner(place), name)) and stage in STAGES, (place, name)
    assert set(STEP_ENDS) <= {(place, name) for _, place, name in WATCHED}


def test_run_without_profile_watches_nothing() -> None:
    """Importing the stopwatches puts none of them anywhere: a run without a profile has the bare functions."""
    assert not [name for _, place, name in WATCHED if hasattr(getattr(_owner(place), name), "__wrapped__")]


def test_time_within_another_stage_counts_there_alone(clock: list[int]) -> None:
    """A function that is called by a watched one takes its own time away from the caller's; the sum is all time."""
    watch = Stopwatch()

    def arithmetic() -> None:
        clock[0] += 5_000

    inner = watch.watch("arithmetic", arithmetic)

    def decoding() -> str:
        clock[0] += 2_000
        inner()
        clock[0] += 1_000
        return "done"

    watch.step_ended()
    clock[0] += 10_000
    assert watch.watch("decoding", decoding)() == "done"
    watch.step_ended()
    figures = watch.figures()
    assert figures["steps"] == 1
    spent = {stage: number for stage, number in figures["microseconds_per_step"].items() if number}
    assert spent == {"decoding": 3.0, "arithmetic": 5.0, "deciding": 10.0}


def test_only_whole_steps_count(clock: list[int]) -> None:
    """Neither the start, which ends with the first step, nor what comes after the last one."""
    watch = Stopwatch()
    clock[0] += 1_000_000
    assert watch.figures()["microseconds_per_step"] is None
    watch.step_ended()
    for _ in range(4):
        clock[0] += 3_000
        watch.step_ended()
    clock[0] += 1_000_000
    watch.enter("waiting")
    assert watch.figures()["microseconds_per_step"]["deciding"] == 3.0


def test_a_stage_ends_with_its_function_even_if_that_fails(clock: list[int]) -> None:
    """An exception leaves no stopwatch running."""
    watch = Stopwatch()

    def fails() -> Iterator[Any]:
        raise ValueError

    watch.step_ended()
    with pytest.raises(ValueError):
        watch.watch("sending", fails)()
    clock[0] += 7_000
    watch.step_ended()
    assert watch.figures()["microseconds_per_step"]["deciding"] == 7.0


def test_roles_are_the_mean_of_their_programs() -> None:
    """Programs that got no step done do not count."""
    none = dict.fromkeys(STAGES, 0.0)
    documents: list[dict[str, Any]] = [
        {"role": "input", "microseconds_per_step": {**none, "waiting": 10.0}},
        {"role": "input", "microseconds_per_step": {**none, "waiting": 30.0}},
        {"role": "input", "microseconds_per_step": None},
        {"role": "coordinator", "microseconds_per_step": {**none, "sending": 1.0}},
    ]
    found = mean_by_role(documents)
    assert list(found) == ["coordinator", "input"]
    assert (found["input"]["waiting"], found["coordinator"]["sending"]) == (20.0, 1.0)

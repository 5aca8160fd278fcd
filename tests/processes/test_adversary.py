"""A few of the adversary's schedules; `make adversary` plays hundreds."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.adversary import SIGNALS, STOPPED_AT_LEAST_SECONDS, STOPPED_AT_MOST_SECONDS, drawn, play

pytestmark = pytest.mark.processes


def test_schedules_are_drawn_from_the_seed() -> None:
    """The same seed gives the same schedules, another seed gives others; all signals, programs and kinds of runs appear."""
    schedules = [drawn(1, number) for number in range(300)]
    assert schedules == [drawn(1, number) for number in range(300)]
    assert schedules[0] != drawn(2, 0)
    strikes = [strike for schedule in schedules for strike in schedule.strikes]
    assert set(Counter(strike.kind for strike in strikes)) == set(SIGNALS)
    victims = {victim.partition(":")[0] for strike in strikes for victim in strike.victims}
    assert victims == {"neuron-node", "neuron-broker", "coordinator", "supervisor", "command line"}
    assert all(
        STOPPED_AT_LEAST_SECONDS <= strike.stopped_seconds <= STOPPED_AT_MOST_SECONDS
        for strike in strikes
        if strike.kind == "stop"
    )
    said = {argument for schedule in schedules for argument in schedule.arguments}
    assert {"direct", "broker", "layer", "--nodes", "--microbatches", "--spares"} <= said


@pytest.mark.slow
@pytest.mark.parametrize("number", [3, 12, 24])
def test_a_schedule_changes_no_bit_and_leaves_nothing(number: int) -> None:
    """It ends by itself or after one `--resume`, with the weights of machines in memory and files as they were written."""
    outcome = play(1, number)
    assert not outcome.fault, outcome.schedule.told()
    assert outcome.struck

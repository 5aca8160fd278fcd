"""What chaos decides, without any program: what may be asked for, what a seed draws, and when it strikes and lets go."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from coordinator.cli.chaos import Extras, check_identical, compared, extras_of
from coordinator.core.recovery_stats import percentile
from coordinator.errors import JobError, UserError
from coordinator.local.chaos import (
    KINDS,
    LAST_PART_OF_A_RUN,
    MOST_OF_A_KIND,
    STOP_BROKER_AT_MOST_MS,
    Chaos,
    ChaosSchedule,
    drawn,
    parse_counts,
)
from coordinator.local.recoveries import ADVANCES_WITHOUT_A_WORD

NEURONS = ["input.0", "hidden.0", "hidden.1", "output.0"]
PLACEMENTS = {name: {"node": f"node-{place + 1}"} for place, name in enumerate(NEURONS)}
STEPS = 1_000


class Run:
    """A director, and what is told to it: time passes by a second an event."""

    def __init__(self, counts: str, *, seed: int = 7, spares: int = 0, overlap: bool = False) -> None:
        self.director = ChaosSchedule(Chaos(parse_counts(counts), seed, overlap), spares, lambda: PLACEMENTS)
        self.now = 100.0
        self.commands: list[dict[str, Any]] = []

    def tell(self, event: str, **facts: Any) -> list[dict[str, Any]]:
        """One event; the commands that it leads to, each of which strikes at once."""
        self.now += 1.0
        commands = self.director.handle(event, facts, self.now)
        for command in commands:
            self.commands.append(command)
            if command["do"] != "release":
                struck = {"number": command["number"], "kind": command["do"], "at": self.now, "programs": ["it"]}
                self.now += 1.0
                assert self.director.handle("struck", struck, self.now) == []
        return commands

    def progress(self, step: int, stale: int = 0) -> list[dict[str, Any]]:
        """A report of the coordinator."""
        return self.tell("progress", step=step, steps=STEPS, stale_messages=stale)

    def epoch(self, number: int, of: int) -> list[dict[str, Any]]:
        """An epoch is done."""
        return self.tell("epoch", epoch=number, epochs=of)

    def deeds(self) -> list[str]:
        """What was commanded, in order."""
        return [command["do"] for command in self.commands]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not a kind of fault"),
        ("kill", "not a kind of fault"),
        ("kill=1,", "not a kind of fault"),
        ("murder=1", "the kinds are kill, pause, partition, broker, coordinator, everything, terminate"),
        ("kill=0", "from 1 to 10,000, not '0'"),
        ("kill=-1", "not '-1'"),
        ("kill=1.5", "not '1.5'"),
        ("kill=", "not ''"),
        ("kill=²", "not '²'"),
        (f"kill={MOST_OF_A_KIND + 1}", "not '10001'"),
        ("kill=99999999999999999999", "from 1 to 10,000"),
        ("kill=1,kill=2", "twice"),
    ],
)
def test_invalid_chaos_is_refused_in_one_line(text: str, word: str) -> None:
    """One line that names the option, what is wrong, and what would be right."""
    with pytest.raises(UserError, match="--chaos") as fault:
        parse_counts(text)
    assert word in str(fault.value) and "\n" not in str(fault.value)


def test_blanks_and_any_order_are_fine() -> None:
    """As people type it."""
    assert parse_counts(" pause = 5, kill=20") == {"pause": 5, "kill": 20}


@pytest.mark.parametrize("option", ["--chaos-seed", "--chaos-overlap", "--compare"])
def test_options_of_chaos_need_it(option: str) -> None:
    """Alone they mean nothing, and that is said."""
    with pytest.raises(UserError, match=f"{option} needs --chaos"):
        extras_of(
            "0", None, "1" if option == "--chaos-seed" else None, option == "--chaos-overlap", option == "--compare"
        )
    assert extras_of("2", None, None, False, False) == Extras(2)


@pytest.mark.parametrize("text", ["-1", "1.5", "", "many", "²", "9" * 30])
@pytest.mark.parametrize("option", ["--spares", "--chaos-seed"])
def test_numbers_are_whole(option: str, text: str) -> None:
    """One line that names the option and its bounds."""
    spares, seed = (text, "1") if option == "--spares" else ("1", text)
    with pytest.raises(UserError, match=f"{option} must be a whole number from 0 to"):
        extras_of(spares, "kill=1", seed, False, False)


@pytest.mark.parametrize("seed", range(20))
def test_a_seed_decides_everything(seed: int) -> None:
    """The same kinds, moments and neurons every time; as many of each kind as asked for, spread over the run in order."""
    chaos = Chaos({"kill": 20, "pause": 5, "everything": 1}, seed)
    plan = drawn(chaos, STEPS, NEURONS)
    assert plan == drawn(chaos, STEPS, NEURONS)
    assert plan != drawn(Chaos(chaos.counts, seed + 100), STEPS, NEURONS)
    assert Counter(disturbance.kind for disturbance in plan) == chaos.counts
    moments = [disturbance.after_step for disturbance in plan]
    assert moments == sorted(moments) and moments[0] >= 1 and moments[-1] <= 1 + LAST_PART_OF_A_RUN * STEPS
    assert all(later - earlier < 3 * STEPS / 26 for earlier, later in itertools.pairwise(moments))
    assert [disturbance.number for disturbance in plan] == list(range(1, 27))
    assert {disturbance.neuron for disturbance in plan} <= set(NEURONS)


def test_more_disturbances_than_steps() -> None:
    """They come as fast as the run recovers; no step is beyond it."""
    assert all(1 <= one.after_step <= 9 for one in drawn(Chaos({"kill": 500}), 9, NEURONS))


def test_the_next_one_waits_for_the_recovery() -> None:
    """However far the run has come: one at a time, and the time from the blow to the coordinator's word is measured."""
    run = Run("kill=2")
    assert run.progress(0) == []
    [first] = run.progress(900)
    assert first["do"] == "kill" and first["nodes"] == [PLACEMENTS[first["neuron"]]["node"]]
    assert run.progress(900) == []
    assert run.tell("recovery", step=850) == []
    assert run.tell("wired") == []
    [second] = run.tell("recovered", step=901)
    assert (first["number"], second["number"], second["after_step"]) == (1, 2, 901)
    [sample] = run.director.recoveries.samples
    # Struck at 102; then its telling, a report, a recovery, a wiring and the word of it, a second each.
    assert (sample.kind, sample.seconds) == ("kill", 5.0)
    assert run.director.figures()["steps_repeated_most"] == 50


def test_the_end_of_an_epoch_says_how_far_the_run_is() -> None:
    """A run may be over before the next report of progress: what is due begins all the same, at the step that was drawn,
    and what is done again is counted from that step.
    """
    run = Run("kill=2")
    due = [disturbance.after_step for disturbance in drawn(Chaos({"kill": 2}, 7), STEPS, NEURONS)]
    assert run.epoch(STEPS, of=STEPS) == []
    run.progress(0)
    began = []
    for step in range(1, STEPS + 1):
        for command in run.epoch(step, of=STEPS):
            assert command["after_step"] == step
            began.append(step)
            run.tell("recovery", step=step - 3)
            run.tell("wired")
            run.tell("recovered", step=step)
    assert began == due
    assert run.director.figures()["steps_repeated_most"] == 3


def test_epochs_are_no_reports_of_progress() -> None:
    """A blow that hits who is not needed is waited for as long as ever, however many epochs are done meanwhile."""
    run = Run("kill=2")
    run.progress(900)
    for step in range(901, 901 + 2 * ADVANCES_WITHOUT_A_WORD):
        run.epoch(step, of=STEPS)
    for step in range(930, 930 + ADVANCES_WITHOUT_A_WORD - 1):
        run.epoch(step, of=STEPS)
        run.progress(step)
    assert run.deeds() == ["kill"]
    run.progress(950)
    assert run.deeds() == ["kill", "kill"]


def test_overlapping_ones_do_not_wait() -> None:
    """All that are due begin; one recovery ends them all."""
    run = Run("kill=3", overlap=True)
    run.progress(0)
    assert len(run.progress(950)) == 3
    run.tell("recovery", step=900)
    run.tell("recovered", step=951)
    assert len(run.director.recoveries.samples) == 3


@pytest.mark.parametrize("kind", ["pause", "partition"])
def test_held_node_is_released_when_a_spare_has_taken_over(kind: str) -> None:
    """Not before; and the next disturbance waits until it has been let go."""
    run = Run(f"{kind}=2", spares=1)
    run.progress(0)
    run.progress(950)
    assert run.tell("recovery", step=900) == []
    [release] = run.tell("recovered", step=951)
    assert (release["do"], release["number"]) == ("release", 1)
    assert run.progress(960) == []
    assert run.tell("released", number=1) == []
    [second] = run.progress(960)
    assert (second["do"], second["number"]) == (kind, 2)


def test_held_node_is_released_when_the_run_waits_for_it() -> None:
    """Without a spare as soon as it is missed; with one that is not there, when the coordinator says that it waits."""
    run = Run("pause=1")
    run.progress(950)
    assert [command["do"] for command in run.tell("recovery", step=900)] == ["release"]
    run = Run("pause=1", spares=1)
    run.progress(950)
    run.tell("recovery", step=900)
    assert [command["do"] for command in run.tell("waiting", have=3, need=4)] == ["release"]
    assert run.tell("waiting", have=3, need=4) == []


def test_a_coordinator_has_recovered_when_it_is_further_than_ever() -> None:
    """Its new life does not know which step was interrupted: reports of steps that are repeated don't count."""
    run = Run("coordinator=1")
    run.progress(0, stale=5)
    run.progress(950, stale=7)
    run.tell("ended", program="coordinator")
    run.progress(940)
    run.tell("wired")
    run.progress(950, stale=1)
    assert run.director.recoveries.samples == []
    run.progress(951, stale=2)
    [sample] = run.director.recoveries.samples
    assert sample.kind == "coordinator"
    figures = run.director.figures()
    # What the earlier life counted is not lost.
    assert (figures["stale_messages"], figures["steps_repeated_most"]) == (9, 10)


def test_a_broker_has_recovered_when_steps_follow() -> None:
    """By the coordinator's word, or by two steps more than it could have done already."""
    run = Run("broker=1")
    run.progress(950)
    run.progress(950)
    run.progress(951)
    assert run.director.recoveries.samples == []
    run.progress(952)
    assert [sample.kind for sample in run.director.recoveries.samples] == ["broker"]
    run = Run("broker=1")
    run.progress(950)
    run.tell("recovered", step=951)
    assert len(run.director.recoveries.samples) == 1


def test_fault_without_a_recovery_does_not_delay_the_next() -> None:
    """A blow that hits who is not needed has no recovery, and the next one comes all the same; it does not count as one."""
    run = Run("kill=2")
    run.progress(900)
    for step in range(901, 901 + ADVANCES_WITHOUT_A_WORD):
        run.progress(step)
    assert run.deeds() == ["kill", "kill"]
    assert run.director.recoveries.samples == []


def test_fault_that_hits_no_program_is_not_counted() -> None:
    """A program that is down at that moment can't be killed: asked for, and not done."""
    director = Run("kill=1").director
    [command] = director.handle("progress", {"step": 950, "steps": STEPS}, 1.0)
    director.handle("struck", {"number": command["number"], "kind": "kill", "at": 1.0, "programs": []}, 1.0)
    facts = director.figures()["chaos"]["kill"]
    assert (facts["asked"], facts["done"], facts["recovery_seconds_p50"]) == (1, 0, None)


def test_a_run_that_ends_early_says_how_much_was_done() -> None:
    """Nothing is begun any more, and what was under way is over."""
    run = Run("pause=3", spares=1)
    run.progress(950)
    [release] = run.tell("finished", stale_messages=4)
    assert release["do"] == "release"
    assert run.tell("released", number=1) == []
    figures = run.director.figures()
    assert (figures["chaos"]["pause"]["asked"], figures["chaos"]["pause"]["done"]) == (3, 1)
    assert figures["stale_messages"] == 4


def test_a_blow_may_be_told_after_the_end() -> None:
    """The supervisor and the coordinator speak through different pipes."""
    director = Run("kill=1").director
    [command] = director.handle("progress", {"step": 950, "steps": STEPS}, 1.0)
    director.handle("finished", {}, 2.0)
    director.handle("struck", {"number": command["number"], "kind": "kill", "at": 1.0, "programs": ["it"]}, 3.0)
    assert director.figures()["chaos"]["kill"]["done"] == 1


def test_a_layer_and_all_are_the_nodes_that_host_them() -> None:
    """Every node once, though it hosts several neurons."""
    run = Run("layer=1")
    [layer] = run.progress(950)
    name = layer["neuron"].partition(".")[0]
    assert layer["nodes"] == [f"node-{at + 1}" for at, neuron in enumerate(NEURONS) if neuron.startswith(name)]
    [everybody] = Run("all=1").progress(950)
    assert everybody["nodes"] == [f"node-{at + 1}" for at in range(len(NEURONS))]


def test_a_stopped_broker_goes_on_by_itself() -> None:
    """No command lets it go: the supervisor does, after a time that was drawn; the next one waits until it has."""
    run = Run("stop-broker=2", seed=3)
    [stop] = run.progress(950)
    assert 0.0 < stop["at_most_ms"] < STOP_BROKER_AT_MOST_MS
    for step in (951, 953, 955):
        assert run.progress(step) == []
    [second] = run.tell("released", number=1) or run.progress(956)
    assert second["do"] == "stop-broker" and second["number"] == 2


def test_every_kind_is_told_to_people() -> None:
    """And is in the order of the table."""
    assert list(KINDS) == [
        "kill", "pause", "partition", "broker", "coordinator", "everything",
        "terminate", "interrupt", "stop-broker", "layer", "all",
    ]  # fmt: skip
    assert all(KINDS.values())


@pytest.mark.parametrize(
    ("values", "share", "value"),
    [([], 0.5, None), ([3.0], 0.99, 3.0), ([4.0, 1.0, 2.0, 3.0], 0.5, 2.0), (list(range(1, 101)), 0.99, 99)],
)
def test_percentiles(values: list[float], share: float, value: float | None) -> None:
    """The smallest value that so many do not exceed."""
    assert percentile(values, share) == value


def test_a_difference_fails() -> None:
    """Exit 1 with both digests; no comparison, or an equal one, passes."""
    result = {"weights_sha256": "aa", "run": "r"}
    check_identical(result)
    undisturbed = {"weights_sha256": "aa", "run": "r-undisturbed", "seconds_training": 1.0}
    check_identical({**result, **compared(result, undisturbed)})
    different = {**result, **compared(result, {**undisturbed, "weights_sha256": "bb"})}
    with pytest.raises(JobError, match=r"aa .*bb"):
        check_identical(different)

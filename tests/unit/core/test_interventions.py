"""What a person changes takes effect between two steps, as a whole, and the journal alone repeats it to the last bit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from coordinator.core.access import Access
from coordinator.core.journal import Entry, Journal, Segment
from coordinator.core.run_plan import RunPlan
from coordinator.in_memory import network_of
from neuron_node.wording import steps_of
from tests.intervened_runs import COORDINATOR, asked
from tests.networks import plan_of, settings_of, trained, weights_sha256, xor_data
from tests.simulation.scenario import Scenario

PLAN = plan_of(settings_of((2, 3, 1), batch_size=1, epochs=3), xor_data(), snapshot_interval_steps=5)
LAST = 12


class Person:
    """A network in memory, and a client of its coordinator."""

    def __init__(self, plan: RunPlan = PLAN) -> None:
        self.network, self.coordinator = network_of(plan)
        self.trainer = self.coordinator.trainer
        self._asked = 0

    def ask(self, command: str, name: int | None = None, **arguments: Any) -> dict[str, Any]:
        """Send a request, and go on until it is answered."""
        return self.answer_to(self.send(command, name, **arguments))

    def send(self, command: str, name: int | None = None, **arguments: Any) -> bytes:
        """Send a request; return its id."""
        self._asked += 1
        request = asked(self._asked if name is None else name, command, **arguments)
        self.network.answers.pop(request.request.id, None)
        self.network.give(COORDINATOR, request)
        return request.request.id

    def answer_to(self, request_id: bytes) -> dict[str, Any]:
        """Go on until a request is answered."""
        self.network.run_until(lambda: request_id in self.network.answers)
        answer: dict[str, Any] = json.loads(self.network.answers[request_id].result)
        return answer

    @property
    def step(self) -> int:
        return self.trainer.training.progress.step

    def run_to(self, step: int) -> None:
        self.network.run_until(lambda: self.step >= step)

    def finish(self) -> str:
        self.network.run_until(lambda: self.coordinator.finished is not None)
        return weights_sha256(self.coordinator)

    @property
    def journal(self) -> tuple[Entry, ...]:
        return self.trainer.interventions.journal.entries


@pytest.fixture(scope="module")
def undisturbed() -> str:
    return weights_sha256(trained(PLAN))


def test_a_paused_run_does_no_step_and_goes_on_to_the_same_end(undisturbed: str) -> None:
    """Pause, one step, two steps, on to step 9, and resume: each pauses where it says, and no bit changes."""
    person = Person()
    person.run_to(2)
    paused = person.ask("pause")
    assert paused["state"] == "paused" and paused["step"] == paused["pauses_after"] == person.step
    before = person.network.now_ms + 5_000
    person.network.run_until(lambda: person.network.now_ms > before)
    assert person.step == paused["step"]
    assert "paused after step" in person.ask("why")["why"][0]
    assert person.ask("step")["step"] == paused["step"] + 1
    assert person.ask("step", count=2)["step"] == paused["step"] + 3
    assert person.ask("resume", to=9)["pauses_after"] == 9
    person.run_to(9)
    assert person.ask("status")["pauses_after"] == 9 and person.step == 9
    assert person.ask("pause")["step"] == 9
    person.ask("resume")
    assert person.finish() == undisturbed
    assert person.journal == () and person.coordinator.recoveries == 0


@pytest.mark.parametrize(
    ("command", "arguments", "right"),
    [
        ("resume", {"to": 1}, "right would be a step from 5 to 12"),
        ("resume", {"to": 13}, "right would be a step from 5 to 12"),
        ("resume", {"to": "x"}, "a whole number from 1 on"),
        ("step", {"count": 0}, "a whole number from 1 on"),
        ("set", {"what": "colour"}, "rate, weight or bias"),
        ("set", {"what": "rate", "value": 0}, "a number above 0"),
        ("set", {"what": "rate", "value": float("nan")}, "a number above 0"),
        ("set", {"what": "bias", "neuron": "output.0", "value": 10**400}, "from -1,000,000 to 1,000,000"),
        ("set", {"what": "bias", "neuron": "output.0", "value": True}, "from -1,000,000 to 1,000,000"),
        ("set", {"what": "bias", "neuron": "input.0", "value": 1}, "has no bias"),
        ("set", {"what": "bias", "neuron": "hidden.9", "value": 1}, "named input.0 to output.0"),
        ("set", {"what": "weight", "neuron": "hidden.1", "to": "input.0", "value": 1}, "lead to output.0"),
        ("set", {"what": "weight", "neuron": "output.0", "to": "input.0", "value": 1}, "is an output neuron"),
        ("silence", {"neuron": 7}, "named input.0 to output.0"),
        ("rewind", {}, "a whole number from 0 on"),
        ("rewind", {"step": -1}, "a whole number from 0 on"),
        ("rewind", {"step": 3}, "no snapshot after step 3 is kept"),
        ("rewind", {"step": 0, "branch": 1}, "right would be branch 0, the only one"),
        ("rewind", {"step": 0, "branch": "x"}, "right would be branch 0, the only one"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(command: str, arguments: dict[str, Any], right: str) -> None:
    """The line says what would be right; nothing waits, and nothing has changed."""
    person = Person(replace(PLAN, stop_when_finished=False))
    person.run_to(1)
    person.ask("pause")
    line = person.ask(command, **arguments)["error"]
    assert right in line and "\n" not in line
    assert person.journal == () and not person.trainer.interventions.are_due(person.step, person.trainer.changes)


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("set", {"what": "rate", "value": 0.125}),
    ("set", {"what": "weight", "neuron": "hidden.1", "to": "output.0", "value": 0.25}),
    ("set", {"what": "weight", "neuron": "input.1", "to": "hidden.2", "value": -3.0}),
    ("set", {"what": "bias", "neuron": "hidden.0", "value": -1.5}),
    ("silence", {"neuron": "hidden.2"}),
    ("silence", {"neuron": "input.0"}),
]


@pytest.mark.parametrize("group_size", [1, 3])
@pytest.mark.parametrize("command", range(len(CHANGES)))
def test_a_change_while_the_network_trains_is_repeated_from_the_journal(
    command: int, group_size: int, undisturbed: str
) -> None:
    """The same bits, from the first step of another run with the journal; other bits than without; no recovery."""
    plan = replace(PLAN, group_size=group_size)
    person = Person(plan)
    person.run_to(4)
    kind, arguments = CHANGES[command]
    answer = person.ask(kind, **arguments)
    assert answer["number"] == 1 and 4 <= answer["step"] < LAST and answer["branch"] == 0
    assert person.trainer.changes.applied == 1
    end = person.finish()
    assert end != undisturbed
    assert person.coordinator.recoveries == 0 and person.coordinator.outbox.generation == 2
    assert person.coordinator.finished and person.coordinator.finished["interventions"] == 1
    assert weights_sha256(trained(replace(plan, journal=person.journal))) == end


@pytest.mark.parametrize("at", [0, 3, 4, 5, 8, 12], ids=lambda step: f"after step {step}")
def test_a_change_takes_effect_after_the_step_at_which_the_run_is_paused(at: int) -> None:
    """Before the first step, in an epoch, at its end, with a snapshot, and after the last step: the network has the number."""
    person = Person(plan_of(PLAN.network, PLAN.data, snapshot_interval_steps=5))
    if at:
        person.trainer.interventions.pause_after = min(at, LAST - 1)
        person.run_to(min(at, LAST - 1))
    else:
        person.trainer.interventions.pause_after = 0
        person.network.run_until(lambda: person.coordinator.running)
    if at == LAST:
        person.send("resume")
    answer = person.ask("set", what="weight", neuron="hidden.1", to="output.0", value=7.5)
    assert answer["step"] == at and answer["value"] == 7.5 != answer["before"]
    if at < LAST:
        person.network.run_until(lambda: person.coordinator.running)
        shown = person.ask("neuron", neuron="hidden.1")
        assert (shown["step"], shown["axon"]) == (at, [{"neuron": "output.0", "weight": 7.5}])
        person.ask("resume")
    end = person.finish()
    assert weights_sha256(trained(replace(PLAN, journal=person.journal))) == end


def test_several_changes_at_once_have_one_generation_and_several_entries() -> None:
    """In the order in which they were asked for."""
    person = Person()
    person.run_to(2)
    person.ask("pause")
    waiting = [person.send(command, **arguments) for command, arguments in CHANGES]
    assert [person.answer_to(request)["number"] for request in waiting] == [1, 2, 3, 4, 5, 6]
    assert person.coordinator.outbox.generation <= 3
    silent = [person.trainer.changes.silent]
    assert person.trainer.changes.learning_rate == 0.125
    person.ask("silence", neuron="input.0", end=True)
    silent.append(person.trainer.changes.silent)
    assert silent == [("input.0", "hidden.2"), ("hidden.2",)]


def test_a_silenced_neuron_learns_nothing() -> None:
    """Neither its bias, nor its weights, nor the weights that lead to it change while it is silent."""
    person = Person()
    person.run_to(2)
    person.ask("pause")
    person.ask("silence", neuron="hidden.1")
    before = person.ask("neuron", neuron="hidden.1")
    person.ask("step", count=3)
    after = person.ask("neuron", neuron="hidden.1")
    assert after["step"] == before["step"] + 3
    assert after["last_activity"] == [0.0] and after["last_error"] == [0.0]
    assert after["bias"] == before["bias"] == after["bias_before"]
    for key in ("axon", "dendrites"):
        weights = [(synapse["neuron"], synapse["weight"]) for synapse in after[key]]
        assert weights == [(synapse["neuron"], synapse["weight"]) for synapse in before[key]]
        assert {synapse["gradient"] for synapse in after[key]} == {0.0}
    assert after["steps"]["silent"] and "activity = 0: the neuron is silent" in [
        line.text for line in steps_of(after["steps"])
    ]
    learner = person.ask("neuron", neuron="output.0")
    assert not learner["steps"]["silent"]


def test_a_view_of_numbers_has_the_present_learning_rate() -> None:
    """After the learning rate was set, a step is explained with the new one."""
    person = Person()
    person.run_to(2)
    person.ask("pause")
    person.ask("set", what="rate", value=0.125)
    person.ask("step")
    facts = person.ask("neuron", neuron="hidden.1")
    assert facts["steps"]["learning_rate"] == 0.125
    for synapse in facts["axon"]:
        assert synapse["weight"] == pytest.approx(synapse["before"] - 0.125 * synapse["gradient"], abs=1e-15)


def test_a_request_that_is_repeated_is_carried_out_once() -> None:
    """Also by a later life of the coordinator, which knows it from the journal."""
    person = Person()
    person.run_to(2)
    person.ask("pause")
    first = person.ask("set", name=99, what="rate", value=0.25)
    for name in range(200, 240):
        person.ask("status", name=name)
    again = person.ask("set", name=99, what="rate", value=0.25)
    assert again["number"] == first["number"] == 1 and len(person.journal) == 1
    later = Person(replace(PLAN, journal=person.journal))
    assert later.ask("set", name=99, what="rate", value=0.25)["number"] == 1
    assert len(later.journal) == 1


def test_a_rewind_goes_back_to_a_kept_snapshot_and_begins_a_branch(undisturbed: str) -> None:
    """The steps after it come again; without another change they end in the same bits, and it is no recovery."""
    person = Person()
    person.run_to(7)
    answer = person.ask("rewind", step=5)
    assert (answer["change"], answer["step"], answer["origin"], answer["branch"]) == ("rewind", 5, 0, 1)
    assert answer["from_step"] >= 7 and answer["from_branch"] == 0
    person.network.run_until(lambda: person.coordinator.running)
    assert person.trainer.changes.branch == 1 and person.step == 5
    assert person.finish() == undisturbed
    assert person.coordinator.recoveries == 0


def test_a_branch_has_none_of_the_changes_that_a_rewind_has_undone(undisturbed: str) -> None:
    """Neither a silence, nor a rate, nor a weight; a change in the branch counts, and the journal repeats all of it."""
    person = Person()
    person.run_to(6)
    for command, arguments in CHANGES:
        person.ask(command, **arguments)
    person.ask("rewind", step=5)
    person.network.run_until(lambda: person.coordinator.running)
    assert person.trainer.changes.silent == () and person.trainer.changes.learning_rate is None
    person.run_to(7)
    person.ask("set", what="bias", neuron="output.0", value=0.5)
    end = person.finish()
    assert end != undisturbed
    assert weights_sha256(trained(replace(PLAN, journal=person.journal))) == end
    changes = [entry.kind for entry in Journal(person.journal).path]
    assert changes == ["bias"]


def test_a_rewind_to_step_0_is_the_beginning(undisturbed: str) -> None:
    """Without any snapshot, and without the changes after step 0."""
    person = Person()
    person.run_to(2)
    person.ask("set", what="weight", neuron="hidden.1", to="output.0", value=7.5)
    assert person.ask("rewind", step=0)["step"] == 0
    assert person.finish() == undisturbed


def test_a_rewind_goes_back_to_another_branch() -> None:
    """What was left behind is there again, with its changes; the present path is the default."""
    person = Person()
    person.run_to(6)
    person.ask("pause")
    person.ask("set", what="bias", neuron="output.0", value=0.5)
    left = person.step
    person.ask("rewind", step=5)
    assert person.ask("status")["pauses_after"] == 5, "a paused training stays paused"
    assert "no snapshot after step" in person.ask("rewind", step=left)["error"]
    again = person.ask("rewind", step=left, branch=0)
    assert (again["origin"], again["branch"], again["from_branch"]) == (0, 2, 1)
    assert [entry.kind for entry in Journal(person.journal).path] == ["bias"]
    person.ask("resume")
    end = person.finish()
    assert weights_sha256(trained(replace(PLAN, journal=person.journal))) == end


def test_one_rewind_waits_at_a_time() -> None:
    """Each keeps a snapshot in memory."""
    person = Person()
    person.run_to(6)
    first, second = person.send("rewind", step=5), person.send("rewind", step=5)
    assert "a rewind waits already" in person.answer_to(second)["error"]
    assert person.answer_to(first)["branch"] == 1


def test_a_viewer_may_not_intervene() -> None:
    """One line says what a viewer may do, and nothing waits."""
    person = Person()
    person.run_to(2)
    for number, (command, arguments) in enumerate([*CHANGES, ("rewind", {"step": 0}), ("pause", {})]):
        request = asked(500 + number, command, Access.VIEWER, **arguments)
        person.network.give(COORDINATOR, request)
        line = person.answer_to(request.request.id)["error"]
        assert "is for operators" in line and "\n" not in line
    assert person.trainer.interventions.pause_after is None and person.journal == ()


def test_segments_of_a_journal_lead_from_the_present_branch_to_the_first() -> None:
    """A snapshot belongs to the path if its branch had its step on the path."""
    journal = Journal(
        (
            Entry(1, 0, 3, "aa", "rate", value=0.5),
            Entry(2, 1, 5, "ab", "rewind", origin=0, applied=1),
            Entry(3, 2, 2, "ac", "rewind", origin=0, applied=0),
        )
    )
    assert journal.branches == 3
    assert journal.segments == (Segment(2, 2), Segment(0, 0, 2))
    assert Segment(0, 0, 2).has(0, 2) and not Segment(0, 0, 2).has(0, 3) and not Segment(0, 0, 2).has(1, 1)


def test_a_journal_that_is_not_whole_is_known() -> None:
    """Numbers count from 1, and steps of a branch do not go back."""
    good = (Entry(1, 0, 3, "aa", "rate", value=0.5), Entry(2, 0, 3, "ab", "rate", value=0.5))
    assert Journal.is_whole(good)
    for wrong in (good[1:], (good[0], good[1]._replace(step=2)), (good[0]._replace(branch=1),)):
        assert not Journal.is_whole(wrong)


KINDS_OF_DEATH = ["the coordinator", "node-1", "node-4", "power"]


@pytest.mark.parametrize("victim", KINDS_OF_DEATH)
@pytest.mark.parametrize("after", range(0, 60, 4))
@pytest.mark.parametrize("kind", ["weight", "rewind"])
def test_a_death_at_any_moment_of_a_change_leaves_all_of_it_or_nothing(victim: str, after: int, kind: str) -> None:
    """The client asks again until it is answered. There is one entry, and the end is that of a calm run with the journal."""
    scenario = Scenario(PLAN, seed=after)
    scenario.run_to(3 if kind == "weight" else 7)
    request = asked(99, "set", what="weight", neuron="hidden.1", to="output.0", value=2.5)
    if kind == "rewind":
        request = asked(99, "rewind", step=5)
    assert scenario.coordinator is not None
    scenario.give(scenario.coordinator, request)
    moment = scenario.happened + after
    scenario.run(lambda: scenario.happened >= moment)
    if victim == "power":
        scenario.disk.cut_power()
        scenario.kill(scenario.coordinator)
    elif victim == "the coordinator":
        scenario.kill(scenario.coordinator)
    else:
        scenario.kill(scenario.nodes[victim])
    again = scenario.now_ms
    while request.request.id not in scenario.answers and scenario.code is None:
        if scenario.now_ms >= again and scenario.coordinator.alive:
            again = scenario.now_ms + 20.0
            scenario.give(scenario.coordinator, request)
        scenario.run_next()
    assert scenario.answers[request.request.id].good
    scenario.run()
    journal = scenario.trainer.interventions.journal.entries
    assert [entry.kind for entry in journal] == [kind]
    assert weights_sha256(scenario.machine) == weights_sha256(trained(replace(PLAN, journal=journal)))
    assert scenario.machine.recoveries == 1


@pytest.mark.parametrize("neuron", ["input.0", "hidden.2", "output.0"])
def test_a_killed_neuron_kills_itself_and_leaves_no_trace(neuron: str, undisturbed: str) -> None:
    """Its program dies at once, without a last message; another takes its place, and the run ends as an undisturbed one."""
    scenario = Scenario(PLAN, seed=5)
    scenario.run_to(4)
    assert scenario.coordinator is not None
    victim = scenario.machine.membership.host_of(scenario.topology.group_of[neuron])
    request = asked(99, "kill", neuron=neuron)
    scenario.give(scenario.coordinator, request)
    scenario.run(lambda: request.request.id in scenario.answers)
    assert victim and json.loads(scenario.answers[request.request.id].result)["node"] == victim.name
    scenario.finish()
    assert any("kills itself" in line for line in scenario.story_lines)
    assert weights_sha256(scenario.machine) == undisturbed and scenario.machine.recoveries == 1

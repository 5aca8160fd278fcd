"""Bugs to be planted, each a change of what the real code does. The simulator must find every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator import generation_record, run_log, snapshot_store
from coordinator.disk import Disk
from coordinator.machine.admission import Admission
from coordinator.machine.collecting import Collection
from coordinator.machine.course import Course
from coordinator.machine.gathering import Gathering
from coordinator.machine.passes import Flight
from coordinator.machine.roster import Roster
from coordinator.machine.steps import Sent, Steps
from coordinator.machine.training import Progress
from coordinator.run_log import MetricsFile
from coordinator.run_store import RunStore
from neuron_node.chain import Held
from neuron_node.copies import Copies
from neuron_node.errors import Stale
from neuron_node.hosting import Hosting
from neuron_node.machine import NodeMachine
from neuron_node.messages import Mode
from neuron_node.neuron import Neurons
from neuron_node.proof import LinkProof
from neuron_node.worker import Worker

reached: set[str] = set()
"""The plants whose changed code has been run."""
Plant = Callable[[pytest.MonkeyPatch], None]


def _reach(name: str) -> bool:
    reached.add(name)
    return True


def node_takes_any_generation(patch: pytest.MonkeyPatch) -> None:
    """A node does not look at a message's generation."""
    real = NodeMachine._filter

    def look(self: NodeMachine, message: Any) -> None:
        try:
            real(self, message)
        except Stale:
            if message.header.run != self.run:
                raise
            _reach("node_takes_any_generation")

    patch.setattr(NodeMachine, "_filter", look)


def coordinator_takes_any_generation(patch: pytest.MonkeyPatch) -> None:
    """The coordinator does not look at a message's generation."""
    real = Admission.check

    def look(self: Admission, message: Any) -> None:
        try:
            real(self, message)
        except Stale as fault:
            if "generation" not in str(fault):
                raise
            _reach("coordinator_takes_any_generation")

    patch.setattr(Admission, "check", look)


def sum_in_order_of_arrival(patch: pytest.MonkeyPatch) -> None:
    """Signals are added up as they come."""
    read, receive = Worker._read, Neurons.receive_signal

    def read_as_it_came(self: Worker, way: Any, record: Any) -> bool:
        in_order = self._in_order
        if way is record.down and way.layout.kind in in_order and way.frames.keys() <= self._known.keys():
            self._in_order = {**in_order, way.layout.kind: lambda frames: tuple(frames.values())}
            _reach("sum_in_order_of_arrival")
        try:
            return read(self, way, record)
        finally:
            self._in_order = in_order

    def receive_signal(self: Neurons, memory: Any, sender: int, signal: Any) -> bool:
        rows = self._rows
        self._rows = {sender: len(memory.senders)}
        try:
            return receive(self, memory, sender, signal)
        finally:
            self._rows = rows

    patch.setattr(Worker, "_read", read_as_it_came)
    patch.setattr(Neurons, "receive_signal", receive_signal)


def _written_without(patch: pytest.MonkeyPatch, name: str, *, content: bool, folder: bool) -> None:
    def write(path: Path, new: bytes, disk: Disk) -> None:
        _reach(name)
        aside = path.with_name(f".{path.name}.new")
        disk.write(aside, new)
        if content:
            disk.sync(aside)
        disk.rename(aside, path)
        if folder:
            disk.sync_folder(path.parent)

    for module in (generation_record, run_log, snapshot_store):
        patch.setattr(module, "write_whole", write)


def no_sync_of_content(patch: pytest.MonkeyPatch) -> None:
    """Files are renamed without having been synced."""
    _written_without(patch, "no_sync_of_content", content=False, folder=True)


def no_sync_of_folder(patch: pytest.MonkeyPatch) -> None:
    """Files are renamed, and their folder is not synced."""
    _written_without(patch, "no_sync_of_folder", content=True, folder=False)


def snapshot_without_one_group(patch: pytest.MonkeyPatch) -> None:
    """A snapshot counts as whole while one group's state is missing."""

    def whole(self: Collection) -> bool:
        _reach("snapshot_without_one_group")
        return len(self.states) >= len(self.wanted) - 1

    patch.setattr(Collection, "whole", property(whole))


def error_applied_twice(patch: pytest.MonkeyPatch) -> None:
    """A group that repeats what it sent learns once more."""
    real = Worker._repeat

    def repeat(self: Worker, record: Any, attempt: int) -> Any:
        if record.memory.own_error is not None:
            _reach("error_applied_twice")
            self.neurons.update(self.neurons.gradient(record.memory))
        return real(self, record, attempt)

    patch.setattr(Worker, "_repeat", repeat)


def granted_before_durable(patch: pytest.MonkeyPatch) -> None:
    """Groups are granted while their generation is not on disk."""

    def durable(self: Gathering) -> bool:
        _reach("granted_before_durable")
        return True

    patch.setattr(Gathering, "durable", property(durable))


def links_not_proved(patch: pytest.MonkeyPatch) -> None:
    """A node says that it is ready as soon as it has asked for its subscriptions."""
    real = Hosting.host

    def host(self: Hosting, grant: Any) -> Any:
        actions = real(self, grant)
        self.unproved = False
        _reach("links_not_proved")
        return actions

    patch.setattr(Hosting, "host", host)


def echoes_not_awaited(patch: pytest.MonkeyPatch) -> None:
    """In direct wiring nobody waits until his subscriptions hold at his peers."""
    real = LinkProof.begin

    def begin(self: LinkProof, peers: Any = ()) -> list[Any]:
        if peers:
            _reach("echoes_not_awaited")
        return real(self)

    patch.setattr(LinkProof, "begin", begin)


def replayed_from_the_wrong_step(patch: pytest.MonkeyPatch) -> None:
    """The network goes back to the snapshot, the schedule does not."""
    real = Course.roll_back

    def roll_back(self: Course) -> None:
        progress = self.training.progress
        real(self)
        self.training.progress = progress
        _reach("replayed_from_the_wrong_step")

    patch.setattr(Course, "roll_back", roll_back)


def place_in_the_data_not_kept(patch: pytest.MonkeyPatch) -> None:
    """A coordinator that begins again has the weights of its snapshot, and begins with the first samples."""
    real = Course.__init__

    def init(self: Course, plan: Any, topology: Any, outbox: Any) -> None:
        real(self, plan, topology, outbox)
        if plan.restart:
            _reach("place_in_the_data_not_kept")
            self.training.progress = Progress()

    patch.setattr(Course, "__init__", init)


def the_lost_are_taken_back(patch: pytest.MonkeyPatch) -> None:
    """A life that was superseded may register again."""
    real = Roster.lose

    def lose(self: Roster, member: Any) -> None:
        real(self, member)
        self.gone.clear()
        _reach("the_lost_are_taken_back")

    patch.setattr(Roster, "lose", lose)


def generation_not_raised(patch: pytest.MonkeyPatch) -> None:
    """A recovery stays in its generation."""
    real = Gathering.begin_generation

    def begin(self: Gathering, generation: int) -> None:
        if self._durable_generation > 0:
            _reach("generation_not_raised")
            generation -= 1
        real(self, generation)

    patch.setattr(Gathering, "begin_generation", begin)


def any_copy_will_do(patch: pytest.MonkeyPatch) -> None:
    """A node goes back to the newest copy that it has, of whatever step."""

    def newest(self: Copies, group: int, step: int) -> Any:
        kept = self._kept.get(group, {})
        _reach("any_copy_will_do")
        return kept[max(kept)] if kept else None

    patch.setattr(Copies, "of", newest)
    patch.setattr(Copies, "matching", lambda self, group, step, digest: newest(self, group, step))


def final_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    """A run has finished when its last snapshot is whole, on disk or not."""
    real = Course._keep_if_whole

    def keep(self: Course) -> None:
        real(self)
        if self.snapshot is not None:
            _reach("final_not_waited_for")
            self._durable_step = self.snapshot.step

    patch.setattr(Course, "_keep_if_whole", keep)


def results_counted_twice(patch: pytest.MonkeyPatch) -> None:
    """A step is done when so many results have come, whoever sent them."""
    real, counts = Flight.hear, dict[int, tuple[Flight, int]]()

    def hear(self: Flight, message: Any, topology: Any) -> bool:
        real(self, message, topology)
        _, before = counts.get(id(self), (self, 0))
        counts[id(self)] = (self, before + 1)
        _reach("results_counted_twice")
        errors = 0 if self.mode is Mode.FORWARD else len(topology.inputs)
        return bool(self.outputs) and before + 1 >= len(topology.outputs) + errors

    patch.setattr(Flight, "hear", hear)


def generation_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A coordinator that begins again does not read which generations were used."""
    real = RunStore.standing

    def standing(self: RunStore, topology: Any) -> Any:
        found = real(self, topology)
        if found.generation:
            _reach("generation_forgotten")
        return found._replace(generation=found.generation - 1 if found.generation else 0)

    patch.setattr(RunStore, "standing", standing)


def metrics_not_cut(patch: pytest.MonkeyPatch) -> None:
    """Rows that reach beyond the snapshot stay when the steps come again."""

    def cut(self: MetricsFile, step: int) -> None:
        _reach("metrics_not_cut")

    patch.setattr(MetricsFile, "cut", cut)


def checksum_not_checked(patch: pytest.MonkeyPatch) -> None:
    """A snapshot is loaded whatever its bits say."""

    def payload(content: bytes) -> bytes:
        _reach("checksum_not_checked")
        return content[len(snapshot_store.MAGIC) + snapshot_store.DIGEST_LENGTH :]

    patch.setattr(snapshot_store, "_payload", payload)
    patch.setattr(snapshot_store, "_digest", lambda *_: "the same")


def copy_taken_when_asked(patch: pytest.MonkeyPatch) -> None:
    """A group sends its state as it is when it is asked, not as it was after the step."""

    def state_after(self: Worker, step: int) -> Any:
        if step != self.step:
            _reach("copy_taken_when_asked")
        return self._copy()

    patch.setattr(Worker, "state_after", state_after)


def measured_once_too_often(patch: pytest.MonkeyPatch) -> None:
    """A measurement of weights that are gone is not dropped in a rollback."""
    real = Course.roll_back

    def roll_back(self: Course) -> None:
        if self._measuring is not None and self._measuring in self.under_way.jobs:
            _reach("measured_once_too_often")
        self._measuring = None
        real(self)

    patch.setattr(Course, "roll_back", roll_back)


def samples_in_another_order(patch: pytest.MonkeyPatch) -> None:
    """After a rollback the samples are drawn anew."""
    real = Course.roll_back

    def roll_back(self: Course) -> None:
        real(self)
        self.training.schedule = replace(self.training.schedule, seed=self.training.schedule.seed + 1)
        _reach("samples_in_another_order")

    patch.setattr(Course, "roll_back", roll_back)


def step_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    """A group begins a step that follows although the one before is not over there."""
    for user in ("worker", "passes"):
        patch.setattr(f"neuron_node.{user}.may_begin", lambda *_: _reach("step_not_waited_for"))


def held_input_forgotten(patch: pytest.MonkeyPatch) -> None:
    """An input that has come too early does not wait for its turn."""
    patch.setattr(Held, "keep", lambda _self, _message: _reach("held_input_forgotten"))


def steps_counted_as_they_come(patch: pytest.MonkeyPatch) -> None:
    """A step whose last result comes before that of the step before it counts first."""
    real = Steps.finish

    def finish(self: Steps, flight: Flight) -> Iterator[tuple[Sent, list[Flight]]]:
        first = flight.number - flight.part
        self._under_way = type(self._under_way)(sorted(self._under_way, key=lambda sent: sent.first_pass != first))
        if len(self._under_way) > 1:
            _reach("steps_counted_as_they_come")
        return real(self, flight)

    patch.setattr(Steps, "finish", finish)


PLANTS: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        node_takes_any_generation,
        coordinator_takes_any_generation,
        sum_in_order_of_arrival,
        no_sync_of_content,
        no_sync_of_folder,
        snapshot_without_one_group,
        error_applied_twice,
        granted_before_durable,
        links_not_proved,
        echoes_not_awaited,
        replayed_from_the_wrong_step,
        place_in_the_data_not_kept,
        the_lost_are_taken_back,
        generation_not_raised,
        any_copy_will_do,
        final_not_waited_for,
        results_counted_twice,
        generation_forgotten,
        metrics_not_cut,
        checksum_not_checked,
        copy_taken_when_asked,
        measured_once_too_often,
        samples_in_another_order,
        step_not_waited_for,
        held_input_forgotten,
        steps_counted_as_they_come,
    )
}

"""Bugs to be planted, each a change of what the real code does. The simulator must find every one of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import coordinator.core.inflight as inflight_module
import coordinator.core.machine as coordinator_machine
import neuron_node.group as group_module
import neuron_node.node as node_machine
from coordinator.core.admission import Admission
from coordinator.core.assignment import Assignment
from coordinator.core.inflight import InFlight
from coordinator.core.membership import Membership
from coordinator.core.passes import InFlightPass
from coordinator.core.state_collector import StateCollector
from coordinator.core.steps import SentStep, Steps
from coordinator.core.trainer import Trainer
from coordinator.core.training import Progress
from coordinator.storage import generation_record, run_log, snapshots
from coordinator.storage.disk import Disk
from coordinator.storage.run_log import MetricsFile
from coordinator.storage.run_store import RunStore
from neuron_node import admission, tracing
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.admission import Standing
from neuron_node.errors import Duplicate, NotFinite, PeerError, Stale
from neuron_node.frames import LENGTH_BYTES, Mode, parse, pass_of, split
from neuron_node.group import Group, Pass
from neuron_node.hosted_groups import HostedGroups
from neuron_node.inbox import Direction, Inbox, InboxLayout
from neuron_node.link_probe import LinkProbe
from neuron_node.protocol import Stage
from neuron_node.snapshot_cache import SnapshotCache
from tests.simulation import plants_of_faults, plants_of_interventions
from tests.simulation.reached import reach

Plant = Callable[[pytest.MonkeyPatch], None]


def _of_any_generation(message: bytes, run: bytes, generation: int, name: str) -> bytes:
    """The message as it would be if all of its data frames were of this generation."""
    frames = split(message)
    for place, frame in enumerate(frames):
        with contextlib.suppress(PeerError):
            data = parse(frame)
            if data.run == run and data.generation != generation:
                reach(name)
                frames[place] = data._replace(generation=generation).encode()
    return b"".join((message[:ADDRESS_LENGTH], *frames))


def node_takes_any_generation(patch: pytest.MonkeyPatch) -> None:
    """A node does not look at a frame's generation."""
    real_check, real_receive = admission.check, Group.receive

    def check(message: Any, address: bytes, node: Standing) -> None:
        try:
            real_check(message, address, node)
        except Stale:
            if message.header.run != node.run:
                raise
            reach("node_takes_any_generation")

    def receive(self: Group, message: bytes) -> Any:
        return real_receive(self, _of_any_generation(message, self._run, self._generation, "node_takes_any_generation"))

    patch.setattr(node_machine, "check", check)
    patch.setattr(Group, "receive", receive)


def coordinator_takes_any_generation(patch: pytest.MonkeyPatch) -> None:
    """The coordinator does not look at a frame's generation."""
    real_check, real_receive = Admission.check, InFlight.receive

    def check(self: Admission, message: Any) -> None:
        try:
            real_check(self, message)
        except Stale as fault:
            if "generation" not in str(fault):
                raise
            reach("coordinator_takes_any_generation")

    def receive(self: InFlight, message: bytes) -> Any:
        run, generation = self._header(0).run, self._results.generation
        return real_receive(self, _of_any_generation(message, run, generation, "coordinator_takes_any_generation"))

    patch.setattr(Admission, "check", check)
    patch.setattr(InFlight, "receive", receive)


def sum_in_order_of_arrival(patch: pytest.MonkeyPatch) -> None:
    """Signals are added up as they come."""
    real = group_module._incoming

    def as_they_came(got: dict[int, Any]) -> tuple[Any, ...]:
        if [*got] != sorted(got):
            reach("sum_in_order_of_arrival")
        return tuple(got.values())

    def incoming(role: Any, run: bytes, generation: int) -> tuple[Direction, Direction]:
        signals, errors = real(role, run, generation)
        layout_of = signals.layout

        def layout(rows: int) -> InboxLayout:
            made = layout_of(rows)
            made.in_order = as_they_came
            return made

        signals.layout = layout  # type: ignore[method-assign]
        return signals, errors

    patch.setattr(group_module, "_incoming", incoming)


def frame_in_the_wrong_slot(patch: pytest.MonkeyPatch) -> None:
    """The error of a receiver is taken for that of the next one."""
    real = group_module._incoming

    def incoming(role: Any, run: bytes, generation: int) -> tuple[Direction, Direction]:
        signals, errors = real(role, run, generation)
        count = len(errors.senders)
        if count > 1:
            reach("frame_in_the_wrong_slot")
        errors.slots = {head: slot._replace(place=(slot.place + 1) % count) for head, slot in errors.slots.items()}
        return signals, errors

    patch.setattr(group_module, "_incoming", incoming)


def low_one_too_high(patch: pytest.MonkeyPatch) -> None:
    """Where two steps are under way, the older of them is said to be over."""
    real = InFlight.low

    def low(self: InFlight) -> int:
        number: int = real.fget(self)  # type: ignore[attr-defined]
        if number < self.high and len(self.flights) > 1:
            reach("low_one_too_high")
            return number + 1
        return number

    patch.setattr(InFlight, "low", property(low))


def frame_of_a_finished_pass_accepted(patch: pytest.MonkeyPatch) -> None:
    """A group takes the frames of a pass that is over, as if the pass were a new one."""
    real = Group._new_pass

    def new_pass(self: Group, number: int, *rest: Any) -> Any:
        low = self.low
        if number < low:
            reach("frame_of_a_finished_pass_accepted")
        self.low = 0
        try:
            return real(self, number, *rest)
        finally:
            self.low = low

    patch.setattr(Group, "_new_pass", new_pass)


def second_copy_replaces_the_first(patch: pytest.MonkeyPatch) -> None:
    """Of two copies of a frame the last one counts."""
    real = Inbox.offer

    def offer(self: Inbox, slot: Any, frame: bytes) -> Any:
        try:
            return real(self, slot, frame)
        except Duplicate:
            reach("second_copy_replaces_the_first")
            del self._got[slot.place]
            self.missing += 1
            return real(self, slot, frame)

    patch.setattr(Inbox, "offer", offer)


def slot_blocked_by_a_frame_that_is_not_finite(patch: pytest.MonkeyPatch) -> None:
    """A frame with a NaN in it is dropped, and its slot taken for full."""
    real = Inbox.offer

    def offer(self: Inbox, slot: Any, frame: bytes) -> Any:
        try:
            return real(self, slot, frame)
        except NotFinite:
            reach("slot_blocked_by_a_frame_that_is_not_finite")
            self._got[slot.place] = 0.0
            raise

    patch.setattr(Inbox, "offer", offer)


def group_granted_twice(patch: pytest.MonkeyPatch) -> None:
    """A spare is granted the groups of another node too."""
    real = Assignment.grant

    def grant(self: Assignment, snapshot: Any) -> None:
        real(self, snapshot)
        spares = [member for member in self._run.membership.in_order() if not member.groups]
        for host in self._run.membership.hosting():
            if spares and not host.ready:
                reach("group_granted_twice")
                spares[0].groups = host.groups
                self.grant_to(spares[0], snapshot)
                spares[0].groups = []

    patch.setattr(Assignment, "grant", grant)


def message_split_at_the_wrong_place(patch: pytest.MonkeyPatch) -> None:
    """All frames of a message are taken to be as long as the first one."""

    def all_alike(message: bytes) -> list[bytes]:
        length = LENGTH_BYTES + int.from_bytes(message[ADDRESS_LENGTH : ADDRESS_LENGTH + LENGTH_BYTES], "big")
        frames = [message[at : at + length] for at in range(ADDRESS_LENGTH, len(message), length)]
        if frames != split(message):
            reach("message_split_at_the_wrong_place")
        return frames

    for module in (group_module, node_machine, coordinator_machine, inflight_module):
        patch.setattr(module, "split", all_alike)


def _written_without(patch: pytest.MonkeyPatch, name: str, *, content: bool, folder: bool) -> None:
    def write(path: Path, new: bytes, disk: Disk) -> None:
        reach(name)
        aside = path.with_name(f".{path.name}.new")
        disk.write(aside, new)
        if content:
            disk.sync(aside)
        disk.rename(aside, path)
        if folder:
            disk.sync_folder(path.parent)

    for module in (generation_record, run_log, snapshots):
        patch.setattr(module, "write_whole", write)


def no_sync_of_content(patch: pytest.MonkeyPatch) -> None:
    """Files are renamed without having been synced."""
    _written_without(patch, "no_sync_of_content", content=False, folder=True)


def no_sync_of_folder(patch: pytest.MonkeyPatch) -> None:
    """Files are renamed, and their folder is not synced."""
    _written_without(patch, "no_sync_of_folder", content=True, folder=False)


def snapshot_without_one_group(patch: pytest.MonkeyPatch) -> None:
    """A snapshot counts as whole while one group's state is missing."""

    def complete(self: StateCollector) -> bool:
        reach("snapshot_without_one_group")
        return len(self.states) >= len(self.wanted) - 1

    patch.setattr(StateCollector, "complete", property(complete))


def error_applied_twice(patch: pytest.MonkeyPatch) -> None:
    """A group that repeats what it sent learns once more."""
    real = Group._repeat

    def repeat(self: Group) -> Any:
        for record in self._to_repeat:
            if record.stage is Stage.DONE and record.mode != Mode.FORWARD:
                reach("error_applied_twice")
                self.step -= 1
                self._learn(record)
        return real(self)

    patch.setattr(Group, "_repeat", repeat)


def granted_before_durable(patch: pytest.MonkeyPatch) -> None:
    """Groups are granted while their generation is not on disk."""

    def durable(self: Assignment) -> bool:
        reach("granted_before_durable")
        return True

    patch.setattr(Assignment, "durable", property(durable))


def links_not_proved(patch: pytest.MonkeyPatch) -> None:
    """A node says that it is ready as soon as it has asked for its subscriptions."""
    real = HostedGroups.host

    def host(self: HostedGroups, grant: Any) -> Any:
        actions = real(self, grant)
        self.unproved = False
        reach("links_not_proved")
        return actions

    patch.setattr(HostedGroups, "host", host)


def echoes_not_awaited(patch: pytest.MonkeyPatch) -> None:
    """In direct wiring nobody waits until his subscriptions hold at his peers."""
    real = LinkProbe.begin

    def begin(self: LinkProbe, peers: Any = ()) -> list[Any]:
        if peers:
            reach("echoes_not_awaited")
        return real(self)

    patch.setattr(LinkProbe, "begin", begin)


def replayed_from_the_wrong_step(patch: pytest.MonkeyPatch) -> None:
    """The network goes back to the snapshot, the schedule does not."""
    real = Trainer.roll_back

    def roll_back(self: Trainer) -> None:
        progress = self.training.progress
        real(self)
        self.training.progress = progress
        reach("replayed_from_the_wrong_step")

    patch.setattr(Trainer, "roll_back", roll_back)


def place_in_the_data_not_kept(patch: pytest.MonkeyPatch) -> None:
    """A coordinator that begins again has the weights of its snapshot, and begins with the first samples."""
    real = Trainer.__init__

    def init(self: Trainer, run: Any) -> None:
        real(self, run)
        if run.plan.restart:
            reach("place_in_the_data_not_kept")
            self.training.progress = Progress()

    patch.setattr(Trainer, "__init__", init)


def the_lost_are_taken_back(patch: pytest.MonkeyPatch) -> None:
    """A life that was superseded may register again."""
    real = Membership.remove

    def remove(self: Membership, member: Any) -> None:
        real(self, member)
        self.gone.clear()
        reach("the_lost_are_taken_back")

    patch.setattr(Membership, "remove", remove)


def generation_not_raised(patch: pytest.MonkeyPatch) -> None:
    """A recovery stays in its generation."""
    real = Assignment.begin_generation

    def begin(self: Assignment, generation: int) -> None:
        if self._durable_generation > 0:
            reach("generation_not_raised")
            generation -= 1
        real(self, generation)

    patch.setattr(Assignment, "begin_generation", begin)


def any_copy_will_do(patch: pytest.MonkeyPatch) -> None:
    """A node goes back to the newest copy that it has, of whatever step."""

    def newest(self: SnapshotCache, group: int, step: int) -> Any:
        kept = self._kept.get(group, {})
        reach("any_copy_will_do")
        return kept[max(kept)] if kept else None

    patch.setattr(SnapshotCache, "of", newest)
    patch.setattr(SnapshotCache, "matching", lambda self, group, step, digest: newest(self, group, step))


def final_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    """A run has finished when its last snapshot is whole, on disk or not."""
    real = Trainer._keep_if_whole

    def keep(self: Trainer) -> None:
        real(self)
        if self.snapshot is not None:
            reach("final_not_waited_for")
            self._durable_step = self.snapshot.step

    patch.setattr(Trainer, "_keep_if_whole", keep)


def results_counted_twice(patch: pytest.MonkeyPatch) -> None:
    """A step is done when so many results have come, whoever sent them."""
    real = InFlight._receive_frame

    def receive_frame(self: InFlight, frame: bytes) -> None:
        try:
            real(self, frame)
        except Duplicate:
            flight = self.flights[pass_of(frame, 0)[0]]
            flight.outputs.missing = max(0, flight.outputs.missing - 1)
            reach("results_counted_twice")
            raise

    patch.setattr(InFlight, "_receive_frame", receive_frame)


def generation_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A coordinator that begins again does not read which generations were used."""
    real = RunStore.standing

    def standing(self: RunStore, topology: Any) -> Any:
        found = real(self, topology)
        if found.generation:
            reach("generation_forgotten")
        return found._replace(generation=found.generation - 1 if found.generation else 0)

    patch.setattr(RunStore, "standing", standing)


def metrics_not_cut(patch: pytest.MonkeyPatch) -> None:
    """Rows that reach beyond the snapshot stay when the steps come again."""

    def cut(self: MetricsFile, step: int) -> None:
        reach("metrics_not_cut")

    patch.setattr(MetricsFile, "cut", cut)


def checksum_not_checked(patch: pytest.MonkeyPatch) -> None:
    """A snapshot is loaded whatever its bits say."""

    def payload(content: bytes) -> bytes:
        reach("checksum_not_checked")
        return content[len(snapshots.MAGIC) + snapshots.DIGEST_LENGTH :]

    patch.setattr(snapshots, "_payload", payload)
    patch.setattr(snapshots, "_digest", lambda *_: "the same")


def copy_taken_when_asked(patch: pytest.MonkeyPatch) -> None:
    """A group sends its state as it is when it is asked, not as it was after the step."""

    def state_after(self: Group, step: int) -> Any:
        if step != self.step:
            reach("copy_taken_when_asked")
        return self._copy()

    patch.setattr(Group, "state_after", state_after)


def measured_once_too_often(patch: pytest.MonkeyPatch) -> None:
    """A measurement of weights that are gone is not dropped in a rollback."""
    real = Trainer.roll_back

    def roll_back(self: Trainer) -> None:
        if self._measuring is not None and self._measuring in self.in_flight.jobs:
            reach("measured_once_too_often")
        self._measuring = None
        real(self)

    patch.setattr(Trainer, "roll_back", roll_back)


def samples_in_another_order(patch: pytest.MonkeyPatch) -> None:
    """After a rollback the samples are drawn anew."""
    real = Trainer.roll_back

    def roll_back(self: Trainer) -> None:
        real(self)
        self.training.schedule = replace(self.training.schedule, seed=self.training.schedule.seed + 1)
        reach("samples_in_another_order")

    patch.setattr(Trainer, "roll_back", roll_back)


def step_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    """A group begins a step that follows although the one before is not over there."""
    patch.setattr(Group, "_may_begin", lambda *_: reach("step_not_waited_for"))


def steps_counted_as_they_come(patch: pytest.MonkeyPatch) -> None:
    """A step whose last result comes before that of the step before it counts first."""
    real = Steps.finish

    def finish(self: Steps, flight: InFlightPass) -> Iterator[tuple[SentStep, list[InFlightPass]]]:
        first = flight.number - flight.part
        self._in_flight = type(self._in_flight)(sorted(self._in_flight, key=lambda sent: sent.first_pass != first))
        if len(self._in_flight) > 1:
            reach("steps_counted_as_they_come")
        return real(self, flight)

    patch.setattr(Steps, "finish", finish)


def step_confirmed_by_its_own_later_part(patch: pytest.MonkeyPatch) -> None:
    """All outputs of a later part are taken to say that an earlier part of the same step is over."""
    real = InFlight.finish

    def finish(self: InFlight, now_ms: float) -> list[InFlightPass]:
        later = [one for one in self.flights.values() if one.targets is not None and not one.outputs.missing]
        for flight in self.flights.values():
            if any(one.number > flight.number for one in later):
                if not any(one.number - one.part > flight.number for one in later):
                    reach("step_confirmed_by_its_own_later_part")
                flight.confirmed = True
        return real(self, now_ms)

    patch.setattr(InFlight, "finish", finish)


def part_of_a_step_reported_as_the_step(patch: pytest.MonkeyPatch) -> None:
    """A group reports the numbers of the first part of its last step only."""
    real = tracing.numbers_of_steps

    def numbers_of_steps(role: Any, before: Any, parts: Any, after: Any = None) -> Any:
        if len(parts) > 1:
            reach("part_of_a_step_reported_as_the_step")
        return real(role, before, parts[:1], after)

    patch.setattr(group_module, "numbers_of_steps", numbers_of_steps)


def traced_pass_learned(patch: pytest.MonkeyPatch) -> None:
    """A group learns the sample of a trace."""
    real = Group._outgoing_trace

    def outgoing_trace(self: Group, record: Pass) -> Any:
        sent = real(self, record)
        if not record.repeated and not record.broken:
            reach("traced_pass_learned")
            neurons: Any = self._as_neuron() if record.plain else self._as_array()
            neurons.learn(record.activity, record.error_numbers, record.own_error)
        return sent

    patch.setattr(Group, "_outgoing_trace", outgoing_trace)


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
        step_confirmed_by_its_own_later_part,
        steps_counted_as_they_come,
        frame_in_the_wrong_slot,
        low_one_too_high,
        frame_of_a_finished_pass_accepted,
        second_copy_replaces_the_first,
        slot_blocked_by_a_frame_that_is_not_finite,
        group_granted_twice,
        message_split_at_the_wrong_place,
        part_of_a_step_reported_as_the_step,
        traced_pass_learned,
        *plants_of_faults.PLANTS,
    )
}
PLANTS |= plants_of_interventions.PLANTS

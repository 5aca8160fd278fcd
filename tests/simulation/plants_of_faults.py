"""More bugs to be planted: in what a stranger can do, in first copies, in supervision, in files and in clocks."""

from __future__ import annotations

from typing import Any

import pytest

import neuron_node.node as node_machine
from coordinator.core.admission import Admission
from coordinator.core.inflight import InFlight
from coordinator.core.timers import Timers
from coordinator.local import restarts
from coordinator.local.restarts import Next
from coordinator.storage import run_store
from coordinator.storage.run_log import MetricsFile
from coordinator.storage.snapshots import SnapshotStore
from neuron_node import admission, signing
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.errors import Duplicate, Stale, Unsigned
from neuron_node.frames import LENGTH_BYTES, NUMBER_BYTES, NUMBERS_BEGIN, split
from neuron_node.group import Group
from neuron_node.identity import NodeState
from neuron_node.inbox import Inbox
from neuron_node.node import Node
from neuron_node.protocol import Grant, Reject
from tests.simulation import faults, world
from tests.simulation.reached import reach

# A stranger.


def refusal_of_anything_obeyed(patch: pytest.MonkeyPatch) -> None:
    """A node that registers obeys every refusal, and a member too."""
    real = admission._check_proof

    def check(node: admission.Standing, message: Any) -> None:
        try:
            real(node, message)
        except Stale:
            if not isinstance(message, Reject):
                raise
            reach("refusal_of_anything_obeyed")

    refused: dict[Any, Any] = {(state, Reject): Node._refused for state in NodeState if state is not NodeState.ENDED}
    patch.setattr(admission, "_check_proof", check)
    patch.setattr(node_machine, "TRANSITIONS", {**node_machine.TRANSITIONS, **refused})


def stop_of_another_run_obeyed(patch: pytest.MonkeyPatch) -> None:
    """A node obeys every stop, grant and end at its address, of whichever run."""

    def check(node: admission.Standing, message: Any) -> None:
        if message.header.run != node.run:
            reach("stop_of_another_run_obeyed")

    patch.setattr(admission, "_check_proof", check)


def call_of_another_run_obeyed(patch: pytest.MonkeyPatch) -> None:
    """A node that gets on with its run obeys the call of another one."""

    def stands_still(_self: Node) -> bool:
        reach("call_of_another_run_obeyed")
        return True

    patch.setattr(Node, "_stands_still", stands_still)


def member_stopped_by_a_stranger(patch: pytest.MonkeyPatch) -> None:
    """The coordinator does not look at the run in what a member is said to have said."""
    real = Admission.check

    def check(self: Admission, message: Any) -> Any:
        run, header = self._run.plan.run, message.header
        if header.run != run and header.incarnation in self._run.membership.members:
            reach("member_stopped_by_a_stranger")
            message = message._replace(header=header._replace(run=run))
        return real(self, message)

    patch.setattr(Admission, "check", check)


def name_taken_at_once(patch: pytest.MonkeyPatch) -> None:
    """Every program under a member's name supersedes the member."""
    real = Admission.namesake

    def namesake(self: Admission, message: Any) -> None:
        if real(self, message) is not None:
            reach("name_taken_at_once")

    patch.setattr(Admission, "namesake", namesake)


# Signatures.


def signature_not_checked(patch: pytest.MonkeyPatch) -> None:
    """A node opens signed messages, and takes each signature for a good one."""
    real = signing.opened

    def anything(address: bytes, frame: bytes, verify: Any) -> bytes:
        def verified(signature: bytes, content: bytes) -> bool:
            if not verify(signature, content):
                reach("signature_not_checked")
            return True

        return real(address, frame, verified)

    patch.setattr(node_machine, "opened", anything)


def unsigned_message_accepted(patch: pytest.MonkeyPatch) -> None:
    """A node with a key still takes messages without a signature."""
    real = signing.opened

    def downgraded(address: bytes, frame: bytes, verify: Any) -> bytes:
        try:
            return real(address, frame, verify)
        except Unsigned:
            reach("unsigned_message_accepted")
            return frame

    patch.setattr(node_machine, "opened", downgraded)


def grant_of_an_old_generation_accepted(patch: pytest.MonkeyPatch) -> None:
    """A node obeys every grant that the coordinator has signed for it, however old."""
    real = admission.check

    def check(message: Any, address: bytes, node: admission.Standing) -> None:
        try:
            real(message, address, node)
        except Stale:
            if not isinstance(message, Grant) or message.header.run != node.run:
                raise
            reach("grant_of_an_old_generation_accepted")

    patch.setattr(node_machine, "check", check)


def grant_of_another_node_accepted(patch: pytest.MonkeyPatch) -> None:
    """The signature does not cover the address: it is as good for another node."""
    real = signing._content

    def content(address: bytes, begin: bytes, end: bytes, body: bytes) -> bytes:
        reach("grant_of_another_node_accepted")
        return real(b"", begin, end, body)

    patch.setattr(signing, "_content", content)


# First copies.


def last_copy_in_a_message_counts(patch: pytest.MonkeyPatch) -> None:
    """Of several copies in one message the last one is taken."""
    real = Group.receive

    def receive(self: Group, message: bytes) -> Any:
        last: dict[bytes, bytes] = {}
        frames = split(message)
        for frame in frames:
            last[frame[:NUMBERS_BEGIN]] = frame
        if len(last) < len(frames):
            reach("last_copy_in_a_message_counts")
            message = message[:ADDRESS_LENGTH] + b"".join(last.values())
        return real(self, message)

    patch.setattr(Group, "receive", receive)


def copy_at_a_higher_attempt_replaces_the_first(patch: pytest.MonkeyPatch) -> None:
    """A frame of a repetition replaces the frame that came before."""
    real = Inbox.offer

    def offer(self: Inbox, slot: Any, frame: bytes) -> Any:
        try:
            return real(self, slot, frame)
        except Duplicate as fault:
            if not fault.attempt:
                raise
            reach("copy_at_a_higher_attempt_replaces_the_first")
            del self._got[slot.place]
            self.missing += 1
            return real(self, slot, frame)

    patch.setattr(Inbox, "offer", offer)


def results_forgotten_by_a_repetition(patch: pytest.MonkeyPatch) -> None:
    """A pass that is sent again begins with empty inboxes, and the copies that then come are its results."""
    real = InFlight._launch

    def launch(self: InFlight, flight: Any) -> None:
        if flight.attempt and flight.outputs.missing < flight.outputs.layout.count:
            reach("results_forgotten_by_a_repetition")
            self._results.give_inboxes(flight)
        real(self, flight)

    patch.setattr(InFlight, "_launch", launch)


# Memory.


def over_passes_kept(patch: pytest.MonkeyPatch) -> None:
    """A group never forgets a pass."""
    real = Group._note

    def note(self: Group, record: Any, window: Any) -> None:
        before = dict(self._passes)
        real(self, record, window)
        gone = before.keys() - self._passes.keys()
        if gone:
            reach("over_passes_kept")
        self._passes.update((number, before[number]) for number in gone)

    patch.setattr(Group, "_note", note)


def length_of_a_frame_not_checked(patch: pytest.MonkeyPatch) -> None:
    """A frame may be longer than its numbers."""
    real = Inbox.offer

    def offer(self: Inbox, slot: Any, frame: bytes) -> Any:
        right = NUMBERS_BEGIN + NUMBER_BYTES * self.layout.rows * slot.columns
        if len(frame) > right:
            reach("length_of_a_frame_not_checked")
            frame = (right - LENGTH_BYTES).to_bytes(LENGTH_BYTES, "big") + frame[LENGTH_BYTES:right]
        return real(self, slot, frame)

    patch.setattr(Inbox, "offer", offer)


# Supervision.


def supervised_by_exit_code(patch: pytest.MonkeyPatch) -> None:
    """A program that ends with 0 is taken to have been told so by the run."""
    real = restarts.next_of

    def next_of(name: str, code: int, *, run_ends: bool) -> Next:
        if code == 0 and not run_ends:
            reach("supervised_by_exit_code")
            return Next.STAYS_ENDED
        return real(name, code, run_ends=run_ends)

    for module in (world, faults):
        patch.setattr(module, "next_of", next_of)


def killed_program_put_aside(patch: pytest.MonkeyPatch) -> None:
    """A kill counts as a program's own fault."""

    def is_own_fault(_code: int) -> bool:
        reach("killed_program_put_aside")
        return True

    patch.setattr("coordinator.local.restarts.is_own_fault", is_own_fault)


def stopped_program_left(patch: pytest.MonkeyPatch) -> None:
    """A stopped program is left as it is."""

    def is_overdue(_stopped_at: float, _now: float) -> bool:
        reach("stopped_program_left")
        return False

    patch.setattr(world, "is_overdue", is_overdue)


def failed_fork_ends_the_run(patch: pytest.MonkeyPatch) -> None:
    """A program that can't be started once is not tried again."""

    def fork_again_at(_failed_at: float, _now: float) -> None:
        reach("failed_fork_ends_the_run")

    patch.setattr(world, "fork_again_at", fork_again_at)


# Files and clocks.


def metrics_not_checked(patch: pytest.MonkeyPatch) -> None:
    """Damaged metrics are gone on with."""

    def check(_self: MetricsFile, _extent: Any) -> None:
        reach("metrics_not_checked")

    patch.setattr(MetricsFile, "check", check)


def damaged_generation_begins_anew(patch: pytest.MonkeyPatch) -> None:
    """A damaged record of the generation counts as that of the snapshot."""
    patch.setattr(run_store, "BEYOND_ANY", 0)
    real = run_store.RunStore.standing

    def standing(self: Any, topology: Any) -> Any:
        found = real(self, topology)
        if any("record of the generation" in line for line in self.damage):
            reach("damaged_generation_begins_anew")
        return found

    patch.setattr(run_store.RunStore, "standing", standing)


def only_the_newest_snapshot_tried(patch: pytest.MonkeyPatch) -> None:
    """If the newest snapshot is damaged, the run begins again with the first step, and keeps its metrics."""
    real = SnapshotStore.latest

    def latest(self: SnapshotStore, topology: Any, _damaged: Any, belongs: Any) -> Any:
        lines: list[str] = []
        saved = real(self, topology, lines.append, belongs)
        if lines:
            reach("only_the_newest_snapshot_tried")
            return None
        return saved

    patch.setattr(SnapshotStore, "latest", latest)


def asleep_itself_and_blames_the_others(patch: pytest.MonkeyPatch) -> None:
    """After a jump of its clock a coordinator takes all nodes for silent."""
    real = Timers.poll

    def poll(self: Timers, *, probing: bool) -> Any:
        due = real(self, probing=probing)
        if due.jumped:
            reach("asleep_itself_and_blames_the_others")
        return due._replace(jumped=False)

    patch.setattr(Timers, "poll", poll)


PLANTS_OF_A_FORGER = (
    signature_not_checked,
    unsigned_message_accepted,
    grant_of_an_old_generation_accepted,
    grant_of_another_node_accepted,
)
PLANTS = (
    refusal_of_anything_obeyed,
    stop_of_another_run_obeyed,
    call_of_another_run_obeyed,
    member_stopped_by_a_stranger,
    name_taken_at_once,
    *PLANTS_OF_A_FORGER,
    last_copy_in_a_message_counts,
    copy_at_a_higher_attempt_replaces_the_first,
    results_forgotten_by_a_repetition,
    over_passes_kept,
    length_of_a_frame_not_checked,
    supervised_by_exit_code,
    killed_program_put_aside,
    stopped_program_left,
    failed_fork_ends_the_run,
    metrics_not_checked,
    damaged_generation_begins_anew,
    only_the_newest_snapshot_tried,
    asleep_itself_and_blames_the_others,
)

"""One group: which frames move its passes on, what it then sends, and what it learns."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuron_node import group as group_module
from neuron_node.activations import Array, quiet
from neuron_node.addresses import ADDRESS_LENGTH, COORDINATOR, group_address, stage_address
from neuron_node.codec import encode
from neuron_node.errors import Duplicate, Stale
from neuron_node.events import Send
from neuron_node.frames import LENGTH_BYTES, NUMBER_BYTES, NUMBERS_BEGIN, DataFrame, DataKind, Mode, framed, split
from neuron_node.group import WANTED_AT_MOST, Group
from neuron_node.protocol import Diverged, Message, NodeStatusRequest, Placement, Stage, state_of
from neuron_node.role import OUTSIDE, Block, Role, Sender
from neuron_node.schema import MAX_BATCH
from tests.networks import numbers, plan_of, settings_of, trained, weights_sha256
from tests.roles import (
    NODE_LIFE,
    RUN,
    axon_to,
    data,
    error_from,
    frames_of,
    header,
    input_role,
    input_to,
    matrix,
    message_of,
    output_role,
    role_of,
    sent,
    signal_to,
    signals_of,
    target_to,
    targets_to,
)

TWO_AND_TWO = role_of(
    group=3,
    senders=(Sender(1, 1, 1), Sender(2, 1, 1)),
    blocks=(Block(4, 3, 1, -1.0, 1.0), Block(5, 3, 2, -1.0, 1.0)),
)
"""Unequal groups below it."""
LINEAR = role_of(activation="identity")
STEPS = 3


def group_of(role: Role, *weights: float, bias: float = 0.0, step: int = 0) -> Group:
    """A group of one neuron with these weights, granted in generation 1, whose first pass is 1."""
    state = state_of(matrix((bias,)), np.array([weights]).reshape(1, role.fan_out))
    return Group(Placement(role, step, state), header(1), NODE_LIFE)


def two_and_two() -> Group:
    return group_of(TWO_AND_TWO, 1.0, 2.0, 3.0)


def receive(group: Group, *messages: bytes) -> list[tuple[bytes, Message | DataFrame]]:
    """What a group sends when messages reach it that all belong."""
    for message in messages:
        assert group.receive(message) == []
    return done(group)


def done(group: Group) -> list[tuple[bytes, Message | DataFrame]]:
    """Everything that is possible, and what was put off."""
    sends = group.run()
    while group.unlearned:
        sends += [*group.learn(), *group.run()]
    return sent(sends)


def reasons(group: Group, message: bytes) -> list[str]:
    """Why the frames of a message that do not belong are rejected. They must not let the group do anything."""
    return [fault.reason for _, fault in group.receive(message)]


def kinds(sends: Sequence[tuple[bytes, Message | DataFrame]]) -> list[str]:
    return [
        DataKind(message.kind).name if isinstance(message, DataFrame) else type(message).__name__
        for _, message in sends
    ]


def values(sends: Sequence[tuple[bytes, Message | DataFrame]]) -> list[tuple[bytes, bytes]]:
    return [(address, message.values.tobytes()) for address, message in sends if isinstance(message, DataFrame)]


def state(group: Group) -> tuple[int, bytes, bytes]:
    """Step, bias and weights, to the bit."""
    now = group.state_after(group.step)
    assert now is not None
    return group.step, now.bias.tobytes(), now.weights.tobytes()


def weights(group: Group) -> list[list[float]]:
    now = group.state_after(group.step)
    assert now is not None
    found: list[list[float]] = now.weights.tolist()
    return found


ONE_PASS = [
    signal_to(3, 1, matrix((0.1,))),
    signal_to(3, 2, matrix((0.7,))),
    error_from(4, matrix((0.3,))),
    error_from(5, matrix((0.2, -0.4))),
]

# Steps.


def test_a_hidden_group_fires_when_all_signals_have_come_and_replies_when_all_errors_have() -> None:
    """To every receiver its own columns, to the stage above one error, under the right addresses and the pass's numbers."""
    group = two_and_two()
    said = {"mode": Mode.TRAIN, "low": 5, "high": 9, "attempt": 2}
    assert receive(group, signal_to(3, 1, matrix((0.5,)), 7, **{**said, "low": 7})) == []
    sends = receive(group, signal_to(3, 2, matrix((-0.5,)), 7, **said))
    assert signals_of(TWO_AND_TWO, sends) == {4: [[0.5]], 5: [[1.0, 1.5]]}
    assert receive(group, error_from(5, matrix((0.0, 0.1)), 7, **said)) == []
    [(address, reply)] = receive(group, error_from(4, matrix((0.2,)), 7, **said))
    assert isinstance(reply, DataFrame) and reply.kind == DataKind.ERROR
    assert address == stage_address(1) and reply.receiver == 1
    assert reply.values.tolist() == [[pytest.approx((1.0 * 0.2 + 3.0 * 0.1) * 0.25)]]
    assert group.step == 1
    for _, message in [*sends, (address, reply)]:
        assert isinstance(message, DataFrame)
        assert (message.run, message.generation, message.sender) == (RUN, 1, 3)
        assert (message.pass_number, message.mode, message.part, message.parts) == (7, Mode.TRAIN, 0, 1)
        assert (message.attempt, message.low, message.high) == (2, 7, 9)


def test_an_error_goes_to_every_stage_that_waits_for_it() -> None:
    """Once to each, however many groups are there."""
    role = role_of(group=9, stage=7, senders=(Sender(1, 1, 1), Sender(2, 1, 1), Sender(5, 4, 1)))
    group = group_of(role, 1.0)
    for sender in (1, 2, 5):
        group.receive(signal_to(9, sender, matrix((0.1,))))
    assert kinds(done(group)) == ["SIGNAL"]
    replies = receive(group, error_from(3, matrix((0.5,)), stage=7))
    assert [address for address, _ in replies] == [stage_address(1), stage_address(4)]


def test_any_order_of_arrival_ends_in_the_same_state() -> None:
    """Signals and errors of one pass in every possible order, errors even before signals: the same bits."""
    ends = set()
    for order in permutations(ONE_PASS):
        group = two_and_two()
        replies = [found for message in order for found in receive(group, message) if found[0] == stage_address(1)]
        assert len(replies) == 1 and group.step == 1
        ends.add((values(replies)[0], state(group)))
    assert len(ends) == 1


@pytest.mark.parametrize("bias_learned", [True, False])
def test_an_input_group_answers_the_coordinator(bias_learned: bool) -> None:
    """With the own error, if a bias is learned from it; else without a number.

    Then it is worked out on request, with the weight as it was when sent.
    """
    group = group_of(input_role(bias_learned=bias_learned), 2.0)
    [(address, fired)] = receive(group, input_to(1, matrix((3.0,))))
    assert isinstance(fired, DataFrame) and address == group_address(2) and fired.values.tolist() == [[6.0]]
    [(address, reply)] = receive(group, error_from(2, matrix((0.5,)), stage=1))
    assert isinstance(reply, DataFrame) and reply.kind == DataKind.INPUT_ERROR
    assert address == stage_address(OUTSIDE) and reply.receiver == OUTSIDE
    assert reply.values.tolist() == [[1.0] if bias_learned else []]
    assert group.last_error.tolist() == [[1.0]] and group.last_activity.tolist() == [[3.0]]
    assert weights(group) == [[2.0 - 0.5 * 0.5 * 3.0]]


@pytest.mark.parametrize(("high", "said"), [(2, ["INPUT_ERROR"] * 2), (3, ["INPUT_ERROR", None])])
def test_an_input_group_says_that_it_is_done_where_no_step_follows(high: int, said: list[str | None]) -> None:
    """Its next signals say so otherwise. Another part of the same step is no other step; a repetition is answered always."""
    group = group_of(input_role(), 2.0)
    found = []
    for attempt in (1, 0):
        number, part = 2 - attempt, 1 - attempt
        told: dict[str, Any] = {"low": 1, "high": high, "part": part, "parts": 2, "attempt": attempt}
        receive(group, input_to(1, matrix((3.0,)), number, **told))
        sends = receive(group, error_from(2, matrix((0.5,)), number, stage=1, **told))
        found.append(kinds(sends)[0] if sends else None)
    assert found == said and group.step == 1


def test_an_output_group_reports_its_activity_and_may_have_its_target_first() -> None:
    """A target that comes early waits for the signals."""
    group = group_of(output_role(activation="identity"))
    assert receive(group, target_to(3, matrix((1.0,)))) == []
    sends = receive(group, signal_to(3, 2, matrix((3.0,))))
    assert [address for address, _ in sends] == [stage_address(OUTSIDE), stage_address(2)]
    assert kinds(sends) == ["OUTPUT", "ERROR"]
    assert [message.values.tolist() for _, message in sends if isinstance(message, DataFrame)] == [[[3.0]], [[2.0]]]


def test_a_restored_group_counts_on_from_its_step() -> None:
    """A placement's step and state are where it stands."""
    group = group_of(input_role(), 2.0, step=40)
    assert weights(group) == [[2.0]] and group.state_after(0) is None
    receive(group, input_to(1, matrix((1.0,))), error_from(2, matrix((0.25,)), stage=1))
    assert group.step == 41


def test_a_copy_is_taken_as_the_step_ends() -> None:
    """Of steps that are marked for it, and sent at once. Later steps do not change it; the last two copies are kept."""
    sent_copies: list[tuple[int, bytes]] = []

    def send_copy(group: Group, step: int) -> Send:
        copy = group.state_after(step)
        assert copy is not None
        sent_copies.append((step, copy.weights.tobytes()))
        return Send(COORDINATOR)

    place = Placement(input_role(), 0, state_of(matrix((0.0,)), matrix((2.0,))))
    group, states = Group(place, header(1), NODE_LIFE, None, send_copy), dict[int, bytes]()
    for number in range(1, 7):
        mode = Mode.TRAIN_AND_COPY if number in (1, 3, 5) else Mode.TRAIN
        group.receive(input_to(1, matrix((1.0,)), number, mode=mode))
        group.receive(error_from(2, matrix((0.25,)), number, stage=1, mode=mode))
        sends = group.run()
        assert (sends[-1].address == COORDINATOR) == (number in (1, 3, 5))
        states[number] = state(group)[2]
    assert sent_copies == [(number, states[number]) for number in (1, 3, 5)] and len({*states.values()}) == 6
    for step in (3, 5, 6):
        kept = group.state_after(step)
        assert kept is not None and kept.weights.tobytes() == states[step]
    assert [group.state_after(step) for step in (0, 1, 2, 4, 7)] == [None] * 5


# Whole axons.

SECOND_OF_THREE = role_of(
    ("a.0", "a.1"), group=5, first=1, width=4, activation="identity", senders=(Sender(1, 1, 1), Sender(3, 1, 1))
)


@given(rows=st.integers(1, 3), as_axon=st.tuples(st.booleans(), st.booleans()))
def test_a_group_finds_its_own_signals_in_an_axon(rows: int, as_axon: tuple[bool, bool]) -> None:
    """A block for each group of the stage; another sender may send to this group alone. The same bits either way."""
    group = Group(Placement(SECOND_OF_THREE, 0, None), header(1), NODE_LIFE)
    ours, messages = [numbers(f"signals of {sender}", rows, 2) for sender in (1, 3)], []
    for sender, own, whole in zip((1, 3), ours, as_axon, strict=True):
        blocks = [np.full(rows, 7.0), own.reshape(-1), np.full(rows, 9.0)]
        axon = axon_to(2, sender, np.concatenate(blocks).reshape(rows, 4))
        messages.append(axon if whole else signal_to(5, sender, own))
    receive(group, *messages)
    assert group.last_activity.tolist() == (ours[0] + ours[1]).tolist()


@pytest.mark.parametrize("rows", [1, 3])
def test_axons_up_to_a_bound_are_sent_at_once(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it each receiver gets its own signals: the same numbers, to groups of unequal size."""
    found = []
    for bound in (8 * 3 * rows, 8 * 3 * rows - 1):
        monkeypatch.setattr(group_module, "AXON_AT_ONCE_BYTES", bound)
        sends = receive(two_and_two(), *[signal_to(3, sender, numbers("signal", rows, 1)) for sender in (1, 2)])
        found.append((len(sends), signals_of(TWO_AND_TWO, sends)))
    assert [count for count, _ in found] == [1, 2]
    assert found[0][1] == found[1][1] and found[0][1].keys() == {4, 5}


# What does not belong.


def test_duplicate_frame_counts_once() -> None:
    """A second copy, even an altered one, is a duplicate in every phase of a pass, and changes nothing."""
    altered = [
        signal_to(3, 1, matrix((9.0,))),
        signal_to(3, 2, matrix((9.0,))),
        error_from(4, matrix((9.0,))),
        error_from(5, matrix((9.0, 9.0))),
    ]
    should = two_and_two()
    sends = receive(should, *ONE_PASS)
    group, found = two_and_two(), []
    for count, message in enumerate(ONE_PASS, 1):
        found += receive(group, message)
        for again in [*ONE_PASS[:count], *altered[:count]]:
            assert reasons(group, again) == ["duplicate"] and group.run() == []
    assert values(found) == values(sends) and state(group) == state(should)


def other_encoding(message: bytes) -> bytes:
    """The same 19 fields, in msgpack's shortest formats."""
    [frame] = split(message)
    return message[:9] + framed(msgpack.packb(msgpack.unpackb(frame[LENGTH_BYTES:])))


def signal(sender: int, rows: Array, number: int = 7, **said: Any) -> bytes:
    return signal_to(3, sender, rows, number, **said)


PASS_7 = [
    signal(1, matrix((0.1,))),
    signal(2, matrix((0.7,))),
    *[error_from(*one, 7) for one in ((4, matrix((0.3,))), (5, matrix((0.2, -0.4))))],
]
ONE = matrix((1.0,))
NOT_OURS = {
    "NaN": (signal(2, matrix((float("nan"),))), "not finite"),
    "infinite error": (error_from(4, matrix((float("inf"),)), 7), "not finite"),
    "too many columns": (signal(2, matrix((1.0, 2.0))), "shape"),
    "no columns": (signal(2, np.empty((1, 0))), "shape"),
    "no rows": (signal(2, np.empty((0, 1))), "shape"),
    "another number of rows": (signal(2, matrix((1.0,), (1.0,))), "shape"),
    "an error of wrong width": (error_from(5, ONE, 7), "shape"),
    "another mode": (signal(2, ONE, mode=Mode.TRAIN_AND_COPY), "shape"),
    "another part": (signal(2, ONE, part=1, parts=2), "shape"),
    "another number of parts": (signal(2, ONE, parts=2), "shape"),
    "a sender that is none": (signal(9, ONE), "unexpected"),
    "an error from above": (error_from(1, ONE, 7), "unexpected"),
    "an input for a hidden group": (signal(OUTSIDE, ONE), "unexpected"),
    "a target for a hidden group": (target_to(3, ONE, 7), "unexpected"),
    "targets for a hidden stage": (targets_to(2, ONE, 7), "unexpected"),
    "an error for another stage": (error_from(4, ONE, 7, stage=3), "unexpected"),
    "an earlier generation": (signal(2, ONE, generation=0), "stale"),
    "a later generation": (signal(2, ONE, generation=2), "stale"),
    "another run": (signal(2, ONE, run=b"another."), "stale"),
    "an earlier pass": (signal(2, ONE, 6), "stale"),
    "an earlier pass without rows": (signal(2, np.empty((0, 1)), 6), "stale"),
    "low beyond its pass": (signal(2, ONE, low=8, high=9), "malformed"),
    "high before its pass": (signal(2, ONE, low=5, high=6), "malformed"),
    "too wide a window": (signal(2, ONE, low=0, high=257), "malformed"),
    "another encoding": (other_encoding(signal(2, ONE)), "malformed"),
    "no frame": (group_address(3) + framed(b"no frame"), "malformed"),
    "a control frame": (group_address(3) + encode(NodeStatusRequest(header(7))), "malformed"),
}


@pytest.mark.parametrize("name", NOT_OURS)
def test_foreign_frame_is_rejected_and_the_pass_goes_on(name: str) -> None:
    """With its reason, alone and joined to a frame that belongs; it advances no pass, and the right frame that follows
    is accepted: the group sends the same and ends with the same bits.
    """
    wrong, reason = NOT_OURS[name]
    should = two_and_two()
    sends = receive(should, *PASS_7)
    for joined in (False, True):
        group = two_and_two()
        with quiet():
            found = receive(group, PASS_7[0])
            if joined:
                assert reasons(group, PASS_7[1][:9] + wrong[9:] + PASS_7[1][9:]) == [reason]
            else:
                assert reasons(group, wrong) == [reason] and group.run() == []
                found += receive(group, PASS_7[1])
            found += [*done(group), *receive(group, *PASS_7[2:])]
        assert values(found) == values(sends) and state(group) == state(should)


def test_a_cut_off_frame_is_rejected() -> None:
    """At every length; a byte behind a frame is no frame either, and what comes before it counts."""
    whole = PASS_7[1]
    for end in range(10, len(whole)):
        group = two_and_two()
        receive(group, PASS_7[0])
        assert reasons(group, whole[:end]) == ["malformed"] and group.run() == []
    assert reasons(group, whole + b"\x00") == ["malformed"]
    assert signals_of(TWO_AND_TWO, done(group)).keys() == {4, 5}


def test_an_error_in_a_forward_pass_is_rejected() -> None:
    """Nothing is learned in it."""
    group = two_and_two()
    receive(group, signal(1, ONE, mode=Mode.FORWARD))
    assert reasons(group, error_from(4, ONE, 7, mode=Mode.FORWARD)) == ["unexpected"]
    assert reasons(group, error_from(5, ONE, 7)) == ["unexpected"]
    assert kinds(receive(group, signal(2, ONE, mode=Mode.FORWARD))) in (["AXON"], ["SIGNAL", "SIGNAL"])
    assert group.step == 0 and group.oldest is None


def test_the_first_frame_of_a_pass_must_be_right() -> None:
    """A frame that is rejected opens no pass: the next one may have another shape."""
    group = two_and_two()
    with quiet():
        assert reasons(group, signal(1, matrix((float("nan"),), (1.0,)))) == ["not finite"]
    assert group.oldest is None and group.low == 1
    receive(group, *PASS_7)
    assert group.step == 1


@given(
    place=st.integers(0, NUMBERS_BEGIN - 1), value=st.integers(1, 255), which=st.integers(0, 3), before=st.booleans()
)
def test_a_frame_with_a_wrong_byte_counts_for_nothing(place: int, value: int, which: int, before: bool) -> None:
    """Anywhere but in the numbers, before the right frame or after it: the group sends the same and learns the same."""
    should = two_and_two()
    sends = receive(should, *PASS_7)
    wrong = bytearray(PASS_7[which])
    wrong[9 + place] ^= value
    group, found = two_and_two(), list[tuple[bytes, Message | DataFrame]]()
    for index, message in enumerate(PASS_7):
        if index == which and before:
            assert len(reasons(group, bytes(wrong))) >= 1
        found += receive(group, message)
        if index == which and not before:
            assert len(reasons(group, bytes(wrong))) >= 1
        found += done(group)
    assert values(found) == values(sends) and state(group) == state(should)


# Joined messages, several passes, and their window.


def frames_to_input(step: int, rows: int = 2, **said: Any) -> list[DataFrame]:
    """What reaches an input group with receivers 2 and 3, in one step."""
    return [
        data(DataKind.SIGNAL, 1, OUTSIDE, numbers(f"input {step}", rows, 1), step, **said),
        *[
            data(DataKind.ERROR, 1, sender, numbers(f"error {step} {sender}", rows, 1), step, **said)
            for sender in (2, 3)
        ],
    ]


INPUT = input_role(blocks=(Block(2, 2, 1, -1.0, 1.0), Block(3, 2, 1, -1.0, 1.0)))


def input_group() -> Group:
    return Group(Placement(INPUT, 0, None), header(1), NODE_LIFE)


def one_step_at_a_time(rows: int = 2) -> tuple[Group, list[tuple[bytes, bytes]]]:
    group, sends = input_group(), list[tuple[bytes, bytes]]()
    for step in range(1, STEPS + 1):
        for frame in frames_to_input(step, rows, low=step, high=STEPS):
            sends += values(receive(group, message_of(frame)))
    return group, sends


@settings(max_examples=150)
@given(random=st.randoms(use_true_random=False), rows=st.sampled_from([1, 2]))
def test_frames_may_come_in_any_order_and_joined_in_any_way(random: Any, rows: int) -> None:
    """Of several passes and both directions in one message: training steps still run in their order, with the same
    bits, and each of their messages is sent once.
    """
    should, sends = one_step_at_a_time(rows)
    frames = [frame for step in range(1, STEPS + 1) for frame in frames_to_input(step, rows, low=1, high=STEPS)]
    random.shuffle(frames)
    group, found = input_group(), list[tuple[bytes, bytes]]()
    while frames:
        some, frames = frames[: (count := random.randint(1, len(frames)))], frames[count:]
        # Addresses matter to the broker alone; a group looks at what a frame says.
        assert group.receive(stage_address(1) + b"".join(frame.encode() for frame in some)) == []
        if random.random() < 0.5:
            found += values(done(group))
    found += values(done(group))
    assert found == sends and state(group) == state(should)


@settings(max_examples=150)
@given(random=st.randoms(use_true_random=False), rows=st.sampled_from([1, 2]), copies=st.integers(1, 20))
def test_altered_copies_change_nothing(random: Any, rows: int, copies: int) -> None:
    """Somewhere behind the real frame, before or after the pass is over, at a higher attempt, joined in any way: the same bits.
    A higher attempt makes the group repeat what it sent, with the same numbers.
    """
    should, sends = one_step_at_a_time(rows)
    frames = [frame for step in range(1, STEPS + 1) for frame in frames_to_input(step, rows, low=1, high=STEPS)]
    for copy in range(copies):
        at = random.randrange(len(frames))
        altered = frames[at]._replace(values=numbers(f"copy {copy}", rows, 1), attempt=random.choice((0, 0, 1, 2)))
        frames.insert(random.randint(at + 1, len(frames)), altered)
    group, found = input_group(), list[tuple[bytes, bytes]]()
    while frames:
        some, frames = frames[: (count := random.randint(1, len(frames)))], frames[count:]
        for _, fault in group.receive(stage_address(1) + b"".join(frame.encode() for frame in some)):
            assert isinstance(fault, Duplicate | Stale)
        if random.random() < 0.5:
            found += values(done(group))
    found += values(done(group))
    # A repetition may also say that the step is done, without any number.
    assert [one for one in dict.fromkeys(found) if one[1]] == [one for one in sends if one[1]]
    assert state(group) == state(should)


@given(random=st.randoms(use_true_random=False))
def test_a_message_may_be_split_at_every_place(random: Any) -> None:
    """Cut anywhere, as if a relay made two messages of it: frames that stay whole are accepted, the two pieces of the
    other one are not, and once that frame has come the end is the same.
    """
    should, sends = one_step_at_a_time()
    frames = [frame.encode() for step in range(1, STEPS + 1) for frame in frames_to_input(step, low=1, high=STEPS)]
    whole = b"".join(frames)
    ends = [0, *itertools.accumulate(map(len, frames))]
    cut = random.randrange(1, len(whole))
    group = input_group()
    rejections = [*group.receive(stage_address(1) + whole[:cut]), *group.receive(stage_address(1) + whole[cut:])]
    assert bool(rejections) == (cut not in ends)
    broken = next(index for index in range(len(frames)) if ends[index] <= cut < ends[index + 1])
    found = values(done(group))
    # The second piece may have been read as the beginning of a longer frame: all from the cut on comes again.
    for frame in frames[broken:]:
        group.receive(stage_address(1) + frame)
        found += values(done(group))
    assert found == sends and state(group) == state(should)


def test_a_step_waits_for_the_one_before_it_of_which_nothing_has_come() -> None:
    """Its input was lost: the next one waits until the coordinator has sent it again."""
    group = input_group()
    later = [message_of(frame) for frame in frames_to_input(2, low=1, high=2)]
    assert receive(group, *later) == []
    sooner = [message_of(frame) for frame in frames_to_input(1, low=1, high=2)]
    assert kinds(receive(group, sooner[0])) == ["AXON"]
    assert kinds(receive(group, *sooner[1:])) == ["AXON", "INPUT_ERROR"]
    assert group.step == 2


def test_a_step_waits_no_longer_for_what_the_coordinator_says_is_over() -> None:
    """`low` says so: what is left of earlier passes is given up, and their frames are stale."""
    group = input_group()
    receive(group, message_of(frames_to_input(1, low=1, high=2)[0]))
    assert receive(group, message_of(frames_to_input(2, low=1, high=2)[0])) == []
    # With this frame.
    assert kinds(receive(group, message_of(frames_to_input(2, low=2, high=2)[1]))) == ["AXON"]
    assert (group.low, group.oldest and group.oldest.number) == (2, 2)
    assert reasons(group, message_of(frames_to_input(1, low=1, high=2)[1])) == ["stale"]


def test_a_stale_low_does_not_take_the_window_back() -> None:
    """A late frame says what was true when it was sent."""
    group = input_group()
    receive(group, message_of(frames_to_input(5, low=4, high=8)[0]))
    receive(group, message_of(frames_to_input(5, low=2, high=5)[1]))
    assert (group.low, group.high) == (4, 8)


def test_forward_passes_run_as_they_complete_and_keep_their_numbers_apart() -> None:
    """Three at once, of other batch sizes, then a training step."""
    senders = (Sender(1, 1, 1), Sender(2, 1, 1))
    group = group_of(role_of(group=3, senders=senders, activation="identity", blocks=(Block(4, 3, 1, 0.0, 0.0),)), 2.0)
    said: dict[str, Any] = {"mode": Mode.FORWARD, "low": 5, "high": 7}
    rows = {5: matrix((1.0,)), 6: matrix((2.0,), (3.0,)), 7: matrix((4.0,))}
    for number, ours in rows.items():
        assert receive(group, signal(1, ours, number, **said)) == []
    for number, ours in reversed(rows.items()):
        [(_, message)] = receive(group, signal(2, 10.0 * ours, number, **said))
        assert isinstance(message, DataFrame) and message.pass_number == number
        assert message.values.tolist() == (22.0 * ours).tolist()
    assert group.step == 0 and weights(group) == [[2.0]]
    assert kinds(receive(group, *[signal(sender, ONE, 8, low=5, high=8) for sender in (1, 2)])) == ["SIGNAL"]


def test_a_training_step_waits_for_a_forward_pass_before_it() -> None:
    """Which has the weights before the step."""
    group = input_group()
    step = message_of(frames_to_input(2, low=1, high=2)[0])
    assert receive(group, step) == []
    forward = message_of(data(DataKind.SIGNAL, 1, OUTSIDE, ONE, 1, mode=Mode.FORWARD, low=1, high=2))
    assert kinds(receive(group, forward)) == ["AXON", "AXON"]


# Attempts.


def test_a_higher_attempt_makes_a_group_repeat_itself_once() -> None:
    """All that it has sent in the pass, bit for bit, marked with the attempt; the same attempt again does nothing."""

    def again(message: bytes, attempt: int) -> bytes:
        [frame] = frames_of(message)
        assert isinstance(frame, DataFrame)
        return message_of(frame._replace(attempt=attempt))

    def repeated(message: bytes, attempt: int) -> list[tuple[bytes, Message | DataFrame]]:
        assert reasons(group, again(message, attempt)) == ["duplicate"]
        return done(group)

    group = two_and_two()
    receive(group, ONE_PASS[0])
    assert repeated(ONE_PASS[0], 1) == []
    first = receive(group, again(ONE_PASS[1], 1))
    assert attempts(first) == {1}
    second = repeated(ONE_PASS[0], 2)
    assert values(second) == values(first) and attempts(second) == {2}
    assert repeated(ONE_PASS[1], 2) == [] and repeated(ONE_PASS[1], 1) == []
    receive(group, again(ONE_PASS[2], 2))
    [reply] = receive(group, again(ONE_PASS[3], 2))
    learned = state(group)
    third = repeated(ONE_PASS[0], 3)
    assert values(third) == values([*first, reply]) and attempts(third) == {3}
    assert repeated(ONE_PASS[2], 3) == [] and state(group) == learned


def attempts(sends: Sequence[tuple[bytes, Message | DataFrame]]) -> set[int]:
    return {message.attempt for _, message in sends if isinstance(message, DataFrame)}


def test_a_lower_attempt_after_a_higher_one_is_no_reason_to_repeat() -> None:
    """A late first attempt is used where it is the first to come, and makes no group send again."""
    group = two_and_two()
    receive(group, signal_to(3, 1, matrix((0.1,)), attempt=2))
    assert attempts(receive(group, signal_to(3, 2, matrix((0.7,)), attempt=0))) == {2}


def test_a_group_that_has_gone_on_still_repeats_the_step_before() -> None:
    """Another group may lack a message of it; what is sent again is what was sent, with the weights of then."""
    group = input_group()
    first = receive(group, *[message_of(frame) for frame in frames_to_input(1, low=1, high=2)])
    second = receive(group, message_of(frames_to_input(2, low=1, high=2)[0]))
    assert reasons(group, message_of(frames_to_input(1, low=1, high=2, attempt=1)[0])) == ["duplicate"]
    again = done(group)
    # The coordinator asked, so the group also says that it is done, which the signals of the next step say otherwise.
    assert kinds(again) == ["AXON", "INPUT_ERROR"]
    assert values(again)[:1] == values(first) != values(second)


# Numbers that are no longer finite.


def test_a_group_that_diverges_while_learning_names_the_neuron() -> None:
    """The second of two overflows: its name and the step are told, again when asked again; no error is sent."""
    role = role_of(("a.0", "a.1"), activation="identity", learning_rate=1e6, senders=(Sender(1, 1, 1),))
    place = Placement(role, 10, state_of(matrix((0.0, 0.0)), matrix((1.0,), (1.0,))))
    group = Group(place, header(1), NODE_LIFE)
    with quiet():
        receive(group, signal_to(2, 1, matrix((1.0, 1e155))))
        first = receive(group, error_from(3, matrix((1e155,))))
        assert reasons(group, error_from(3, matrix((1e155,)), attempt=1)) == ["duplicate"]
        for address, message in [*first, *done(group)]:
            assert address == COORDINATOR and isinstance(message, Diverged)
            assert (message.neuron, message.group, message.step) == ("a.1", 2, 11)


@pytest.mark.parametrize("rows", [1, 2])
def test_a_group_whose_activity_or_signals_overflow_names_the_neuron(rows: int) -> None:
    """Instead of sending numbers that everybody would refuse."""
    role = role_of(("a.0", "a.1"), activation="identity", senders=(Sender(1, 1, 1),))
    place = Placement(role, 0, state_of(matrix((0.0, 1.7e308)), matrix((1.0,), (1.0,))))
    product = group_of(input_role(), 1e200)
    with quiet():
        [(_, message)] = receive(Group(place, header(1), NODE_LIFE), signal_to(2, 1, matrix(*[(1.0, 1.7e308)] * rows)))
        assert isinstance(message, Diverged) and message.neuron == "a.1"
        [(_, message)] = receive(product, input_to(1, matrix(*[(1e200,)] * rows)))
        assert isinstance(message, Diverged) and message.neuron == "input.0"


def test_a_sum_of_signals_that_overflows_is_told() -> None:
    """Two finite signals whose sum is not."""
    senders = (Sender(1, 1, 1), Sender(2, 1, 1))
    group = group_of(role_of(group=3, senders=senders, activation="identity", blocks=(Block(4, 3, 1, 0.0, 0.0),)), 1.0)
    with quiet():
        sends = receive(group, *[signal_to(3, sender, matrix((1.7e308,))) for sender in (1, 2)])
    assert kinds(sends) == ["Diverged"]


# Learning that is put off, and steps in parts.


@pytest.mark.parametrize("rows", [1, 2])
def test_learning_may_be_put_off_until_the_error_has_left(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with large weights: then `run` gives the error, `learn` learns, and the bits are the same."""
    should, sends = one_step_at_a_time(rows)
    monkeypatch.setattr(group_module, "REPLIES_FIRST_FROM_BYTES", -1)
    group, found = input_group(), list[tuple[bytes, bytes]]()
    for frame in [frame for step in range(1, STEPS + 1) for frame in frames_to_input(step, rows, low=1, high=STEPS)]:
        group.receive(message_of(frame))
    for step in range(1, STEPS + 1):
        found += values(sent(group.run()))
        assert (group.step, len(group.unlearned)) == (step - 1, 1)
        assert group.learn() == [] and group.step == step
    assert group.run() == [] and found == sends and state(group) == state(should)


def test_a_step_learns_what_was_put_off_before_it_fires(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where nothing asks it to learn."""
    should, sends = one_step_at_a_time()
    monkeypatch.setattr(group_module, "REPLIES_FIRST_FROM_BYTES", -1)
    group, found = input_group(), list[tuple[bytes, bytes]]()
    for step in range(1, STEPS + 1):
        for frame in frames_to_input(step, low=1, high=STEPS):
            group.receive(message_of(frame))
            found += values(sent(group.run()))
    group.learn()
    assert found == sends and state(group) == state(should)


PARTS, ROWS = 4, 3
PAIR = role_of(("a.0", "a.1"), senders=(Sender(1, 1, 1),), blocks=(Block(3, 3, 2, -1.0, 1.0),), bias_high=1.0)


def part_frames(part: int, parts: int = PARTS) -> list[bytes]:
    """The signal and the error of one part of the first step."""
    said: dict[str, Any] = {"part": part, "parts": parts, "low": 1, "high": parts}
    return [
        signal_to(2, 1, numbers(f"signal {part}", ROWS, 2), 1 + part, **said),
        error_from(3, numbers(f"error {part}", ROWS, 2), 1 + part, **said),
    ]


@given(st.permutations([(way, part) for part in range(PARTS) for way in (0, 1)]))
def test_parts_may_overlap_in_any_way(order: list[tuple[int, int]]) -> None:
    """In any order of the signals and errors of a step's parts the group ends with the same bits and one step."""
    straight, mixed = (Group(Placement(PAIR, 0, None), header(1), NODE_LIFE) for _ in range(2))
    for part in range(PARTS):
        receive(straight, *part_frames(part))
    for way, part in order:
        receive(mixed, part_frames(part)[way])
    assert straight.step == 1 and state(straight) == state(mixed)
    assert straight.last_activity.tolist() == mixed.last_activity.tolist() and len(mixed.last_activity) == PARTS * ROWS
    assert straight.last_error.tolist() == mixed.last_error.tolist()


def test_nothing_is_learned_before_the_last_part() -> None:
    """All parts of a step are answered with the weights that it began with; together they are one gradient of all rows."""
    whole, parts = (Group(Placement(PAIR, 0, None), header(1), NODE_LIFE) for _ in range(2))
    before = state(parts)
    for part in range(PARTS - 1):
        receive(parts, *part_frames(part))
        assert state(parts) == before
    receive(parts, *part_frames(PARTS - 1))
    signals = np.concatenate([numbers(f"signal {part}", ROWS, 2) for part in range(PARTS)])
    errors = np.concatenate([numbers(f"error {part}", ROWS, 2) for part in range(PARTS)])
    receive(whole, signal_to(2, 1, signals), error_from(3, errors))
    assert whole.step == parts.step == 1
    np.testing.assert_allclose(weights(whole), weights(parts), rtol=1e-12)


def test_a_step_waits_for_all_parts_of_the_one_before() -> None:
    """Though all of its own frames are here."""
    group = Group(Placement(PAIR, 0, None), header(1), NODE_LIFE)
    said: dict[str, Any] = {"low": 1, "high": PARTS + 1}
    later = [
        signal_to(2, 1, numbers("later", ROWS, 2), PARTS + 1, **said),
        error_from(3, numbers("its", ROWS, 2), PARTS + 1, **said),
    ]
    assert receive(group, *later) == []
    for part in reversed(range(1, PARTS)):
        assert kinds(receive(group, *part_frames(part))) == ["SIGNAL", "ERROR"]
    assert kinds(receive(group, *part_frames(0))) == ["SIGNAL", "ERROR"] * 2 and group.step == 2


@pytest.mark.parametrize(("part", "parts"), [(4, 4), (1, 1), (0, 65), (65, 65)])
def test_a_part_that_can_not_be_is_rejected(part: int, parts: int) -> None:
    """The last one is one less than their number, and there are 64 at the most."""
    group = Group(Placement(PAIR, 0, None), header(1), NODE_LIFE)
    message = signal_to(2, 1, numbers("signal", ROWS, 2), part=part, parts=parts)
    assert reasons(group, message) == ["malformed"] and group.oldest is None


@pytest.mark.parametrize("group_size", [1, 2, 5])
@pytest.mark.parametrize("microbatches", [2, 3, 64])
def test_a_batch_in_parts_is_the_whole_batch_within_rounding(group_size: int, microbatches: int) -> None:
    """At every group size; with more parts than samples too. And twice the same is the same to the bit."""

    def learned(microbatches: int) -> Any:
        plan = plan_of(
            settings_of((4, 5, 3), epochs=2, batch_size=10), group_size=group_size, microbatches=microbatches
        )
        coordinator = trained(plan)
        assert coordinator.trainer.snapshot is not None
        return coordinator.topology.assemble(coordinator.trainer.snapshot.states)

    whole, parts = learned(1), learned(microbatches)
    for ours, theirs in zip((*whole.weights, *whole.biases), (*parts.weights, *parts.biases), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)
    assert parts.sha256() == learned(microbatches).sha256()


def test_sending_ahead_changes_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose steps are sent one at a time comes to the same bits."""
    plan = plan_of(settings_of((2, 3, 1), batch_size=1, epochs=3))
    ahead = weights_sha256(trained(plan))
    monkeypatch.setattr("coordinator.core.trainer.Trainer._may_be_followed", lambda _self, _step: False)
    assert weights_sha256(trained(plan)) == ahead


# How much is worth waiting for, and what a question is told.


def test_a_group_waits_for_what_its_oldest_pass_lacks() -> None:
    """And, where it is announced, for the next input, so that an input group is woken up once per step."""
    group, wanted = input_group(), []
    for step in range(1, STEPS + 1):
        frames = [message_of(frame) for frame in frames_to_input(step, low=step, high=min(step + 1, STEPS))]
        if step == 1:
            receive(group, frames[0])
        wanted.append(group.wanted)
        announced = {"low": step, "high": min(step + 2, STEPS)}
        ahead = [message_of(frames_to_input(step + 1, **announced)[0])] if step < STEPS else []
        receive(group, *ahead, *frames[1:])
    assert wanted == [3, 3, 2]
    assert group.wanted == 1


def test_an_output_group_waits_for_the_signals_and_the_target_of_one_step() -> None:
    """The next target is sent when the output has come. Where no step is announced, for one frame of anything."""
    group = group_of(output_role(senders=(Sender(2, 2, 1), Sender(4, 2, 1))))
    assert group.wanted == 1
    receive(group, target_to(3, ONE, 1, low=1, high=2))
    assert group.wanted == 2
    receive(group, signal_to(3, 2, ONE, 1, low=1, high=2))
    assert group.wanted == 1
    receive(group, signal_to(3, 4, ONE, 1, low=1, high=2))
    assert group.wanted == 3
    receive(group, target_to(3, ONE, 2, low=1, high=2))
    assert group.wanted == 2
    receive(group, *[signal_to(3, sender, ONE, 2, low=2, high=2) for sender in (2, 4)])
    assert group.wanted == 1 and group.step == 2


def test_an_output_group_waits_for_no_target_in_forward_passes() -> None:
    """Neither in one that is here nor in one that is announced: no target will come."""
    group = group_of(output_role(senders=(Sender(2, 2, 1), Sender(4, 2, 1))))
    said: dict[str, Any] = {"low": 1, "high": 2, "mode": Mode.FORWARD}
    receive(group, signal_to(3, 2, ONE, 1, **said))
    assert group.wanted == 1
    receive(group, signal_to(3, 4, ONE, 1, **said))
    assert group.wanted == 2


def test_a_grant_announces_no_pass() -> None:
    """The node has to prove its links first, one frame of control at a time."""
    group = group_of(role_of(senders=(Sender(1, 1, 1), Sender(2, 1, 1))), 1.0)
    assert group.run() == [] and group.wanted == 1


def test_a_group_waits_for_a_bounded_number_of_frames() -> None:
    """Time must pass too."""
    senders = tuple(Sender(10 + number, 1, 1) for number in range(2 * WANTED_AT_MOST))
    group = group_of(role_of(senders=senders), 1.0)
    receive(group, signal_to(2, 10, ONE))
    assert group.wanted == WANTED_AT_MOST


def test_a_question_is_told_where_the_group_stands() -> None:
    """In a pass of which nothing has come, in one that lacks errors, in one that is done, and in one that is over."""
    group = input_group()
    assert group.waits(1) == (1, Stage.UNHEARD, (OUTSIDE,))
    frames = [message_of(frame) for frame in frames_to_input(1)]
    receive(group, frames[0])
    assert group.waits(1) == (1, Stage.FIRED, (2, 3))
    receive(group, frames[2])
    assert group.waits(1) == (1, Stage.FIRED, (2,))
    receive(group, frames[1])
    assert group.waits(1) == (1, Stage.DONE, ())
    receive(group, message_of(frames_to_input(4)[1]))
    assert group.waits(4) == (1, Stage.LISTENING, (OUTSIDE,))
    assert group.waits(1) == group.waits(3) == (1, Stage.DONE, ())


def test_a_frame_larger_than_any_of_the_role_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known senders or not: its length alone is the reason."""
    group = two_and_two()
    monkeypatch.setattr("neuron_node.group.parse", lambda _frame: pytest.fail("decoded"))
    message = signal_to(3, 1, matrix((0.5,)))
    for body in (message[ADDRESS_LENGTH + LENGTH_BYTES :], b"no data frame"):
        large = framed(body + bytes(NUMBER_BYTES * MAX_BATCH * 4))
        assert reasons(group, message[:ADDRESS_LENGTH] + large) == ["oversized"]

"""Where the frames of one pass and one direction arrive: which belong, and what becomes of their numbers."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_node.activations import Array, quiet
from neuron_node.errors import Duplicate, Malformed, NotFinite, PeerError, WrongShape
from neuron_node.frames import (
    HEAD,
    NUMBERS_BEGIN,
    DataFrame,
    DataKind,
    Mode,
    Window,
    data_head,
    framed,
    mark_of,
    read_window,
    split,
    window_of,
)
from neuron_node.inbox import LAYOUTS_KEPT, REFERRED_TO_FROM_BYTES, Direction, Inbox, Slot, own_bytes
from tests.networks import numbers
from tests.roles import RUN, data, matrix, message_of

STAGE = 4
PASS = 7


def direction_of(*widths: int, more: int = 5) -> Direction:
    """Errors of senders 11, 12, … with so many columns for us; each also sends axons, with `more` columns on both sides."""
    slots: dict[bytes, Slot] = {}
    for place, width in enumerate(widths):
        error = data_head(DataKind.ERROR, RUN, 1, STAGE, 11 + place)
        axon = data_head(DataKind.AXON, RUN, 1, STAGE, 11 + place)
        slots |= {error: Slot(place, width, 0, width), axon: Slot(place, width + 2 * more, more, width)}
    return Direction([11 + place for place in range(len(widths))], slots, widths)


def inbox_of(*widths: int, rows: int = 1) -> Inbox:
    """An empty one of pass 7, the first part of two."""
    return Inbox(direction_of(*widths).layout(rows), PASS, mark_of(PASS, Mode.TRAIN, 0, 2))


def frame(sender: int, values: Array, kind: DataKind = DataKind.ERROR, **said: Any) -> DataFrame:
    """Of pass 7."""
    return data(kind, STAGE, sender, values, PASS, **{"parts": 2, **said})


def axon(sender: int, ours: Array, more: int = 5) -> DataFrame:
    """The same numbers between those of other groups, each group's in a block of its own."""
    rows, count = ours.shape
    flat = np.concatenate([np.full(rows * more, 77.0), ours.ravel(), np.full(rows * more, 88.0)])
    return frame(sender, flat.reshape(rows, count + 2 * more), DataKind.AXON)


def offered(box: Inbox, message: bytes) -> list[type[PeerError]]:
    """Give a message frame by frame; the faults of those that do not belong."""
    faults: list[type[PeerError]] = []
    for one in split(message):
        try:
            box.offer(box.layout.direction.slots[one[HEAD]], one)
        except PeerError as fault:
            faults.append(type(fault))
    return faults


def untouched(box: Inbox, message: bytes) -> bool:
    """Whether neither way of giving the message changes what the inbox has."""
    before = (box.missing, box.lacks(), dict(box._got))
    taken = box.offer_message(message)
    known = [one for one in split(message) if one[HEAD] in box.layout.direction.slots]
    faults = [fault for one in known for fault in offered(box, message[:9] + one)]
    return taken is None and len(faults) == len(known) and before == (box.missing, box.lacks(), dict(box._got))


@given(
    rows=st.integers(1, 4),
    widths=st.lists(st.integers(1, 3), min_size=1, max_size=6),
    random=st.randoms(use_true_random=False),
    whole=st.booleans(),
)
def test_numbers_stand_in_synapse_order(rows: int, widths: list[int], random: Any, whole: bool) -> None:
    """However the frames arrive: in any order, joined in any way, as axons or alone, taken at once or one by one."""
    box = inbox_of(*widths, rows=rows)
    values = [numbers(f"sender {place}", rows, width) for place, width in enumerate(widths)]
    made = [random.choice((frame, axon))(11 + place, ours) for place, ours in enumerate(values)]
    random.shuffle(made)
    while made:
        alike = [one for one in made if one.values.shape == made[0].values.shape]
        joined = alike[: random.randint(1, len(alike))]
        made = [one for one in made if one not in joined]
        if whole:
            assert box.offer_message(message_of(*joined)) == [Window(0, PASS, PASS)]
        else:
            assert offered(box, message_of(*joined)) == []
        assert box.missing == len(made) == len(box.lacks())
    assert box.side_by_side().tolist() == np.concatenate(values, axis=1).tolist()
    assert box.side_by_side().flags.c_contiguous
    if len({*widths}) == 1:
        assert box.stacked().tolist() == [ours.tolist() for ours in values]
    if rows == 1:
        assert box.floats() == tuple(np.concatenate(values, axis=1)[0].tolist())


@pytest.mark.parametrize("make", [frame, axon])
def test_the_first_copy_counts(make: Any) -> None:
    """An altered second copy is a duplicate, of the same kind or of the other, and changes nothing."""
    for again in (frame, axon):
        for at_once in (True, False):
            box = inbox_of(1, 1)
            first, second = message_of(make(11, matrix((0.5,)))), message_of(again(11, matrix((9.0,))))
            if at_once:
                assert box.offer_message(first) is not None
            else:
                assert offered(box, first) == []
            assert untouched(box, second)
            assert offered(box, second) == [Duplicate]
            assert box.lacks() == [12] and box.offer_message(message_of(frame(12, matrix((0.25,))))) is not None
            assert box.floats() == (0.5, 0.25)


def test_two_copies_in_one_message_are_not_taken_at_once() -> None:
    """Then nothing is taken; frame by frame the first one is."""
    box = inbox_of(1, 1)
    message = message_of(frame(11, matrix((0.5,))), frame(11, matrix((9.0,))), frame(12, matrix((0.25,))))
    assert box.offer_message(message) is None and box.missing == 2
    assert offered(box, message) == [Duplicate] and box.floats() == (0.5, 0.25)


@given(
    rows=st.integers(1, 2),
    random=st.randoms(use_true_random=False),
    copies=st.integers(0, 12),
    plain=st.booleans(),
)
def test_no_sequence_of_altered_copies_changes_a_number(rows: int, random: Any, copies: int, plain: bool) -> None:
    """Copies with other numbers, of either kind and any attempt, somewhere behind the first one, alone or in one message with
    it: the inbox has the numbers of the first copy of each sender, and lacks the senders that have sent nothing.
    """
    widths = [1, 1, 1] if plain else [2, 1, 2]
    box, first = inbox_of(*widths, rows=rows), dict[int, Array]()
    sequence = [(place, numbers(f"sender {place}", rows, width)) for place, width in enumerate(widths)]
    for copy in range(copies):
        place = random.randrange(len(widths))
        sequence.insert(random.randint(0, len(sequence)), (place, numbers(f"copy {copy}", rows, widths[place])))
    while sequence:
        some, sequence = sequence[: (count := random.randint(1, 4))], sequence[count:]
        frames = []
        for place, values in some:
            first.setdefault(place, values)
            said = {"attempt": random.choice((0, 0, 3))}
            made = (
                axon(11 + place, values)._replace(**said)
                if random.random() < 0.3
                else frame(11 + place, values, **said)
            )
            frames.append(made.encode())
        message = b"S" + bytes(8) + b"".join(frames)
        if box.offer_message(message) is None:
            offered(box, message)
        assert box.missing == len(widths) - len(first)
        assert box.lacks() == [11 + place for place in range(len(widths)) if place not in first]
    assert box.side_by_side().tobytes() == np.concatenate([first[place] for place in sorted(first)], axis=1).tobytes()


def test_a_duplicate_says_what_its_window_says() -> None:
    """It may ask for a repetition."""
    box = inbox_of(1, 1)
    box.offer_message(message_of(frame(11, matrix((0.5,)))))
    again = frame(11, matrix((0.5,)), attempt=3, low=6, high=9)
    with pytest.raises(Duplicate) as caught:
        box.offer(box.layout.direction.slots[again.encode()[HEAD]], again.encode())
    assert caught.value.attempt == 3


def test_windows_may_differ_in_one_message() -> None:
    """Attempt, low and high are not compared; all that they say is told."""
    said = [Window(0, 7, 7), Window(1, 5, 8), Window(0, 6, 9)]
    box = inbox_of(1, 1, 1)
    frames = [frame(11 + place, matrix((0.5,)), **window._asdict()) for place, window in enumerate(said)]
    assert sorted(box.offer_message(message_of(*frames)) or []) == sorted(said)


WRONG = {
    "rows": (frame(11, np.ones((2, 1))), WrongShape),
    "no rows": (frame(11, np.ones((0, 1))), WrongShape),
    "columns": (frame(11, matrix((0.5, 0.5))), WrongShape),
    "no columns": (frame(11, np.ones((1, 0))), WrongShape),
    "mode": (frame(11, matrix((0.5,)), mode=Mode.TRAIN_AND_COPY), WrongShape),
    "part": (frame(11, matrix((0.5,)), part=1), WrongShape),
    "parts": (frame(11, matrix((0.5,)), parts=3), WrongShape),
    "NaN": (frame(11, matrix((float("nan"),))), NotFinite),
    "infinity": (frame(11, matrix((float("inf"),))), NotFinite),
    "low beyond the pass": (frame(11, matrix((0.5,)), low=8, high=9), Malformed),
    "high before the pass": (frame(11, matrix((0.5,)), low=5, high=6), Malformed),
    "too wide a window": (frame(11, matrix((0.5,)), low=0, high=257), Malformed),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_frame_that_does_not_fit_the_pass_is_refused(name: str) -> None:
    """Alone and between others; it changes nothing and does not block its place: the right frame that follows is taken."""
    wrong, fault = WRONG[name]
    box = inbox_of(1, 1)
    with quiet():
        assert untouched(box, message_of(wrong))
        assert offered(box, message_of(wrong)) == [fault]
        both = message_of(frame(12, matrix((0.25,))), wrong)
        assert box.offer_message(both) is None and box.missing == 2
        assert offered(box, both) == [fault]
    assert box.lacks() == [11]
    assert box.offer_message(message_of(frame(11, matrix((0.5,))))) is not None
    assert box.floats() == (0.5, 0.25)


def test_only_our_own_numbers_must_be_finite() -> None:
    """What an axon has for others is theirs to look at."""
    box = inbox_of(1)
    values = matrix((*5 * [float("nan")], 0.5, *5 * [float("inf")]))
    assert box.offer_message(message_of(frame(11, values, DataKind.AXON))) is not None
    assert box.floats() == (0.5,)


@pytest.mark.parametrize("rows", [1, 3])
@given(place=st.integers(0, NUMBERS_BEGIN - 1), value=st.integers(1, 255), which=st.integers(0, 2))
def test_a_frame_with_a_wrong_byte_is_not_taken(rows: int, place: int, value: int, which: int) -> None:
    """Anywhere before the numbers, in any of three joined frames: nothing is taken at once, and the wrong one never."""
    box = inbox_of(1, 1, 1, rows=rows)
    right = message_of(*[frame(11 + index, numbers(f"sender {index}", rows, 1)) for index in range(3)])
    length = (len(right) - 9) // 3
    wrong = bytearray(right)
    wrong[9 + which * length + place] ^= value
    assert box.offer_message(bytes(wrong)) is None and box.missing == 3
    one = bytes(wrong[9 + which * length :][:length])
    if (slot := box.layout.direction.slots.get(one[HEAD])) is not None:
        with pytest.raises(PeerError):
            box.offer(slot, one)
    assert box.missing == 3 and box.lacks() == [11, 12, 13]
    assert box.offer_message(right) is not None and box.missing == 0


def test_another_encoding_of_the_same_message_is_refused() -> None:
    """Shorter msgpack of the same fields."""
    box = inbox_of(1)
    right = frame(11, matrix((0.5,))).encode()
    other = framed(msgpack.packb(msgpack.unpackb(right[4:])))
    assert box.offer_message(b"S" + bytes(8) + other) is None
    with pytest.raises(Malformed):
        box.offer(box.layout.direction.slots[right[HEAD]], other)
    assert box.missing == 1


@pytest.mark.parametrize("cut", [1, 8, 100])
def test_a_message_that_is_cut_off_is_not_taken_at_once(cut: int) -> None:
    """Its whole frames are taken one by one."""
    box = inbox_of(1, 1)
    message = message_of(frame(11, matrix((0.5,))), frame(12, matrix((0.25,))))[:-cut]
    assert box.offer_message(message) is None and box.missing == 2
    box.offer(box.layout.direction.slots[split(message)[0][HEAD]], split(message)[0])
    assert box.lacks() == [12]


def test_frames_of_two_lengths_are_taken_one_by_one() -> None:
    """A group's whole axon and another's own signals, joined by a relay."""
    box = inbox_of(1, 1)
    message = message_of(axon(11, matrix((0.5,))))[:9] + axon(11, matrix((0.5,))).encode()
    message += frame(12, matrix((0.25,))).encode()
    assert box.offer_message(message) is None and box.missing == 2
    assert offered(box, message) == [] and box.floats() == (0.5, 0.25)


def test_large_numbers_are_the_same() -> None:
    """They are referred to and not copied: the same checks, and the same bits."""
    rows, width = REFERRED_TO_FROM_BYTES // 16, 2
    values = [numbers(f"sender {place}", rows, width) for place in range(2)]
    for at_once in (True, False):
        box = inbox_of(width, width, rows=rows)
        message = message_of(*[frame(11 + place, ours) for place, ours in enumerate(values)])
        assert (box.offer_message(message) is not None) if at_once else offered(box, message) == []
        assert box.side_by_side().tobytes() == np.concatenate(values, axis=1).tobytes()
        assert untouched(box, message)
    bad = values[0].copy()
    bad[-1, -1] = np.nan
    assert untouched(inbox_of(width, width, rows=rows), message_of(frame(11, bad)))
    assert own_bytes(rows, 0, width).stop - own_bytes(rows, 0, width).start == REFERRED_TO_FROM_BYTES


def test_numbers_whose_sum_overflows_are_finite() -> None:
    """Each is looked at by itself before a frame is refused."""
    for rows in (1, 2):
        box, values = inbox_of(1, 1, rows=rows), np.full((rows, 1), 1.7e308)
        with quiet():
            assert (
                box.offer_message(message_of(frame(11, values), frame(12, values))) is not None
                or offered(box, message_of(frame(11, values), frame(12, values))) == []
            )
        assert box.missing == 0 and box.side_by_side().tolist() == [[1.7e308, 1.7e308]] * rows


def test_as_many_layouts_are_kept_as_are_of_use() -> None:
    """Other numbers of rows, even if they are made up, do not fill the memory."""
    direction = direction_of(1, 1)
    for rows in range(1, 3 * LAYOUTS_KEPT):
        layout = direction.layout(rows)
        assert layout.rows == rows and direction.layout(rows) is layout
        assert len(direction._layouts) <= LAYOUTS_KEPT


def test_a_window_that_was_never_sent_is_read_from_its_places() -> None:
    """Another msgpack format in it is malformed, though the pass and its shape are right."""
    box = inbox_of(1)
    right = frame(11, matrix((0.5,))).encode()
    slot = box.layout.direction.slots[right[HEAD]]
    assert box.offer(slot, right) == Window(0, PASS, PASS)
    wrong = bytearray(window_of(0, PASS, PASS))
    wrong[0] = 0xCF
    assert read_window(bytes(wrong), PASS) is None


def test_shapes_beyond_any_frame_are_no_exception() -> None:
    """A made-up number of rows or columns, whose bytes can't even be counted in a frame; others of the pass are taken."""
    width, rows = 2**20, 2**14
    whole, own = data_head(DataKind.AXON, RUN, 1, STAGE, 11), data_head(DataKind.ERROR, RUN, 1, STAGE, 11)
    direction = Direction([11], {whole: Slot(0, width, 0, 1), own: Slot(0, 1, 0, 1)}, [1])
    box = Inbox(direction.layout(rows), PASS, mark_of(PASS, Mode.TRAIN, 0, 2))
    claim = frame(11, np.ones((rows, 1)), DataKind.AXON).encode()
    assert box.offer_message(b"S" + bytes(8) + claim) is None
    with pytest.raises(WrongShape):
        box.offer(direction.slots[whole], claim)
    assert box.offer_message(message_of(frame(11, np.ones((rows, 1))))) is not None and box.missing == 0

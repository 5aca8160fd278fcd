"""One group's passes: which arrival moves it on, and what it then sends."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from neuron_node.activations import Array
from neuron_node.addresses import COORDINATOR, error_address, group_address
from neuron_node.codec import decode
from neuron_node.errors import PeerError, Stale, Unexpected, WrongShape
from neuron_node.events import Send
from neuron_node.messages import Axon, Diverged, Error, InputError, Message, Mode, Output, Placement, Signal, State
from neuron_node.role import OUTSIDE, Block, Role, Sender
from neuron_node.worker import Worker
from tests.roles import (
    NODE_LIFE,
    RUN,
    error_from,
    header,
    input_role,
    input_to,
    matrix,
    output_role,
    role_of,
    signal_to,
    signals_of,
    target_to,
)

TWO_AND_TWO = role_of(
    senders=(Sender(1, 1), Sender(2, 1)), blocks=(Block(4, 1, -1.0, 1.0), Block(5, 2, -1.0, 1.0)), group=3
)


def worker_of(role: Role, *weights: float, bias: float = 0.0, step: int = 0) -> Worker:
    """A group of one neuron with these weights."""
    state = State(matrix((bias,)), np.array([weights]).reshape(1, role.fan_out))
    return Worker(Placement(role, step, state), RUN, 1, NODE_LIFE)


def hear(worker: Worker, frame: bytes) -> list[tuple[bytes, Message]]:
    """What the group sends because of a frame."""
    message = decode(frame)
    assert hasattr(message, "values")
    return [(send.address, decode(send.frame)) for send in worker.hear(message) if isinstance(send, Send)]  # type: ignore[arg-type]


def kinds(sends: list[tuple[bytes, Message]]) -> list[str]:
    return [type(message).__name__ for _, message in sends]


def test_a_hidden_group_fires_when_all_signals_have_come_and_replies_when_all_errors_have() -> None:
    """To every receiver its own columns, to all senders one error, under the right addresses and the pass's header."""
    worker = worker_of(TWO_AND_TWO, 1.0, 2.0, 3.0)
    assert hear(worker, signal_to(3, 1, matrix((0.5,)), number=7)) == []
    sends = hear(worker, signal_to(3, 2, matrix((-0.5,)), number=7))
    assert signals_of(TWO_AND_TWO, sends) == {4: [[0.5]], 5: [[1.0, 1.5]]}
    for _, message in sends:
        assert isinstance(message, Signal | Axon)
        assert message.header == header(7, incarnation=NODE_LIFE)
        assert (message.sender, message.mode, message.attempt) == (3, Mode.TRAIN, 0)
    assert hear(worker, error_from(5, matrix((0.0, 0.1)), number=7)) == []
    [(address, reply)] = hear(worker, error_from(4, matrix((0.2,)), number=7))
    assert address == error_address(3) and isinstance(reply, Error) and reply.sender == 3
    assert reply.values.tolist() == [[pytest.approx((1.0 * 0.2 + 3.0 * 0.1) * 0.25)]]
    assert worker.step == 1


def test_any_order_of_arrival_ends_in_the_same_state() -> None:
    """Signals and errors of one pass in every possible order, errors even before signals: the same bits."""
    frames = [
        signal_to(3, 1, matrix((0.1,))),
        signal_to(3, 2, matrix((0.7,))),
        error_from(4, matrix((0.3,))),
        error_from(5, matrix((0.2, -0.4))),
    ]
    ends = set()
    for order in permutations(frames):
        worker = worker_of(TWO_AND_TWO, 1.0, 2.0, 3.0)
        replies = [message for frame in order for _, message in hear(worker, frame) if isinstance(message, Error)]
        assert len(replies) == 1 and worker.step == 1
        state = worker.state_after(1)
        assert state is not None
        ends.add((replies[0].values.tobytes(), state.bias.tobytes(), state.weights.tobytes()))
    assert len(ends) == 1


@pytest.mark.parametrize("bias_learned", [True, False])
def test_an_input_group_answers_the_coordinator(bias_learned: bool) -> None:
    """The last message of a step goes up to whoever sent the input: with the own error, if a bias is learned from it.

    Else it is worked out for whoever asks, with the weight as it was when sent.
    """
    worker = worker_of(input_role()._replace(bias_learned=bias_learned), 2.0)
    [(address, fired)] = hear(worker, input_to(1, matrix((3.0,))))
    assert address == group_address(2) and isinstance(fired, Signal) and fired.values.tolist() == [[6.0]]
    [(address, reply)] = hear(worker, error_from(2, matrix((0.5,))))
    assert (
        address == COORDINATOR
        and isinstance(reply, InputError)
        and reply.values.tolist() == [[1.0] if bias_learned else []]
    )
    assert worker.last_error.tolist() == [[1.0]]
    assert worker.neurons.weights.tolist() != [[2.0]]


def test_an_output_group_reports_its_activity_and_may_have_its_target_first() -> None:
    """A target that comes early waits for the signals."""
    worker = worker_of(output_role(activation="identity"))
    assert hear(worker, target_to(3, matrix((1.0,)))) == []
    sends = hear(worker, signal_to(3, 2, matrix((3.0,))))
    assert [address for address, _ in sends] == [COORDINATOR, error_address(3)]
    assert isinstance(sends[0][1], Output) and sends[0][1].values.tolist() == [[3.0]]
    assert isinstance(sends[1][1], Error) and sends[1][1].values.tolist() == [[2.0]]


def test_what_comes_twice_counts_once() -> None:
    """Of a duplicate neither state nor messages come, in every phase of a pass."""
    worker = worker_of(TWO_AND_TWO, 1.0, 2.0, 3.0)
    frames = [
        signal_to(3, 1, matrix((0.1,))),
        signal_to(3, 2, matrix((0.7,))),
        error_from(4, matrix((0.3,))),
        error_from(5, matrix((0.2, -0.4))),
    ]
    heard: list[bytes] = []
    for frame in frames:
        hear(worker, frame)
        heard.append(frame)
        before = (worker.step, worker.neurons.weights.tobytes(), worker.neurons.bias.tobytes())
        assert [hear(worker, earlier) for earlier in heard] == [[] for _ in heard]
        assert (worker.step, worker.neurons.weights.tobytes(), worker.neurons.bias.tobytes()) == before
    assert worker.step == 1


def test_a_higher_attempt_makes_a_group_repeat_itself_once() -> None:
    """All that it has sent in the pass, bit for bit, marked with the attempt; the same attempt again does nothing."""
    worker = worker_of(TWO_AND_TWO, 1.0, 2.0, 3.0)
    hear(worker, signal_to(3, 1, matrix((0.1,))))
    assert hear(worker, signal_to(3, 1, matrix((0.1,)), attempt=1)) == []
    first = hear(worker, signal_to(3, 2, matrix((0.7,)), attempt=1))
    again = hear(worker, signal_to(3, 1, matrix((0.1,)), attempt=2))
    assert signals_of(TWO_AND_TWO, first).keys() == {4, 5}
    assert same_values(first, again) and attempts(again) == {2}
    assert hear(worker, signal_to(3, 2, matrix((0.7,)), attempt=2)) == []
    hear(worker, error_from(4, matrix((0.3,)), attempt=2))
    [reply] = hear(worker, error_from(5, matrix((0.2, -0.4)), attempt=2))
    weights = worker.neurons.weights.tobytes()
    repeated = hear(worker, signal_to(3, 1, matrix((0.1,)), attempt=3))
    assert kinds(repeated) == [*kinds(first), "Error"]
    assert same_values([*first, reply], repeated)
    assert hear(worker, error_from(4, matrix((0.3,)), attempt=3)) == []
    assert (worker.step, worker.neurons.weights.tobytes()) == (1, weights)


def same_values(some: list[tuple[bytes, Message]], others: list[tuple[bytes, Message]]) -> bool:
    return [(address, values_of(message)) for address, message in some] == [
        (address, values_of(message)) for address, message in others
    ]


def values_of(message: Message) -> bytes:
    assert isinstance(message, Signal | Axon | Error | Output | InputError)
    return message.values.tobytes()


def attempts(sends: list[tuple[bytes, Message]]) -> set[int]:
    return {message.attempt for _, message in sends if isinstance(message, Signal | Axon)}


def test_a_lower_attempt_after_a_higher_one_is_no_reason_to_repeat() -> None:
    """A late first attempt is used where it is the first to come, and makes nobody send again."""
    worker = worker_of(TWO_AND_TWO, 1.0, 2.0, 3.0)
    hear(worker, signal_to(3, 1, matrix((0.1,)), attempt=2))
    sends = hear(worker, signal_to(3, 2, matrix((0.7,)), attempt=0))
    assert attempts(sends) == {2}


def test_forward_passes_have_memories_of_their_own() -> None:
    """Three overlapping forward passes of other batch sizes, then a training step: nobody's numbers reach another."""
    worker = worker_of(
        role_of(senders=(Sender(1, 1), Sender(2, 1)), activation="identity", group=3, blocks=(Block(4, 1, 0.0, 0.0),)),
        2.0,
    )
    rows: dict[int, Array] = {5: matrix((1.0,)), 6: matrix((2.0,), (3.0,)), 7: matrix((4.0,))}
    for number, values in rows.items():
        assert hear(worker, signal_to(3, 1, values, number=number, mode=Mode.FORWARD)) == []
    for number, values in reversed(rows.items()):
        [(_, message)] = hear(worker, signal_to(3, 2, 10.0 * values, number=number, mode=Mode.FORWARD))
        assert isinstance(message, Signal) and message.header.pass_number == number
        assert message.values.tolist() == (22.0 * values).tolist()
    assert worker.step == 0 and worker.neurons.weights.tolist() == [[2.0]]
    hear(worker, signal_to(3, 1, matrix((1.0,)), number=8))
    assert kinds(hear(worker, signal_to(3, 2, matrix((1.0,)), number=8))) == ["Signal"]


def test_a_training_step_ends_what_was_before_it() -> None:
    """Nothing of an earlier pass is accepted once a training step has begun."""
    worker = worker_of(role_of(senders=(Sender(1, 1), Sender(2, 1)), group=3, blocks=(Block(4, 1, 0.0, 0.0),)), 2.0)
    hear(worker, signal_to(3, 1, matrix((1.0,)), number=4, mode=Mode.FORWARD))
    hear(worker, signal_to(3, 1, matrix((1.0,)), number=9))
    for number in (3, 4, 8):
        with pytest.raises(Stale):
            hear(worker, signal_to(3, 2, matrix((1.0,)), number=number, mode=Mode.FORWARD))
    assert kinds(hear(worker, signal_to(3, 2, matrix((1.0,)), number=9))) == ["Signal"]


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (signal_to(3, 9, matrix((1.0,))), Unexpected),
        (error_from(1, matrix((1.0,))), Unexpected),
        (signal_to(3, OUTSIDE, matrix((1.0,))), Unexpected),
        (error_from(OUTSIDE, matrix((1.0,))), Unexpected),
        (input_to(3, matrix((1.0,))), Unexpected),
        (target_to(3, matrix((1.0,))), Unexpected),
        (signal_to(3, 1, matrix((1.0, 2.0))), WrongShape),
        (signal_to(3, 1, np.empty((0, 1))), WrongShape),
        (signal_to(3, 1, np.empty((1, 0))), WrongShape),
        (error_from(4, matrix((1.0, 2.0))), WrongShape),
        (error_from(5, matrix((1.0,))), WrongShape),
    ],
)
def test_what_does_not_fit_the_groups_place_is_refused(frame: bytes, fault: type[PeerError]) -> None:
    """From a stranger, from the wrong side, or of another shape: a typed error, and the pass goes on without it."""
    worker = worker_of(TWO_AND_TWO, 1.0, 2.0, 3.0)
    with pytest.raises(fault):
        hear(worker, frame)
    hear(worker, signal_to(3, 1, matrix((0.5,))))
    assert signals_of(TWO_AND_TWO, hear(worker, signal_to(3, 2, matrix((-0.5,))))).keys() == {4, 5}


def test_a_batch_of_another_length_is_refused_in_the_same_pass() -> None:
    """The first arrival says how many samples the pass has."""
    worker = worker_of(TWO_AND_TWO, 1.0, 2.0, 3.0)
    hear(worker, signal_to(3, 1, matrix((0.5,), (0.5,))))
    for frame in (signal_to(3, 2, matrix((1.0,))), error_from(4, matrix((1.0,), (1.0,), (1.0,)))):
        with pytest.raises(WrongShape):
            hear(worker, frame)
    assert signals_of(TWO_AND_TWO, hear(worker, signal_to(3, 2, matrix((0.5,), (0.5,))))).keys() == {4, 5}


def test_a_copy_is_taken_as_the_step_ends() -> None:
    """Later steps do not change it; older states that were not copied are gone; the last two copies are kept."""
    worker = worker_of(input_role(), 2.0)
    states: dict[int, bytes] = {}
    for number in range(1, 7):
        mode = Mode.TRAIN_AND_COPY if number in (1, 3, 5) else Mode.TRAIN
        hear(worker, input_to(1, matrix((1.0,)), number=number, mode=mode))
        hear(worker, error_from(2, matrix((0.25,)), number=number, mode=mode))
        states[number] = worker.neurons.weights.tobytes()
    assert len(set(states.values())) == 6
    for step in (3, 5, 6):
        state = worker.state_after(step)
        assert state is not None and state.weights.tobytes() == states[step]
    for step in (0, 1, 2, 4, 7):
        assert worker.state_after(step) is None


def test_a_restored_group_counts_on_from_its_step() -> None:
    """A placement's step and state are where it stands."""
    worker = worker_of(input_role(), 2.0, step=40)
    state = worker.state_after(40)
    assert state is not None and state.weights.tolist() == [[2.0]] and worker.state_after(0) is None
    hear(worker, input_to(1, matrix((1.0,))))
    hear(worker, error_from(2, matrix((0.25,))))
    assert worker.step == 41


def test_a_group_that_diverges_while_learning_names_the_neuron() -> None:
    """The second of two neurons overflows: its name and the step go to the coordinator, and again when asked again; no error is sent."""
    role = role_of(
        ("a.0", "a.1"),
        activation="identity",
        learning_rate=1e6,
        blocks=(Block(3, 1, 0.0, 0.0),),
        senders=(Sender(1, 1),),
    )
    worker = Worker(Placement(role, 10, State(matrix((0.0, 0.0)), matrix((1.0,), (1.0,)))), RUN, 1, NODE_LIFE)
    hear(worker, signal_to(2, 1, matrix((1.0, 1e155))))
    for attempt in (0, 1):
        [(address, message)] = hear(worker, error_from(3, matrix((1e155,)), attempt=attempt))
        assert address == COORDINATOR and isinstance(message, Diverged)
        assert (message.neuron, message.group, message.step) == ("a.1", 2, 11)


def test_a_group_whose_activity_or_signals_overflow_names_the_neuron() -> None:
    """Instead of sending numbers that everybody would refuse."""
    role = role_of(("a.0", "a.1"), activation="identity", blocks=(Block(3, 1, 0.0, 0.0),), senders=(Sender(1, 1),))
    worker = Worker(Placement(role, 0, State(matrix((0.0, 1.7e308)), matrix((1.0,), (1.0,)))), RUN, 1, NODE_LIFE)
    [(_, message)] = hear(worker, signal_to(2, 1, matrix((1.0, 1.7e308))))
    assert isinstance(message, Diverged) and message.neuron == "a.1"
    product = worker_of(input_role(), 1e200)
    [(_, message)] = hear(product, input_to(1, matrix((1e200,))))
    assert isinstance(message, Diverged) and message.neuron == "input.0"

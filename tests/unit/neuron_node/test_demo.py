"""The conversation of `neuron-node --demo`, and its terminal."""

from __future__ import annotations

import argparse
import io

import pytest

from neuron_node.demo import EXAMPLES_AT_MOST, LONGEST_LINE, REPEATS_AT_MOST, Demo
from neuron_node.errors import DivergedError, UserError
from neuron_node.one_neuron import OneNeuron
from neuron_node.terminal import DemoOptions, add_demo_options, converse, demo_options
from tests.docs.formulas import formulas_in


def demo(inputs: int = 2, activation: str = "logistic", learning_rate: float = 1.0, seed: int = 0) -> Demo:
    """Return a conversation with the default options, unless given."""
    return Demo(OneNeuron(inputs, activation, learning_rate, seed, "you"))


def told(conversation: Demo, *lines: str) -> list[str]:
    """Type lines and return the last answer."""
    answer: list[str] = []
    for line in lines:
        answer = conversation.receive(f"{line}\n")
    return answer


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
def test_an_example_shows_nine_steps_whose_numbers_add_up(activation: str) -> None:
    """The steps of the output neuron stand in order, and each calculation is right to its last digit."""
    conversation = demo(3, activation, learning_rate=0.25)
    lines = told(conversation, "0.5 -2 3") + told(conversation, "0.25")
    steps = [int(line.split()[1]) for line in lines if line.startswith("output.0")]
    assert sorted(set(steps)) == list(range(1, 10)) and steps == sorted(steps)
    found = list(formulas_in("\n".join(lines)))
    assert len(found) >= 12
    assert [formula for formula in found if not formula.right] == []


def test_learning_brings_the_output_nearer_to_the_desired_one() -> None:
    """Enter repeats the example, and each time the error is smaller."""
    conversation = demo()
    answers = [told(conversation, "1 0", "1"), *(told(conversation, "") for _ in range(3))]
    outputs = [float(answer[-1].split()[5].rstrip(".")) for answer in answers]
    assert outputs == sorted(outputs) and len(set(outputs)) == 4 and outputs[-1] < 1


@pytest.mark.parametrize(
    ("targets", "learned"),
    [((0, 1, 1, 1), True), ((0, 0, 0, 1), True), ((0, 1, 1, 0), False)],
    ids=["or", "and", "xor"],
)
def test_one_neuron_learns_or_and_and_but_not_xor(targets: tuple[int, ...], learned: bool) -> None:
    """After 200 repetitions, each output is on the right side of 1/2, or all of them are near 1/2."""
    conversation = demo()
    for inputs, target in zip(("0 0", "0 1", "1 0", "1 1"), targets, strict=True):
        told(conversation, inputs, str(target))
    *lines, _state = told(conversation, "again 200")
    outputs = [float(line.split("gives ")[1].split(";")[0].replace("−", "-")) for line in lines]
    right = [(output > 0.5) == bool(target) for output, target in zip(outputs, targets, strict=True)]
    assert all(right) is learned
    assert learned or all(0.3 < output < 0.7 for output in outputs)


def test_enter_instead_of_the_desired_output_teaches_nothing() -> None:
    """The same inputs give the same lines again, and there is no example to repeat."""
    conversation = demo()
    first = told(conversation, "1 1")
    assert told(conversation, "") == ["nothing was learned from this example"]
    with pytest.raises(UserError, match="no example to repeat"):
        conversation.receive("\n")
    assert told(conversation, "1, 1") == first


@pytest.mark.parametrize(
    ("before", "line", "right"),
    [
        ((), "one two", "such as 1 or -0.5"),
        ((), "1 nan", "from -1000000 to 1000000"),
        ((), "1 1e300", "from -1000000 to 1000000"),
        ((), "1", "2 numbers, such as 1 0"),
        ((), "1 " * 90, "2 numbers, such as 1 0"),
        ((), "again 5", "2 numbers, such as 1 0"),
        (("1 0", "1"), "again 0", "right would be again 100"),
        (("1 0", "1"), f"again {REPEATS_AT_MOST + 1}", "right would be again 100"),
        (("1 0",), "yes", "such as 1 or -0.5"),
        (("1 0",), "1 1", "one number, such as 1"),
        (("1 0",), "inf", "from -1000000 to 1000000"),
    ],
)
def test_a_wrong_line_says_what_would_be_right_and_changes_nothing(
    before: tuple[str, ...], line: str, right: str
) -> None:
    """One line of at most 150 characters; the question and the neuron stay as they were."""
    conversation, twin = demo(), demo()
    told(conversation, *before)
    told(twin, *before)
    question = conversation.question
    with pytest.raises(UserError, match=right) as caught:
        conversation.receive(f"{line}\n")
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 150
    assert conversation.question == question == twin.question
    following = ["0.5"] if question.startswith("desired") else ["1 1", "0.5"]
    assert told(conversation, *following) == told(twin, *following)


def test_the_demo_remembers_so_many_examples_and_no_more() -> None:
    """The oldest is forgotten; an example with other desired output replaces the old one."""
    conversation = demo(1)
    for number in range(EXAMPLES_AT_MOST + 1):
        told(conversation, f"{number / 100}", "1")
    told(conversation, "0.05", "0")
    *lines, _state = told(conversation, "again 1")
    assert len(lines) == EXAMPLES_AT_MOST
    assert not any(line.startswith("0 gives") for line in lines)
    assert next(line for line in lines if line.startswith("0.05000 gives")).endswith("you want 0")


def test_numbers_that_overflow_end_the_demo() -> None:
    """With an activation without bound and a learning rate that is too large."""
    conversation = demo(1, "identity", learning_rate=1e6)
    told(conversation, "1000", "1")
    with pytest.raises(DivergedError, match=r"try a smaller learning rate \(it is 1e\+06\)"):
        conversation.receive("again 100\n")


@pytest.mark.parametrize("inputs", [1, 2, 8])
def test_the_example_in_the_introduction_is_right(inputs: int) -> None:
    """The demo accepts the inputs that it suggests."""
    conversation = demo(inputs)
    [line] = [line for line in conversation.begin() if "such as" in line]
    told(conversation, line.split("such as ")[1].partition(". ")[0])
    assert conversation.question == "desired output: "


def conversed(typed: bytes, *, prompts: bool = False) -> tuple[list[str], list[str]]:
    """Hold a conversation and return the lines of the output and of the errors."""
    output, errors = io.StringIO(), io.StringIO()
    converse(demo(), io.BytesIO(typed), output, errors, prompts=prompts)
    return output.getvalue().splitlines(), errors.getvalue().splitlines()


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        (b"1" * (LONGEST_LINE * 50), f"at most {LONGEST_LINE} characters"),
        (b"\xff\xfe", "such as 1 or -0.5"),
        (b"\x00", "such as 1 or -0.5"),
    ],
    ids=["long", "no text", "zero"],
)
def test_after_a_wrong_line_the_next_one_counts(typed: bytes, right: str) -> None:
    """A line that is too long, or no text, is one wrong line."""
    output, errors = conversed(typed + b"\n1 0\n1")
    assert len(errors) == 1 and right in errors[0]
    assert output[-1].endswith("you want 1.")


def test_only_a_terminal_gets_questions() -> None:
    """With a pipe the output holds answers only; in a terminal the last question is followed by a new line."""
    assert not any("desired output: " in line for line in conversed(b"1 0\n1\n")[0])
    asked = [
        line for line in conversed(b"1 0\n1\n", prompts=True)[0] if line.startswith(("inputs:", "desired output: "))
    ]
    assert asked[-1] == "inputs: " and len(asked) == 3


def parsed(*arguments: str) -> DemoOptions | None:
    parser = argparse.ArgumentParser()
    add_demo_options(parser)
    return demo_options(parser.parse_args(arguments))


def test_every_option_has_a_default() -> None:
    """`--demo` alone is enough; without it there is no demo."""
    assert parsed() is None
    assert parsed("--demo") == DemoOptions(2, "logistic", 1.0, 0)
    assert parsed("--demo", "--inputs", "3", "--learning-rate", ".5") == DemoOptions(3, "logistic", 0.5, 0)


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        (["--demo", "--inputs", "9"], "a whole number from 1 to 8"),
        (["--demo", "--inputs", "two"], "a whole number from 1 to 8"),
        (["--demo", "--activation", "sigmoid"], "one of logistic, tanh, relu, identity"),
        (["--demo", "--learning-rate", "nan"], "a number above 0"),
        (["--demo", "--seed", "-1"], "a whole number from 0"),
        (["--seed", "3"], "neuron-node --demo"),
    ],
)
def test_a_wrong_option_says_what_would_be_right(arguments: list[str], right: str) -> None:
    """Also an option of the demo without --demo."""
    with pytest.raises(UserError, match=right):
        parsed(*arguments)

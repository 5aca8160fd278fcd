"""Settings: where they come from, which wins, and how a wrong one is named. And the networks they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from coordinator.data import PreparedData, load_dataset, prepare
from coordinator.defaults import (
    ACTIVATION_NAMES,
    DATASETS,
    LEARNING_RATES,
    PRESETS,
    ActivationName,
    LossName,
    NetworkSettings,
)
from coordinator.errors import UserError
from coordinator.settings import (
    OTHER_NAMES,
    LearnSettings,
    choices_of,
    flag_of,
    prepare_data,
    resolve_network,
    resolve_settings,
    variable_of,
)
from neuron_node.activations import ACTIVATIONS


def config(folder: Path, text: str | bytes) -> Path:
    path = folder / "settings.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(
    flags: dict[str, Any] | None = None, environment: dict[str, str] | None = None, file: Path | None = None
) -> str:
    with pytest.raises(UserError) as caught:
        resolve_settings(flags or {}, environment or {}, file)
    message = str(caught.value)
    assert "\n" not in message
    return message if file is None else message.replace(str(file), "FILE")


def network(**flags: Any) -> NetworkSettings:
    resolved = resolve_settings(flags, {}, None)
    return resolve_network(resolved, prepare_data(resolved))


def numbers(folder: Path, rows: int = 50) -> str:
    path = folder / "numbers.csv"
    path.write_text("".join(f"{row},{row * 0.5 + 0.25}\n" for row in range(rows)))
    return str(path)


def test_flags_win_over_the_environment_that_over_the_file_that_over_defaults(tmp_path: Path) -> None:
    """Each place is asked in turn, and the first that says something is believed."""
    file = config(tmp_path, "epochs = 3\nseed = 3\nbatch_size = 3\n")
    environment = {"EXMACHINA_EPOCHS": "2", "EXMACHINA_SEED": "2", "EXMACHINA_BATCH_SIZE": ""}
    resolved = resolve_settings({"dataset": "iris", "epochs": 1, "seed": None}, environment, file)
    assert (resolved.epochs, resolved.seed, resolved.batch_size) == (1, 2, 3)
    assert resolved.learning_rate == DATASETS["iris"]["learning_rate"]
    assert resolved.snapshot_interval_steps == "auto"


def test_settings_without_any_value_learn_digits() -> None:
    """Without any setting digits are learned, with a network of 64-12-10 logistic neurons."""
    made = network()
    assert made.layers == (64, 12, 10)
    assert made.activations == ("identity", "logistic", "logistic")
    assert (made.loss, made.weights, made.biases) == ("squared_error", "glorot", (0.0, 0.0))
    assert made.bias_learned and not made.input_bias
    assert made.running_accuracy_window is None


def test_the_preset_is_the_seeds_arithmetic_and_flags_win_over_it(tmp_path: Path) -> None:
    """`exmachina` on Semeion is 256-8-10 with the seed's numbers, all of which a flag can change."""
    path = tmp_path / "semeion.data"
    path.write_text(
        "".join("0 1 " * 128 + " ".join(str(int(c == digit)) for c in range(10)) + "\n" for digit in range(10)) * 2
    )
    made = network(dataset="semeion", data=path, preset="exmachina")
    assert made == NetworkSettings(
        layers=(256, 8, 10),
        input_activation="logistic",
        hidden_activation="logistic",
        output_activation="logistic",
        loss="squared_error",
        learning_rate=2.0,
        batch_size=1,
        epochs=20,
        input_bias=True,
        bias_learned=False,
        weights=(-1.0, 1.0),
        biases=(-3.0, -1.0),
        running_accuracy_window=200,
    )
    other = network(dataset="semeion", data=path, preset="exmachina", epochs=2, hidden="4", learning_rate=0.5)
    assert (other.epochs, other.layers, other.learning_rate, other.batch_size) == (2, (256, 4, 10), 0.5, 1)


def test_the_preset_does_not_hold_a_set_out_that_has_no_rows_to_spare() -> None:
    """The data set's own share of held-out rows stays, since a preset is about arithmetic."""
    assert resolve_settings({"dataset": "xor", "preset": "exmachina"}, {}, None).test_fraction == 0.0


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        ("16,12", (16, 12)),
        ("16-12", (16, 12)),
        (" 16 , 12 ", (16, 12)),
        (12, (12,)),
        ([16, 12], (16, 12)),
        ("none", ()),
    ],
)
def test_sizes_can_be_written_in_several_ways(given_value: object, expected: tuple[int, ...]) -> None:
    """Text, a number or a list say which layers there are."""
    assert resolve_settings({"hidden": given_value}, {}, None).hidden == expected


def test_layers_and_hidden_say_the_same_thing(tmp_path: Path) -> None:
    """From one place both are a contradiction; from two, the place that is asked first decides."""
    assert refusal({"layers": "64,5,10", "hidden": "5"}) == ("--layers and --hidden mean the same; give only one")
    file = config(tmp_path, "hidden = [5]\n")
    resolved = resolve_settings({"layers": "64,7,10"}, {}, file)
    assert (resolved.layers, resolved.hidden, resolved.outputs) == ((64, 7, 10), None, 10)
    with pytest.raises(ValidationError):
        LearnSettings(layers=(1, 2), hidden=(3,))


WRONG = [
    ("epochs", "0", "a whole number from 1 to 1,000,000, not '0'"),
    ("epochs", "many", "a whole number from 1 to 1,000,000, not 'many'"),
    ("epochs", "1.5", "a whole number from 1 to 1,000,000, not '1.5'"),
    ("batch_size", "-1", "a whole number from 1 to 65,536, not '-1'"),
    ("learning_rate", "0", "a number above 0 and at most 1000, not '0'"),
    ("learning_rate", "nan", "a number above 0 and at most 1000, not 'nan'"),
    ("learning_rate", "inf", "a number above 0 and at most 1000, not 'inf'"),
    ("activation", "sigmoid", f"{ACTIVATION_NAMES}, not 'sigmoid'; did you mean 'logistic'?"),
    ("output_activation", "softmax", f"{ACTIVATION_NAMES}, not 'softmax'"),
    ("loss", "hinge", "squared_error or cross_entropy, not 'hinge'"),
    ("seed", "-1", "a whole number from 0 to 9223372036854775807, not '-1'"),
    ("seed", str(2**63), "a whole number from 0 to 9223372036854775807, not '9223372036854775808'"),
    ("group_size", "0", "a whole number from 1 to 65,536, layer or auto, not '0'"),
    ("delimiter", "and", "one character, or comma, semicolon, tab, space or pipe, not 'and'"),
    ("decimal", ";", ". or , (point or comma), not ';'"),
    ("encoding", "x" * 41, f"a name such as utf-8, cp1252 or latin-1, not {'x' * 37 + '...'!r}"),
    ("header", "maybe", "yes or no, not 'maybe'"),
    ("wiring", "mesh", "auto, broker or direct, not 'mesh'"),
    ("group_size", "all", "a whole number from 1 to 65,536, layer or auto, not 'all'"),
    ("microbatches", "0", "a whole number from 1 to 64, not '0'"),
    ("microbatches", "65", "a whole number from 1 to 64, not '65'"),
    ("nodes", "0", "a whole number from 1 to the number of groups, not '0'"),
    ("nodes", "all", "a whole number from 1 to the number of groups, not 'all'"),
    ("noise", "0.6", "a number from 0 to 0.5, not '0.6'"),
    ("test_fraction", "1", "a number from 0 to 0.9, not '1'"),
    ("history", "much", "a size such as 64MB, at most 1TB, or 0 for none, not 'much'"),
    ("scaling", "log", "standard, range or none, not 'log'"),
    ("preset", "seed", "exmachina, not 'seed'"),
    ("snapshot_interval_steps", "0", "a whole number from 1 to 1,000,000, or auto, not '0'"),
    ("regroup_after_seconds", "-1", "a number from 0 to 86,400, not '-1'"),
    ("rebalance", "always", "command (coordinator rebalance) or auto, not 'always'"),
    ("target_kind", "text", "auto, classes or numbers, not 'text'"),
    ("hidden", "12,0", "the sizes of the hidden layers, such as 12 or 16,12 (none for no hidden layer), not '12,0'"),
    (
        "hidden",
        "twelve",
        "the sizes of the hidden layers, such as 12 or 16,12 (none for no hidden layer), not 'twelve'",
    ),
    ("layers", "64", "the sizes of all layers, such as 64,12,10, not '64'"),
    ("name", "../x", "up to 64 letters, digits, dots, - and _, not '../x'"),
    ("name", "a" * 65, f"up to 64 letters, digits, dots, - and _, not '{'a' * 37}...'"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_value_names_its_place_and_what_is_right(name: str, value: str, message: str, tmp_path: Path) -> None:
    """The same value gets the same line from a flag, a variable or a file, but for the place."""
    assert refusal({name: value}) == f"{flag_of(name)} must be {message}"
    assert refusal(environment={variable_of(name): value}) == f"{variable_of(name)} must be {message}"
    assert refusal(file=config(tmp_path, f'{name} = "{value}"\n')) == f"{name} in FILE must be {message}"


def test_the_tests_know_every_setting() -> None:
    """A new setting cannot be forgotten here: each has a wrong value above, except names and paths."""
    assert {name for name, _, _ in WRONG} | {"dataset", "data", "target", "na", "ignore", "inputs"} == set(
        LearnSettings.model_fields
    )


@pytest.mark.parametrize("value", ["true", "[1]", "{ a = 1 }", "2020-01-01"])
@pytest.mark.parametrize("name", ["epochs", "seed", "learning_rate", "group_size", "test_fraction", "dataset"])
def test_other_types_in_a_file_are_refused(name: str, value: str, tmp_path: Path) -> None:
    """A truth value is no number, and neither are lists, tables and dates."""
    assert refusal(file=config(tmp_path, f"{name} = {value}\n")).startswith(f"{name} in FILE must be ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3\n", "FILE: no setting 'epoch'; did you mean 'epochs'?"),
        ("batch-sise = 3\n", "FILE: no setting 'batch_sise'; did you mean 'batch_size'?"),
        ("[learn]\nepochs = 3\n", "FILE: settings stand at the top, not in a table [learn]; take out that line"),
        ("epochs 3\n", "FILE: is not TOML (Expected '=' after a key in a key/value pair (at line 1, column 8))"),
        (b"\xff", "FILE: is not UTF-8 text, so not TOML"),
        (b"#" * (2**20 + 1), "FILE: is larger than 1,048,576 bytes, the limit for a file with settings"),
        ("seed = " + "[" * 100_000, "FILE: is not TOML"),
        ("seed = " + "1" * 5_000, "FILE: is not TOML"),
    ],
)
def test_bad_files_are_refused(text: str | bytes, message: str, tmp_path: Path) -> None:
    """Unknown keys are named with the closest known one; what is not TOML is told with the place."""
    assert refusal(file=config(tmp_path, text)).startswith(message)


def test_places_without_a_file_are_refused(tmp_path: Path) -> None:
    """A missing file and a folder are told apart."""
    assert refusal(file=tmp_path / "no.toml") == "FILE: no such file; --config takes a TOML file with settings"
    assert refusal(file=tmp_path).startswith("FILE: cannot be read (Is a directory)")


def test_unknown_flags_are_refused() -> None:
    """A setting that is none can't be passed by mistake."""
    assert refusal({"epoch": 3}) == "--epoch: Extra inputs are not permitted"


def test_paths_in_a_file_start_at_its_folder(tmp_path: Path) -> None:
    """A file of settings and its data can be moved together."""
    file = config(tmp_path, 'dataset = "numbers.csv"\ndata = "x.data"\n')
    resolved = resolve_settings({}, {}, file)
    assert resolved.dataset == str(tmp_path / "numbers.csv")
    assert resolved.data == tmp_path / "x.data"
    assert resolve_settings({}, {}, config(tmp_path, 'dataset = "iris"\n')).dataset == "iris"
    assert resolve_settings({"dataset": "a.csv"}, {}, None).dataset == "a.csv"


def test_the_rest_of_the_environment_is_left_alone() -> None:
    """Other programs' variables, and other ones of ours, are no settings."""
    environment = {"EPOCHS": "0", "EXMACHINA_BROKER_IN": "tcp://x:1", "EXMACHINA_SEED": " 7 "}
    assert resolve_settings({}, environment, None).seed == 7


@given(
    st.dictionaries(
        st.sampled_from(sorted(LearnSettings.model_fields)),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers()),
        max_size=4,
    )
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_values_are_settings_or_refused_in_one_line(flags: dict[str, Any]) -> None:
    """No value of any type does anything but become a setting or a UserError of one line."""
    try:
        resolve_settings(flags, {}, None)
    except UserError as error:
        assert len(str(error).splitlines()) == 1


def test_settings_survive_json() -> None:
    """Settings written to JSON and read again are the same settings."""
    for flags in ({}, {"dataset": "xor", "group_size": "layer"}, {"preset": "exmachina", "data": "a/b"}):
        resolved = resolve_settings(flags, {}, None)
        assert LearnSettings.model_validate_json(resolved.model_dump_json()) == resolved


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"layers": "63,12,10"},
            "the first of the layers has 63 neurons, digits has 64 inputs; 64-12-10 would fit",
        ),
        ({"layers": "64,12,9"}, "9 outputs do not fit the 10 classes of digits: 10 are needed"),
        (
            {"loss": "cross_entropy", "output_activation": "tanh"},
            "cross_entropy needs classes and logistic outputs, not tanh outputs; take squared_error",
        ),
    ],
)
def test_networks_that_do_not_fit_the_data_are_refused(flags: dict[str, Any], message: str) -> None:
    """Layers and loss must suit the data, and the line says what would."""
    with pytest.raises(UserError) as caught:
        network(**flags)
    assert str(caught.value) == message


def test_numbers_get_identity_outputs_and_no_cross_entropy(tmp_path: Path) -> None:
    """A network for numbers can give any number."""
    path = numbers(tmp_path)
    made = network(dataset=path)
    assert made.output_activation == "identity"
    assert made.layers == (1, 8, 1)
    with pytest.raises(UserError, match=r"not the numbers of numbers\.csv; take squared_error"):
        network(dataset=path, loss="cross_entropy")


def test_the_last_layer_is_checked_against_data_prepared_otherwise() -> None:
    """Settings and data that were not made for one another are refused."""
    prepared: PreparedData = prepare(load_dataset("iris"), seed=0, test_fraction=0.2)
    with pytest.raises(UserError, match="the last of the layers has 5 neurons, not 3; 4-2-3 would fit"):
        resolve_network(LearnSettings(dataset="iris", layers=(4, 2, 5)), prepared)


@pytest.mark.parametrize(("rows", "batch_size", "epochs"), [(10, 8, 200), (1000, 8, 15), (1500, 16, 20)])
def test_files_are_learnt_in_about_as_many_steps(tmp_path: Path, rows: int, batch_size: int, epochs: int) -> None:
    """More rows make larger batches and fewer epochs, so that the time stays about the same."""
    made = network(dataset=numbers(tmp_path, rows))
    assert (made.batch_size, made.epochs) == (batch_size, epochs)


def test_the_learning_rate_goes_with_activation_and_loss() -> None:
    """A data set's rate is for its own activation and loss; with others it would diverge, and another is taken."""
    usual = network(dataset="iris")
    assert usual.learning_rate == DATASETS["iris"]["learning_rate"]
    assert network(dataset="iris", activation="logistic").learning_rate == usual.learning_rate
    assert network(dataset="iris", activation="relu").learning_rate == 1.0
    assert network(dataset="iris", loss="cross_entropy").learning_rate == 0.5
    assert network(dataset="iris", output_activation="identity").learning_rate < usual.learning_rate
    assert network(dataset="iris", activation="relu", learning_rate=0.3).learning_rate == 0.3
    assert network(dataset="iris", preset="exmachina", activation="tanh").learning_rate == 2.0


@pytest.mark.parametrize("loss", get_args(LossName))
@pytest.mark.parametrize("hidden", sorted(ACTIVATIONS))
def test_every_activation_has_a_learning_rate(hidden: str, loss: str) -> None:
    """Each activation of the arithmetic is a setting, with a learning rate for logistic outputs and each loss."""
    assert hidden in get_args(ActivationName)
    assert (hidden, loss, "logistic") in LEARNING_RATES


def test_one_output_for_two_classes() -> None:
    """The layers asked for decide whether two classes have one output or two."""
    assert network(dataset="breast_cancer", layers="30,4,1").layers == (30, 4, 1)
    assert network(dataset="breast_cancer", layers="30,4,2").layers == (30, 4, 2)
    assert network(dataset="xor").layers == (2, 3, 1)
    assert network(dataset="xor", layers="2,3,2").layers == (2, 3, 2)


def test_no_hidden_layer_is_possible() -> None:
    """Inputs joined to outputs directly are a network too."""
    assert network(dataset="iris", hidden="none").activations == ("identity", "logistic")


def test_every_default_is_a_valid_setting() -> None:
    """What the tables hold passes the model's own bounds."""
    for values in (*DATASETS.values(), *PRESETS.values()):
        LearnSettings.model_validate(values)


@pytest.mark.parametrize(
    ("name", "text", "meant"),
    [
        ("activation", "sigmoid", "logistic"),
        ("activation", "ReLU", "relu"),
        ("output_activation", "linear", "identity"),
        ("loss", "mse", "squared_error"),
        ("loss", "MSE", "squared_error"),
        ("loss", "bce", "cross_entropy"),
        ("loss", "cross-entropy", "cross_entropy"),
        ("scaling", "min-max", "range"),
        ("wiring", "dirct", "direct"),
        ("target_kind", "regression", "numbers"),
    ],
)
def test_names_of_other_programs_lead_to_ours(name: str, text: str, meant: str) -> None:
    """A word that is used elsewhere, or misspelled, is answered with the word that is right here."""
    with pytest.raises(UserError, match=rf"did you mean '{meant}'\?$"):
        resolve_settings({name: text}, {}, None)


def test_every_other_name_leads_to_a_word_of_the_settings() -> None:
    """A synonym whose word has been renamed would lead nowhere."""
    words = {word for name in LearnSettings.model_fields for word in choices_of(name)}
    assert set(OTHER_NAMES.values()) <= words

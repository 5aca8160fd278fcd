"""The settings of `learn`, `serve` and `verify`: one model for options, environment variables and TOML files.

An option takes precedence over an environment variable (EXMACHINA_EPOCHS, ...; empty means not set), then come a TOML file,
the preset, and the defaults of the data set. The error for a wrong value is one line that names the place of the value.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from coordinator.data.dataset import Dataset
from coordinator.data.encoding import Encoding, Scaling
from coordinator.data.limits import counted, shown, shown_path
from coordinator.data.options import TableOptions
from coordinator.data.prepared import PreparedData, inspect, prepare
from coordinator.data.report import DataReport
from coordinator.data.sources import DATASET_NAMES, load_dataset
from coordinator.data.suggestion import closest, did_you_mean
from coordinator.data.targets import TargetKind
from coordinator.data.toys import MOST_NOISE
from coordinator.defaults import (
    ACTIVATION_NAMES,
    CAREFUL_LEARNING_RATE,
    HISTORY_BYTES,
    LARGEST_RATE,
    LEARNING_RATES,
    LEAST_HIDDEN,
    MOST_EPOCHS,
    MOST_HIDDEN,
    PLAIN_ARITHMETIC,
    SEED_ARITHMETIC,
    STEPS,
    ActivationName,
    LossName,
    NetworkSettings,
    default_batch_size,
    defaults_for,
)
from coordinator.errors import UserError
from neuron_node.frames import MAX_PARTS

ENVIRONMENT_PREFIX = "EXMACHINA_"
CONFIG_BYTES = 1 << 20
MOST_NEURONS = 65_536
MOST_LAYERS = 64
SIZE = re.compile(r"(\d{1,15}) ?(B|kB|MB|GB|TB)?", re.IGNORECASE)
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
OTHER_NAMES = {
    "sigmoid": "logistic",
    "expit": "logistic",
    "hyperbolic tangent": "tanh",
    "rectifier": "relu",
    "relu6": "relu",
    "linear": "identity",
    "none": "identity",
    "mse": "squared_error",
    "l2": "squared_error",
    "quadratic": "squared_error",
    "mean_squared_error": "squared_error",
    "bce": "cross_entropy",
    "log_loss": "cross_entropy",
    "logloss": "cross_entropy",
    "binary_crossentropy": "cross_entropy",
    "crossentropy": "cross_entropy",
    "categorical_crossentropy": "cross_entropy",
    "minmax": "range",
    "zscore": "standard",
    "standardize": "standard",
    "classification": "classes",
    "regression": "numbers",
}
"""Names that other programs use, and the words of the settings that mean the same."""


def _whole_numbers(value: object) -> object:
    """Split `64,12,10` or `64-12-10` or one number into a list; `none` is the empty list."""
    if isinstance(value, str):
        text = value.strip()
        return [] if text.lower() == "none" else [part.strip() for part in text.replace("-", ",").split(",")]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


def _names(value: object) -> object:
    """Split `a,b` into a list of names."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _delimiter(value: object) -> object:
    """Replace the name of a delimiter by the delimiter."""
    names = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "space": " ", "blanks": " ", "pipe": "|"}
    return names.get(value.lower(), value) if isinstance(value, str) else value


def _mark(value: object) -> object:
    """Replace the name of a decimal mark by the mark."""
    return {"point": ".", "comma": ","}.get(value.lower(), value) if isinstance(value, str) else value


def _yes_or_no(value: object) -> object:
    """Replace true and false of TOML by yes and no."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _not_bool(value: object) -> object:
    """Reject true and false, which Python would take for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a truth value is not a number")
    return value


def _size(value: object) -> object:
    """Replace a size such as 64MB by its number of bytes."""
    if not isinstance(value, str):
        return _not_bool(value)
    match = SIZE.fullmatch(value.strip())
    return value if match is None else int(match[1]) * UNITS[(match[2] or "B").upper()]


Neurons = Annotated[int, BeforeValidator(_not_bool), Field(ge=1, le=MOST_NEURONS)]
Sizes = Annotated[tuple[Neurons, ...], BeforeValidator(_whole_numbers)]
Whole = Annotated[int, BeforeValidator(_not_bool)]
Interval = Annotated[int, BeforeValidator(_not_bool), Field(ge=1, le=1_000_000)]
Real = Annotated[float, BeforeValidator(_not_bool)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]


class LearnSettings(BaseModel):
    """All settings of a training.

    The title of a field says what the setting does, and the description which values are allowed. None in `hidden`,
    `epochs`, `batch_size` or `learning_rate` leaves the choice to `resolve_network`, which knows the data.
    """

    # Most commands need no check of settings: it is built when one does.
    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", validate_default=True)

    dataset: str = Field(
        title="Data set to learn",
        default="digits",
        min_length=1,
        max_length=4096,
        description="the name of a data set or the path of a file",
    )
    data: Path | None = Field(
        title="File of the data set semeion", default=None, description="the path of a file in Semeion's format"
    )
    target: str | None = Field(
        title="Column to learn, by default one called target, class, label or similar, or else the last one",
        default=None,
        min_length=1,
        max_length=1000,
        description="the name of a column, first, last or a number",
    )
    target_kind: TargetKind = Field(title="Kind of the target", default="auto", description="auto, classes or numbers")
    delimiter: Annotated[str | None, BeforeValidator(_delimiter)] = Field(
        title="Delimiter of the columns",
        default=None,
        min_length=1,
        max_length=1,
        description="one character, or comma, semicolon, tab, space or pipe",
    )
    decimal: Annotated[Literal[".", ","] | None, BeforeValidator(_mark)] = Field(
        title="Decimal mark of numbers", default=None, description=". or , (point or comma)"
    )
    encoding: str | None = Field(
        title="Encoding of a text file",
        default=None,
        min_length=1,
        max_length=40,
        description="a name such as utf-8, cp1252 or latin-1",
    )
    header: Annotated[Literal["yes", "no"] | None, BeforeValidator(_yes_or_no)] = Field(
        title="Whether the first row has the names of the columns", default=None, description="yes or no"
    )
    na: Names | None = Field(
        title="Marks of missing values besides the usual ones",
        default=None,
        max_length=100,
        description="texts such as -1 or none,unknown",
    )
    ignore: Names | None = Field(
        title="Columns to leave out", default=None, description="names or numbers such as id,date"
    )
    inputs: Names | None = Field(
        title="The only columns to use as inputs", default=None, description="names or numbers such as length,width"
    )
    noise: Real | None = Field(
        title="Noise of a toy data set: the standard deviation by which each point is moved",
        default=None,
        ge=0.0,
        le=MOST_NOISE,
        allow_inf_nan=False,
        description=f"a number from 0 to {MOST_NOISE}",
    )
    hidden: Sizes | None = Field(
        title="Hidden layers",
        default=None,
        max_length=MOST_LAYERS - 2,
        description="the sizes of the hidden layers, such as 12 or 16,12 (none for no hidden layer)",
    )
    layers: Sizes | None = Field(
        title="All layers",
        default=None,
        min_length=2,
        max_length=MOST_LAYERS,
        description="the sizes of all layers, such as 64,12,10",
    )
    epochs: Whole | None = Field(
        title="Passes over the training samples",
        default=None,
        ge=1,
        le=1_000_000,
        description="a whole number from 1 to 1,000,000",
    )
    batch_size: Whole | None = Field(
        title="Samples per step", default=None, ge=1, le=65_536, description="a whole number from 1 to 65,536"
    )
    learning_rate: Real | None = Field(
        title="Factor of each gradient",
        default=None,
        gt=0.0,
        le=LARGEST_RATE,
        allow_inf_nan=False,
        description="a number above 0 and at most 1000",
    )
    activation: ActivationName = Field(
        title="Activation of the hidden neurons", default="logistic", description=ACTIVATION_NAMES
    )
    output_activation: ActivationName | None = Field(
        title="Activation of the output neurons", default=None, description=ACTIVATION_NAMES
    )
    loss: LossName = Field(title="Loss function", default="squared_error", description="squared_error or cross_entropy")
    seed: Whole = Field(
        title="Seed of everything that is random",
        default=0,
        ge=0,
        lt=2**63,
        description=f"a whole number from 0 to {2**63 - 1}",
    )
    group_size: Annotated[Neurons | Literal["layer", "auto"], BeforeValidator(_not_bool)] = Field(
        title="Neurons per program", default=1, description=f"a whole number from 1 to {MOST_NEURONS:,}, layer or auto"
    )
    wiring: Literal["auto", "broker", "direct"] = Field(
        title="Path of the data between programs", default="broker", description="auto, broker or direct"
    )
    microbatches: Whole = Field(
        title="Parts of each batch", default=1, ge=1, le=MAX_PARTS, description=f"a whole number from 1 to {MAX_PARTS}"
    )
    nodes: Whole | None = Field(
        title="Programs that host all groups, by default one per group",
        default=None,
        ge=1,
        le=MOST_NEURONS,
        description="a whole number from 1 to the number of groups",
    )
    test_fraction: Real = Field(
        title="Share of the samples that is held out",
        default=0.2,
        ge=0.0,
        le=0.9,
        allow_inf_nan=False,
        description="a number from 0 to 0.9",
    )
    scaling: Scaling | None = Field(title="Scaling of the inputs", default=None, description="standard, range or none")
    preset: Literal["exmachina"] | None = Field(
        title="Settings of a known network", default=None, description="exmachina"
    )
    snapshot_interval_steps: Annotated[Interval | Literal["auto"], BeforeValidator(_not_bool)] = Field(
        title="Steps between snapshots", default="auto", description="a whole number from 1 to 1,000,000, or auto"
    )
    history: Annotated[int, BeforeValidator(_size)] = Field(
        title="Disk space for older snapshots of the network",
        default=HISTORY_BYTES,
        ge=0,
        le=10**12,
        description="a size such as 64MB, at most 1TB, or 0 for none",
    )
    regroup_after_seconds: Real = Field(
        title="Seconds until the group of a lost node moves to another node",
        default=30.0,
        ge=0.0,
        le=86_400.0,
        allow_inf_nan=False,
        description="a number from 0 to 86,400",
    )
    rebalance: Literal["command", "auto"] = Field(
        title="When groups that moved to another node move to a node of their own again",
        default="command",
        description="command (coordinator rebalance) or auto",
    )
    name: str | None = Field(
        title="Name of the run",
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="up to 64 letters, digits, dots, - and _",
    )

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> LearnSettings:
        if self.layers is not None and self.hidden is not None:
            raise ValueError("layers and hidden mean the same; give only one")
        return self

    @property
    def outputs(self) -> int | None:
        """The number of output neurons in `layers`, or None."""
        return None if self.layers is None else self.layers[-1]

    @property
    def table_options(self) -> TableOptions:
        """The settings that override how a table is read."""
        return TableOptions(
            delimiter=self.delimiter,
            decimal=self.decimal,
            encoding=self.encoding,
            header=None if self.header is None else self.header == "yes",
            missing=self.na or (),
            target=self.target,
            ignore=self.ignore or (),
            inputs=self.inputs or (),
        )


@dataclass(frozen=True)
class _Source:
    """Settings from one place, and the names of the settings there."""

    values: Mapping[str, object]
    labels: Mapping[str, str]


def resolve_settings(
    flags: Mapping[str, object], environment: Mapping[str, str], config_file: Path | None
) -> LearnSettings:
    """Combine the settings of all places.

    Args:
        flags: values by field name, which may be text; None is an option that was not given.
        environment: all environment variables; variables that are not settings are ignored.
        config_file: a TOML file whose keys are field names. Relative paths in it start at the folder of the file.

    Raises:
        UserError: a value is wrong, a key is unknown, or the file cannot be read.
    """
    return resolve_with_sources(flags, environment, config_file)[0]


def resolve_with_sources(
    flags: Mapping[str, object], environment: Mapping[str, str], config_file: Path | None
) -> tuple[LearnSettings, dict[str, str]]:
    """Combine the settings of all places, and return the place of each setting that is not a plain default. Raises `UserError`."""
    given, labels = _given(flags, environment, config_file)
    asked = _validated(given, labels)
    defaults = defaults_for(asked.preset, asked.dataset, asked.model_dump(), frozenset(given))
    chosen_by = f"preset {asked.preset}" if asked.preset else f"data set {shown(asked.dataset)[1:-1]}"
    return _validated(defaults | given, labels), {**dict.fromkeys(defaults, chosen_by), **labels}


def given_settings(
    flags: Mapping[str, object], environment: Mapping[str, str], config_file: Path | None
) -> dict[str, object]:
    """Return the settings that are given somewhere, without defaults, as they are written there. Raises `UserError`."""
    return _given(flags, environment, config_file)[0]


def _given(
    flags: Mapping[str, object], environment: Mapping[str, str], config_file: Path | None
) -> tuple[dict[str, object], dict[str, str]]:
    """Return the given settings, and the place of each."""
    given: dict[str, object] = {}
    labels: dict[str, str] = {}
    for source in (_flags(flags), _environment(environment), _config(config_file)):
        if "layers" in source.values and "hidden" in source.values:
            raise UserError(f"{source.labels['layers']} and {source.labels['hidden']} mean the same; give only one")
        taken = given.keys() | ({"layers", "hidden"} if given.keys() & {"layers", "hidden"} else set())
        new = {name: value for name, value in source.values.items() if name not in taken}
        given |= new
        labels |= {name: source.labels[name] for name in new}
    return given, labels


def prepare_data(settings: LearnSettings) -> PreparedData:
    """Load the data set, then split, scale and encode it.

    Raises:
        UserError: the data set cannot be loaded, or does not fit the layers.
    """
    return prepare(
        load(settings),
        seed=settings.seed,
        test_fraction=settings.test_fraction,
        outputs=settings.outputs,
        scaling=settings.scaling,
    )


def inspect_data(settings: LearnSettings) -> DataReport:
    """Report on the data set of these settings, even if `learn` would refuse it. Raises `UserError`."""
    return inspect(load(settings), seed=settings.seed, test_fraction=settings.test_fraction, scaling=settings.scaling)


def load(settings: LearnSettings) -> Dataset:
    """Load the data set of these settings. Raises `UserError`."""
    return load_dataset(
        settings.dataset,
        data=settings.data,
        target_kind=settings.target_kind,
        options=settings.table_options,
        noise=settings.noise,
        seed=settings.seed,
    )


def resolve_network(settings: LearnSettings, prepared: PreparedData) -> NetworkSettings:
    """Decide every value that the settings leave open, and return the network for this data.

    Raises:
        UserError: the layers or the loss do not fit the data.
    """
    encoding = prepared.encoding
    classes = encoding.classes is not None
    output_activation = settings.output_activation or ("logistic" if classes else "identity")
    if settings.loss == "cross_entropy" and not (classes and output_activation == "logistic"):
        have = f"{output_activation} outputs" if classes else f"the numbers of {prepared.dataset}"
        raise UserError(f"cross_entropy needs classes and logistic outputs, not {have}; take squared_error")
    samples = len(prepared.train_inputs)
    batch_size = settings.batch_size or default_batch_size(samples)
    arithmetic = PLAIN_ARITHMETIC if settings.preset is None else SEED_ARITHMETIC[settings.preset]
    return NetworkSettings(
        layers=_layers(settings, encoding),
        hidden_activation=settings.activation,
        output_activation=output_activation,
        loss=settings.loss,
        learning_rate=settings.learning_rate
        or LEARNING_RATES.get((settings.activation, settings.loss, output_activation), CAREFUL_LEARNING_RATE),
        batch_size=batch_size,
        epochs=settings.epochs or min(MOST_EPOCHS, math.ceil(STEPS / math.ceil(samples / batch_size))),
        **arithmetic,
    )


def flag_of(name: str) -> str:
    """Return the name of a setting on the command line."""
    return "DATASET" if name == "dataset" else "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()


def _layers(settings: LearnSettings, encoding: Encoding) -> tuple[int, ...]:
    if settings.layers is None:
        usual = (min(max(LEAST_HIDDEN, encoding.outputs), MOST_HIDDEN),)
        hidden = usual if settings.hidden is None else settings.hidden
        return (encoding.features, *hidden, encoding.outputs)
    first, last = settings.layers[0], settings.layers[-1]
    right = "-".join(str(size) for size in (encoding.features, *settings.layers[1:-1], encoding.outputs))
    if first != encoding.features:
        raise UserError(
            f"the first of the layers has {counted(first, 'neuron')}, {encoding.dataset} has {counted(encoding.features, 'input')}; "
            f"{right} would fit"
        )
    if last != encoding.outputs:
        raise UserError(
            f"the last of the layers has {counted(last, 'neuron')}, not {encoding.outputs}; {right} would fit"
        )
    return settings.layers


def _flags(flags: Mapping[str, object]) -> _Source:
    values = {name: value for name, value in flags.items() if value is not None}
    return _Source(values, {name: flag_of(name) for name in values})


def _environment(environment: Mapping[str, str]) -> _Source:
    values: dict[str, object] = {}
    for name in LearnSettings.model_fields:
        text = environment.get(variable_of(name), "").strip()
        if text:
            values[name] = text
    return _Source(values, {name: variable_of(name) for name in values})


def _config(path: Path | None) -> _Source:
    if path is None:
        return _Source({}, {})
    place = shown_path(path)
    try:
        with path.open("rb") as file:
            content = file.read(CONFIG_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{place}: no such file; --config takes a TOML file with settings") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{place}: cannot be read ({reason}); --config takes a TOML file with settings") from None
    if len(content) > CONFIG_BYTES:
        raise UserError(f"{place}: is larger than {CONFIG_BYTES:,} bytes, the limit for a file with settings")
    try:
        values = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UserError(f"{place}: is not UTF-8 text, so not TOML") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: is not TOML ({' '.join(str(error).split())[:200]})") from None
    # A flag's name will do.
    values = {
        key if key in LearnSettings.model_fields else key.replace("-", "_"): value for key, value in values.items()
    }
    for key, value in values.items():
        if isinstance(value, dict) and key not in LearnSettings.model_fields:
            raise UserError(f"{place}: settings stand at the top, not in a table [{key}]; take out that line")
        if key not in LearnSettings.model_fields:
            raise UserError(f"{place}: no setting {shown(key)}; {closest(key, list(LearnSettings.model_fields), 99)}")
    return _Source(_anchored(values, path.parent), {name: f"{name} in {place}" for name in values})


def _anchored(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make relative paths start at the folder of the settings file."""
    paths = {}
    for name in ("data", "dataset"):
        value = values.get(name)
        if isinstance(value, str) and value and (name == "data" or value not in DATASET_NAMES):
            paths[name] = str(folder / value)
    return values | paths


def _validated(values: Mapping[str, object], labels: Mapping[str, str]) -> LearnSettings:
    for name in ("dataset", "data"):
        value = values.get(name)
        # Python stands a surrogate for each byte of a file's name that is not UTF-8.
        if value is not None and any("\ud800" <= character <= "\udfff" for character in str(value)):
            raise UserError(f"{labels.get(name, name)}: the file's name {shown(value)} is not UTF-8; rename the file")
    try:
        return LearnSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    field = LearnSettings.model_fields.get(name)
    if field is None:
        raise UserError(f"{labels.get(name, 'settings')}: {first['msg']}")
    meant = did_you_mean(str(values[name]), choices_of(name), OTHER_NAMES)
    raise UserError(f"{labels.get(name, name)} must be {field.description}, not {shown(values[name])}{meant}")


def choices_of(name: str) -> tuple[str, ...]:
    """Return the words that a setting may be; empty if it is a number or a free text."""
    found: list[str] = []

    def collect(annotation: object) -> None:
        if get_origin(annotation) is Literal:
            found.extend(str(word) for word in get_args(annotation))
        for part in get_args(annotation) if get_origin(annotation) is not Literal else ():
            collect(part)

    collect(LearnSettings.model_fields[name].annotation)
    return tuple(found)

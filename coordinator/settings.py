"""The settings of `learn`, `serve` and `verify`: one model, whatever they come from.

A flag wins over the environment (EXMACHINA_EPOCHS, ...; empty means not set), that over a TOML file, that over the
preset, that over what suits the data set. A wrong value is one line that names the place it came from.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from coordinator.data.dataset import Dataset
from coordinator.data.encoding import Scaling
from coordinator.data.limits import shown, shown_path
from coordinator.data.options import TableOptions
from coordinator.data.prepared import PreparedData, inspect, prepare
from coordinator.data.report import DataReport
from coordinator.data.sources import DATASET_NAMES, load_dataset
from coordinator.data.suggestion import closest
from coordinator.data.targets import TargetKind
from coordinator.errors import UserError
from coordinator.presets import ActivationName, LossName, defaults_for
from neuron_node.messages import MAX_PARTS

ENVIRONMENT_PREFIX = "EXMACHINA_"
CONFIG_BYTES = 1 << 20
MOST_NEURONS = 65_536
MOST_LAYERS = 64


def _whole_numbers(value: object) -> object:
    """`64,12,10` or `64-12-10` or one number, as a list; `none` is the empty one."""
    if isinstance(value, str):
        text = value.strip()
        return [] if text.lower() == "none" else [part.strip() for part in text.replace("-", ",").split(",")]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


def _names(value: object) -> object:
    """`a,b` as a list of names."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _delimiter(value: object) -> object:
    """A delimiter by its name, as shells can write it."""
    names = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "space": " ", "blanks": " ", "pipe": "|"}
    return names.get(value.lower(), value) if isinstance(value, str) else value


def _mark(value: object) -> object:
    """A decimal mark by its name."""
    return {"point": ".", "comma": ","}.get(value.lower(), value) if isinstance(value, str) else value


def _yes_or_no(value: object) -> object:
    """`yes` and `no`, which TOML writes true and false."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _not_bool(value: object) -> object:
    """True is 1 to Python; as a setting it is a slip."""
    if isinstance(value, bool):
        raise ValueError("a truth value is not a number")
    return value


Neurons = Annotated[int, BeforeValidator(_not_bool), Field(ge=1, le=MOST_NEURONS)]
Sizes = Annotated[tuple[Neurons, ...], BeforeValidator(_whole_numbers)]
Whole = Annotated[int, BeforeValidator(_not_bool)]
Interval = Annotated[int, BeforeValidator(_not_bool), Field(ge=1, le=1_000_000)]
Real = Annotated[float, BeforeValidator(_not_bool)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]


class LearnSettings(BaseModel):
    """Everything that decides what is learnt and how.

    The description of a field says what is right. None in `hidden`, `epochs`, `batch_size` or `learning_rate` leaves
    the choice to `presets.resolve_network`, which sees the data.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    dataset: str = Field(
        default="digits", min_length=1, max_length=4096, description="a data set's name or a file's path"
    )
    data: Path | None = Field(default=None, description="the path of a file in Semeion's format")
    target: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="the target's column: its name, first, last or its number",
    )
    target_kind: TargetKind = Field(default="auto", description="auto, classes or numbers")
    delimiter: Annotated[str | None, BeforeValidator(_delimiter)] = Field(
        default=None, min_length=1, max_length=1, description="one character, or comma, semicolon, tab, space or pipe"
    )
    decimal: Annotated[Literal[".", ","] | None, BeforeValidator(_mark)] = Field(
        default=None, description="the decimal mark of numbers, . or , (point or comma)"
    )
    encoding: str | None = Field(
        default=None,
        min_length=1,
        max_length=40,
        description="the encoding of a text file, as utf-8, cp1252 or latin-1",
    )
    header: Annotated[Literal["yes", "no"] | None, BeforeValidator(_yes_or_no)] = Field(
        default=None, description="whether the first row holds the names, yes or no"
    )
    na: Names | None = Field(
        default=None, max_length=100, description="marks of missing values beside the usual ones, as -1 or none,unknown"
    )
    ignore: Names | None = Field(default=None, description="columns to leave out, as id,date (names or numbers)")
    inputs: Names | None = Field(default=None, description="the only columns to use as inputs (names or numbers)")
    hidden: Sizes | None = Field(
        default=None,
        max_length=MOST_LAYERS - 2,
        description="the sizes of the hidden layers, as 12 or 16,12 (none for none)",
    )
    layers: Sizes | None = Field(
        default=None, min_length=2, max_length=MOST_LAYERS, description="the sizes of all layers, as 64,12,10"
    )
    epochs: Whole | None = Field(default=None, ge=1, le=1_000_000, description="a whole number from 1 to 1,000,000")
    batch_size: Whole | None = Field(default=None, ge=1, le=65_536, description="a whole number from 1 to 65,536")
    learning_rate: Real | None = Field(
        default=None, gt=0.0, le=1000.0, allow_inf_nan=False, description="a number above 0 and at most 1000"
    )
    activation: ActivationName = Field(default="logistic", description="logistic, tanh, relu or identity")
    output_activation: ActivationName | None = Field(default=None, description="logistic, tanh, relu or identity")
    loss: LossName = Field(default="squared_error", description="squared_error or cross_entropy")
    seed: Whole = Field(default=0, ge=0, lt=2**63, description=f"a whole number from 0 to {2**63 - 1}")
    group_size: Annotated[Neurons | Literal["layer", "auto"], BeforeValidator(_not_bool)] = Field(
        default=1, description=f"a whole number from 1 to {MOST_NEURONS:,}, layer or auto"
    )
    wiring: Literal["auto", "broker", "direct"] = Field(default="broker", description="auto, broker or direct")
    microbatches: Whole = Field(default=1, ge=1, le=MAX_PARTS, description=f"a whole number from 1 to {MAX_PARTS}")
    nodes: Whole | None = Field(
        default=None, ge=1, le=MOST_NEURONS, description="a whole number from 1 to the number of groups"
    )
    test_fraction: Real = Field(default=0.2, ge=0.0, le=0.9, allow_inf_nan=False, description="a number from 0 to 0.9")
    scaling: Scaling | None = Field(default=None, description="standard, range or none")
    preset: Literal["exmachina"] | None = Field(default=None, description="exmachina")
    snapshot_interval_steps: Annotated[Interval | Literal["auto"], BeforeValidator(_not_bool)] = Field(
        default="auto", description="a whole number from 1 to 1,000,000, or auto"
    )
    regroup_after_seconds: Real = Field(
        default=30.0, ge=0.0, le=86_400.0, allow_inf_nan=False, description="a number from 0 to 86,400"
    )
    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="up to 64 letters, digits, dots, - and _",
    )

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> LearnSettings:
        if self.layers is not None and self.hidden is not None:
            raise ValueError("layers and hidden say the same thing; give one of them")
        return self

    @property
    def outputs(self) -> int | None:
        """How many output neurons are asked for, if any number is."""
        return None if self.layers is None else self.layers[-1]

    @property
    def table_options(self) -> TableOptions:
        """What is said about how a table is to be read."""
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
    """Settings from one place, and how that place calls a setting."""

    values: Mapping[str, object]
    labels: Mapping[str, str]


def resolve_settings(
    flags: Mapping[str, object], environment: Mapping[str, str], config_file: Path | None
) -> LearnSettings:
    """The settings that hold.

    Args:
        flags: by field name; None is a flag that was not given. Values may be text.
        environment: all of it; what is not a setting is left alone.
        config_file: a TOML file whose keys are field names. A relative path in it starts at the file's folder.

    Raises:
        UserError: a wrong value, an unknown key, or a file that can't be read, with the place.
    """
    given: dict[str, object] = {}
    labels: dict[str, str] = {}
    for source in (_flags(flags), _environment(environment), _config(config_file)):
        if "layers" in source.values and "hidden" in source.values:
            raise UserError(
                f"{source.labels['layers']} and {source.labels['hidden']} say the same thing; give one of them"
            )
        taken = given.keys() | ({"layers", "hidden"} if given.keys() & {"layers", "hidden"} else set())
        new = {name: value for name, value in source.values.items() if name not in taken}
        given |= new
        labels |= {name: source.labels[name] for name in new}
    asked = _validated(given, labels)
    return _validated(defaults_for(asked, frozenset(given)) | given, labels)


def prepare_data(settings: LearnSettings) -> PreparedData:
    """The data set of these settings, split, scaled and encoded as they say.

    Raises:
        UserError: it can't be loaded, or the layers asked for don't fit it.
    """
    return prepare(
        load(settings),
        seed=settings.seed,
        test_fraction=settings.test_fraction,
        outputs=settings.outputs,
        scaling=settings.scaling,
    )


def inspect_data(settings: LearnSettings) -> DataReport:
    """Report on the data set of these settings, also where it can't be learnt from as it is. Raises `UserError`."""
    return inspect(load(settings), seed=settings.seed, test_fraction=settings.test_fraction, scaling=settings.scaling)


def load(settings: LearnSettings) -> Dataset:
    """Load the data set of these settings. Raises `UserError`."""
    return load_dataset(
        settings.dataset, data=settings.data, target_kind=settings.target_kind, options=settings.table_options
    )


def flag_of(name: str) -> str:
    """How the command line calls a setting."""
    return "DATASET" if name == "dataset" else "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """How the environment calls a setting."""
    return ENVIRONMENT_PREFIX + name.upper()


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
        raise UserError(f"{place}: can't be read ({reason}); --config takes a TOML file with settings") from None
    if len(content) > CONFIG_BYTES:
        raise UserError(f"{place}: is larger than {CONFIG_BYTES:,} bytes, the most that a file of settings may have")
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
    """Relative paths as seen from the folder of the file they stand in."""
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
    raise UserError(f"{labels.get(name, name)} must be {field.description}, not {shown(values[name])}")

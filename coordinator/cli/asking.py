"""The network that a command asks: of a running service, of a finished run, or of a saved model, whose neurons run in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.cli.finding import client_of
from coordinator.client import NO_ROWS
from coordinator.data.encoding import Encoding
from coordinator.data.prepared import PreparedData
from coordinator.data.suggestion import did_you_mean
from coordinator.errors import UserError
from coordinator.inference import InMemoryNetwork
from coordinator.storage.model_file import Model, load_model
from coordinator.storage.run_folder import RunFolder
from coordinator.topology import layer_names
from neuron_node.activations import Array


@dataclass(frozen=True)
class Asked:
    """A network and how to ask it: `ask` sends a command with its rows and arguments, and returns facts and rows."""

    ask: Callable[..., tuple[dict[str, Any], Array]]
    encoding: Encoding
    layers: tuple[int, ...]
    place: str
    """Where the neurons run."""
    model: Model | None = None
    """The model, if the neurons run in memory."""

    @property
    def names(self) -> list[str]:
        """The names of all neurons, in order."""
        return [name for layer in range(len(self.layers)) for name in layer_names(self.layers, layer)]

    def check_neuron(self, name: str) -> None:
        """Raise `UserError`, which names the neuron that was probably meant, if there is no neuron of this name."""
        names = self.names
        if name not in names:
            raise UserError(
                f"there is no neuron {name!r}; they are named {names[0]} to {names[-1]}{did_you_mean(name, names)}"
            )


@contextmanager
def asked_network(model: Path | None, runs: Path, where: dict[str, Any]) -> Iterator[Asked]:
    """Open the network of a model, of a finished run, or of a running service. Raises `UserError` and `JobError`."""
    data: PreparedData | None = None
    place = f"in one process, from the saved model {model}"
    if model is None and where["run_name"] is not None:
        run = RunFolder.existing(runs, where["run_name"])
        if run.holder() is None and run.result() is not None and run.model.is_file():
            model, data = run.model, PreparedData.load(run.data)
            place = f"in one process, from the finished run {run.path.name}"
    if model is not None:
        saved = load_model(model)
        yield Asked(InMemoryNetwork(saved, data).ask, saved.encoding, saved.network.layers, place, saved)
        return
    with client_of(runs, where) as client:
        facts, _ = client.ask("describe")

        def ask(command: str, rows: Array = NO_ROWS, **arguments: Any) -> tuple[dict[str, Any], Array]:
            return client.ask(command, rows, **arguments)

        yield Asked(ask, Encoding.from_json(facts["encoding"]), tuple(facts["layers"]), "in programs of their own")
